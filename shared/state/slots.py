"""The app-wide share of ServiceNow: as many slots as requests may be in flight over all instances together.

A slot is a row that a worker (one process) leases for some seconds, renews while it is busy, and uses for one request after
another. A worker that dies gives its slots back by not renewing them. A worker without a slot asks for one by a ``want``
row; whoever holds more than a fair share (``share``) gives back what is too much: what it does not use at once, the rest as
its requests end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.events import now
from shared.state.leases import moment
from shared.state.tables import Exists, Operation, Stale, row

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from shared.state.tables import Row, Tables

_TABLE = "job"
_PARTITION = "slots"
#: Length of a slot's lease, in seconds.
SLOT_SECONDS = 20.0
_WANT, _WANT_SECONDS = "want-", 15.0


@dataclass(frozen=True, slots=True)
class SlotLease:
    """One slot in this worker's hands."""

    number: int
    until: datetime
    etag: str


class Slots:
    """Take, renew and give back slots for one worker."""

    def __init__(self, tables: Tables, limit: int, worker: str, clock: Callable[[], datetime] = now) -> None:
        self._tables = tables
        self._limit = limit
        self._worker = worker
        self._clock = clock

    async def take(self, wanted: int, held: Collection[int] = ()) -> list[SlotLease]:
        """Take up to ``wanted`` free slots, not more in all than a fair share while others want some.

        ``held``: the numbers of those that this worker has. Others under its name are free to it: storage took them down, and
        its answer was lost.
        """
        at = self._clock()
        rows = await self._tables.query(_TABLE, "PartitionKey eq @partition", {"partition": _PARTITION})
        known = {str(found["RowKey"]): found for found in rows}
        share = self._fair_share(rows, at)
        taken: list[SlotLease] = []
        for number in range(self._limit):
            if len(taken) >= wanted or len(held) + len(taken) >= share:
                break
            found = known.get(f"{number:04d}")
            if number in held or (found is not None and _is_held(found, at) and found["worker"] != self._worker):
                continue
            lease = await self._lease(number, at, "" if found is None else str(found["etag"]))
            if lease is not None:
                taken.append(lease)
        if not taken and not held:
            await self._forget_old_wants(rows, at)
            until = (at + timedelta(seconds=_WANT_SECONDS)).isoformat()
            await self._tables.upsert(_TABLE, row(_PARTITION, f"{_WANT}{self._worker}", worker=self._worker, until=until))
        return taken

    async def share(self) -> int:
        """How many slots this worker may hold now."""
        rows = await self._tables.query(_TABLE, "PartitionKey eq @partition", {"partition": _PARTITION})
        return self._fair_share(rows, self._clock())

    async def renew(self, leases: list[SlotLease]) -> list[SlotLease]:
        """Renew leases; lost ones are left out."""
        at = self._clock()
        renewed = [await self._lease(lease.number, at, lease.etag) for lease in leases]
        return [lease for lease in renewed if lease is not None]

    async def give_back(self, leases: list[SlotLease]) -> None:
        operations = [
            Operation("replace", row(_PARTITION, f"{lease.number:04d}", worker="", until=""), lease.etag) for lease in leases
        ]
        await self._tables.apply(_TABLE, operations)

    async def _forget_old_wants(self, rows: list[Row], at: datetime) -> None:
        """Workers come and go; what they once wanted does not pile up."""
        old = [found for found in rows if str(found["RowKey"]).startswith(_WANT) and not _is_held(found, at)]
        await self._tables.apply(_TABLE, [Operation("delete", found, str(found["etag"])) for found in old])

    async def _lease(self, number: int, at: datetime, etag: str) -> SlotLease | None:
        until = at + timedelta(seconds=SLOT_SECONDS)
        properties = row(_PARTITION, f"{number:04d}", worker=self._worker, until=until.isoformat())
        try:
            if etag:
                return SlotLease(number, until, await self._tables.replace(_TABLE, properties, etag))
            return SlotLease(number, until, await self._tables.insert(_TABLE, properties))
        except (Stale, Exists):
            return None

    def _fair_share(self, rows: list[Row], at: datetime) -> int:
        """The whole limit for a worker alone; an equal part, at least one, while others hold or want slots."""
        others = {str(found["worker"]) for found in rows if _is_held(found, at)} - {self._worker, ""}
        waiting = any(str(found["RowKey"]).startswith(_WANT) and _is_held(found, at) for found in rows)
        if not waiting:
            return self._limit
        return max(1, self._limit // (len(others) + 1))


def _is_held(found: Row, at: datetime) -> bool:
    until = moment(found.get("until"))
    return until is not None and until > at
