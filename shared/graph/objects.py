"""What an object is now, and what it is related to: Graph's present truth about users and groups.

A 404 is not evidence that an object is gone for good: it may be soft-deleted, not yet replicated, or hidden from us. Only
``SoftDeleted`` and the words of a delta page or a notification are evidence.
Sources: Microsoft Graph docs, "get user", "get group", "directory deletedItems: get deleted item", "list members",
"list memberOf", "organization: list".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shared.errors import CredentialsError, NotFoundError, ProtocolError, ProvisioningError
from shared.graph.assignments import (
    AppRole,
    AppRoleAssignment,
    AssignmentRead,
    ServicePrincipal,
    app_role_assignments,
    service_principal,
)
from shared.graph.batch import send_batch
from shared.graph.identities import ObjectKind, ObjectRef, checked_select, object_ref, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from shared.graph.answers import Answer, Ask
    from shared.graph.client import GraphClient

__all__ = [
    "AppRole",
    "AppRoleAssignment",
    "AssignmentRead",
    "Failed",
    "Missing",
    "ObjectKind",
    "ObjectRead",
    "ObjectRef",
    "Present",
    "ServicePrincipal",
    "SoftDeleted",
    "app_role_assignments",
    "default_domain",
    "member_of",
    "members",
    "read_objects",
    "service_principal",
    "transitive_member_of",
    "transitive_members",
]

_PERMISSION: Final[dict[ObjectKind, str]] = {"user": "User.Read.All", "group": "Group.Read.All"}
_RELATIONS: Final = frozenset({"manager", "members"})
_PAGE_SIZE: Final = 999


@dataclass(frozen=True, slots=True)
class Present:
    """The object exists. ``raw`` is Graph's JSON with exactly the selected properties: a null there is a cleared attribute."""

    raw: dict[str, Any]
    read_at: datetime

    @property
    def manager_id(self) -> str | None:
        """The manager's object id; None when the user has none: the expanded property is then absent or null."""
        manager = self.raw.get("manager")
        found = manager.get("id") if isinstance(manager, dict) else None
        return found if isinstance(found, str) else None


@dataclass(frozen=True, slots=True)
class SoftDeleted:
    """The object is in the recycle bin and can be restored. ``raw`` has Graph's default properties and deletedDateTime."""

    raw: dict[str, Any]
    read_at: datetime


@dataclass(frozen=True, slots=True)
class Missing:
    """Neither there nor in the recycle bin: unknown. Evidence of a hard delete must come from elsewhere."""

    read_at: datetime


@dataclass(frozen=True, slots=True)
class Failed:
    """This object could not be read; the others of the same call may have been."""

    error: ProvisioningError


type ObjectRead = Present | SoftDeleted | Missing | Failed


async def read_objects(
    client: GraphClient,
    kind: ObjectKind,
    ids: Iterable[str],
    select: Sequence[str],
) -> dict[str, ObjectRead]:
    """Read objects by id: one GET for one, ``$batch`` for many. Users come with ``manager: {id}``.

    ``read_at`` is our clock at the start of the read, before the first request. Every id asked for is a key of the answer.
    Raises CredentialsError, and SchemaMismatchError for a name in ``select`` that cannot be a property; all other failures
    are ``Failed`` for the objects that they concern.
    """
    wanted = list(dict.fromkeys(ids))
    properties = checked_select(name for name in select if name not in _RELATIONS)
    read_at = client.now()
    outcomes = await _send(client, [_object_ask(client, kind, object_id, properties) for object_id in wanted])
    reads: dict[str, ObjectRead] = {}
    for object_id, outcome in zip(wanted, outcomes, strict=True):
        reads[object_id] = _present(object_id, outcome, read_at)
    absent = [object_id for object_id, outcome in zip(wanted, outcomes, strict=True) if isinstance(outcome, NotFoundError)]
    binned = await _send(client, [_deleted_item_ask(client, kind, object_id) for object_id in absent])
    for object_id, outcome in zip(absent, binned, strict=True):
        reads[object_id] = _in_recycle_bin(kind, object_id, outcome, read_at)
    return reads


async def member_of(client: GraphClient, user_id: str) -> tuple[ObjectRef, ...]:
    """The groups, directory roles and administrative units that a user is a direct member of; complete, or an error."""
    return await _related(
        client, lambda graph: graph.users.by_user_id(user_id).member_of, permission="User.Read.All and GroupMember.Read.All"
    )


async def transitive_member_of(client: GraphClient, user_id: str) -> tuple[ObjectRef, ...]:
    """The groups and others that a user is a member of at any depth; complete, or an error."""
    return await _related(
        client,
        lambda graph: graph.users.by_user_id(user_id).transitive_member_of,
        permission="User.Read.All and GroupMember.Read.All",
    )


async def direct_reports(client: GraphClient, user_id: str) -> tuple[ObjectRef, ...]:
    """The people whose manager a user is; complete, or an error."""
    return await _related(client, lambda graph: graph.users.by_user_id(user_id).direct_reports, permission="User.Read.All")


async def members(client: GraphClient, group_id: str) -> tuple[ObjectRef, ...]:
    """The direct members of a group: users, groups, devices and others; complete, or an error."""
    return await _related(client, lambda graph: graph.groups.by_group_id(group_id).members, permission="GroupMember.Read.All")


async def transitive_members(client: GraphClient, group_id: str) -> tuple[ObjectRef, ...]:
    """The members of a group and of the groups nested in it, and those groups themselves; complete, or an error."""
    return await _related(
        client, lambda graph: graph.groups.by_group_id(group_id).transitive_members, permission="GroupMember.Read.All"
    )


async def default_domain(client: GraphClient) -> str:
    """The tenant's default domain (``contoso.com``), which mapping expressions ask for. Raises NotFoundError if none is."""
    ask = client.read(
        lambda graph: graph.organization,
        permission="Organization.Read.All",
        select=["id", "verifiedDomains"],
    )
    async for page in client.pages(ask):
        for organization in page:
            for domain in (organization.get("verifiedDomains") or ()) if isinstance(organization, dict) else ():
                if isinstance(domain, dict) and domain.get("isDefault") is True and isinstance(domain.get("name"), str):
                    return str(domain["name"])
    raise NotFoundError("Graph names no default domain among the organization's verified domains")


async def _related(client: GraphClient, pick: Callable[[Any], Any], *, permission: str) -> tuple[ObjectRef, ...]:
    """The ids and types of the objects of a relationship, all pages of it."""
    ask = client.read(pick, permission=permission, select=["id"], top=_PAGE_SIZE)
    found: dict[str, ObjectRef] = {}
    async for page in client.pages(ask):
        for row in page:
            ref = object_ref(row, ask.route)
            found[ref.id] = ref
    return tuple(found.values())


def _object_ask(client: GraphClient, kind: ObjectKind, object_id: str, properties: list[str]) -> Ask:
    if kind == "user":
        return client.read(
            lambda graph: graph.users.by_user_id(object_id),
            permission=_PERMISSION[kind],
            select=properties,
            expand=["manager($select=id)"],
        )
    return client.read(lambda graph: graph.groups.by_group_id(object_id), permission=_PERMISSION[kind], select=properties)


def _deleted_item_ask(client: GraphClient, kind: ObjectKind, object_id: str) -> Ask:
    return client.read(
        lambda graph: graph.directory.deleted_items.by_directory_object_id(object_id),
        permission=_PERMISSION[kind],
    )


async def _send(client: GraphClient, asks: list[Ask]) -> tuple[Answer | ProvisioningError, ...]:
    if len(asks) != 1:
        return await send_batch(client, asks)
    try:
        return (await client.send(asks[0]),)
    except CredentialsError:
        raise
    except ProvisioningError as error:
        return (error,)


def _present(object_id: str, outcome: Answer | ProvisioningError, read_at: datetime) -> ObjectRead:
    if isinstance(outcome, ProvisioningError):
        return Failed(outcome)
    raw = _object_of(object_id, outcome)
    return Failed(raw) if isinstance(raw, ProtocolError) else Present(raw, read_at)


def _in_recycle_bin(kind: ObjectKind, object_id: str, outcome: Answer | ProvisioningError, read_at: datetime) -> ObjectRead:
    if isinstance(outcome, NotFoundError):
        return Missing(read_at)
    if isinstance(outcome, ProvisioningError):
        return Failed(outcome)
    raw = _object_of(object_id, outcome)
    if isinstance(raw, ProtocolError):
        return Failed(raw)
    # The bin holds every kind of object under one path: a deleted group says nothing about a user.
    if type_name(raw.get("@odata.type")) not in {None, kind}:
        return Missing(read_at)
    return SoftDeleted(raw, read_at)


def _object_of(object_id: str, answer: Answer) -> dict[str, Any] | ProtocolError:
    """The JSON object of a read by id: never that of another object, whatever answered."""
    body = answer.body
    if isinstance(body, dict) and str(body.get("id", "")).lower() == object_id.lower():
        return body
    return ProtocolError(f"Graph answered a read by id without that object (request-id {answer.request_id})")
