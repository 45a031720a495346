"""The provisioning log: documents in the shape of Microsoft Graph's ``provisioningObjectSummary``, newest first.

Rows are partitioned by the hour, with keys that count down, so that the newest come first in a plain scan and old partitions
can be dropped whole. A second table finds the entries of one object.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from shared.state.joins import bucket
from shared.state.tables import Operation, is_key, row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.state.tables import Row, Tables

_TABLE = "log"
_INDEX = "logindex"
#: Counts down from the year 2286: milliseconds since 1970 that are ever needed, less the entry's own.
_END = 10_000_000_000_000
_HOUR = 3_600_000
#: A property holds 32 Ki units of UTF-16, and a character may take two.
_PART = 16_000
#: Entries of one object among which an earlier one of the same change is looked for: a replay follows within minutes.
_LOOK_BACK = 50


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry: what happened to ``object_id`` at ``at`` under ``change_id``.

    ``replayed``: somebody may have written an entry of this change before, and died before he was done. The new one takes its
    place, so that a change has one entry and the order is that of the moments shown. ``quiet``: it has nothing to add to an
    entry that is there already.
    """

    at: datetime
    change_id: str
    object_id: str
    document: Mapping[str, Any]
    replayed: bool = False
    quiet: bool = False

    @property
    def key(self) -> tuple[str, str]:
        milliseconds = _milliseconds(self.at)
        return f"{(_END - milliseconds) // _HOUR:08d}", f"{_END - milliseconds:014d}-{self.change_id}"


class ProvisioningLog:
    """Write entries and read them back, newest first."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def write(self, entries: Sequence[LogEntry]) -> None:
        earlier = {entry.change_id: await self._keys(entry) for entry in entries if entry.replayed}
        entries = [entry for entry in entries if not (entry.quiet and await self._tell(earlier.get(entry.change_id, ())))]
        operations, pointers = [], []
        for entry in entries:
            text = json.dumps(entry.document, separators=(",", ":"), ensure_ascii=False)
            parts = [text[start : start + _PART] for start in range(0, len(text), _PART)]
            properties = {f"document_{number}": part for number, part in enumerate(parts)}
            operations.append(Operation("upsert", row(*entry.key, parts=len(parts), **properties)))
            pointers.append(Operation("upsert", row(bucket(entry.object_id), "|".join((entry.object_id, *entry.key)))))
        await self._tables.apply(_INDEX, pointers)
        await self._tables.apply(_TABLE, operations)
        for entry in entries:
            for key in earlier.get(entry.change_id, []):
                await self._remove(entry.object_id, key)

    async def _keys(self, entry: LogEntry) -> list[tuple[str, str]]:
        """Where entries of the same change stand that are not this one."""
        pointers = await self._tables.query(_INDEX, *_of_object(entry.object_id), limit=_LOOK_BACK)
        keys = [(partition, key) for _, partition, key in (str(found["RowKey"]).split("|") for found in pointers)]
        return [key for key in keys if key != entry.key and key[1].endswith(f"-{entry.change_id}")]

    async def _tell(self, keys: Sequence[tuple[str, str]]) -> bool:
        """Whether one of these entries is there, and tells of more than a failure; a pointer alone tells nothing."""
        rows = await self._tables.get_many(_TABLE, [(partition, key) for partition, key in keys])
        return any(found is not None and _document(found)["provisioningStatusInfo"]["status"] != "failure" for found in rows)

    async def _remove(self, object_id: str, key: tuple[str, str]) -> None:
        await self._tables.delete(_TABLE, *key)
        await self._tables.delete(_INDEX, bucket(object_id), "|".join((object_id, *key)))

    async def page(
        self, *, size: int, token: dict[str, str] | None, since: datetime | None = None
    ) -> tuple[list[dict[str, Any]], dict[str, str] | None]:
        """One page, newest first, and the token of the next one."""
        condition, parameters = "", {}
        if since is not None:
            oldest = _END - _milliseconds(since)
            condition = "PartitionKey le @hour and RowKey le @moment"
            parameters = {"hour": f"{oldest // _HOUR:08d}", "moment": f"{oldest:014d}~"}
        rows, following = await self._tables.page(_TABLE, condition, parameters, size=size, token=token)
        return [_document(found) for found in rows], following

    async def of_object(self, object_id: str, *, limit: int) -> list[dict[str, Any]]:
        """The newest entries of one object; none of what cannot be the id of any."""
        if not is_key(object_id):
            return []
        pointers = await self._tables.query(_INDEX, *_of_object(object_id), limit=limit)
        keys = [str(found["RowKey"]).split("|") for found in pointers]
        rows = await self._tables.get_many(_TABLE, [(partition, key) for _, partition, key in keys])
        return [_document(found) for found in rows if found is not None]


def documents_of(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The documents of rows of the log's table, oldest first."""
    return [_document(found) for found in sorted(rows, key=lambda found: str(found["RowKey"]), reverse=True)]


def _milliseconds(at: datetime) -> int:
    """Whole milliseconds since 1970, cut off as in the moment that is shown; a float would be one short now and then."""
    return (at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _of_object(object_id: str) -> tuple[str, dict[str, str]]:
    """The condition for the pointers of one object, newest first, and its parameters."""
    condition = "PartitionKey eq @partition and RowKey ge @first and RowKey lt @last"
    return condition, {"partition": bucket(object_id), "first": f"{object_id}|", "last": f"{object_id}}}"}


def _document(found: Row) -> dict[str, Any]:
    text = "".join(str(found[f"document_{number}"]) for number in range(int(found["parts"])))
    document: dict[str, Any] = json.loads(text)
    return document
