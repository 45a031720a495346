"""What waits, for what, and since when.

An escrow's partition is what it waits for, so that whatever appears finds all its waiters with one query:

| key | waits for |
|---|---|
| ``object-{bucket}`` / ``{awaited id}|{waiter}`` | another Entra object to be provisioned (a manager) |
| ``record-{table}`` / ``{hash of the value}|{waiter}`` | a record of a reference table to exist in ServiceNow |
| ``retry`` / ``{waiter}`` | its next try |
| ``job`` / ``{waiter}`` | the job to run again (paused, quarantined) |

A waiter is ``user:{id}``, ``group:{id}`` or ``pair:{group}:{user}``; while the job may not run also ``members:{group}`` and
``memberOf:{user}`` (everything about a group's or a user's memberships). Keys are deterministic: a replay writes the same row.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from shared.state.joins import bucket
from shared.state.leases import moment
from shared.state.tables import Exists, Operation, row

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from shared.state.tables import Tables

_TABLE = "escrows"
RETRY, JOB = "retry", "job"


def _digest(value: str) -> str:
    return hashlib.sha256(value.casefold().encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Escrow:
    """One wait. ``key`` is its partition and row key; ``id`` addresses it in the operator's API."""

    partition: str
    row_key: str
    waiter: str
    code: str = ""
    reason: str = ""
    recommended_action: str = ""
    awaited: str = ""
    attempts: int = 0
    created_at: datetime | None = None
    next_at: datetime | None = None
    #: What made us look, where looking again needs it: ``gone`` (Graph's own word) or ``absent`` (from a complete round).
    evidence: str = ""
    etag: str = ""

    @property
    def key(self) -> str:
        return f"{self.partition}/{self.row_key}"

    @property
    def id(self) -> str:
        """The key, in characters that fit a URL."""
        return base64.urlsafe_b64encode(self.key.encode()).decode().rstrip("=")

    @classmethod
    def key_of(cls, escrow_id: str) -> tuple[str, str] | None:
        """The partition and row key behind an ``id``; None for a text that is none."""
        try:
            text = base64.b64decode(escrow_id + "=" * (-len(escrow_id) % 4), altchars=b"-_", validate=True).decode()
        except (ValueError, binascii.Error):
            return None
        partition, slash, row_key = text.partition("/")
        return (partition, row_key) if slash and partition and row_key and text.isprintable() else None

    @classmethod
    def on_object(cls, awaited_id: str, waiter: str, reason: str, at: datetime) -> Escrow:
        code = "UnableToResolveReferenceAttributeValue"
        key = f"object-{bucket(awaited_id)}", f"{awaited_id}|{waiter}"
        return cls(*key, waiter, code, reason, awaited=awaited_id, created_at=at)

    @classmethod
    def on_record(cls, table: str, value: str, waiter: str, reason: str, at: datetime) -> Escrow:
        """The value is kept in ``awaited``: a department's name is asked for in ServiceNow again until it is there."""
        return cls(
            f"record-{table}",
            f"{_digest(value)}|{waiter}",
            waiter,
            "InvalidLookupReference",
            reason,
            f"Create the record in {table}, or correct the value in Entra ID.",
            awaited=value,
            created_at=at,
        )


class Escrows:
    """Write, find and release escrows."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def write(self, escrows: Sequence[Escrow]) -> None:
        """Insert or refresh. The time since when something waits is kept when the row is there already."""
        results = await self._tables.apply(_TABLE, [Operation("insert", _to_row(escrow)) for escrow in escrows])
        there = [escrow for escrow, result in zip(escrows, results, strict=True) if isinstance(result, Exists)]
        await self._tables.apply(_TABLE, [Operation("merge", _to_row(replace(escrow, created_at=None))) for escrow in there])

    async def get(self, partition: str, row_key: str) -> Escrow | None:
        found = await self._tables.get(_TABLE, partition, row_key)
        return None if found is None else _from_row(found)

    async def remove(self, keys: Sequence[str]) -> None:
        """Delete by ``Escrow.key``; those that are gone already are fine."""
        for key in keys:
            partition, _, row_key = key.partition("/")
            await self._tables.delete(_TABLE, partition, row_key)

    async def remove_as_read(self, escrows: Sequence[Escrow]) -> None:
        """Delete escrows, but leave those that were written again since they were read."""
        await self._tables.apply(
            _TABLE, [Operation("delete", row(escrow.partition, escrow.row_key), escrow.etag) for escrow in escrows]
        )

    async def waiting_for_object(self, object_id: str) -> list[Escrow]:
        condition = "PartitionKey eq @partition and RowKey ge @first and RowKey lt @last"
        parameters = {"partition": f"object-{bucket(object_id)}", "first": f"{object_id}|", "last": f"{object_id}}}"}
        return [_from_row(found) for found in await self._tables.query(_TABLE, condition, parameters)]

    async def waiting_for_objects(self) -> list[Escrow]:
        """Everything that waits for some object."""
        condition = "PartitionKey ge @first and PartitionKey lt @last"
        rows = await self._tables.query(_TABLE, condition, {"first": "object-", "last": "object."})
        return [_from_row(found) for found in rows]

    async def waiting_for_records(self) -> list[Escrow]:
        """Everything that waits for a record of a reference table."""
        condition = "PartitionKey ge @first and PartitionKey lt @last"
        rows = await self._tables.query(_TABLE, condition, {"first": "record-", "last": "record."})
        return [_from_row(found) for found in rows]

    async def of_waiters(self, waiters: Collection[str]) -> list[Escrow]:
        """What these wait for, objects and records; reads everything that waits, so it is for the rare case."""
        waiting = [*await self.waiting_for_objects(), *await self.waiting_for_records()]
        return [escrow for escrow in waiting if escrow.waiter in waiters]

    async def due(self, at: datetime) -> list[Escrow]:
        """Retries whose time has come."""
        condition = "PartitionKey eq @partition and next_at le @at"
        rows = await self._tables.query(_TABLE, condition, {"partition": RETRY, "at": at.isoformat()})
        return [_from_row(found) for found in rows]

    async def parked(self, *, limit: int = 0) -> list[Escrow]:
        """What waits for the job to run again."""
        rows = await self._tables.query(_TABLE, "PartitionKey eq @p", {"p": JOB}, limit=limit)
        return [_from_row(found) for found in rows]

    async def failed(self, *, limit: int) -> list[Escrow]:
        """Some of what failed and is tried again later."""
        rows = await self._tables.query(_TABLE, "PartitionKey eq @p", {"p": RETRY}, limit=limit)
        return [_from_row(found) for found in rows]

    async def page(self, *, size: int, token: dict[str, str] | None) -> tuple[list[Escrow], dict[str, str] | None]:
        rows, following = await self._tables.page(_TABLE, "", {}, size=size, token=token)
        return [_from_row(found) for found in rows], following

    async def codes(self) -> dict[str, int]:
        """How many wait, by the error code of why."""
        counts: dict[str, int] = {}
        for found in await self._tables.query(_TABLE, select=["code"]):
            code = str(found.get("code") or "Unknown")
            counts[code] = counts.get(code, 0) + 1
        return counts

    async def counts(self) -> dict[str, int]:
        """How many wait, by what they wait for (``object``, ``record``, ``retry``, ``job``)."""
        counts: dict[str, int] = {}
        for found in await self._tables.query(_TABLE, select=["PartitionKey"]):
            kind = str(found["PartitionKey"]).partition("-")[0]
            counts[kind] = counts.get(kind, 0) + 1
        return counts


def _to_row(escrow: Escrow) -> dict[str, Any]:
    return row(
        escrow.partition,
        escrow.row_key,
        waiter=escrow.waiter,
        code=escrow.code,
        reason=escrow.reason,
        recommended_action=escrow.recommended_action,
        awaited=escrow.awaited,
        attempts=escrow.attempts,
        created_at=escrow.created_at.isoformat() if escrow.created_at else None,
        next_at=escrow.next_at.isoformat() if escrow.next_at else None,
        # Evidence stays when the same waiter is written again without it.
        evidence=escrow.evidence or None,
    )


def _from_row(found: Mapping[str, Any]) -> Escrow:
    return Escrow(
        partition=str(found["PartitionKey"]),
        row_key=str(found["RowKey"]),
        waiter=str(found.get("waiter", "")),
        code=str(found.get("code", "")),
        reason=str(found.get("reason", "")),
        recommended_action=str(found.get("recommended_action", "")),
        awaited=str(found.get("awaited", "")),
        attempts=int(found.get("attempts", 0)),
        created_at=moment(found.get("created_at")),
        next_at=moment(found.get("next_at")),
        evidence=str(found.get("evidence", "")),
        etag=str(found.get("etag", "")),
    )
