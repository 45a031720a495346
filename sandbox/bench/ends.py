"""Both ends of the app as the bench sees them: Graph and ServiceNow through their control routes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx

from sandbox.people import COMPANIES, COST_CENTERS, DEPARTMENTS, LOCATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOOK_SECONDS = 10.0
_PAGE = 999


class BenchError(Exception):
    """Something did not happen in time or was refused: the case ends without its figures."""


class Source:
    """The tenant. Close with ``aclose``."""

    def __init__(self, url: str, token: str) -> None:
        self._client = httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60.0)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def graph(self, method: str, path: str, body: Any = None) -> Any:
        """Ask Graph as an administrator; the answer's JSON, or None without a body."""
        answer = await self._client.request(method, f"/v1.0{path}", json=body)
        _check(answer)
        return answer.json() if answer.content else None

    async def users(self, *columns: str) -> list[dict[str, Any]]:
        """Everybody, with these attributes."""
        path = f"/users?$top={_PAGE}&$select={','.join(columns)}"
        found: list[dict[str, Any]] = []
        while path:
            page = await self.graph("GET", path)
            found += page["value"]
            path = str(page.get("@odata.nextLink", "")).partition("/v1.0")[2]
        return found

    async def requests(self) -> dict[str, int]:
        """Requests by route since they were last forgotten; parts of a batch singly, and the batch as one more."""
        answer = await self._client.get("/control/requests")
        _check(answer)
        counts: dict[str, int] = answer.json()
        return counts

    async def forget_requests(self) -> None:
        _check(await self._client.delete("/control/requests"))


class Target:
    """The instance. Close with ``aclose``."""

    def __init__(self, url: str, verify: Any = True) -> None:
        self._client = httpx.AsyncClient(base_url=url, timeout=60.0, verify=verify)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def set(self, **switches: Any) -> None:
        """Change switches, for example the latencies."""
        _check(await self._client.post("/control/faults", json=switches))

    async def seed_references(self) -> None:
        """Add the departments, locations, companies and cost centres that the tenant's people belong to."""
        seed = {
            "departments": list(DEPARTMENTS),
            "locations": list(LOCATIONS),
            "companies": list(COMPANIES),
            "cost_centers": list(COST_CENTERS),
        }
        _check(await self._client.post("/control/seed", json=seed))

    async def requests(self) -> dict[str, Any]:
        """Counters since they were last forgotten."""
        return await self._document("/control/requests")

    async def forget_requests(self) -> None:
        _check(await self._client.delete("/control/requests"))

    async def last_commit(self) -> int:
        """The number of the latest commit."""
        return int((await self._document("/control/state"))["last_commit"])

    async def commits(self, since: int, *, wait: float = 0.0) -> list[dict[str, Any]]:
        """Commits after number ``since``, oldest first; up to ``wait`` seconds for a first one."""
        answer = await self._client.get("/control/commits", params={"since": str(since), "wait": str(wait)})
        _check(answer)
        found: list[dict[str, Any]] = answer.json()
        return found

    async def commit(self, since: int, wanted: Mapping[str, str], *, seconds: float = 60.0) -> dict[str, Any]:
        """The first commit after ``since`` with these members. Raises ``BenchError`` if there is none in time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            for commit in await self.commits(since, wait=min(left, _LOOK_SECONDS)):
                since = commit["seq"]
                if all(commit[name] == value for name, value in wanted.items()):
                    return commit
        raise BenchError(f"no commit with {dict(wanted)} within {seconds:g} s")

    async def rows(self, table: str, query: str, *columns: str) -> list[dict[str, str]]:
        """Stored rows that satisfy an encoded query."""
        answer = await self._client.get("/control/rows", params={"table": table, "query": query, "fields": ",".join(columns)})
        _check(answer)
        found: list[dict[str, str]] = answer.json()["rows"]
        return found

    async def _document(self, path: str) -> dict[str, Any]:
        answer = await self._client.get(path)
        _check(answer)
        document: dict[str, Any] = answer.json()
        return document


def _check(answer: httpx.Response) -> None:
    if not answer.is_success:
        raise BenchError(f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}: {answer.text[:200]}")
