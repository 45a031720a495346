from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shared.errors import CredentialsError, NotFoundError, ProtocolError, RefusedError, ThrottledError
from shared.graph.assignments import DEFAULT_ACCESS, AppRole, app_role_assignments, service_principal
from tests.graph.conftest import BASE_URL, NOW, ScriptedGraph, error_reply, group_id, ok, user_id

if TYPE_CHECKING:
    from shared.graph.client import GraphClient

SP = "33333333-0000-4000-8000-000000000001"
ROLE = "44444444-0000-4000-8000-000000000001"
PATH = f"/servicePrincipals/{SP}/appRoleAssignedTo"


def row(number: int, principal: str, kind: str, role: str = DEFAULT_ACCESS) -> dict[str, Any]:
    return {"id": f"a{number}", "principalId": principal, "principalType": kind, "appRoleId": role, "deletedDateTime": None}


def first_page() -> dict[str, Any]:
    return {"value": [row(1, user_id(1), "User", ROLE)], "@odata.nextLink": f"{BASE_URL}{PATH}?$skiptoken=2"}


async def test_all_pages_make_a_complete_read(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on(PATH, ok(first_page()), ok({"value": [row(2, group_id(1), "Group"), row(1, user_id(1), "User", ROLE)]}))
    read = await app_role_assignments(client, SP)
    assert read.complete
    assert read.error is None
    assert read.read_at == NOW
    assert [(a.principal_type, a.principal_id, a.app_role_id) for a in read.assignments] == [
        ("User", user_id(1), ROLE),
        ("Group", group_id(1), DEFAULT_ACCESS),
    ]


async def test_a_read_that_breaks_off_says_so(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on(PATH, ok(first_page()), error_reply(429, Retry_After="11"))
    read = await app_role_assignments(client, SP)
    assert not read.complete
    assert len(read.assignments) == 1
    assert isinstance(read.error, ThrottledError)
    assert read.error.retry_after == 11.0


@pytest.mark.parametrize(
    "broken",
    [
        {"id": "a9", "principalType": "User"},
        {"id": "a9", "principalId": "x", "principalType": "User"},
        None,
        {"principalId": user_id(1)},
    ],
)
async def test_a_row_that_cannot_be_read_leaves_the_read_incomplete(
    client: GraphClient, graph: ScriptedGraph, broken: Any
) -> None:
    graph.on(PATH, ok({"value": [broken, row(1, user_id(1), "User")]}))
    read = await app_role_assignments(client, SP)
    assert not read.complete
    assert isinstance(read.error, ProtocolError)
    assert len(read.assignments) == 1


@pytest.mark.parametrize(("status", "expected"), [(404, NotFoundError), (403, RefusedError), (429, ThrottledError)])
async def test_a_read_that_never_began_is_raised(
    client: GraphClient, graph: ScriptedGraph, status: int, expected: type[Exception]
) -> None:
    graph.on(PATH, error_reply(status))
    with pytest.raises(expected):
        await app_role_assignments(client, SP)


async def test_refused_credentials_are_raised_on_any_page(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on(PATH, ok(first_page()), error_reply(401))
    with pytest.raises(CredentialsError):
        await app_role_assignments(client, SP)


async def test_no_assignment_at_all_is_complete(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on(PATH, ok({"value": []}))
    read = await app_role_assignments(client, SP)
    assert read.complete
    assert read.assignments == ()


async def test_the_enterprise_application_comes_with_its_roles(client: GraphClient, graph: ScriptedGraph) -> None:
    roles = [
        {"id": ROLE, "value": "itil", "displayName": "ITIL", "isEnabled": True},
        {"id": "r2", "value": None, "isEnabled": False},
    ]
    graph.on(f"/servicePrincipals/{SP}", ok({"id": SP, "appId": "app-1", "displayName": "ServiceNow", "appRoles": roles}))
    principal = await service_principal(client, SP)
    assert (principal.id, principal.app_id, principal.display_name) == (SP, "app-1", "ServiceNow")
    assert principal.app_roles == (AppRole(ROLE, "itil", "ITIL", is_enabled=True), AppRole("r2", None, None, is_enabled=False))
