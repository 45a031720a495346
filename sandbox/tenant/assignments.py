"""App role assignments: which users and groups an enterprise application is given to."""

from __future__ import annotations

import base64
import uuid
from typing import TYPE_CHECKING, Any

from sandbox.tenant.errors import invalid_value, not_found
from sandbox.tenant.objects import DirectoryObject, Kind, State, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.tenant.directory import Tenant

DEFAULT_ACCESS = "00000000-0000-0000-0000-000000000000"
"""The role of applications that define none."""

_USER_ROLE = "18d14569-c3bd-439b-9a66-3a2aee01d14f"
_PRINCIPAL_TYPES = {Kind.USER: "User", Kind.GROUP: "Group", Kind.SERVICE_PRINCIPAL: "ServicePrincipal"}


class Assignments:
    """The assignments of a tenant, in the order of their creation."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._assigned: dict[str, dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self._assigned)

    def seed(self) -> None:
        """The enterprise application "ServiceNow", given to nobody yet."""
        config = self._tenant.config
        role = {"allowedMemberTypes": ["User"], "description": "User", "displayName": "User", "isEnabled": True, "value": None}
        self._tenant.add_seeded(
            config.service_principal_id,
            Kind.SERVICE_PRINCIPAL,
            {
                "accountEnabled": True,
                "appDisplayName": "ServiceNow",
                "appId": str(uuid.uuid5(uuid.NAMESPACE_URL, config.service_principal_id)),
                "appRoleAssignmentRequired": True,
                "appRoles": [role | {"id": _USER_ROLE}],
                "displayName": "ServiceNow",
                "servicePrincipalType": "Application",
            },
        )

    def assign(self, principal_id: str, resource_id: str | None = None, role_id: str | None = None) -> dict[str, Any]:
        """Give a user or group access to an application (the seeded one) in a role of it; returns the assignment.

        Raises ``GraphError`` 404 for an unknown principal or application, 400 for an unknown role or a repetition.
        """
        view = self._tenant.now()
        resource = view.find(Kind.SERVICE_PRINCIPAL, resource_id or self._tenant.config.service_principal_id)
        principal = view.find(None, principal_id)
        if resource is None or principal is None or principal.kind not in _PRINCIPAL_TYPES:
            raise not_found(principal_id if resource else str(resource_id))
        roles = [role["id"] for role in resource.properties.get("appRoles") or []]
        role_id = role_id or (roles[0] if roles else DEFAULT_ACCESS)
        if role_id != DEFAULT_ACCESS and role_id not in roles:
            raise invalid_value("Permission being assigned was not found on application.")
        name = uuid.uuid5(uuid.UUID(principal.id), f"{resource.id}/{role_id}")
        assignment_id = base64.urlsafe_b64encode(name.bytes + name.bytes[::-1]).decode().rstrip("=")
        if assignment_id in self._assigned:
            raise invalid_value("Permission being assigned already exists on the object.")
        made = {
            "id": assignment_id,
            "deletedDateTime": None,
            "appRoleId": role_id,
            "createdDateTime": timestamp(self._tenant.clock(), digits=7),
            "principalDisplayName": principal.properties.get("displayName"),
            "principalId": principal.id,
            "principalType": _PRINCIPAL_TYPES[principal.kind],
            "resourceDisplayName": resource.properties.get("displayName"),
            "resourceId": resource.id,
        }
        self._assigned[assignment_id] = made
        return made

    def unassign(self, assignment_id: str) -> None:
        """Take an assignment away; raises ``GraphError`` 404 if there is none."""
        if self._assigned.pop(assignment_id, None) is None:
            raise not_found(assignment_id)

    def to_resource(self, resource_id: str) -> list[dict[str, Any]]:
        """Who is assigned to an application. A deleted principal's assignments are hidden until it is restored."""
        return [made for made in self._visible() if made["resourceId"] == resource_id]

    def of_principal(self, principal_id: str) -> list[dict[str, Any]]:
        return [made for made in self._visible() if made["principalId"] == principal_id]

    def forget_principal(self, principal_id: str) -> None:
        """A principal is gone for good."""
        self._assigned = {key: made for key, made in self._assigned.items() if made["principalId"] != principal_id}

    def _visible(self) -> Iterator[dict[str, Any]]:
        for made in self._assigned.values():
            principal: DirectoryObject = self._tenant.objects[made["principalId"]]
            if principal.state is State.LIVE:
                yield made
