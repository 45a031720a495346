"""The app as its operator sees it: through its own routes, with the host's keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from sandbox.host.process import HostProcess

_LOG_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Job:
    """What ``GET /api/job`` says, as far as the demonstration shows it.

    ``units``: objects done by chain of the full round (``users``; ``groups`` counts groups and memberships). ``outcomes``: by
    chain, what became of the full round's objects. ``escrows``: what waits, by what it waits for. ``queued``: messages in all
    queues; ``poisoned``: dead ones.
    """

    code: str
    quarantine: str
    units: Mapping[str, int]
    outcomes: Mapping[str, Mapping[str, int]]
    escrows: Mapping[str, int]
    complete: bool
    idle: bool
    queued: int
    poisoned: int

    @property
    def is_quiet(self) -> bool:
        """Whether no chain runs and no message is queued."""
        return self.idle and self.queued == 0


class App:
    """Commands and questions; each raises httpx.HTTPError when the app refuses or cannot be reached."""

    def __init__(self, http: httpx.AsyncClient, host: HostProcess) -> None:
        self._http = http
        self._host = host

    async def start(self) -> None:
        """``POST /api/job/start``: begin a cycle now."""
        await self._request("POST", "/api/job/start")

    async def tick(self) -> None:
        """Run the cycle's timer by hand, as its schedule does every few minutes."""
        answer = await self._http.post(
            f"{self._host.url}/admin/functions/cycle", json={"input": ""}, headers={"x-functions-key": self._host.keys["master"]}
        )
        answer.raise_for_status()

    async def job(self) -> Job:
        """``GET /api/job``."""
        return job_from(await self._request("GET", "/api/job"))

    async def logs(self) -> list[dict[str, Any]]:
        """All of ``GET /api/logs``: provisioningObjectSummary documents, newest first."""
        found: list[dict[str, Any]] = []
        path: str | None = f"logs?$top={_LOG_PAGE}"
        while path is not None:
            page = await self._request("GET", f"/api/{path}")
            found += page["value"]
            path = page.get("@odata.nextLink")
        return found

    async def _request(self, method: str, path: str) -> Any:
        answer = await self._http.request(method, f"{self._host.url}{path}", headers=self._host.headers)
        answer.raise_for_status()
        return answer.json() if answer.content else None


def job_from(document: Mapping[str, Any]) -> Job:
    """The job from its JSON."""
    status, app = document["status"], document["app"]
    chains = app["chains"].values()
    queues: Mapping[str, int] = app["queues"]
    return Job(
        code=status["code"],
        quarantine=(status["quarantine"] or {}).get("error", {}).get("message", ""),
        units={("users" if row["units"] == "users" else "groups"): int(row["completedUnits"]) for row in status["progress"]},
        outcomes=app["outcomes"],
        escrows=app["escrows"],
        complete=all(chain["completeGeneration"] > 0 for chain in chains),
        idle=all(chain["phase"] == "idle" for chain in chains),
        queued=sum(number or 0 for name, number in queues.items() if not name.endswith("-poison")),
        poisoned=sum(number or 0 for name, number in queues.items() if name.endswith("-poison")),
    )
