from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.tenant import Faults, TenantConfig

from .support import Clock, drain

if TYPE_CHECKING:
    from .conftest import Serve

LAGGING = TenantConfig(faults=Faults(lag_seconds=10.0))


async def test_a_replica_may_not_know_a_change_yet_and_knows_it_after_the_lag(serve: Serve, clock: Clock) -> None:
    server, client = await serve(LAGGING, clock=clock)
    ann = server.tenant.create_user(userPrincipalName="ann@contoso.com", displayName="Ann")
    clock.now += 20
    server.tenant.update(ann, {"displayName": "Renamed"})
    clock.now += 5
    seen = {(await client.get(f"/users/{ann}")).json()["displayName"] for _ in range(40)}
    assert seen == {"Ann", "Renamed"}
    clock.now += 10
    seen = {(await client.get(f"/users/{ann}")).json()["displayName"] for _ in range(10)}
    assert seen == {"Renamed"}


async def test_a_new_user_may_be_unknown_and_a_deleted_one_still_there(serve: Serve, clock: Clock) -> None:
    server, client = await serve(LAGGING, clock=clock)
    ann = server.tenant.create_user(userPrincipalName="ann@contoso.com")
    clock.now += 5
    assert {(await client.get(f"/users/{ann}")).status_code for _ in range(40)} == {200, 404}
    clock.now += 20
    server.tenant.delete(ann)
    clock.now += 5
    assert {(await client.get(f"/users/{ann}")).status_code for _ in range(40)} == {200, 404}
    assert {(await client.get(f"/directory/deletedItems/{ann}")).status_code for _ in range(40)} == {200, 404}


async def test_a_replica_shows_memberships_and_managers_as_they_were(serve: Serve, clock: Clock) -> None:
    server, client = await serve(LAGGING, clock=clock)
    tenant = server.tenant
    ann, bob = (tenant.create_user(userPrincipalName=f"{name}@contoso.com") for name in ("ann", "bob"))
    group = tenant.create_group("G", members=[ann])
    tenant.set_manager(ann, bob)
    clock.now += 20
    tenant.remove_members(group, [ann])
    tenant.add_members(group, [bob])
    tenant.set_manager(ann, None)
    before = tenant.now()
    clock.now += 5
    members, groups, managers = set(), set(), set()
    for _ in range(40):
        listed = (await client.get(f"/groups/{group}/members")).json()["value"]
        members.add(tuple(member["id"] for member in listed))
        groups.add(len((await client.get(f"/users/{ann}/memberOf")).json()["value"]))
        managers.add((await client.get(f"/users/{ann}/manager")).status_code)
    assert members == {(ann,), (bob,)}
    assert groups == {0, 1}
    assert managers == {200, 404}
    assert [member.id for member in before.members(tenant.objects[group])] == [bob]


async def test_a_delta_link_of_a_lagging_replica_still_reports_every_change(serve: Serve, clock: Clock) -> None:
    server, client = await serve(LAGGING, clock=clock)
    _, link, _ = await drain(client, "/users/delta?$select=displayName")
    made: list[str] = []
    seen: list[str] = []
    missed_at_once = 0
    for number in range(30):
        clock.now += 1
        new = server.tenant.create_user(userPrincipalName=f"u{number}@contoso.com")
        made.append(new)
        items, link, _ = await drain(client, link)
        seen += [item["id"] for item in items]
        missed_at_once += new not in seen
    clock.now += 20
    items, _, _ = await drain(client, link)
    # Once each: a replica that is behind the token does not move the token back.
    assert seen + [item["id"] for item in items] == made
    assert missed_at_once > 0


async def test_a_first_round_over_lagging_replicas_loses_nobody(serve: Serve, clock: Clock) -> None:
    server, client = await serve(TenantConfig(user_delta_page=3, faults=Faults(lag_seconds=10.0)), clock=clock)
    made = set()
    for number in range(40):
        clock.now += 1
        made.add(server.tenant.create_user(userPrincipalName=f"u{number}@contoso.com"))
    items, link, _ = await drain(client, "/users/delta?$select=displayName")
    clock.now += 20
    later, _, _ = await drain(client, link)
    assert {item["id"] for item in items + later} == made


async def test_writes_see_everything_at_once(serve: Serve, clock: Clock) -> None:
    server, client = await serve(LAGGING, clock=clock)
    ann = server.tenant.create_user(userPrincipalName="ann@contoso.com")
    for _ in range(10):
        assert (await client.patch(f"/users/{ann}", json={"jobTitle": "Buyer"})).status_code == 204
