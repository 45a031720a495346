from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.tenant import Faults, Kind, TenantConfig

from .support import Clock, drain

if TYPE_CHECKING:
    from .conftest import Serve

SELECT = "/users/delta?$select=displayName,jobTitle,accountEnabled"
MINIMAL = {"Prefer": "return=minimal"}


@pytest.mark.parametrize(
    "path", ["/users/delta", "/users/delta()", "/users/microsoft.graph.delta", "/users/microsoft.graph.delta()"]
)
async def test_every_spelling_of_delta_is_the_same(serve: Serve, path: str) -> None:
    server, client = await serve()
    ann = server.tenant.create_user(userPrincipalName="ann@contoso.com")
    items, _, _ = await drain(client, path)
    assert [item["id"] for item in items] == [ann]


async def test_the_first_round_holds_everybody_once_and_the_next_one_nobody(serve: Serve) -> None:
    server, client = await serve(TenantConfig(users=450))
    items, link, pages = await drain(client, SELECT)
    assert pages == 3
    assert sorted(item["id"] for item in items) == sorted(user.id for user in server.tenant.order[Kind.USER])
    assert (await drain(client, link))[0] == []


async def test_under_the_default_mode_an_item_has_every_selected_property_that_was_ever_set(serve: Serve) -> None:
    server, client = await serve()
    ann = server.tenant.create_user(userPrincipalName="ann@contoso.com", displayName="Ann", jobTitle="Buyer")
    _, link, _ = await drain(client, SELECT)
    server.tenant.update(ann, {"jobTitle": None})
    items, _, _ = await drain(client, link)
    assert items == [{"id": ann, "displayName": "Ann", "jobTitle": None, "accountEnabled": True}]


async def test_a_property_never_set_is_absent(serve: Serve) -> None:
    server, client = await serve()
    server.tenant.create_user(userPrincipalName="ann@contoso.com")
    items, _, _ = await drain(client, SELECT)
    assert "jobTitle" not in items[0]


async def test_under_minimal_an_item_has_only_what_changed_and_null_where_it_was_cleared(serve: Serve) -> None:
    server, client = await serve()
    ann = server.tenant.create_user(userPrincipalName="ann@contoso.com", displayName="Ann", jobTitle="Buyer")
    _, link, _ = await drain(client, SELECT)
    server.tenant.update(ann, {"jobTitle": None, "department": "Finance"})
    items, _, _ = await drain(client, link, **MINIMAL)
    assert items == [{"id": ann, "jobTitle": None}]


async def test_only_selected_properties_are_tracked(serve: Serve) -> None:
    server, client = await serve()
    ann = server.tenant.create_user(userPrincipalName="ann@contoso.com")
    _, link, _ = await drain(client, SELECT)
    server.tenant.update(ann, {"department": "Finance"})
    server.tenant.set_manager(ann, server.tenant.create_user(userPrincipalName="bob@contoso.com"))
    items, _, _ = await drain(client, link)
    assert ann not in {item["id"] for item in items}


async def test_a_manager_comes_as_an_array_with_the_former_one_removed(serve: Serve) -> None:
    server, client = await serve()
    ann, bob, cid = (server.tenant.create_user(userPrincipalName=f"{name}@contoso.com") for name in ("ann", "bob", "cid"))
    server.tenant.set_manager(ann, bob)
    items, link, _ = await drain(client, "/users/delta?$select=displayName,manager")
    user = "#microsoft.graph.user"
    assert {item["id"]: item.get("manager@delta") for item in items} == {
        ann: [{"@odata.type": user, "id": bob}],
        bob: None,
        cid: None,
    }
    server.tenant.set_manager(ann, cid)
    items, link, _ = await drain(client, link)
    gone = {"@odata.type": user, "id": bob, "@removed": {"reason": "deleted"}}
    assert items[0]["manager@delta"] == [gone, {"@odata.type": user, "id": cid}]
    server.tenant.delete(cid)
    server.tenant.purge(cid)
    items, _, _ = await drain(client, link)
    assert {item["id"]: item.get("manager@delta", item.get("@removed")) for item in items} == {
        ann: [{"@odata.type": user, "id": cid, "@removed": {"reason": "deleted"}}],
        cid: {"reason": "deleted"},
    }


async def test_deleting_restoring_and_purging_have_their_own_forms(serve: Serve) -> None:
    server, client = await serve()
    ann = server.tenant.create_user(userPrincipalName="ann@contoso.com", displayName="Ann")
    _, link, _ = await drain(client, SELECT)
    server.tenant.delete(ann)
    items, link, _ = await drain(client, link)
    assert items == [{"id": ann, "@removed": {"reason": "changed"}}]
    server.tenant.restore(ann)
    items, link, _ = await drain(client, link, **MINIMAL)
    assert items == [{"id": ann, "displayName": "Ann", "accountEnabled": True}]
    server.tenant.delete(ann)
    server.tenant.purge(ann)
    items, _, _ = await drain(client, link)
    assert items == [{"id": ann, "@removed": {"reason": "deleted"}}]


async def test_a_first_round_may_report_the_removed(serve: Serve) -> None:
    server, client = await serve()
    ann = server.tenant.create_user(userPrincipalName="ann@contoso.com")
    server.tenant.delete(ann)
    items, _, _ = await drain(client, SELECT)
    assert items == [{"id": ann, "@removed": {"reason": "changed"}}]


async def test_a_change_during_the_first_round_is_never_lost(serve: Serve) -> None:
    server, client = await serve(TenantConfig(users=30, user_delta_page=10))
    body = (await client.get(SELECT)).json()
    first = body["value"][0]["id"]
    server.tenant.update(first, {"displayName": "Renamed"})
    new = server.tenant.create_user(userPrincipalName="new@contoso.com")
    _, link, _ = await drain(client, body["@odata.nextLink"])
    items, _, _ = await drain(client, link)
    assert {first, new} <= {item["id"] for item in items}


async def test_many_changes_come_in_pages_and_pages_without_items_are_followed(serve: Serve) -> None:
    server, client = await serve(TenantConfig(users=30, user_delta_page=10, faults=Faults(empty_pages=0.5)))
    items, link, pages = await drain(client, SELECT)
    assert len(items) == 30
    assert pages > 3
    people = [user.id for user in server.tenant.order[Kind.USER]]
    for person in people:
        server.tenant.update(person, {"jobTitle": "New"})
    items, _, pages = await drain(client, link)
    assert sorted(item["id"] for item in items) == sorted(people)
    assert pages >= 3


async def test_latest_starts_from_now_on_without_data(serve: Serve) -> None:
    server, client = await serve(TenantConfig(users=5))
    body = (await client.get("/users/delta?$deltatoken=latest&$select=displayName")).json()
    assert body["value"] == []
    someone = server.tenant.order[Kind.USER][0].id
    server.tenant.update(someone, {"displayName": "Renamed"})
    items, _, _ = await drain(client, body["@odata.deltaLink"])
    assert items == [{"id": someone, "displayName": "Renamed"}]


async def test_a_delta_link_can_be_followed_twice(serve: Serve) -> None:
    server, client = await serve()
    _, link, _ = await drain(client, SELECT)
    ann = server.tenant.create_user(userPrincipalName="ann@contoso.com")
    first, _, _ = await drain(client, link)
    again, _, _ = await drain(client, link)
    assert first == again
    assert [item["id"] for item in first] == [ann]


async def test_a_filter_tracks_only_the_named_objects(serve: Serve) -> None:
    server, client = await serve(TenantConfig(users=20))
    wanted = [user.id for user in server.tenant.order[Kind.USER][5:7]]
    clauses = " or ".join(f"id eq '{key}'" for key in wanted)
    items, link, _ = await drain(client, f"/users/delta?$select=jobTitle&$filter={clauses}")
    assert [item["id"] for item in items] == wanted
    for user in server.tenant.order[Kind.USER]:
        server.tenant.update(user.id, {"jobTitle": "New"})
    items, _, _ = await drain(client, link)
    assert [item["id"] for item in items] == wanted


@pytest.mark.parametrize(
    "query",
    [
        "$top=5",
        "$orderby=displayName",
        "$expand=manager",
        "$filter=displayName eq 'x'",
        "$filter=" + " or ".join(["id eq '1'"] + [f"id eq '{n}'" for n in range(2, 53)]),
        "$select=nonsense",
        "$search=x",
        "$deltatoken=garbage",
    ],
)
async def test_what_delta_does_not_support_is_refused(serve: Serve, query: str) -> None:
    _, client = await serve()
    response = await client.get(f"/users/delta?{query}")
    assert response.status_code == 400
    assert response.json()["error"]["message"]


async def test_a_token_of_another_tenant_is_an_expired_one(serve: Serve) -> None:
    _, first = await serve()
    _, second = await serve()
    _, link, _ = await drain(first, "/users/delta")
    response = await second.get("/users/delta?" + link.partition("?")[2])
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "syncStateNotFound"


async def test_a_token_is_not_taken_by_another_resource(serve: Serve) -> None:
    _, client = await serve()
    _, link, _ = await drain(client, "/users/delta")
    assert (await client.get(link.replace("/users/", "/groups/"))).status_code == 400


async def test_a_token_expires_after_seven_days(serve: Serve, clock: Clock) -> None:
    _, client = await serve(clock=clock)
    _, link, _ = await drain(client, "/users/delta")
    clock.now += 7 * 86_400 - 1
    _, renewed, _ = await drain(client, link)
    clock.now += 2
    response = await client.get(link)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "syncStateNotFound"
    assert (await client.get(renewed)).status_code == 200


async def test_expired_and_reset_tokens_are_told_apart_and_new_ones_work(serve: Serve) -> None:
    server, client = await serve(TenantConfig(users=3))
    _, link, _ = await drain(client, SELECT)
    await client.post(f"{server.control_url}/faults", json={"expire_delta_tokens": True})
    assert (await client.get(link)).status_code == 400
    _, link, _ = await drain(client, SELECT)
    await client.post(f"{server.control_url}/faults", json={"reset_delta_tokens": True})
    response = await client.get(link)
    assert response.status_code == 410
    assert response.headers["Location"] == f"{server.url}/users/delta?$deltatoken="
    items, link, _ = await drain(client, response.headers["Location"])
    assert len(items) == 3
    assert (await drain(client, link))[0] == []


async def test_replays_repeat_what_was_already_reported(serve: Serve) -> None:
    server, client = await serve(TenantConfig(users=3, faults=Faults(delta_replays=1.0)))
    _, link, _ = await drain(client, SELECT)
    someone = server.tenant.order[Kind.USER][0].id
    server.tenant.update(someone, {"displayName": "Renamed"})
    items, link, _ = await drain(client, link)
    again, _, _ = await drain(client, link)
    assert [item["id"] for item in items] == [item["id"] for item in again] == [someone]
