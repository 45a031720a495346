"""The instance as its control routes show it: the log of committed writes, stored rows, and edits by hand."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox.sides import rows_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    import httpx

    from sandbox.sides import Row

_POLL = 10.0


@dataclass(frozen=True, slots=True)
class Commit:
    """One committed write; ``at`` is unix time in seconds, ``fields`` the columns that changed."""

    seq: int
    at: float
    table: str
    sys_id: str
    verb: str
    fields: frozenset[str]
    by: str


@dataclass(frozen=True, slots=True)
class Requests:
    """HTTP requests, and operations that came inside batches."""

    http: int
    batched: int


class ServiceNow:
    """An instance at ``url``. Every method raises httpx.HTTPError when the instance refuses."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http = http
        self.url = url

    async def last_commit(self) -> int:
        """The number of the latest commit."""
        return int((await self._get("state"))["last_commit"])

    async def commits(self, since: int, *, wait: float = 0.0) -> list[Commit]:
        """Commits after number ``since``, oldest first; waits up to ``wait`` seconds for a first one."""
        rows = await self._get("commits", since=str(since), wait=f"{wait:.3f}")
        return [
            Commit(
                int(row["seq"]),
                float(row["time"]),
                row["table"],
                row["sys_id"],
                row["verb"],
                frozenset(row["fields"]),
                row["by"],
            )
            for row in rows
        ]

    async def committed(
        self, since: int, wanted: Sequence[Callable[[Commit], Awaitable[bool]]], *, patience: float
    ) -> float | None:
        """When (unix time) the last of the ``wanted`` commits after number ``since`` was made; None after ``patience`` s."""
        deadline = time.monotonic() + patience
        open_ones = list(wanted)
        at = 0.0
        while open_ones:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            for commit in await self.commits(since, wait=min(left, _POLL)):
                since = commit.seq
                satisfied = [one for one in open_ones if await one(commit)]
                if satisfied:
                    at = commit.at
                    open_ones = [one for one in open_ones if one not in satisfied]
        return at

    async def rows(self, table: str, query: str, *, fields: str = "") -> list[Row]:
        """Stored rows that match an encoded query."""
        return await rows_of(self._http, self.url, table, query, fields=fields)

    async def user(self, user_name: str) -> Row | None:
        """The account of that name."""
        found = await self.rows("sys_user", f"user_name={user_name}")
        return found[0] if found else None

    async def seed(self, document: Mapping[str, Any]) -> None:
        """Add reference records by name, and people by their columns."""
        await self._post("seed", document)

    async def insert(self, table: str, rows: Sequence[Mapping[str, str]]) -> list[str]:
        """Insert rows by hand; their sys_ids."""
        inserted: list[str] = (await self._post("rows", {"table": table, "insert": list(rows)}))["inserted"]
        return inserted

    async def requests(self) -> Requests:
        """How much was asked of the instance so far."""
        counters = await self._get("requests")
        return Requests(int(counters["http_total"]), int(counters["batch_items_total"]))

    async def _get(self, route: str, **params: str) -> Any:
        answer = await self._http.get(f"{self.url}/control/{route}", params=params)
        answer.raise_for_status()
        return answer.json()

    async def _post(self, route: str, document: Mapping[str, Any]) -> Any:
        answer = await self._http.post(f"{self.url}/control/{route}", json=document)
        answer.raise_for_status()
        return answer.json() if answer.content else None
