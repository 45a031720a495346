"""What was exported for each Entra object, and who may act on it: one row per object, the commit mark of every write.

| column | meaning |
|---|---|
| ``sys_id`` | the ServiceNow record, empty while there is none |
| ``state`` | see ``JoinState`` |
| ``hashes`` | JSON: target column -> hash of the value last exported; a column without one was never provisioned |
| ``fingerprint`` | hash of everything that was wanted at the last commit, resolved references and waits included |
| ``schema`` | version of the mapping under which that was |
| ``read_at`` | when the read began (our clock) that the last commit rests on |
| ``generation`` | last full round that saw the object |
| ``waits`` | JSON: the escrow keys that this object waits under |
| ``dirty`` | what the row claims may not be what ServiceNow holds |
| ``held`` | a deed of it was held back: there may be a row about it among the staged ones |
| ``intent``, ``lease_holder``, ``lease_until`` | see ``leases`` |

No name and no value of a person is kept here: hashes are keyed by the object id.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from shared.events import Kind, now
from shared.state.leases import Intent, LeasedStore, moment
from shared.state.tables import Exists, Operation, Stale, row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from datetime import datetime

    from shared.state.tables import Row, Tables

#: ``linked``: provisioned and managed. ``disabled``: still in scope of the source, but inactive there and by our hand in
#: ServiceNow too. ``suspended``: soft-deleted; disabled, and its memberships are taken away until it is restored.
#: ``unmanaged``: out of scope, left as it was then. ``deleted``: the record was deleted with the object. ``retired``: its
#: record was taken over by another object (a rehire). ``gone``: Graph has said that the object is gone for good, and it has no
#: record; one may still be created by a worker that was stopped before that. "": never provisioned.
JoinState = Literal["", "linked", "disabled", "suspended", "unmanaged", "deleted", "retired", "gone"]

_TABLE = "joins"
#: Partitions per kind: spreads the load over the table's servers, and lets a chunk be committed in a few transactions.
BUCKETS = 16


def bucket(object_id: str) -> str:
    """One hex digit, evenly spread even over ids that were counted up."""
    return f"{hashlib.sha256(object_id.lower().encode()).digest()[0] % BUCKETS:x}"


def partition(kind: Kind, object_id: str) -> str:
    return f"{kind}-{bucket(object_id)}"


@dataclass(frozen=True, slots=True)
class Join:
    """One row, as read. ``etag`` is empty for an object that has none yet."""

    kind: Kind
    object_id: str
    sys_id: str = ""
    state: JoinState = ""
    hashes: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    schema: str = ""
    read_at: datetime | None = None
    #: When the last read began that found the object in Entra ID.
    present_at: datetime | None = None
    generation: int = 0
    waits: tuple[str, ...] = ()
    dirty: bool = False
    disabled_by_us: bool = False
    #: The memberships are taken away while this lasts (the action ``removeMemberships``).
    stripped: bool = False
    held: bool = False
    intent: Intent | None = None
    lease_holder: str = ""
    lease_until: datetime | None = None
    etag: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return partition(self.kind, self.object_id), self.object_id

    @property
    def is_linked(self) -> bool:
        """Whether the record stands for the object, so that others may refer to it."""
        return bool(self.sys_id) and self.state in {"linked", "disabled"}

    @property
    def has_lost_record(self) -> bool:
        """Whether the object had a record that was found to be gone, and has none in its place yet."""
        return not self.sys_id and self.state in {"linked", "disabled"}

    @property
    def holds_memberships(self) -> bool:
        """Whether the object's memberships are to be in ServiceNow."""
        return self.is_linked and not self.stripped

    def is_held(self, at: datetime) -> bool:
        """Whether somebody may be acting on the object at this moment."""
        return bool(self.lease_holder) and self.lease_until is not None and self.lease_until > at

    def with_etag(self, etag: str) -> Self:
        return replace(self, etag=etag)

    def to_row(self) -> Row:
        properties = row(
            *self.key,
            sys_id=self.sys_id,
            state=self.state,
            hashes=json.dumps(dict(self.hashes), separators=(",", ":")),
            fingerprint=self.fingerprint,
            schema=self.schema,
            read_at=self.read_at.isoformat() if self.read_at else "",
            present_at=self.present_at.isoformat() if self.present_at else "",
            generation=self.generation,
            waits=json.dumps(self.waits),
            dirty=self.dirty,
            disabled_by_us=self.disabled_by_us,
            stripped=self.stripped,
            held=self.held,
            intent=self.intent.to_json() if self.intent else "",
            lease_holder=self.lease_holder,
            lease_until=self.lease_until.isoformat() if self.lease_until else "",
        )
        if self.etag:
            properties["etag"] = self.etag
        return properties

    @classmethod
    def from_row(cls, kind: Kind, properties: Mapping[str, Any]) -> Join:
        return cls(
            kind=kind,
            object_id=str(properties["RowKey"]),
            sys_id=str(properties.get("sys_id", "")),
            state=properties.get("state", ""),
            hashes=json.loads(properties.get("hashes") or "{}"),
            fingerprint=str(properties.get("fingerprint", "")),
            schema=str(properties.get("schema", "")),
            read_at=moment(properties.get("read_at")),
            present_at=moment(properties.get("present_at")),
            generation=int(properties.get("generation", 0)),
            waits=tuple(json.loads(properties.get("waits") or "[]")),
            dirty=bool(properties.get("dirty", False)),
            disabled_by_us=bool(properties.get("disabled_by_us", False)),
            stripped=bool(properties.get("stripped", False)),
            held=bool(properties.get("held", False)),
            intent=Intent.from_json(str(properties.get("intent", ""))),
            lease_holder=str(properties.get("lease_holder", "")),
            lease_until=moment(properties.get("lease_until")),
            etag=str(properties.get("etag", "")),
        )


class Joins(LeasedStore[Join]):
    """Read, lease and commit joins of users and groups."""

    def __init__(self, tables: Tables, clock: Callable[[], datetime] = now) -> None:
        super().__init__(tables, _TABLE, clock)

    async def get(self, kind: Kind, object_id: str) -> Join:
        return (await self.get_many(kind, [object_id]))[0]

    async def get_many(self, kind: Kind, ids: Sequence[str]) -> list[Join]:
        """The joins of these objects, in order; an empty one for an object that has none."""
        rows = await self._tables.get_many(_TABLE, [(partition(kind, object_id), object_id) for object_id in ids])
        return [
            Join(kind=kind, object_id=object_id) if found is None else Join.from_row(kind, found)
            for object_id, found in zip(ids, rows, strict=True)
        ]

    async def mark_seen(self, joins: Sequence[Join], generation: int) -> set[str]:
        """Note that a full round saw these objects unchanged.

        A row that changed meanwhile is left alone; returns the ids of those objects, which the round has not marked.
        """
        due = [join for join in joins if join.etag and join.generation < generation]
        results = await self._tables.apply(
            _TABLE, [Operation("merge", row(*join.key, generation=generation), join.etag) for join in due]
        )
        return {join.object_id for join, result in zip(due, results, strict=True) if isinstance(result, (Stale, Exists))}

    async def mark_dirty(self, kind: Kind, ids: Sequence[str]) -> None:
        await self._leases.mark_dirty([(partition(kind, object_id), object_id) for object_id in ids])

    async def retire(self, join: Join) -> None:
        """Take the record away from an object that nobody holds. Raises ``Stale`` when somebody does."""
        retired = replace(join, sys_id="", state="retired", hashes={}, fingerprint="", intent=None, dirty=False)
        await self._tables.replace(_TABLE, retired.to_row(), join.etag)

    async def chunk(self, kind: Kind, number: int, after: str, limit: int) -> list[Join]:
        """Joins with a record from one bucket, in the order of object ids, beginning after one of them."""
        condition = "PartitionKey eq @partition and RowKey gt @after and sys_id ne ''"
        parameters = {"partition": f"{kind}-{number:x}", "after": after}
        return [Join.from_row(kind, found) for found in await self._tables.query(_TABLE, condition, parameters, limit=limit)]

    async def count_linked(self, kind: Kind) -> int:
        """How many objects have a record that stands for them; reads every row's state, a thousand rows a request."""
        condition = "PartitionKey ge @first and PartitionKey lt @last and sys_id ne ''"
        parameters = {"first": f"{kind}-", "last": f"{kind}."}
        rows = await self._tables.query(_TABLE, condition, parameters, select=["state"])
        return sum(found.get("state") in {"linked", "disabled"} for found in rows)

    async def has_links(self, kind: Kind) -> bool:
        """Whether any object has a record."""
        condition = "PartitionKey ge @first and PartitionKey lt @last and sys_id ne ''"
        return bool(await self._tables.query(_TABLE, condition, {"first": f"{kind}-", "last": f"{kind}."}, limit=1))

    async def scan(self, kind: Kind, *, unseen_since: int | None = None) -> AsyncIterator[Join]:
        """All joins that have a record, bucket by bucket; with ``unseen_since`` only those that this full round did not see."""
        for number in range(BUCKETS):
            condition = "PartitionKey eq @partition and sys_id ne ''"
            parameters: dict[str, Any] = {"partition": f"{kind}-{number:x}"}
            if unseen_since is not None:
                condition += " and generation lt @generation"
                parameters["generation"] = unseen_since
            for found in await self._tables.query(_TABLE, condition, parameters):
                yield Join.from_row(kind, found)
