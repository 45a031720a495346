"""The Graph client against the sandbox's tenant, over HTTP."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from sandbox.tenant import Faults, TenantConfig, TenantServer
from shared.errors import CredentialsError, NotFoundError, ProtocolError, ThrottledError
from shared.graph.answers import DeltaResetError
from shared.graph.client import GraphClient
from shared.graph.delta import DeltaItem, delta_page
from shared.graph.notifications import ParsedNotifications, client_state_matches, parse_notifications, validation_reply
from shared.graph.objects import (
    Failed,
    Missing,
    Present,
    SoftDeleted,
    app_role_assignments,
    default_domain,
    direct_reports,
    member_of,
    members,
    read_objects,
    service_principal,
    transitive_members,
)
from shared.graph.subscriptions import (
    DEFAULT_LIFETIME,
    create_subscription,
    delete_subscription,
    list_subscriptions,
    renew_subscription,
)
from tests.graph.conftest import TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox.tenant import Tenant
    from shared.graph.identities import ObjectKind

CONFIG = TenantConfig(
    seed=7, users=60, groups=6, bearer_token=TOKEN, user_delta_page=25, group_delta_page=4, member_slice=10, throttling=False
)
SELECT = ["displayName", "userPrincipalName", "accountEnabled", "department", "mail"]


@pytest.fixture
async def server() -> AsyncIterator[TenantServer]:
    async with TenantServer(CONFIG) as running:
        yield running


@pytest.fixture
def tenant(server: TenantServer) -> Tenant:
    return server.tenant


@pytest.fixture
async def client(server: TenantServer) -> AsyncIterator[GraphClient]:
    made = GraphClient(server.url, access_token=TOKEN)
    yield made
    await made.aclose()


async def whole_round(
    client: GraphClient, kind: ObjectKind, select: list[str], link: str | None = None
) -> tuple[list[DeltaItem], str]:
    items: list[DeltaItem] = []
    while True:
        page = await delta_page(client, kind, link=link, select=select)
        items += page.items
        if page.delta_link is not None:
            return items, page.delta_link
        link = page.next_link


async def test_a_full_round_of_users_is_followed_by_what_changed(client: GraphClient, tenant: Tenant) -> None:
    items, link = await whole_round(client, "user", SELECT)
    assert len({item.id for item in items}) == 60
    managed = {item.id: item.manager_id for item in items if item.has_manager}
    assert len([manager for manager in managed.values() if manager]) > 40

    hire = tenant.create_user(userPrincipalName="new.hire@contoso.com", displayName="New Hire")
    renamed, leaver, gone = (item.id for item in items[3:6])
    tenant.update(renamed, {"displayName": "Ånn Renämed 🎉", "department": None})
    tenant.set_manager(renamed, None)
    tenant.set_manager(hire, renamed)
    tenant.delete(leaver)
    tenant.delete(gone)
    tenant.purge(gone)

    changed, after = await whole_round(client, "user", [], link)
    found = {item.id: item for item in changed}
    assert {renamed, hire, leaver, gone} <= set(found)
    assert found[renamed].raw["displayName"] == "Ånn Renämed 🎉"
    assert (found[renamed].has_manager, found[renamed].manager_id) == (True, None)
    assert found[hire].manager_id == renamed
    assert found[leaver].removed == "changed"
    assert found[gone].removed == "deleted"
    assert (await whole_round(client, "user", [], after))[0] == []


async def test_the_slices_of_a_big_group_add_up(client: GraphClient, tenant: Tenant) -> None:
    users, _ = await whole_round(client, "user", ["displayName"])
    big = tenant.create_group("Everybody", members=[item.id for item in users])
    items, link = await whole_round(client, "group", ["displayName"])
    slices = [item for item in items if item.id == big]
    assert len(slices) > 1
    assert {member.id for item in slices for member in item.members} == {item.id for item in users}

    tenant.remove_members(big, [users[0].id])
    changed, _ = await whole_round(client, "group", [], link)
    assert [(member.id, member.removed) for item in changed for member in item.members] == [(users[0].id, True)]


async def test_an_expired_token_and_a_reset_ask_for_a_full_round(server: TenantServer, client: GraphClient) -> None:
    _, link = await whole_round(client, "user", SELECT)
    await control(server, {"expire_delta_tokens": True})
    with pytest.raises(DeltaResetError, match="syncStateNotFound"):
        await delta_page(client, "user", link=link, select=[])
    _, link = await whole_round(client, "user", SELECT)
    await control(server, {"reset_delta_tokens": True})
    with pytest.raises(DeltaResetError) as caught:
        await delta_page(client, "user", link=link, select=[])
    assert caught.value.location is not None
    assert caught.value.location.startswith(server.url)


async def test_objects_are_present_in_the_bin_or_missing(client: GraphClient, tenant: Tenant) -> None:
    users, _ = await whole_round(client, "user", ["displayName"])
    manager_of = {item.id: item.manager_id for item in users}
    # Somebody who leads nobody: a purge takes the reports' manager away.
    leaf_users = [user for user in manager_of if user not in set(manager_of.values())]
    binned, purged = leaf_users[:2]
    tenant.delete(binned)
    tenant.delete(purged)
    tenant.purge(purged)
    reads = await read_objects(client, "user", manager_of, [*SELECT, "employeeOrgData"])
    assert list(reads) == list(manager_of)
    assert isinstance(reads.pop(binned), SoftDeleted)
    assert isinstance(reads.pop(purged), Missing)
    assert {found: read.manager_id for found, read in reads.items() if isinstance(read, Present)} == {
        found: manager_of[found] for found in reads
    }
    single = (await read_objects(client, "user", [leaf_users[2]], [*SELECT, "employeeOrgData"]))[leaf_users[2]]
    batched = reads[leaf_users[2]]
    assert isinstance(single, Present)
    assert isinstance(batched, Present)
    assert single.raw == batched.raw


async def test_relations_are_complete_and_typed(client: GraphClient, tenant: Tenant) -> None:
    first = tenant.create_user(userPrincipalName="first@contoso.com")
    second = tenant.create_user(userPrincipalName="second@contoso.com")
    inner = tenant.create_group("Inner", members=[second])
    outer = tenant.create_group("Outer", members=[first, inner])
    assert {(ref.id, ref.type) for ref in await members(client, outer)} == {(first, "user"), (inner, "group")}
    assert {ref.id for ref in await transitive_members(client, outer)} == {first, inner, second}
    assert [(ref.id, ref.type) for ref in await member_of(client, second)] == [(inner, "group")]
    tenant.set_manager(second, first)
    assert [(ref.id, ref.type) for ref in await direct_reports(client, first)] == [(second, "user")]
    tenant.delete(second)
    assert await direct_reports(client, first) == ()
    with pytest.raises(NotFoundError):
        await members(client, first)


async def test_assignments_and_the_default_domain_are_read(client: GraphClient, tenant: Tenant) -> None:
    user = tenant.create_user(userPrincipalName="assigned@contoso.com")
    group = tenant.create_group("Assigned", members=[user])
    for principal in (user, group):
        tenant.assignments.assign(principal)
    application = await service_principal(client, CONFIG.service_principal_id)
    read = await app_role_assignments(client, CONFIG.service_principal_id)
    assert read.complete
    assert {(found.principal_id, found.principal_type) for found in read.assignments} == {(user, "User"), (group, "Group")}
    assert {found.app_role_id for found in read.assignments} <= {role.id for role in application.app_roles}
    assert await default_domain(client) == "contoso.com"


async def test_throttled_parts_fail_with_their_own_wait(client: GraphClient, tenant: Tenant) -> None:
    ids = [tenant.create_user(userPrincipalName=f"t{number}@contoso.com") for number in range(5)]
    tenant.faults = Faults(throttle_next=2, throttle_retry_after=6)
    reads = await read_objects(client, "user", ids, SELECT)
    errors = [read.error for read in reads.values() if isinstance(read, Failed)]
    assert errors
    assert all(isinstance(error, ThrottledError) and error.retry_after == 6.0 for error in errors)
    assert len(errors) < len(ids)


async def test_a_wrong_token_is_refused_credentials(server: TenantServer) -> None:
    client = GraphClient(server.url, access_token="wrong")
    with pytest.raises(CredentialsError, match="request-id"):
        await delta_page(client, "user", link=None, select=SELECT)
    await client.aclose()


async def test_a_subscription_lives_and_its_notifications_are_understood(client: GraphClient, tenant: Tenant) -> None:
    async with webhook() as (url, received):
        made = await create_subscription(
            client, "user", notification_url=url, lifecycle_url=f"{url}/lifecycle", client_state="sécret"
        )
        assert made.kind == "user"
        assert abs(made.expires_at - client.now() - DEFAULT_LIFETIME).total_seconds() < 60
        assert [held.id for held in await list_subscriptions(client)] == [made.id]
        assert (await renew_subscription(client, made.id)).expires_at >= made.expires_at

        user = tenant.create_user(userPrincipalName="seen@contoso.com")
        batch = await asyncio.wait_for(received.get(), timeout=10)
        assert batch.rejected == ()
        assert {(item.kind, item.object_id, item.change_type) for item in batch.changes} == {("user", user, "updated")}
        assert all(client_state_matches(item.client_state, ["new", "sécret"]) for item in batch.changes)
        assert {item.subscription_id for item in batch.changes} == {made.id}

        await delete_subscription(client, made.id)
        await delete_subscription(client, made.id)
        assert await list_subscriptions(client) == ()
        with pytest.raises(NotFoundError):
            await renew_subscription(client, made.id)


async def test_an_endpoint_that_does_not_answer_makes_no_subscription(client: GraphClient, unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    with pytest.raises(ProtocolError, match="400"):
        await create_subscription(client, "group", notification_url=url, lifecycle_url=url, client_state="secret")


@asynccontextmanager
async def webhook() -> AsyncIterator[tuple[str, asyncio.Queue[ParsedNotifications]]]:
    """An endpoint that does the handshake and hands on what it parsed."""
    received: asyncio.Queue[ParsedNotifications] = asyncio.Queue()

    async def answer(request: web.Request) -> web.Response:
        token = request.query.get("validationToken")
        if token is not None:
            reply = validation_reply(token)
            return web.Response(status=reply.status, body=reply.body.encode(), headers=dict(reply.headers))
        received.put_nowait(parse_notifications(await request.read()))
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/{tail:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", received
    finally:
        await runner.cleanup()


async def control(server: TenantServer, switches: dict[str, Any]) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session, session.post(f"{server.control_url}/faults", json=switches) as answer:
        assert answer.status == 200
