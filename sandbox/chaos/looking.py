"""Both sides as they are, straight out of the simulators of this process: no request, no fault on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.sides import REFERENCE_TABLES, Directory, Records
from sandbox.tenant import Kind, State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sandbox.instance import Instance
    from sandbox.tenant import Tenant
    from sandbox.tenant.objects import DirectoryObject


def directory_of(tenant: Tenant, *, in_scope: Collection[str] | None = None) -> Directory:
    """The tenant. With ``in_scope``, whoever is not in it appears as deleted: that is what being unassigned comes to."""

    def present(kind: Kind) -> list[DirectoryObject]:
        return [one for one in _objects(tenant, kind, State.LIVE) if in_scope is None or one.id in in_scope]

    def absent(kind: Kind) -> Iterator[DirectoryObject]:
        yield from _objects(tenant, kind, State.DELETED)
        if in_scope is not None:
            yield from (one for one in _objects(tenant, kind, State.LIVE) if one.id not in in_scope)

    users, groups = present(Kind.USER), present(Kind.GROUP)
    live = frozenset(one.id for one in users)
    return Directory(
        users=tuple(map(_as_json, users)),
        deleted_users=tuple(map(_deleted_as_json, absent(Kind.USER))),
        groups=tuple(map(_as_json, groups)),
        deleted_groups=tuple(map(_as_json, absent(Kind.GROUP))),
        members={one.id: live & one.members.keys() for one in groups},
    )


def records_of(instance: Instance) -> Records:
    """The instance."""

    def rows(table: str) -> dict[str, dict[str, str]]:
        columns = dict.fromkeys(instance.table(table).columns, "")
        return {row["sys_id"]: {**columns, **row} for row in instance.table(table).rows()}

    return Records(
        users=rows("sys_user"),
        groups=rows("sys_user_group"),
        memberships=rows("sys_user_grmember"),
        names={table: {key: row["name"] for key, row in rows(table).items()} for table in REFERENCE_TABLES},
        lengths={
            (row["name"], row["element"]): int(row["max_length"])
            for row in rows("sys_dictionary").values()
            if row["max_length"].isdigit() and row["internal_type"] != "reference"
        },
    )


def _objects(tenant: Tenant, kind: Kind, state: State) -> Iterator[DirectoryObject]:
    return (one for one in tenant.order[kind] if one.state is state)


def _as_json(one: DirectoryObject) -> dict[str, Any]:
    manager = {"manager": {"id": one.manager_id}} if one.manager_id else {}
    return {"id": one.id, **one.properties, **manager}


def _deleted_as_json(one: DirectoryObject) -> dict[str, Any]:
    """Graph puts the digits of the object id before the name of a deleted user."""
    return {**_as_json(one), "userPrincipalName": f"{one.id.replace('-', '')}{one.properties['userPrincipalName']}"}
