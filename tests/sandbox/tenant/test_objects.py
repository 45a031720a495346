from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from sandbox.tenant import Kind, TenantConfig

if TYPE_CHECKING:
    from .conftest import Serve

NEW_USER = {
    "accountEnabled": True,
    "displayName": "Ann One",
    "mailNickname": "ann",
    "userPrincipalName": "ann@contoso.com",
    "passwordProfile": {"password": "not kept"},
}
UNKNOWN = "99999999-0000-4000-8000-000000000009"


async def test_a_request_without_a_token_is_refused_in_graphs_shape(serve: Serve) -> None:
    _, client = await serve()
    response = await client.get("/users", headers={"Authorization": ""})
    assert response.status_code == 401
    error = response.json()["error"]
    assert error["code"] == "InvalidAuthenticationToken"
    assert {"date", "request-id", "client-request-id"} <= set(error["innerError"])


async def test_a_configured_token_is_the_only_one(serve: Serve) -> None:
    _, client = await serve(TenantConfig(bearer_token="right"))
    assert (await client.get("/users")).status_code == 401
    assert (await client.get("/users", headers={"Authorization": "Bearer right"})).status_code == 200


async def test_a_user_lives_from_create_to_purge(serve: Serve) -> None:
    _, client = await serve()
    created = await client.post("/users", json=NEW_USER)
    assert created.status_code == 201
    user_id = created.json()["id"]
    assert (await client.patch(f"/users/{user_id}", json={"department": "Finance"})).status_code == 204
    read = (await client.get(f"/users/{user_id}?$select=id,department,jobTitle")).json()
    assert {name: value for name, value in read.items() if "@" not in name} == {
        "id": user_id,
        "department": "Finance",
        "jobTitle": None,
    }
    assert (await client.get("/users/ANN@contoso.com")).json()["id"] == user_id
    assert (await client.delete(f"/users/{user_id}")).status_code == 204
    assert (await client.get(f"/users/{user_id}")).status_code == 404
    deleted = (await client.get(f"/directory/deletedItems/{user_id}")).json()
    assert deleted["userPrincipalName"] == user_id.replace("-", "") + "ann@contoso.com"
    listed = (await client.get("/directory/deletedItems/microsoft.graph.user")).json()["value"]
    assert [item["id"] for item in listed] == [user_id]
    assert (await client.post(f"/directory/deletedItems/{user_id}/restore")).status_code == 200
    assert (await client.get(f"/users/{user_id}")).json()["userPrincipalName"] == "ann@contoso.com"
    await client.delete(f"/users/{user_id}")
    assert (await client.delete(f"/directory/deletedItems/{user_id}")).status_code == 204
    assert (await client.get(f"/directory/deletedItems/{user_id}")).status_code == 404


async def test_without_select_a_user_has_the_eleven_default_properties(serve: Serve) -> None:
    server, client = await serve()
    user_id = server.tenant.create_user(userPrincipalName="ann@contoso.com")
    body = (await client.get(f"/users/{user_id}")).json()
    assert len([name for name in body if not name.startswith("@")]) == 11
    assert body["businessPhones"] == []
    assert "department" not in body


async def test_a_guest_is_found_by_an_encoded_principal_name(serve: Serve) -> None:
    server, client = await serve()
    name = "bob_fabrikam.com#EXT#@contoso.com"
    user_id = server.tenant.create_user(userPrincipalName=name)
    assert (await client.get(f"/users/{quote(name)}")).json()["id"] == user_id


@pytest.mark.parametrize(
    "body",
    [
        NEW_USER | {"userPrincipalName": "ann@elsewhere.example"},
        NEW_USER | {"department": ""},
        NEW_USER | {"department": "x" * 65},
        NEW_USER | {"favouriteColour": "blue"},
        NEW_USER | {"accountEnabled": "yes"},
        {name: value for name, value in NEW_USER.items() if name != "displayName"},
    ],
)
async def test_what_graph_would_not_store_is_refused(serve: Serve, body: dict[str, object]) -> None:
    server, client = await serve()
    response = await client.post("/users", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "Request_BadRequest"
    assert server.tenant.position == 0


async def test_a_principal_name_belongs_to_one_live_user(serve: Serve) -> None:
    server, client = await serve()
    first = (await client.post("/users", json=NEW_USER)).json()["id"]
    assert (await client.post("/users", json=NEW_USER)).status_code == 400
    await client.delete(f"/users/{first}")
    second = await client.post("/users", json=NEW_USER)
    assert second.status_code == 201
    assert (await client.post(f"/directory/deletedItems/{first}/restore")).status_code == 400
    server.tenant.update(second.json()["id"], {"userPrincipalName": "other@contoso.com"})
    assert (await client.post(f"/directory/deletedItems/{first}/restore")).status_code == 200


async def test_every_user_is_listed_once_over_the_pages(serve: Serve) -> None:
    server, client = await serve(TenantConfig(users=250, groups=5))
    link, seen = "/users?$select=id,department&$top=99&$count=true", []
    while link:
        body = (await client.get(link, headers={"ConsistencyLevel": "eventual"})).json()
        assert len(body["value"]) <= 99
        assert body["@odata.count"] == 250
        assert all(set(user) == {"id", "department"} for user in body["value"])
        seen += [user["id"] for user in body["value"]]
        link = body.get("@odata.nextLink", "")
    assert sorted(seen) == sorted(user.id for user in server.tenant.order[Kind.USER])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("displayName eq 'Seán O''Brien'", {"sean"}),
        ("startswith(userPrincipalName,'SEAN')", {"sean", "sean2"}),
        ("userPrincipalName eq 'sean2@contoso.com'", {"sean2"}),
        ("startswith(displayName,'Se') and accountEnabled eq false", {"sean2"}),
        ("userPrincipalName eq 'sean@contoso.com' or displayName eq 'Zoë'", {"sean", "zoe"}),
        ("department eq null", {"sean", "sean2", "zoe"}),
    ],
)
async def test_filters_select_what_they_say(serve: Serve, text: str, expected: set[str]) -> None:
    server, client = await serve()
    server.tenant.create_user(userPrincipalName="sean@contoso.com", displayName="Seán O'Brien")
    server.tenant.create_user(userPrincipalName="sean2@contoso.com", displayName="Seán or Two", accountEnabled=False)
    server.tenant.create_user(userPrincipalName="zoe@contoso.com", displayName="Zoë")
    response = await client.get("/users", params={"$filter": text})
    assert {user["userPrincipalName"].partition("@")[0] for user in response.json()["value"]} == expected


@pytest.mark.parametrize(
    "query",
    [
        "$filter=endswith(mail,'x')",
        "$select=nonsense",
        "$top=1000",
        "$expand=photo",
        "$expand=manager($levels=max)",
        "$filter=x eq '1'",
    ],
)
async def test_options_that_graph_does_not_know_are_refused(serve: Serve, query: str) -> None:
    _, client = await serve()
    assert (await client.get(f"/users?{query}")).status_code == 400


async def test_a_manager_is_set_expanded_and_cleared(serve: Serve) -> None:
    server, client = await serve()
    ann = server.tenant.create_user(userPrincipalName="ann@contoso.com")
    bob = server.tenant.create_user(userPrincipalName="bob@contoso.com")
    assert (await client.get(f"/users/{ann}/manager")).status_code == 404
    reference = {"@odata.id": f"{server.url}/users/{bob}"}
    assert (await client.put(f"/users/{ann}/manager/$ref", json=reference)).status_code == 204
    assert (await client.get(f"/users/{ann}/manager")).json()["id"] == bob
    expanded = (await client.get(f"/users/{ann}?$select=id&$expand=manager($select=id)")).json()
    assert expanded["manager"] == {"@odata.type": "#microsoft.graph.user", "id": bob}
    listed = (await client.get("/users?$select=id&$expand=manager($select=id)")).json()["value"]
    assert ["manager" in user for user in listed] == [True, False]
    server.tenant.delete(bob)
    assert (await client.get(f"/users/{ann}/manager")).status_code == 404
    server.tenant.restore(bob)
    assert (await client.delete(f"/users/{ann}/manager/$ref")).status_code == 204
    assert (await client.get(f"/users/{ann}/manager")).status_code == 404


async def test_members_of_every_type_come_and_go(serve: Serve) -> None:
    server, client = await serve(TenantConfig(groups=1))
    tenant = server.tenant
    ann = tenant.create_user(userPrincipalName="ann@contoso.com")
    inner = tenant.create_group("Inner", members=[ann])
    device = tenant.order[Kind.DEVICE][0].id
    outer = tenant.create_group("Outer", members=[inner, device, tenant.config.service_principal_id])
    members = (await client.get(f"/groups/{outer}/members")).json()["value"]
    assert {member["@odata.type"].rpartition(".")[2] for member in members} == {"group", "device", "servicePrincipal"}
    transitive = (await client.get(f"/groups/{outer}/transitiveMembers/microsoft.graph.user")).json()["value"]
    assert [member["id"] for member in transitive] == [ann]
    above = (await client.get(f"/users/{ann}/transitiveMemberOf?$select=id")).json()["value"]
    assert {group["id"] for group in above} == {inner, outer}
    assert [group["id"] for group in (await client.get(f"/users/{ann}/memberOf")).json()["value"]] == [inner]
    reference = {"@odata.id": f"{server.url}/directoryObjects/{ann}"}
    assert (await client.post(f"/groups/{outer}/members/$ref", json=reference)).status_code == 204
    assert (await client.post(f"/groups/{outer}/members/$ref", json=reference)).status_code == 400
    assert (await client.delete(f"/groups/{outer}/members/{ann}/$ref")).status_code == 204
    assert (await client.delete(f"/groups/{outer}/members/{ann}/$ref")).status_code == 404


async def test_paging_through_members_misses_nobody_when_others_leave(serve: Serve) -> None:
    server, client = await serve()
    tenant = server.tenant
    people = [tenant.create_user(userPrincipalName=f"u{n}@contoso.com") for n in range(30)]
    group = tenant.create_group("G", members=people)
    body = (await client.get(f"/groups/{group}/members?$select=id&$top=10")).json()
    seen = [member["id"] for member in body["value"]]
    tenant.remove_members(group, people[:5])
    while "@odata.nextLink" in body:
        body = (await client.get(body["@odata.nextLink"])).json()
        seen += [member["id"] for member in body["value"]]
    assert seen == people


async def test_nested_groups_in_a_circle_do_not_hang_the_tenant(serve: Serve) -> None:
    server, client = await serve()
    first = server.tenant.create_group("First")
    second = server.tenant.create_group("Second", members=[first])
    server.tenant.add_members(first, [second])
    found = (await client.get(f"/groups/{first}/transitiveMembers")).json()["value"]
    assert [group["id"] for group in found] == [second]


async def test_a_security_group_is_gone_at_once_and_a_microsoft_365_group_can_come_back(serve: Serve) -> None:
    server, client = await serve()
    security = server.tenant.create_group("S")
    unified = server.tenant.create_group("U", groupTypes=["Unified"], mailEnabled=True)
    await client.delete(f"/groups/{security}")
    await client.delete(f"/groups/{unified}")
    assert (await client.get(f"/directory/deletedItems/{security}")).status_code == 404
    assert (await client.get(f"/directory/deletedItems/{unified}")).status_code == 200


async def test_unknown_ids_are_absent_from_get_by_ids(serve: Serve) -> None:
    server, client = await serve()
    ann = server.tenant.create_user(userPrincipalName="ann@contoso.com", department="Finance")
    group = server.tenant.create_group("G")
    asked = {"ids": [ann, group, UNKNOWN], "types": ["user"]}
    response = await client.post("/directoryObjects/getByIds", json=asked)
    assert [(item["id"], item["department"]) for item in response.json()["value"]] == [(ann, "Finance")]
    assert response.headers["x-ms-resource-unit"] == "3"
    assert (await client.post("/directoryObjects/getByIds", json={"ids": [UNKNOWN] * 1001})).status_code == 400


async def test_assignments_are_made_paged_and_taken_away(serve: Serve) -> None:
    server, client = await serve()
    tenant = server.tenant
    application = tenant.config.service_principal_id
    app_id = (await client.get(f"/servicePrincipals/{application}")).json()["appId"]
    people = [tenant.create_user(userPrincipalName=f"u{n}@contoso.com") for n in range(5)]
    for person in people:
        body = {"principalId": person, "resourceId": application, "appRoleId": "00000000-0000-0000-0000-000000000000"}
        response = await client.post(f"/servicePrincipals/{application}/appRoleAssignedTo", json=body)
        assert response.status_code == 201
    assert (await client.post(f"/servicePrincipals/{application}/appRoleAssignedTo", json=body)).status_code == 400
    link, seen = f"/servicePrincipals(appId='{app_id}')/appRoleAssignedTo?$top=2", []
    while link:
        page = (await client.get(link)).json()
        seen += page["value"]
        link = page.get("@odata.nextLink", "")
    assert [made["principalId"] for made in seen] == people
    assert seen[0]["principalType"] == "User"
    gone = await client.delete(f"/servicePrincipals/{application}/appRoleAssignedTo/{seen[0]['id']}")
    assert gone.status_code == 204
    tenant.delete(people[1])
    left = (await client.get(f"/servicePrincipals/{application}/appRoleAssignedTo")).json()["value"]
    assert [made["principalId"] for made in left] == people[2:]


async def test_the_organization_names_its_domains(serve: Serve) -> None:
    _, client = await serve()
    value = (await client.get("/organization?$select=id,verifiedDomains")).json()["value"]
    assert [domain["name"] for domain in value[0]["verifiedDomains"]] == ["contoso.com", "contoso.onmicrosoft.com"]
