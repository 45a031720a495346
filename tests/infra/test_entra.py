"""Setting up Entra ID, against a stand-in for Microsoft Graph: made once, whole, and never twice."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import httpx
import pytest

from infra.entra.directory import Directory, DirectoryFault
from infra.entra.setting_up import AZURE_CLI_APP_ID, GRAPH_APP_ID, PERMISSIONS, SettingUp

NAME = "ServiceNow provisioning"
IDENTITY = "11111111-1111-4111-8111-111111111111"
TENANT = "22222222-2222-4222-8222-222222222222"
_GRAPH_ROLES = [{"id": str(uuid.uuid4()), "value": value} for value in (*PERMISSIONS, "Mail.Send", "Directory.ReadWrite.All")]


class FakeGraph:
    """Applications, service principals, assignments and federated credentials, as far as the setup asks for them."""

    def __init__(self) -> None:
        self.applications: dict[str, dict[str, Any]] = {}
        self.principals: dict[str, dict[str, Any]] = {
            "graph": {"id": "graph", "appId": GRAPH_APP_ID, "appRoles": _GRAPH_ROLES},
            IDENTITY: {"id": IDENTITY, "appId": "identity", "appRoles": []},
        }
        self.assignments: list[dict[str, Any]] = []
        self.credentials: list[dict[str, Any]] = []
        self.writes: list[str] = []
        self.unknown_for = 0
        self.busy_for = 0

    def answer(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == "Bearer token"
        path = request.url.path.removeprefix("/v1.0")
        if self.busy_for:
            self.busy_for -= 1
            return httpx.Response(
                429, json={"error": {"code": "TooManyRequests", "message": "slow"}}, headers={"Retry-After": "7"}
            )
        if request.method == "GET":
            return self._read(path, request.url.params)
        self.writes.append(f"{request.method} {path}")
        return self._write(request.method, path, json.loads(request.content))

    def _read(self, path: str, query: httpx.QueryParams) -> httpx.Response:
        if path == "/applications":
            name = re.fullmatch(r"displayName eq '(.*)'", query["$filter"])
            assert name
            wanted = name[1].replace("''", "'")
            return _list([one for one in self.applications.values() if one["displayName"] == wanted])
        if path == "/servicePrincipals":
            app_id = query["$filter"].removeprefix("appId eq '").removesuffix("'")
            return _list([one for one in self.principals.values() if one["appId"] == app_id])
        if path.endswith("/appRoleAssignments"):
            return _list([one for one in self.assignments if one["principalId"] == path.split("/")[2]])
        if path.endswith("/federatedIdentityCredentials"):
            return _list(self.credentials)
        if path == "/organization":
            return _list([{"id": TENANT}])
        if path.startswith("/users/"):
            return httpx.Response(200, json={"id": "adele", "userPrincipalName": "adele@contoso.com"})
        return _missing()

    def _write(self, method: str, path: str, body: dict[str, Any]) -> httpx.Response:
        made = {**body, "id": str(uuid.uuid4())}
        if method == "PATCH" and "/federatedIdentityCredentials/" in path:
            self.credentials[0].update(body)
            return httpx.Response(204)
        if method == "PATCH":
            kind, object_id = path.split("/")[1:3]
            (self.applications if kind == "applications" else self.principals)[object_id].update(body)
            return httpx.Response(204)
        if path == "/applications":
            made |= {"appId": str(uuid.uuid4()), "identifierUris": [], "api": {}, "web": {}}
            self.applications[made["id"]] = made
        elif path == "/servicePrincipals":
            if self.unknown_for:
                self.unknown_for -= 1
                message = "The appId of the service principal does not reference a valid application object."
                return httpx.Response(400, json={"error": {"code": "Request_BadRequest", "message": message}})
            application = next(one for one in self.applications.values() if one["appId"] == body["appId"])
            made["appRoles"] = application["appRoles"]
            self.principals[made["id"]] = made
        elif path.endswith("/appRoleAssignments"):
            self.assignments.append(made)
        elif path.endswith("/federatedIdentityCredentials"):
            self.credentials.append(made)
        else:
            return _missing()
        return httpx.Response(201, json=made)


def _list(entries: list[dict[str, Any]]) -> httpx.Response:
    return httpx.Response(200, json={"value": entries})


def _missing() -> httpx.Response:
    return httpx.Response(404, json={"error": {"code": "Request_ResourceNotFound", "message": "nothing here"}})


class _Token:
    token = "token"


class _Credential:
    async def get_token(self, *scopes: str) -> _Token:
        assert scopes == ("https://graph.microsoft.com/.default",)
        return _Token()


class Stage:
    """A tenant, a directory on it, what was said and how long was slept."""

    def __init__(self) -> None:
        self.graph = FakeGraph()
        self.said: list[str] = []
        self.slept: list[float] = []
        transport = httpx.MockTransport(self.graph.answer)
        self.setting_up = SettingUp(Directory(_Credential(), transport=transport, sleep=self._sleep), self.said.append)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def granted(self) -> set[str]:
        values = {role["id"]: role["value"] for role in _GRAPH_ROLES}
        return {values[one["appRoleId"]] for one in self.graph.assignments if one["resourceId"] == "graph"}


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_two_enterprise_applications_are_made_and_assignment_is_required(stage: Stage) -> None:
    registered = await stage.setting_up.register(NAME)
    scope = stage.graph.principals[registered.service_principal_id]
    assert scope["appRoleAssignmentRequired"] is True
    operators = next(one for one in stage.graph.applications.values() if one["appId"] == registered.operator_client_id)
    assert [role["value"] for role in operators["appRoles"]] == ["Provisioning.Operate"]
    assert operators["identifierUris"] == [f"api://{registered.operator_client_id}"]
    assert [one["appId"] for one in operators["api"]["preAuthorizedApplications"]] == [AZURE_CLI_APP_ID]
    assert operators["api"]["requestedAccessTokenVersion"] == 2
    assert scope["appId"] != registered.operator_client_id


async def test_registering_again_changes_nothing_and_gives_the_same_ids(stage: Stage) -> None:
    first = await stage.setting_up.register(NAME)
    stage.graph.writes.clear()
    stage.said.clear()
    assert await stage.setting_up.register(NAME) == first
    assert stage.graph.writes == []
    assert all(line.startswith("is there: ") for line in stage.said)


async def test_an_application_that_is_not_known_everywhere_yet_is_waited_for(stage: Stage) -> None:
    stage.graph.unknown_for = 2
    await stage.setting_up.register(NAME)
    assert stage.slept == [1.0, 2.0]


async def test_a_throttled_request_waits_as_long_as_graph_says(stage: Stage) -> None:
    stage.graph.busy_for = 1
    await stage.setting_up.register(NAME)
    assert stage.slept == [7.0]


async def test_the_identity_gets_exactly_its_permissions(stage: Stage) -> None:
    await stage.setting_up.grant(IDENTITY, NAME, mail=False)
    assert stage.granted() == {"User.Read.All", "Group.Read.All", "Application.Read.All"}
    await stage.setting_up.grant(IDENTITY, NAME, mail=True)
    assert stage.granted() == {"User.Read.All", "Group.Read.All", "Application.Read.All", "Mail.Send"}


async def test_granting_again_changes_nothing(stage: Stage) -> None:
    await stage.setting_up.register(NAME)
    await stage.setting_up.grant(IDENTITY, NAME, mail=True, url="https://app.contoso.com")
    stage.graph.writes.clear()
    await stage.setting_up.grant(IDENTITY, NAME, mail=True, url="https://app.contoso.com/")
    assert stage.graph.writes == []


async def test_a_permission_that_is_not_needed_is_named(stage: Stage) -> None:
    too_much = next(role["id"] for role in _GRAPH_ROLES if role["value"] == "Directory.ReadWrite.All")
    stage.graph.assignments.append({"principalId": IDENTITY, "resourceId": "graph", "appRoleId": too_much})
    await stage.setting_up.grant(IDENTITY, NAME, mail=False)
    assert any("NOT NEEDED" in line and "Directory.ReadWrite.All" in line for line in stage.said)


async def test_the_identity_signs_for_the_operators_and_a_new_one_takes_its_place(stage: Stage) -> None:
    await stage.setting_up.register(NAME)
    await stage.setting_up.grant(IDENTITY, NAME, mail=False)
    (credential,) = stage.graph.credentials
    assert credential["subject"] == IDENTITY
    assert credential["issuer"] == f"https://login.microsoftonline.com/{TENANT}/v2.0"
    assert credential["audiences"] == ["api://AzureADTokenExchange"]
    other = "33333333-3333-4333-8333-333333333333"
    await stage.setting_up.grant(other, NAME, mail=False)
    assert [one["subject"] for one in stage.graph.credentials] == [other]


async def test_a_browser_comes_back_to_the_app_and_addresses_that_were_there_stay(stage: Stage) -> None:
    registered = await stage.setting_up.register(NAME)
    operators = next(one for one in stage.graph.applications.values() if one["appId"] == registered.operator_client_id)
    operators["web"] = {"redirectUris": ["https://old.contoso.com/back"]}
    await stage.setting_up.grant(IDENTITY, NAME, mail=False, url="https://app.contoso.com")
    assert operators["web"]["redirectUris"] == [
        "https://old.contoso.com/back",
        "https://app.contoso.com/.auth/login/aad/callback",
    ]


async def test_an_operator_is_assigned_once(stage: Stage) -> None:
    registered = await stage.setting_up.register(NAME)
    await stage.setting_up.operator("adele@contoso.com", NAME)
    await stage.setting_up.operator("adele@contoso.com", NAME)
    (assignment,) = stage.graph.assignments
    assert assignment["principalId"] == "adele"
    assert stage.graph.principals[assignment["resourceId"]]["appId"] == registered.operator_client_id


async def test_two_registrations_of_one_name_are_refused(stage: Stage) -> None:
    for number in ("1", "2"):
        stage.graph.applications[number] = {"id": number, "appId": number, "displayName": NAME, "appRoles": []}
    with pytest.raises(DirectoryFault, match="2 registrations"):
        await stage.setting_up.register(NAME)


async def test_a_refusal_is_told_in_graphs_words(stage: Stage) -> None:
    with pytest.raises(DirectoryFault, match="404 Request_ResourceNotFound: nothing here"):
        await Directory(_Credential(), transport=httpx.MockTransport(stage.graph.answer)).get("/nowhere")
