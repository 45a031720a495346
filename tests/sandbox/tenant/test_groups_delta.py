from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sandbox.tenant import Faults, Kind, Tenant, TenantConfig

from .support import drain

if TYPE_CHECKING:
    from .conftest import Serve

SELECT = "/groups/delta?$select=displayName,description,members"


def people(tenant: Tenant, count: int) -> list[str]:
    return [tenant.create_user(userPrincipalName=f"u{n}@contoso.com") for n in range(count)]


def folded(items: list[dict[str, Any]]) -> dict[str, dict[str, bool]]:
    """What a client makes of member slices: per group, member id to whether the last word was that he belongs."""
    members: dict[str, dict[str, bool]] = defaultdict(dict)
    for item in items:
        for member in item.get("members@delta", []):
            members[item["id"]][member["id"]] = "@removed" not in member
    return members


async def test_a_big_group_recurs_over_the_pages_with_slices_of_its_members(serve: Serve) -> None:
    server, client = await serve(TenantConfig(member_slice=50))
    everyone = people(server.tenant, 180)
    group = server.tenant.create_group("Big", members=everyone)
    items, _, pages = await drain(client, SELECT)
    assert pages == 4
    assert [len(item["members@delta"]) for item in items] == [50, 50, 50, 30]
    assert all(item["displayName"] == "Big" for item in items)
    assert list(folded(items)[group]) == everyone


async def test_members_who_leave_between_the_pages_do_not_hide_others(serve: Serve) -> None:
    server, client = await serve(TenantConfig(member_slice=10))
    everyone = people(server.tenant, 30)
    group = server.tenant.create_group("G", members=everyone)
    body = (await client.get(SELECT)).json()
    server.tenant.remove_members(group, everyone[:5])
    items, link, _ = await drain(client, body["@odata.nextLink"])
    changes, _, _ = await drain(client, link)
    members = folded(body["value"] + items + changes)[group]
    assert {member for member, belongs in members.items() if belongs} == set(everyone[5:])


async def test_a_group_without_members_has_no_members_annotation(serve: Serve) -> None:
    server, client = await serve()
    group = server.tenant.create_group("Empty")
    items, _, _ = await drain(client, SELECT)
    assert items == [{"id": group, "displayName": "Empty"}]


async def test_joining_and_leaving_come_as_differences(serve: Serve) -> None:
    server, client = await serve()
    ann, bob, cid = people(server.tenant, 3)
    group = server.tenant.create_group("G", members=[ann, bob])
    _, link, _ = await drain(client, SELECT)
    server.tenant.remove_members(group, [ann])
    server.tenant.add_members(group, [cid])
    items, _, _ = await drain(client, link)
    assert items == [
        {
            "id": group,
            "displayName": "G",
            "members@delta": [
                {"@odata.type": "#microsoft.graph.user", "id": ann, "@removed": {"reason": "deleted"}},
                {"@odata.type": "#microsoft.graph.user", "id": cid},
            ],
        }
    ]


async def test_many_joiners_come_in_slices_too(serve: Serve) -> None:
    server, client = await serve(TenantConfig(member_slice=100))
    everyone = people(server.tenant, 450)
    group = server.tenant.create_group("G")
    _, link, _ = await drain(client, SELECT)
    server.tenant.add_members(group, everyone)
    items, _, pages = await drain(client, link)
    assert pages > 1
    assert all(len(item["members@delta"]) <= 100 for item in items)
    assert folded(items)[group] == dict.fromkeys(everyone, True)


async def test_a_deleted_user_keeps_his_memberships_until_he_is_purged(serve: Serve) -> None:
    server, client = await serve()
    ann, bob = people(server.tenant, 2)
    group = server.tenant.create_group("G", members=[ann, bob])
    _, link, _ = await drain(client, SELECT)
    server.tenant.delete(ann)
    items, link, _ = await drain(client, link)
    assert items == []
    assert folded((await drain(client, SELECT))[0])[group] == {ann: True, bob: True}
    listed = (await client.get(f"/groups/{group}/members")).json()["value"]
    assert [member["id"] for member in listed] == [bob]
    server.tenant.purge(ann)
    items, _, _ = await drain(client, link)
    assert folded(items)[group] == {ann: False}


async def test_the_purge_of_a_member_can_go_unreported(serve: Serve) -> None:
    server, client = await serve(TenantConfig(faults=Faults(purge_hides_memberships=True)))
    (ann,) = people(server.tenant, 1)
    server.tenant.create_group("G", members=[ann])
    _, link, _ = await drain(client, SELECT)
    server.tenant.delete(ann)
    server.tenant.purge(ann)
    assert (await drain(client, link))[0] == []


async def test_without_members_in_select_memberships_are_not_tracked(serve: Serve) -> None:
    server, client = await serve()
    (ann,) = people(server.tenant, 1)
    group = server.tenant.create_group("G")
    _, link, _ = await drain(client, "/groups/delta?$select=displayName")
    server.tenant.add_members(group, [ann])
    assert (await drain(client, link))[0] == []


async def test_without_select_the_members_are_tracked(serve: Serve) -> None:
    server, client = await serve()
    (ann,) = people(server.tenant, 1)
    group = server.tenant.create_group("G", members=[ann])
    items, _, _ = await drain(client, "/groups/delta")
    assert folded(items)[group] == {ann: True}
    assert items[0]["securityEnabled"] is True


async def test_a_deleted_group_says_whether_it_can_come_back(serve: Serve) -> None:
    server, client = await serve()
    security = server.tenant.create_group("S")
    unified = server.tenant.create_group("U", groupTypes=["Unified"], mailEnabled=True)
    _, link, _ = await drain(client, SELECT)
    server.tenant.delete(security)
    server.tenant.delete(unified)
    items, _, _ = await drain(client, link)
    assert {item["id"]: item["@removed"]["reason"] for item in items} == {security: "deleted", unified: "changed"}


async def test_one_member_more_in_a_group_of_fifty_thousand_costs_one_small_page(serve: Serve) -> None:
    started = time.process_time()
    server, client = await serve(TenantConfig(users=50_000, everyone_group=True, throttling=False))
    assert time.process_time() - started < 20
    group = next(group for group in server.tenant.order[Kind.GROUP] if len(group.members) == 50_000)
    body = (await client.get("/groups/delta?$deltatoken=latest&$select=displayName,members")).json()
    new = server.tenant.create_user(userPrincipalName="new@contoso.com")
    server.tenant.add_members(group.id, [new])
    started = time.process_time()
    items, link, pages = await drain(client, body["@odata.deltaLink"])
    assert pages == 1
    assert folded(items)[group.id] == {new: True}
    assert time.process_time() - started < 0.5
    assert len(link) < 1000
    items, _, pages = await drain(client, SELECT)
    assert pages == 101
    assert len(folded(items)[group.id]) == 50_001
