"""Who should be a member of what, and which sys_user_grmember record says so: one row per membership, with an index by user.

``desired`` follows the groups-delta chain in the order (generation, page), and of a page that was read twice the later reading,
for a crash in between leaves messages of both; ``sys_id`` is the record that we wrote or found, and
is empty while there is none. The row is leased like a join (see ``leases``). The index row is written first: it may
name a membership that has no row yet, but never the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from shared.events import now
from shared.state.joins import bucket
from shared.state.leases import Intent, LeasedStore, moment
from shared.state.tables import Operation, row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.state.tables import Row, Tables

_TABLE = "memberships"
_INDEX = "memberindex"
#: From so many members on, a range query of one page is tried before point reads.
_RANGE_FROM, _RANGE = 10, 1000
#: Before every read, for rows that do not say when theirs was.
_EARLIEST = datetime.min.replace(tzinfo=UTC)


def _partition(group_id: str) -> str:
    return f"g-{group_id}"


@dataclass(frozen=True, slots=True)
class Membership:
    """One row, as read. ``etag`` is empty for a membership that has none yet."""

    group_id: str
    user_id: str
    desired: bool = False
    generation: int = 0
    page: int = 0
    #: When the read began that told what is desired.
    read_at: datetime | None = None
    sys_id: str = ""
    user_sys_id: str = ""
    group_sys_id: str = ""
    dirty: bool = False
    intent: Intent | None = None
    lease_holder: str = ""
    lease_until: datetime | None = None
    etag: str = ""

    @property
    def told(self) -> tuple[int, int, datetime]:
        """Where what is desired comes from: whatever comes from further on replaces it."""
        return self.generation, self.page, self.read_at or _EARLIEST

    @property
    def pair(self) -> tuple[str, str]:
        return self.group_id, self.user_id

    @property
    def key(self) -> tuple[str, str]:
        return _partition(self.group_id), self.user_id

    def with_etag(self, etag: str) -> Self:
        return replace(self, etag=etag)

    def to_row(self) -> Row:
        properties = row(
            *self.key,
            desired=self.desired,
            generation=self.generation,
            page=self.page,
            read_at=self.read_at.isoformat() if self.read_at else "",
            sys_id=self.sys_id,
            user_sys_id=self.user_sys_id,
            group_sys_id=self.group_sys_id,
            dirty=self.dirty,
            intent=self.intent.to_json() if self.intent else "",
            lease_holder=self.lease_holder,
            lease_until=self.lease_until.isoformat() if self.lease_until else "",
        )
        if self.etag:
            properties["etag"] = self.etag
        return properties

    @classmethod
    def from_row(cls, properties: Mapping[str, Any]) -> Membership:
        return cls(
            group_id=str(properties["PartitionKey"])[2:],
            user_id=str(properties["RowKey"]),
            desired=bool(properties.get("desired", False)),
            generation=int(properties.get("generation", 0)),
            page=int(properties.get("page", 0)),
            read_at=moment(properties.get("read_at")),
            sys_id=str(properties.get("sys_id", "")),
            user_sys_id=str(properties.get("user_sys_id", "")),
            group_sys_id=str(properties.get("group_sys_id", "")),
            dirty=bool(properties.get("dirty", False)),
            intent=Intent.from_json(str(properties.get("intent", ""))),
            lease_holder=str(properties.get("lease_holder", "")),
            lease_until=moment(properties.get("lease_until")),
            etag=str(properties.get("etag", "")),
        )


class Memberships(LeasedStore[Membership]):
    """Read, lease and commit memberships, by group and by user."""

    def __init__(self, tables: Tables, clock: Callable[[], datetime] = now) -> None:
        super().__init__(tables, _TABLE, clock)

    async def get_many(self, pairs: Sequence[tuple[str, str]]) -> list[Membership]:
        """The rows of these (group id, user id) pairs, in order; an empty one where there is none."""
        rows = await self._tables.get_many(_TABLE, [(_partition(group), user) for group, user in pairs])
        return [
            Membership(group, user) if found is None else Membership.from_row(found)
            for (group, user), found in zip(pairs, rows, strict=True)
        ]

    async def of_slice(self, group_id: str, user_ids: Sequence[str]) -> list[Membership]:
        """The rows of one group's members, in order: by one range query where that answers for many, else by point reads."""
        if len(user_ids) >= _RANGE_FROM:
            condition = "PartitionKey eq @partition and RowKey ge @first and RowKey le @last"
            parameters = {"partition": _partition(group_id), "first": min(user_ids), "last": max(user_ids)}
            rows = await self._tables.query(_TABLE, condition, parameters, limit=_RANGE)
            if len(rows) < _RANGE:
                found = {str(each["RowKey"]): Membership.from_row(each) for each in rows}
                return [found.get(user_id) or Membership(group_id, user_id) for user_id in user_ids]
        return await self.get_many([(group_id, user_id) for user_id in user_ids])

    async def index(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Make the pairs findable by user. Comes before the rows themselves."""
        await self._tables.apply(
            _INDEX, [Operation("upsert", row(bucket(user), f"{user}|{group}")) for group, user in dict.fromkeys(pairs)]
        )

    async def mark_dirty(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Say that what the rows claim may not be what ServiceNow holds."""
        await self._leases.mark_dirty([(_partition(group), user) for group, user in pairs])

    async def of_user(self, user_id: str) -> list[tuple[str, str]]:
        """The (group id, user id) pairs that may have a row."""
        condition = "PartitionKey eq @partition and RowKey ge @first and RowKey lt @last"
        parameters = {"partition": bucket(user_id), "first": f"{user_id}|", "last": f"{user_id}}}"}
        rows = await self._tables.query(_INDEX, condition, parameters)
        return [(str(found["RowKey"]).partition("|")[2], user_id) for found in rows]

    async def of_group(self, group_id: str, *, after: str = "", limit: int = 0) -> list[Membership]:
        """Rows of a group in the order of user ids, beginning after one of them."""
        condition = "PartitionKey eq @partition and RowKey gt @after"
        rows = await self._tables.query(_TABLE, condition, {"partition": _partition(group_id), "after": after}, limit=limit)
        return [Membership.from_row(found) for found in rows]

    async def unseen(self, group_id: str, generation: int) -> list[Membership]:
        """Rows of a group that are still desired though a complete round of this generation did not name them."""
        condition = "PartitionKey eq @partition and desired eq true and generation lt @generation"
        rows = await self._tables.query(_TABLE, condition, {"partition": _partition(group_id), "generation": generation})
        return [Membership.from_row(found) for found in rows]
