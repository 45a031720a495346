"""Delta query: everything first, then only what changed (source: "Use delta query to track changes", Microsoft Graph docs).

The whole state of a round travels in its tokens; the tenant keeps nothing but the change log.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import asdict, dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sandbox.tenant.errors import GraphError
from sandbox.tenant.objects import PROPERTIES, Change, DirectoryObject, Kind, State
from sandbox.tenant.tokens import ForeignTokenError, Sealer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.tenant.directory import Tenant
    from sandbox.tenant.view import View

_CHANGES_PER_PAGE = 1000
_MEMBER_SLICES_PER_PAGE = 5
_MOST_REPLAYED = 20
_EXPIRED = "The sync state generation is not found. The delta token is expired and data must be synchronized again."


@dataclass(frozen=True, slots=True)
class Round:
    """Where a client is: what it tracks, and how far it has read.

    ``initial``: objects are enumerated; ``at`` is the next index, ``until`` the end, ``edge`` the last member edge that was
    reported of the object at ``at``; ``since`` is the position of the log from which the next round reads.
    Otherwise changes are read: those after ``at`` up to ``until`` (``None``: the round begins now).
    """

    kind: str
    select: tuple[str, ...]
    relation: bool
    ids: tuple[str, ...] | None = None
    initial: bool = False
    at: int = 0
    until: int | None = None
    edge: int = 0
    since: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Items, and the round that follows: the next page of this round, or the next round."""

    items: list[dict[str, Any]]
    following: Round
    complete: bool


class DeltaTokens:
    """Makes and judges the tokens in next links and delta links."""

    def __init__(self, tenant: Tenant, sealer: Sealer) -> None:
        self._tenant = tenant
        self._sealer = sealer
        self._made = 0
        self._expired_up_to = 0
        self._reset_up_to = 0

    def expire(self) -> None:
        """Every token made so far is answered with 400 from now on."""
        self._expired_up_to = self._made

    def reset(self) -> None:
        """Every token made so far is answered with 410 from now on."""
        self._reset_up_to = self._made

    def seal(self, position: Round) -> str:
        self._made += 1
        return self._sealer.seal([self._made, self._tenant.clock(), asdict(position)])

    def open(self, token: str, kind: Kind, location: str) -> Round:
        """The round of a token; raises ``GraphError`` 400 ``syncStateNotFound`` or 410 with ``location``."""
        try:
            made, at, position = self._sealer.open(token)
        except ForeignTokenError as error:
            raise GraphError(HTTPStatus.BAD_REQUEST, "syncStateNotFound", _EXPIRED) from error
        if position["kind"] != kind.value:
            raise GraphError(HTTPStatus.BAD_REQUEST, "BadRequest", "The token belongs to another resource.")
        if made <= self._reset_up_to:
            message = "Resync required. Replace any local items with the server's version."
            raise GraphError(HTTPStatus.GONE, "resyncRequired", message, headers={"Location": location})
        if made <= self._expired_up_to or self._tenant.clock() - at > self._tenant.config.delta_token_life:
            raise GraphError(HTTPStatus.BAD_REQUEST, "syncStateNotFound", _EXPIRED)
        position["select"] = tuple(position["select"])
        position["ids"] = tuple(position["ids"]) if position["ids"] is not None else None
        return Round(**position)


def next_page(tenant: Tenant, view: View, position: Round, *, minimal: bool) -> Page:
    """One page of a round. ``minimal``: only what changed, null where it was cleared (``Prefer: return=minimal``)."""
    if tenant.faults.empty_pages and tenant.rng.random() < tenant.faults.empty_pages:
        return Page([], position, complete=False)
    if position.initial:
        # A replica older than the first page would leave out what the next round no longer reports.
        at_least = view if view.position >= position.since else tenant.now()
        return _Enumeration(tenant, at_least, position, minimal=minimal).page()
    if position.until is None:
        if tenant.faults.delta_replays and tenant.rng.random() < tenant.faults.delta_replays:
            position = replace(position, at=max(0, position.at - tenant.rng.randint(1, _MOST_REPLAYED)))
        position = replace(position, until=max(position.at, view.position))
    # What is reported must not be older than the change that it is reported for.
    at_least = view if view.position >= (position.until or 0) else tenant.now()
    return _Changes(tenant, at_least, position, minimal=minimal).page()


def _page_size(tenant: Tenant, kind: Kind) -> int:
    return tenant.config.user_delta_page if kind is Kind.USER else tenant.config.group_delta_page


def _removed(subject: DirectoryObject, state: State) -> dict[str, Any]:
    return {"id": subject.id, "@removed": {"reason": "changed" if state is State.DELETED else "deleted"}}


def _full(view: View, subject: DirectoryObject, position: Round, *, minimal: bool) -> dict[str, Any]:
    """Every selected property that was ever set; under ``minimal`` those that have a value."""
    values = view.properties(subject)
    item = {name: values[name] for name in position.select if name in values and not (minimal and values[name] is None)}
    item["id"] = subject.id
    if position.relation and subject.kind is Kind.USER:
        manager = view.manager(subject)
        if manager is not None:
            item["manager@delta"] = [_reference(manager)]
    return item


def _reference(subject: DirectoryObject, *, unlinked: bool = False) -> dict[str, Any]:
    reference: dict[str, Any] = {"@odata.type": subject.kind.odata_type, "id": subject.id}
    return reference | {"@removed": {"reason": "deleted"}} if unlinked else reference


class _Enumeration:
    """The initial round: all objects, members of big groups in slices."""

    def __init__(self, tenant: Tenant, view: View, position: Round, *, minimal: bool) -> None:
        self._tenant = tenant
        self._view = view
        self._position = position
        self._minimal = minimal
        self._members_left = tenant.config.member_slice * _MEMBER_SLICES_PER_PAGE

    def page(self) -> Page:
        position = self._position
        kind = Kind(position.kind)
        subjects: Sequence[DirectoryObject] = self._tenant.order[kind]
        if position.ids is not None:
            subjects = [found for key in position.ids if (found := self._tenant.objects.get(key)) and found.kind is kind]
        until = position.until if position.until is not None else len(subjects)
        items: list[dict[str, Any]] = []
        at, edge = position.at, position.edge
        while at < until and len(items) < _page_size(self._tenant, kind) and self._members_left > 0:
            subject = subjects[at]
            state = self._view.state(subject)
            if state is State.LIVE:
                item, edge = self._item(subject, edge)
                items.append(item)
                if edge:
                    break
            elif state is not State.ABSENT:
                items.append(_removed(subject, state))
                edge = 0
            at += 1
        if at >= until:
            following = replace(position, initial=False, at=position.since, until=None, edge=0)
            return Page(items, following, complete=True)
        return Page(items, replace(position, at=at, until=until, edge=edge), complete=False)

    def _item(self, subject: DirectoryObject, edge: int) -> tuple[dict[str, Any], int]:
        """The item, and the last edge in it if there are more members."""
        item = _full(self._view, subject, self._position, minimal=self._minimal)
        if not self._position.relation or subject.kind is not Kind.GROUP:
            return item, 0
        edges = subject.ordered_edges()
        start = bisect_right(edges, edge, key=lambda pair: pair[0])
        stop = start + min(self._tenant.config.member_slice, self._members_left)
        part = edges[start:stop]
        self._members_left -= len(part)
        if part:
            # Members in the recycle bin are among them: they keep their memberships until they are gone for good.
            item["members@delta"] = [_reference(self._tenant.objects[member]) for _, member in part]
        return item, part[-1][0] if stop < len(edges) else 0


@dataclass(slots=True)
class _Touched:
    """What happened to one object within a page."""

    subject: DirectoryObject
    names: dict[str, None] = field(default_factory=dict)
    members: dict[str, bool] = field(default_factory=dict)
    manager: tuple[str | None, str | None] | None = None
    lifecycle: bool = False


class _Changes:
    """A later round: a stretch of the change log, folded into one item for each object."""

    def __init__(self, tenant: Tenant, view: View, position: Round, *, minimal: bool) -> None:
        self._tenant = tenant
        self._view = view
        self._position = position
        self._minimal = minimal

    def page(self) -> Page:
        position = self._position
        touched, reached = self._fold()
        items = [item for what in touched.values() if (item := self._item(what)) is not None]
        until = position.until or 0
        if reached >= until:
            return Page(items, replace(position, at=until, until=None), complete=True)
        return Page(items, replace(position, at=reached), complete=False)

    def _fold(self) -> tuple[dict[str, _Touched], int]:
        """What a page's worth of changes touched, and the position up to which the log is read."""
        position = self._position
        kind = Kind(position.kind)
        log = self._tenant.log_of(kind)
        start = bisect_right(log, position.at, key=lambda change: change.seq)
        until = position.until or 0
        touched: dict[str, _Touched] = {}
        reached = position.at
        for change in log[start : start + _CHANGES_PER_PAGE]:
            if change.seq > until:
                return touched, until
            what = touched.get(change.subject.id)
            if what is None:
                if len(touched) >= _page_size(self._tenant, kind):
                    return touched, reached
                what = touched[change.subject.id] = _Touched(change.subject)
            elif len(what.members) + len(change.members) > self._tenant.config.member_slice:
                return touched, reached
            self._note(what, change)
            reached = change.seq
        return touched, until if start + _CHANGES_PER_PAGE >= len(log) else reached

    def _note(self, what: _Touched, change: Change) -> None:
        if change.state_before is not None:
            what.lifecycle = True
        what.names.update(dict.fromkeys(change.before))
        if not change.hidden_from_delta:
            what.members.update({member: joined for member, joined, _ in change.members})
        if change.manager is not None:
            first = what.manager[0] if what.manager is not None else change.manager[0]
            what.manager = (first, change.manager[1])

    def _item(self, what: _Touched) -> dict[str, Any] | None:
        position, subject = self._position, what.subject
        if position.ids is not None and subject.id not in position.ids:
            return None
        state = self._view.state(subject)
        if state is not State.LIVE:
            return _removed(subject, state)
        relations = self._relations(what) if position.relation else {}
        if what.lifecycle:
            return _full(self._view, subject, position, minimal=self._minimal) | relations
        changed = [name for name in position.select if name in what.names]
        if not changed and not relations:
            return None
        values = self._view.properties(subject)
        if self._minimal:
            item = {name: values.get(name) for name in changed}
        else:
            item = {name: values[name] for name in position.select if name in values}
        return item | {"id": subject.id} | relations

    def _relations(self, what: _Touched) -> dict[str, Any]:
        objects = self._tenant.objects
        if what.subject.kind is Kind.GROUP:
            members = [_reference(objects[member], unlinked=not joined) for member, joined in what.members.items()]
            return {"members@delta": members} if members else {}
        if what.manager is None or what.manager[0] == what.manager[1]:
            return {}
        before, after = what.manager
        references = [_reference(objects[before], unlinked=True)] if before else []
        return {"manager@delta": references + ([_reference(objects[after])] if after else [])}


def tracked(kind: Kind, select: tuple[str, ...] | None, default: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    """Which properties a ``$select`` tracks, and whether the relationship (members, manager) is tracked too.

    Without ``$select`` the default properties are, and the members of groups.
    """
    relation = "manager" if kind is Kind.USER else "members"
    if select is None:
        return default, kind is Kind.GROUP
    return tuple(name for name in select if name in PROPERTIES[kind]), relation in select
