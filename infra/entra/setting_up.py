"""What a deployment needs in Entra ID. Every step looks first and changes only what differs: to run it again changes nothing.

Two registrations, because they answer two questions. Whoever is assigned to the *scope* is provisioned to ServiceNow; whoever is
assigned to the *operators* may command the app. In one, every operator would be provisioned as well.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.entra.directory import DirectoryFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.entra.directory import Directory

#: Microsoft Graph, in every tenant.
GRAPH_APP_ID = "00000003-0000-0000-c000-000000000000"
#: Azure CLI: an operator gets a token by ``az account get-access-token`` without a consent of his own.
AZURE_CLI_APP_ID = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
#: Read users, groups with their members, and assignments. Source: Microsoft Graph docs, permissions of user: delta,
#: group: delta, subscription: create and servicePrincipal: list appRoleAssignedTo.
PERMISSIONS = ("User.Read.All", "Group.Read.All", "Application.Read.All")
MAIL_PERMISSION = "Mail.Send"
OPERATOR_ROLE = "Provisioning.Operate"
#: Shows a registration among the enterprise applications of the portal.
_ENTERPRISE = "WindowsAzureActiveDirectoryIntegratedApp"
_FEDERATION = "provisioning-app"
_ID_TOKENS = {"enableIdTokenIssuance": True}
_NAMESPACE = uuid.UUID("6f6d7a2e-3f0f-4a53-8d3a-5b1d5f0c2b11")


@dataclass(frozen=True, slots=True)
class Registered:
    """What the infrastructure wants to know of the registrations."""

    service_principal_id: str
    operator_client_id: str


class SettingUp:
    """The steps. ``say`` gets one line for each thing that was looked at."""

    def __init__(self, directory: Directory, say: Callable[[str], None]) -> None:
        self._directory = directory
        self._say = say

    async def register(self, name: str) -> Registered:
        """Make both registrations with their enterprise applications."""
        scope = await self._application(name, [_role("User", "User", "Is provisioned to ServiceNow", users_only=True)])
        scope_principal = await self._principal(scope, f"{name}: who is assigned is provisioned")
        operators_name = operators_of(name)
        role = _role(OPERATOR_ROLE, "Operator", "May command the provisioning app", users_only=False)
        operators = await self._application(operators_name, [role])
        await self._api(operators, operators_name)
        await self._principal(operators, f"{operators_name}: who is assigned may command the app")
        return Registered(scope_principal["id"], operators["appId"])

    async def grant(self, identity_id: str, name: str, *, mail: bool, url: str = "") -> None:
        """Let the app's identity read the directory and vouch for the operators' registration; ``url`` is the app's.

        With the URL operators can sign in to the app's pages with a browser.
        """
        graph = await self._one_principal(GRAPH_APP_ID)
        roles = {role["value"]: role["id"] for role in graph["appRoles"]}
        wanted = (*PERMISSIONS, MAIL_PERMISSION) if mail else PERMISSIONS
        present = await self._directory.all(f"/servicePrincipals/{identity_id}/appRoleAssignments")
        held = {entry["appRoleId"] for entry in present if entry["resourceId"] == graph["id"]}
        for permission in wanted:
            await self._assign(identity_id, graph["id"], roles[permission], permission, held)
        needed = {roles[permission] for permission in wanted}
        for value, role_id in sorted(roles.items()):
            if role_id in held - needed:
                self._say(f"NOT NEEDED: the identity holds {value}; remove it in the portal")
        application = await self._find(operators_of(name))
        if application is None:
            self._say(f"left out: there is no registration '{operators_of(name)}', operators use function keys")
            return
        await self._federate(identity_id, application)
        if url:
            await self._browser(application, url)

    async def operator(self, user: str, name: str) -> None:
        """Let somebody, by user principal name or id, command the app."""
        application = await self._find(operators_of(name))
        if application is None:
            raise DirectoryFault(f"there is no registration '{operators_of(name)}': run register first")
        principal = await self._one_principal(application["appId"])
        role = next(role["id"] for role in principal["appRoles"] if role["value"] == OPERATOR_ROLE)
        person = await self._directory.get(f"/users/{user}", select="id,userPrincipalName")
        present = await self._directory.all(f"/users/{person['id']}/appRoleAssignments")
        held = {entry["appRoleId"] for entry in present if entry["resourceId"] == principal["id"]}
        what = f"{OPERATOR_ROLE} for {person['userPrincipalName']}"
        await self._assign(person["id"], principal["id"], role, what, held, "users")

    async def _application(self, name: str, roles: list[dict[str, Any]]) -> dict[str, Any]:
        present = await self._find(name)
        if present is None:
            body = {"displayName": name, "signInAudience": "AzureADMyOrg", "appRoles": roles}
            self._say(f"created: registration {name}")
            return await self._directory.create("/applications", body)
        values = {role["value"] for role in present["appRoles"]}
        missing = [role for role in roles if role["value"] not in values]
        if missing:
            await self._directory.change(f"/applications/{present['id']}", {"appRoles": [*present["appRoles"], *missing]})
            self._say(f"changed: registration {name} has the role {', '.join(role['value'] for role in missing)} now")
        else:
            self._say(f"is there: registration {name}")
        return present

    async def _find(self, name: str) -> dict[str, Any] | None:
        quoted = name.replace("'", "''")
        found = await self._directory.all("/applications", filter=f"displayName eq '{quoted}'")
        if len(found) > 1:
            raise DirectoryFault(f"there are {len(found)} registrations '{name}': remove or rename the others")
        return found[0] if found else None

    async def _api(self, application: dict[str, Any], name: str) -> None:
        """Tokens for the registration: its URI, one delegated permission, Azure CLI allowed to use it."""
        uri = f"api://{application['appId']}"
        scope_id = str(uuid.uuid5(_NAMESPACE, "user_impersonation"))
        api = application.get("api") or {}
        known = {entry["appId"] for entry in api.get("preAuthorizedApplications", [])}
        if uri in application.get("identifierUris", []) and AZURE_CLI_APP_ID in known:
            self._say(f"is there: {name} answers for {uri}")
            return
        scope = {
            "id": scope_id,
            "value": "user_impersonation",
            "type": "User",
            "isEnabled": True,
            "adminConsentDisplayName": "Command the provisioning app",
            "adminConsentDescription": "Command the provisioning app as the signed-in operator",
            "userConsentDisplayName": "Command the provisioning app",
            "userConsentDescription": "Command the provisioning app as you",
        }
        path = f"/applications/{application['id']}"
        tokens = {"requestedAccessTokenVersion": 2, "oauth2PermissionScopes": [scope]}
        await self._directory.change(path, {"identifierUris": [uri], "api": tokens})
        # The permission must exist before an application can be allowed to use it.
        allowed = [{"appId": AZURE_CLI_APP_ID, "delegatedPermissionIds": [scope_id]}]
        await self._directory.change(path, {"api": {**tokens, "preAuthorizedApplications": allowed}})
        self._say(f"changed: {name} answers for {uri}")

    async def _principal(self, application: dict[str, Any], what: str) -> dict[str, Any]:
        found = await self._directory.all("/servicePrincipals", filter=f"appId eq '{application['appId']}'")
        if found:
            if not found[0].get("appRoleAssignmentRequired"):
                await self._directory.change(f"/servicePrincipals/{found[0]['id']}", {"appRoleAssignmentRequired": True})
                self._say(f"changed: assignment is required for {what}")
            else:
                self._say(f"is there: enterprise application {what}")
            return found[0]
        body = {"appId": application["appId"], "appRoleAssignmentRequired": True, "tags": [_ENTERPRISE]}
        created = await self._directory.create("/servicePrincipals", body)
        self._say(f"created: enterprise application {what}")
        return created

    async def _one_principal(self, app_id: str) -> dict[str, Any]:
        found = await self._directory.all("/servicePrincipals", filter=f"appId eq '{app_id}'")
        if not found:
            raise DirectoryFault(f"the tenant has no enterprise application with the client id {app_id}")
        return found[0]

    async def _assign(
        self, principal_id: str, resource_id: str, role_id: str, what: str, held: set[str], kind: str = "servicePrincipals"
    ) -> None:
        if role_id in held:
            self._say(f"is there: {what}")
            return
        body = {"principalId": principal_id, "resourceId": resource_id, "appRoleId": role_id}
        await self._directory.create(f"/{kind}/{principal_id}/appRoleAssignments", body)
        self._say(f"granted: {what}")

    async def _federate(self, identity_id: str, application: dict[str, Any]) -> None:
        """The identity signs for the registration, so that sign-in needs no secret."""
        name = application["displayName"]
        path = f"/applications/{application['id']}/federatedIdentityCredentials"
        present = {entry["name"]: entry for entry in await self._directory.all(path)}
        tenant = (await self._directory.all("/organization", select="id"))[0]["id"]
        wanted = {
            "name": _FEDERATION,
            "issuer": f"https://login.microsoftonline.com/{tenant}/v2.0",
            "subject": identity_id,
            "audiences": ["api://AzureADTokenExchange"],
        }
        former = present.get(_FEDERATION)
        if former is None:
            await self._directory.create(path, wanted)
            self._say(f"created: the identity signs for {name}")
        elif any(former.get(key) != value for key, value in wanted.items()):
            await self._directory.change(f"{path}/{former['id']}", {key: value for key, value in wanted.items() if key != "name"})
            self._say(f"changed: this identity signs for {name}, another one did")
        else:
            self._say(f"is there: the identity signs for {name}")

    async def _browser(self, application: dict[str, Any], url: str) -> None:
        """Where a browser comes back to after signing in (App Service authentication's own path)."""
        back = f"{url.rstrip('/')}/.auth/login/aad/callback"
        web = application.get("web") or {}
        addresses = web.get("redirectUris", [])
        if back in addresses and (web.get("implicitGrantSettings") or {}).get("enableIdTokenIssuance"):
            self._say(f"is there: sign-in returns to {back}")
            return
        body = {"redirectUris": [*addresses, *([] if back in addresses else [back])], "implicitGrantSettings": _ID_TOKENS}
        await self._directory.change(f"/applications/{application['id']}", {"web": body})
        self._say(f"changed: sign-in returns to {back}")


def operators_of(name: str) -> str:
    return f"{name} operators"


def _role(value: str, display: str, description: str, *, users_only: bool) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid5(_NAMESPACE, value)),
        "value": value,
        "displayName": display,
        "description": description,
        "isEnabled": True,
        "allowedMemberTypes": ["User"] if users_only else ["User", "Application"],
    }
