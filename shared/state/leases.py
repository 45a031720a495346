"""Rows that one worker at a time may act upon.

A lease is three columns of the row itself, so that taking it, acting under it and giving it back are compare-and-sets of one
and the same ETag: a worker that was stopped past the end of its lease cannot commit, because somebody else's lease has changed
the ETag. Who cannot commit marks the row ``dirty`` (see ``joins``): the next one compares it with ServiceNow before it
believes anything.

An *intent* is written before a request that changes ServiceNow and cleared by the commit. A lease taken over together with an
intent means that the former holder may have sent its request, may have been answered or not, and may even still send it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, Self

from shared.events import now
from shared.state.tables import Exists, Operation, Stale

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.state.tables import Row, Tables

#: How long a worker may act on a row, in seconds: longer than a request to ServiceNow may take (65 s) and the reads before it.
LEASE_SECONDS = 150.0
#: A request is sent only if the lease outlasts its timeout by this much, in seconds.
LEASE_MARGIN = 5.0


@dataclass(frozen=True, slots=True)
class Intent:
    """A request to ServiceNow that is about to be sent. ``deadline``: after it, the server no longer works on the request.

    ``sys_id`` is that of a record about to be created: whoever takes over finds it, even if nothing wants it any more.
    ``columns`` are about to be written: to whoever takes over they count as provisioned, or nobody would clear them.
    """

    verb: str
    change_id: str
    deadline: datetime
    sys_id: str = ""
    columns: tuple[str, ...] = ()

    def to_json(self) -> str:
        document = {"verb": self.verb, "change": self.change_id, "deadline": self.deadline.isoformat(), "record": self.sys_id}
        return json.dumps(document | {"columns": self.columns})

    @classmethod
    def from_json(cls, text: str) -> Intent | None:
        if not text:
            return None
        document = json.loads(text)
        deadline = datetime.fromisoformat(document["deadline"])
        return cls(document["verb"], document["change"], deadline, document.get("record", ""), tuple(document.get("columns", ())))


@dataclass(frozen=True, slots=True)
class Lease:
    """Who may act on a row, until when, and under which ETag."""

    holder: str
    until: datetime
    etag: str

    def outlasts(self, seconds: float, at: datetime) -> bool:
        return self.until - at > timedelta(seconds=seconds + LEASE_MARGIN)


@dataclass(frozen=True, slots=True)
class Taken:
    """The outcome for one row: the lease, or until when somebody else may hold it."""

    lease: Lease | None
    busy_until: datetime | None = None


class LeasedRows:
    """Lease, renew and commit rows of one table, many at once."""

    def __init__(self, tables: Tables, table: str, clock: Callable[[], datetime] = now) -> None:
        self._tables = tables
        self._table = table
        self._clock = clock

    async def take(self, rows: Sequence[Row], holder: str, seconds: float = LEASE_SECONDS) -> list[Taken]:
        """Take the lease of each row. A row as read carries ``etag``; one without is new and is inserted.

        ``holder`` must be new for every invocation: a replayed message must not think that its predecessor's lease is its own.
        """
        at = self._clock()
        until = at + timedelta(seconds=seconds)
        results: dict[int, Taken] = {}
        operations: list[Operation] = []
        indexes: list[int] = []
        for index, row in enumerate(rows):
            held_until = moment(row.get("lease_until"))
            if row.get("lease_holder") and held_until is not None and held_until > at:
                results[index] = Taken(None, held_until)
                continue
            leased = {**row, "lease_holder": holder, "lease_until": until.isoformat()}
            etag = str(row.get("etag", ""))
            operations.append(Operation("replace" if etag else "insert", leased, etag))
            indexes.append(index)
        for index, result in zip(indexes, await self._tables.apply(self._table, operations), strict=True):
            # Losing the race says nothing about how long the winner holds it: look again soon.
            lost = isinstance(result, (Stale, Exists))
            results[index] = Taken(None, at + timedelta(seconds=1)) if lost else Taken(Lease(holder, until, str(result)))
        return [results[index] for index in range(len(rows))]

    async def write(self, rows: Sequence[tuple[Row, Lease]], *, keep: bool) -> list[Lease | None]:
        """Compare-and-set rows under their leases, keeping the lease (and extending it) or giving it back.

        None for a row whose lease was lost: nothing was written to it.
        """
        until = self._clock() + timedelta(seconds=LEASE_SECONDS)
        operations = [
            Operation(
                "replace",
                {
                    **row,
                    "lease_holder": lease.holder if keep else "",
                    "lease_until": until.isoformat() if keep else "",
                },
                lease.etag,
            )
            for row, lease in rows
        ]
        results = await self._tables.apply(self._table, operations)
        return [
            None if isinstance(result, (Stale, Exists)) else Lease(lease.holder, until, result)
            for (_, lease), result in zip(rows, results, strict=True)
        ]

    async def mark_dirty(self, keys: Sequence[tuple[str, str]], left: Mapping[str, Intent] | None = None) -> None:
        """Say that what the rows claim may not be what ServiceNow holds; unconditionally, whoever holds them now.

        ``left``: by row key, what was written by somebody who had lost his lease, and in what nobody else would look for it.
        """
        intents = left or {}
        marks = [
            Operation(
                "merge",
                {
                    "PartitionKey": partition,
                    "RowKey": key,
                    "dirty": True,
                    **({"intent": intents[key].to_json()} if key in intents else {}),
                },
            )
            for partition, key in keys
        ]
        await self._tables.apply(self._table, marks)


class Leasable(Protocol):
    """What a store keeps in a leased row."""

    @property
    def key(self) -> tuple[str, str]: ...

    def to_row(self) -> Row: ...

    def with_etag(self, etag: str) -> Self: ...


class LeasedStore[T: Leasable]:
    """A store whose rows are acted upon under a lease."""

    def __init__(self, tables: Tables, table: str, clock: Callable[[], datetime] = now) -> None:
        self._tables = tables
        self._leases = LeasedRows(tables, table, clock)

    async def take(self, items: Sequence[T], holder: str) -> list[tuple[T, Taken]]:
        """Take the lease of each; the item comes back as it stands under the lease."""
        taken = await self._leases.take([item.to_row() for item in items], holder)
        return [
            (item.with_etag(outcome.lease.etag) if outcome.lease else item, outcome)
            for item, outcome in zip(items, taken, strict=True)
        ]

    async def write(
        self, items: Sequence[tuple[T, Lease]], *, keep: bool, left: Mapping[str, Intent] | None = None
    ) -> list[Lease | None]:
        """Write items under their leases; None where the lease was lost: the row is then marked dirty.

        ``left``: by row key, the requests that we announced. Those of lost rows are left in them for whoever looks next, like
        those of a worker that died: a record that we created too late has nobody who knows of it.
        """
        results = await self._leases.write([(item.to_row(), lease) for item, lease in items], keep=keep)
        lost = [item.key for (item, _), lease in zip(items, results, strict=True) if lease is None]
        if lost:
            await self._leases.mark_dirty(lost, left)
        return results


def moment(value: Any) -> datetime | None:
    """A point in time that a row holds as ISO text; empty or absent is None."""
    return datetime.fromisoformat(value).astimezone(UTC) if value else None
