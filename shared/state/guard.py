"""What was taken away lately, and what is held back until an operator decides.

*Reservations*: one row for each deed (object, verb, transition), and beside them in the same partition one counter row with
the number of deeds in each ten minutes of the last day. Both change in one transaction under the counter's ETag: a replay
finds its own row and counts once, and two workers can never both take the last place.

*Staged deeds*: one row for each object or membership whose deed found no place, with who, what and why.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from shared.errors import UnavailableError
from shared.events import chunks, now
from shared.state.leases import moment
from shared.state.tables import TRANSACTION, Exists, Operation, Stale, row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.state.tables import Row, Tables

#: What is counted together: disables and deletes, membership removals, clearings of attributes, people who lose roles.
Category = Literal["deprovision", "membership", "clearing", "roles"]
Verb = Literal["disable", "delete", "removeMember", "removeRoles", "clear", "absent", "unassigned"]
Status = Literal["staged", "approved", "rejected"]

CATEGORIES: dict[Verb, Category] = {
    "disable": "deprovision",
    "delete": "deprovision",
    "absent": "deprovision",
    "unassigned": "deprovision",
    "removeMember": "membership",
    "removeRoles": "roles",
    "clear": "clearing",
}
WINDOW = timedelta(hours=24)
_RESERVATIONS, _STAGED = "guard", "staged"
_COUNTER = "counter"
#: Width of one of the counter's parts, in seconds: 145 of them are one text of 3 KiB.
_PART = 600
_ATTEMPTS = 40
#: The longest moment between two attempts at the counter, in seconds.
_APART = 0.1


@dataclass(frozen=True, slots=True)
class StagedDeed:
    """A deed that waits for an operator. ``subject``: ``user:{id}``, ``group:{id}``, ``pair:{group}:{user}`` or ``roles:{user}``.

    ``wanted`` is a digest of what was wanted: a rejected deed stays rejected until that differs. ``evidence`` is what made us
    look, and is needed again when the deed is approved (``gone``: Graph's own word). ``position`` is the generation and page
    of the groups chain for a membership that a full round did not name.
    """

    subject: str
    verb: Verb
    status: Status = "staged"
    reason: str = ""
    display: str = ""
    wanted: str = ""
    evidence: str = ""
    position: str = ""
    created_at: datetime | None = None
    decided_at: datetime | None = None
    etag: str = ""

    @property
    def kind(self) -> str:
        return self.subject.partition(":")[0]


class Reservations:
    """Count deeds over a rolling day, never more than a limit."""

    def __init__(self, tables: Tables, clock: Callable[[], datetime] = now) -> None:
        self._tables = tables
        self._clock = clock

    async def reserve(self, category: Category, keys: Sequence[str], limit: int) -> set[str]:
        """Take a place for each deed, as far as there are any; returns those that have one. A replay keeps its place.

        Raises ``UnavailableError`` when too many workers reserve at the same moment.
        """
        granted: set[str] = set()
        for part in chunks(list(dict.fromkeys(keys)), TRANSACTION - 1):
            granted |= await self._reserve(category, part, limit)
        return granted

    async def used(self, category: Category) -> int:
        """How many deeds of the last day are counted."""
        counter = await self._tables.get(_RESERVATIONS, category, _COUNTER)
        return sum(self._parts(counter).values())

    async def sweep(self) -> None:
        """Forget reservations that are older than the window."""
        limit = (self._clock() - WINDOW).isoformat()
        for category in dict.fromkeys(CATEGORIES.values()):
            condition = "PartitionKey eq @category and at lt @limit"
            rows = await self._tables.query(
                _RESERVATIONS, condition, {"category": category, "limit": limit}, select=["at"], limit=1000
            )
            await self._tables.apply(_RESERVATIONS, [Operation("delete", found) for found in rows])

    async def _reserve(self, category: Category, keys: Sequence[str], limit: int) -> set[str]:
        for _ in range(_ATTEMPTS):
            at = self._clock()
            names = [_digest(key) for key in keys]
            counter, *rows = await self._tables.get_many(
                _RESERVATIONS, [(category, _COUNTER), *((category, name) for name in names)]
            )
            taken = {key for key, found in zip(keys, rows, strict=True) if _counts(found, at)}
            expired = {key: found for key, found in zip(keys, rows, strict=True) if found is not None and key not in taken}
            parts = self._parts(counter)
            fresh = [key for key in keys if key not in taken][: max(0, limit - sum(parts.values()))]
            if not fresh:
                return taken
            part = int(at.timestamp()) // _PART
            parts[part] = parts.get(part, 0) + len(fresh)
            operations = [_operation(row(category, _COUNTER, parts=json.dumps(parts)), counter)]
            operations += [_operation(row(category, _digest(key), at=at.isoformat()), expired.get(key)) for key in fresh]
            try:
                await self._tables.transact(_RESERVATIONS, operations)
            except (Stale, Exists):
                await asyncio.sleep(random.uniform(0.0, _APART))  # noqa: S311 - not a secret
                continue
            return taken | set(fresh)
        raise UnavailableError("too many workers reserve at the same moment", retry_after=5.0)

    def _parts(self, counter: Row | None) -> dict[int, int]:
        """Ten minutes (counted from 1970) -> deeds, of those that lie in the window wholly or in part."""
        oldest = int((self._clock() - WINDOW).timestamp()) // _PART
        held: dict[str, int] = json.loads(str(counter["parts"])) if counter is not None else {}
        return {int(part): number for part, number in held.items() if int(part) >= oldest}


class Staged:
    """Write, list and decide staged deeds."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def get_many(self, subjects: Sequence[str]) -> dict[str, StagedDeed]:
        """The deeds of these subjects; subjects without one are left out."""
        rows = await self._tables.get_many(_STAGED, [_key(subject) for subject in subjects])
        return {subject: _from_row(found) for subject, found in zip(subjects, rows, strict=True) if found is not None}

    async def write(self, deeds: Sequence[StagedDeed]) -> None:
        await self._tables.apply(_STAGED, [Operation("upsert", _to_row(deed)) for deed in deeds])

    async def decide(self, deeds: Sequence[StagedDeed], status: Status, at: datetime) -> list[StagedDeed]:
        """Note the decision on deeds as they were read; those that changed meanwhile are left alone and not returned."""
        decided = [replace(deed, status=status, decided_at=at) for deed in deeds]
        results = await self._tables.apply(
            _STAGED, [Operation("replace", _to_row(after), before.etag) for before, after in zip(deeds, decided, strict=True)]
        )
        return [deed for deed, result in zip(decided, results, strict=True) if not isinstance(result, (Stale, Exists))]

    async def forget(self, subjects: Sequence[str]) -> None:
        """Remove rows, whatever they say; those that are not there are fine."""
        there = await self.get_many(list(dict.fromkeys(subjects)))
        await self._tables.apply(_STAGED, [Operation("delete", _to_row(deed)) for deed in there.values()])

    async def any(self) -> bool:
        return bool(await self._tables.query(_STAGED, select=["status"], limit=1))

    async def waiting(self) -> dict[str, int]:
        """How many deeds wait for a decision, by verb."""
        counts: dict[str, int] = {}
        for found in await self._tables.query(_STAGED, "status eq 'staged'", select=["verb"]):
            counts[str(found["verb"])] = counts.get(str(found["verb"]), 0) + 1
        return counts

    async def of_verb(self, verb: Verb, kind: str) -> list[StagedDeed]:
        """The undecided deeds of one verb and kind of subject."""
        condition = "PartitionKey eq @kind and verb eq @verb and status eq 'staged'"
        return [_from_row(found) for found in await self._tables.query(_STAGED, condition, {"kind": kind, "verb": verb})]

    async def undecided(self, *, until: datetime, limit: int) -> list[StagedDeed]:
        """Some deeds that were staged up to a moment and not decided yet."""
        condition = "status eq 'staged' and created_at le @until"
        rows = await self._tables.query(_STAGED, condition, {"until": until.astimezone(UTC).isoformat()}, limit=limit)
        return [_from_row(found) for found in rows]

    async def page(self, *, size: int, token: dict[str, str] | None) -> tuple[list[StagedDeed], dict[str, str] | None]:
        rows, following = await self._tables.page(_STAGED, "", {}, size=size, token=token)
        return [_from_row(found) for found in rows], following


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:40]


def _counts(found: Row | None, at: datetime) -> bool:
    reserved = moment(found["at"]) if found is not None else None
    return reserved is not None and at - reserved < WINDOW


def _operation(properties: Row, present: Row | None) -> Operation:
    return Operation("insert", properties) if present is None else Operation("replace", properties, str(present["etag"]))


def _key(subject: str) -> tuple[str, str]:
    kind, _, rest = subject.partition(":")
    return kind, rest


def _to_row(deed: StagedDeed) -> Row:
    return row(
        *_key(deed.subject),
        verb=deed.verb,
        status=deed.status,
        reason=deed.reason,
        display=deed.display,
        wanted=deed.wanted,
        evidence=deed.evidence,
        position=deed.position,
        created_at=deed.created_at.isoformat() if deed.created_at else None,
        decided_at=deed.decided_at.isoformat() if deed.decided_at else None,
    )


def _from_row(found: Mapping[str, Any]) -> StagedDeed:
    return StagedDeed(
        subject=f"{found['PartitionKey']}:{found['RowKey']}",
        verb=found["verb"],
        status=found["status"],
        reason=str(found.get("reason", "")),
        display=str(found.get("display", "")),
        wanted=str(found.get("wanted", "")),
        evidence=str(found.get("evidence", "")),
        position=str(found.get("position", "")),
        created_at=moment(found.get("created_at")),
        decided_at=moment(found.get("decided_at")),
        etag=str(found.get("etag", "")),
    )
