"""Who is assigned to the enterprise application: the scope of "assigned users and groups only".

Graph offers neither delta nor notifications for assignments: they are polled and compared. An incomplete read says so and
must never take anybody out of scope. Source: Microsoft Graph docs, "list appRoleAssignments granted for a service principal".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shared.errors import CredentialsError, ProtocolError, ProvisioningError
from shared.graph.identities import is_object_id

if TYPE_CHECKING:
    from datetime import datetime

    from shared.graph.client import GraphClient

DEFAULT_ACCESS: Final = "00000000-0000-0000-0000-000000000000"
_PERMISSION: Final = "Application.Read.All"
_PAGE_SIZE: Final = 999


@dataclass(frozen=True, slots=True)
class AppRole:
    """A role that the application offers. ``value`` is what a mapping exports (SingleAppRoleAssignment and the like)."""

    id: str
    value: str | None
    display_name: str | None
    is_enabled: bool


@dataclass(frozen=True, slots=True)
class ServicePrincipal:
    """The enterprise application in this tenant."""

    id: str
    app_id: str | None
    display_name: str | None
    app_roles: tuple[AppRole, ...]


@dataclass(frozen=True, slots=True)
class AppRoleAssignment:
    """One assignment. ``principal_type`` is User, Group or ServicePrincipal; the role may be ``DEFAULT_ACCESS``."""

    id: str
    principal_id: str
    principal_type: str
    app_role_id: str


@dataclass(frozen=True, slots=True)
class AssignmentRead:
    """What was read. Only a ``complete`` read shows that somebody is not assigned; ``error`` is why it is not complete."""

    assignments: tuple[AppRoleAssignment, ...]
    complete: bool
    read_at: datetime
    error: ProvisioningError | None = None


async def service_principal(client: GraphClient, service_principal_id: str) -> ServicePrincipal:
    """The enterprise application and its roles. Raises NotFoundError if no such object is visible."""
    raw = await client.object(
        client.read(
            lambda graph: graph.service_principals.by_service_principal_id(service_principal_id),
            permission=_PERMISSION,
            select=["id", "appId", "displayName", "appRoles"],
        ),
    )
    roles = raw.get("appRoles") or ()
    return ServicePrincipal(
        id=str(raw.get("id") or service_principal_id),
        app_id=_text(raw.get("appId")),
        display_name=_text(raw.get("displayName")),
        app_roles=tuple(_app_role(role) for role in roles if isinstance(role, dict) and _text(role.get("id"))),
    )


async def app_role_assignments(client: GraphClient, service_principal_id: str) -> AssignmentRead:
    """All assignments to the enterprise application.

    What fails before anything was read is raised, and so is CredentialsError; what fails later, or a row that cannot be
    read, leaves ``complete`` false.
    """
    read_at = client.now()
    ask = client.read(
        lambda graph: graph.service_principals.by_service_principal_id(service_principal_id).app_role_assigned_to,
        permission=_PERMISSION,
        top=_PAGE_SIZE,
    )
    found: dict[str, AppRoleAssignment] = {}
    error: ProvisioningError | None = None
    pages_read = 0
    try:
        async for page in client.pages(ask):
            pages_read += 1
            for row in page:
                assignment = _assignment(row)
                if assignment is None:
                    error = ProtocolError(f"Graph sent an assignment without a principal in {ask.route}")
                else:
                    found[assignment.id] = assignment
    except CredentialsError:
        raise
    except ProvisioningError as failure:
        if pages_read == 0:
            raise
        error = failure
    return AssignmentRead(tuple(found.values()), error is None, read_at, error)


def _assignment(row: Any) -> AppRoleAssignment | None:
    if not isinstance(row, dict) or not is_object_id(row.get("principalId")):
        return None
    principal_type, identity = _text(row.get("principalType")), _text(row.get("id"))
    if principal_type is None or identity is None:
        return None
    return AppRoleAssignment(identity, row["principalId"], principal_type, _text(row.get("appRoleId")) or DEFAULT_ACCESS)


def _app_role(role: dict[str, Any]) -> AppRole:
    return AppRole(
        str(role["id"]),
        _text(role.get("value")),
        _text(role.get("displayName")),
        role.get("isEnabled") is not False,
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
