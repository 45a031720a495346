"""Which Entra object owns a ServiceNow record: a row per sys_id, inserted before the first write to it.

Two objects can never write one record: the second claim meets the first. A record that is about to be created is claimed under
its derived sys_id, so that two objects with the same natural key cannot create it twice either, whether or not the instance
honours that sys_id.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shared.state.tables import Exists, Operation, row

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from shared.state.tables import Row, Tables

_TABLE = "owners"


def _partition(table: str, sys_id: str) -> str:
    return f"{table}-{sys_id[:1]}"


@dataclass(frozen=True, slots=True)
class Claim:
    """An object wants to own a record."""

    table: str
    sys_id: str
    object_id: str


@dataclass(frozen=True, slots=True)
class Ownership:
    """Who owns a record.

    ``former``: from whom it is passing over, or has passed over to an owner who has not committed his link yet; empty otherwise.
    ``exported``: the columns that were written for him.
    """

    owner: str
    former: str = ""
    exported: frozenset[str] = frozenset()


class Owners:
    """Claim records and look up who owns them."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def claim(self, claims: Sequence[Claim]) -> list[str]:
        """Claim records; the result is the owner of each: the claimant itself, or the object that was there first."""
        return [owned.owner for owned in await self.take(claims)]

    async def take(self, claims: Sequence[Claim]) -> list[Ownership]:
        """Claim records, as ``claim`` does, and say what is known of a former owner."""
        operations = [
            Operation("insert", row(_partition(claim.table, claim.sys_id), claim.sys_id, owner=claim.object_id))
            for claim in claims
        ]
        results = await self._tables.apply(_TABLE, operations)
        owners: list[Ownership] = []
        for claim, result in zip(claims, results, strict=True):
            owned = Ownership(claim.object_id)
            if isinstance(result, Exists):
                found = await self._tables.get(_TABLE, _partition(claim.table, claim.sys_id), claim.sys_id)
                # Released since: it is free, and whoever claims it now may be first.
                owned = _from_row(found) if found is not None else (await self.take([claim]))[0]
            owners.append(owned)
        return owners

    async def owner(self, table: str, sys_id: str) -> str:
        """The object that owns a record, or an empty string."""
        found = await self._tables.get(_TABLE, _partition(table, sys_id), sys_id)
        return str(found["owner"]) if found else ""

    async def owners(self, table: str, sys_ids: Sequence[str]) -> dict[str, str]:
        """The owners of several records; records that nobody owns are left out."""
        rows = await self._tables.get_many(_TABLE, [(_partition(table, sys_id), sys_id) for sys_id in sys_ids])
        return {sys_id: str(found["owner"]) for sys_id, found in zip(sys_ids, rows, strict=True) if found}

    async def move(self, claim: Claim, former: str) -> bool:
        """Hand a record over from its former owner; False when it is no longer his."""
        key = _partition(claim.table, claim.sys_id)
        found = await self._tables.get(_TABLE, key, claim.sys_id)
        if found is None or found["owner"] != former:
            return False
        await self._tables.replace(_TABLE, _to_row(claim, replace(_from_row(found), owner=claim.object_id)), str(found["etag"]))
        return True

    async def prepare(self, claim: Claim, former: str, exported: Collection[str]) -> Ownership | None:
        """Note, before the record passes over, what was exported for its owner; None when it is no longer his.

        What was noted earlier stays: the former link may be gone by now, and with it the knowledge.
        """
        key = _partition(claim.table, claim.sys_id)
        found = await self._tables.get(_TABLE, key, claim.sys_id)
        if found is None or found["owner"] != former:
            return None
        noted = Ownership(former, former, _from_row(found).exported | frozenset(exported))
        await self._tables.replace(_TABLE, _to_row(claim, noted), str(found["etag"]))
        return noted

    async def settle(self, claim: Claim) -> None:
        """The new owner has committed his link: the former one is history."""
        key = _partition(claim.table, claim.sys_id)
        found = await self._tables.get(_TABLE, key, claim.sys_id)
        if found is not None and found["owner"] == claim.object_id and found.get("former"):
            await self._tables.replace(_TABLE, _to_row(claim, Ownership(claim.object_id)), str(found["etag"]))

    async def release(self, claim: Claim) -> None:
        """Give a record up, if the claimant still owns it."""
        key = _partition(claim.table, claim.sys_id)
        found = await self._tables.get(_TABLE, key, claim.sys_id)
        if found is not None and found["owner"] == claim.object_id:
            await self._tables.delete(_TABLE, key, claim.sys_id)


def _to_row(claim: Claim, owned: Ownership) -> Row:
    properties = {"owner": owned.owner}
    if owned.former:
        properties |= {"former": owned.former, "exported": json.dumps(sorted(owned.exported))}
    return row(_partition(claim.table, claim.sys_id), claim.sys_id, **properties)


def _from_row(found: Row) -> Ownership:
    return Ownership(str(found["owner"]), str(found.get("former", "")), frozenset(json.loads(str(found.get("exported", "[]")))))
