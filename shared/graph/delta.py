"""One page of what changed among users or groups (Microsoft Graph docs, "delta query overview", "user: delta", "group: delta").

What the docs do not let us assume is not assumed: a page may be empty, an object may come twice and in any order, an absent
property was not necessarily cleared, a group without ``members@delta`` is not a group without members, and a removed member
of a big group may stand on another page than the group's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from shared.errors import ProtocolError
from shared.graph.client import collection
from shared.graph.identities import ObjectKind, checked_select, object_ref

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shared.graph.answers import Ask
    from shared.graph.client import GraphClient

type Removal = Literal["changed", "deleted"]

_PERMISSION: Final[dict[ObjectKind, str]] = {"user": "User.Read.All", "group": "GroupMember.Read.All"}
_RELATION: Final[dict[ObjectKind, str]] = {"user": "manager", "group": "members"}


@dataclass(frozen=True, slots=True)
class MemberChange:
    """A member linked to a group, or (``removed``) unlinked from it. ``type`` is user, group, device ... where Graph says."""

    id: str
    type: str | None
    removed: bool


@dataclass(frozen=True, slots=True)
class DeltaItem:
    """One object of a page.

    ``removed`` is "changed" for a soft delete (restorable) and "deleted" for a permanent one, which is evidence; None for
    an object that exists. ``has_members`` and ``has_manager`` say whether the page spoke about the relation at all: without
    them nothing is known about it. ``manager_id`` is None when the manager was removed. ``raw`` is Graph's JSON.
    """

    id: str
    removed: Removal | None
    raw: dict[str, Any]
    members: tuple[MemberChange, ...] = ()
    has_members: bool = False
    manager_id: str | None = None
    has_manager: bool = False


@dataclass(frozen=True, slots=True)
class DeltaPage:
    """A page: exactly one of the links is set. ``read_at`` is our clock at the start of the request."""

    items: tuple[DeltaItem, ...]
    next_link: str | None
    delta_link: str | None
    read_at: datetime


async def delta_page(client: GraphClient, kind: ObjectKind, *, link: str | None, select: Sequence[str]) -> DeltaPage:
    """Read one page: the first of a full round without ``link``, otherwise the one that the whole ``link`` names.

    ``select`` (property names; manager or members are added) counts for the first page only: later it lives in the link.
    Raises DeltaResetError (a ResyncRequiredError) when Graph no longer knows the state behind the link, and ProtocolError
    for a link that leads elsewhere, or a page that cannot be read without losing a change; otherwise as GraphClient.send.
    """
    ask = _first_ask(client, kind, select)
    if link is not None:
        ask = client.follow(link, ask)
    read_at = client.now()
    page = await client.object(ask)
    next_link, delta_link = (_link(client, page, name, ask) for name in ("@odata.nextLink", "@odata.deltaLink"))
    if (next_link is None) == (delta_link is None):
        raise ProtocolError(f"Graph answered {ask.route} with {'no link' if next_link is None else 'both links'}")
    items = tuple(delta_item(raw, ask.route) for raw in collection(page, ask.route))
    return DeltaPage(items, next_link, delta_link, read_at)


def delta_item(raw: Any, route: str) -> DeltaItem:
    """One item of a page. Raises ProtocolError for an item, or a member in it, without an id."""
    item = object_ref(raw, route)
    removed = _removal(raw)
    manager_id, has_manager = _manager(raw, route)
    members = raw.get("members@delta")
    return DeltaItem(
        item.id,
        removed,
        raw,
        members=tuple(_member(row, route) for row in members) if isinstance(members, list) else (),
        has_members=isinstance(members, list),
        manager_id=manager_id,
        has_manager=has_manager,
    )


def _first_ask(client: GraphClient, kind: ObjectKind, select: Sequence[str]) -> Ask:
    return client.read(
        lambda graph: graph.users.delta if kind == "user" else graph.groups.delta,
        permission=_PERMISSION[kind],
        select=checked_select([*select, _RELATION[kind]]),
        delta=True,
    )


def _link(client: GraphClient, page: dict[str, Any], name: str, ask: Ask) -> str | None:
    link = page.get(name)
    return None if link is None else client.check_link(link, ask.route)


def _removal(raw: dict[str, Any]) -> Removal | None:
    """Only Graph's own word "deleted" is a permanent delete; an unknown reason is the one that can be undone."""
    if "@removed" not in raw:
        return None
    removed = raw["@removed"]
    reason = removed.get("reason") if isinstance(removed, dict) else removed
    return "deleted" if isinstance(reason, str) and reason.lower() == "deleted" else "changed"


def _member(row: Any, route: str) -> MemberChange:
    ref = object_ref(row, route)
    return MemberChange(ref.id, ref.type, "@removed" in row)


def _manager(raw: dict[str, Any], route: str) -> tuple[str | None, bool]:
    """The manager that a page names. ``manager@delta`` is an array: the old one removed, the new one not, in either order."""
    if "manager@delta" in raw:
        changes = raw["manager@delta"]
        rows = [_member(row, route) for row in (changes if isinstance(changes, list) else [changes])]
        return next((row.id for row in reversed(rows) if not row.removed), None), True
    manager = raw.get("manager")
    if isinstance(manager, dict):
        return object_ref(manager, route).id, True
    return None, "manager" in raw
