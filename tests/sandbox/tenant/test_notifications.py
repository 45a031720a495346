from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from sandbox.tenant import DeliveryRules, Faults, TenantConfig

from .support import until
from .test_subscriptions import asked, at

if TYPE_CHECKING:
    import httpx

    from .conftest import Serve
    from .support import Clock, Webhook

FAST = DeliveryRules(first_retry=0.02, timeout=2.0)
SOON = Faults(notification_delay=(0.01, 0.01))


async def subscribe(client: httpx.AsyncClient, webhook: Webhook, **changes: Any) -> str:
    response = await client.post("/subscriptions", json=asked(webhook, **changes))
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def _more_than(webhook: Webhook, object_id: str, told: int) -> bool:
    return len(webhook.about(object_id)) > told


def _announced(webhook: Webhook, event: str) -> bool:
    return any(item["lifecycleEvent"] == event for item in webhook.items)


async def test_each_deed_is_told_as_graph_tells_it(serve: Serve, webhook: Webhook) -> None:
    server, client = await serve(TenantConfig(faults=SOON))
    await subscribe(client, webhook)
    ann = server.tenant.create_user(userPrincipalName="ann@contoso.com")
    for deed in (
        lambda: server.tenant.update(ann, {"jobTitle": "Buyer"}),
        lambda: server.tenant.set_manager(ann, ann),
        lambda: server.tenant.delete(ann),
        lambda: server.tenant.restore(ann),
    ):
        await until(lambda: server.notifier.pending == 0, "silence before the deed")
        told = len(webhook.about(ann))
        deed()
        await until(partial(_more_than, webhook, ann, told), "a notification of the deed")
    server.tenant.delete(ann)
    server.tenant.purge(ann)
    await until(lambda: len(webhook.about(ann)) == 7, "the purge")
    assert [item["changeType"] for item in webhook.about(ann)] == ["updated"] * 6 + ["deleted"]


async def test_an_item_has_the_form_that_is_seen_in_the_field(serve: Serve, webhook: Webhook) -> None:
    server, client = await serve(TenantConfig(faults=SOON))
    subscription = await subscribe(client, webhook)
    ann = server.tenant.create_user(userPrincipalName="ann@contoso.com")
    await until(lambda: webhook.items, "a notification")
    (item,) = webhook.items
    assert item["resource"] == f"Users/{ann}"
    assert item["clientState"] == "a secret of the endpoint"
    assert (item["subscriptionId"], item["tenantId"]) == (subscription, server.tenant.config.tenant_id)
    assert "id" not in item
    data = item["resourceData"]
    assert data["@odata.type"] == "#Microsoft.Graph.User"
    assert data["@odata.id"] == f"Users/{ann}"
    assert data["sequenceNumber"] > 2**53
    assert len(data["eventTime"].partition(".")[2]) == len("1234567Z")


async def test_a_membership_is_told_about_the_group_only(serve: Serve, webhook: Webhook) -> None:
    server, client = await serve(TenantConfig(faults=SOON))
    ann, bob = (server.tenant.create_user(userPrincipalName=f"{name}@contoso.com") for name in ("ann", "bob"))
    group = server.tenant.create_group("G", members=[ann])
    await subscribe(client, webhook)
    await subscribe(client, webhook, resource="/groups")
    server.tenant.add_members(group, [bob])
    server.tenant.remove_members(group, [ann])
    await until(lambda: len(webhook.items) == 2, "both notifications")
    assert {item["resource"] for item in webhook.items} == {f"Groups/{group}"}
    told = [item["resourceData"]["members@delta"] for item in webhook.items]
    assert told == [[{"id": bob}], [{"id": ann, "@removed": "deleted"}]]


async def test_one_post_mixes_subscriptions_and_a_big_one_is_split(serve: Serve, webhook: Webhook) -> None:
    # Without a delay all of them are due together, when the notifier's turn comes after this loop, however long that takes.
    config = TenantConfig(notification_batch=30, faults=Faults(notification_delay=(0.0, 0.0)))
    server, client = await serve(config)
    first, second = await subscribe(client, webhook), await subscribe(client, webhook)
    for number in range(40):
        server.tenant.create_user(userPrincipalName=f"u{number}@contoso.com")
    await until(lambda: len(webhook.items) == 80, "all notifications")
    assert sorted(webhook.posts) == [20, 30, 30]
    assert {item["subscriptionId"] for item in webhook.items[:30]} == {first, second}


async def test_a_subscription_hears_only_what_it_asked_for(serve: Serve, webhook: Webhook) -> None:
    server, client = await serve(TenantConfig(faults=SOON))
    ann, bob = (server.tenant.create_user(userPrincipalName=f"{name}@contoso.com") for name in ("ann", "bob"))
    deletions = await subscribe(client, webhook, changeType="deleted")
    one = await subscribe(client, webhook, resource=f"users/{ann}")
    server.tenant.update(bob, {"jobTitle": "Buyer"})
    server.tenant.update(ann, {"jobTitle": "Buyer"})
    server.tenant.delete(bob)
    server.tenant.purge(bob)
    await until(lambda: len(webhook.items) == 2, "two notifications")
    told = {(item["subscriptionId"], item["resourceData"]["id"]) for item in webhook.items}
    assert told == {(deletions, bob), (one, ann)}


async def test_a_refused_post_is_tried_again_until_it_is_taken(serve: Serve, webhook: Webhook) -> None:
    server, client = await serve(TenantConfig(faults=SOON, delivery=FAST))
    await subscribe(client, webhook)
    webhook.statuses = [500, 429, 302]
    ann = server.tenant.create_user(userPrincipalName="ann@contoso.com")
    await until(lambda: webhook.about(ann), "the notification after three failures")
    assert len(webhook.posts) == 4
    await until(lambda: server.notifier.pending == 0, "the end of the retries")
    assert server.notifier.counts["delivered"] == 1


async def test_a_post_that_nobody_takes_is_given_up(serve: Serve, webhook: Webhook) -> None:
    rules = DeliveryRules(first_retry=0.01, retry_for=0.1)
    server, client = await serve(TenantConfig(faults=SOON, delivery=rules))
    await subscribe(client, webhook)
    webhook.statuses = [500] * 100
    server.tenant.create_user(userPrincipalName="ann@contoso.com")
    await until(lambda: server.notifier.counts["given up"], "giving up")
    assert 3 <= len(webhook.posts) <= 6
    assert webhook.items == []


async def test_a_slow_endpoint_waits_longer_and_a_very_slow_one_loses(serve: Serve, webhook: Webhook) -> None:
    rules = DeliveryRules(slow_answer=0.05, slow_share=0.1, slow_delay=0.1, drop_share=0.5, minimum_answers=2)
    server, client = await serve(TenantConfig(faults=SOON, delivery=rules))
    await subscribe(client, webhook)
    ann = server.tenant.create_user(userPrincipalName="ann@contoso.com")
    await until(lambda: len(webhook.items) == 1, "a quick answer")
    webhook.answer_after = 0.1
    server.tenant.update(ann, {"jobTitle": "1"})
    await until(lambda: server.notifier.pending == 0, "a slow answer")
    server.tenant.update(ann, {"jobTitle": "2"})
    assert server.notifier.counts["slowed"] == 1
    await until(lambda: server.notifier.pending == 0, "another slow answer")
    server.tenant.update(ann, {"jobTitle": "3"})
    assert server.notifier.counts["dropped"] == 1
    assert len(webhook.items) == 3


async def test_lost_doubled_and_reordered_notifications_are_switches(serve: Serve, webhook: Webhook) -> None:
    server, client = await serve(TenantConfig(faults=SOON))
    await subscribe(client, webhook)
    ann = server.tenant.create_user(userPrincipalName="ann@contoso.com")
    await until(lambda: len(webhook.items) == 1, "an undisturbed notification")
    server.tenant.faults = Faults(lost_notifications=1.0)
    server.tenant.update(ann, {"jobTitle": "lost"})
    assert server.notifier.counts["lost"] == 1
    server.tenant.faults = Faults(duplicate_notifications=1.0, notification_delay=(0.01, 0.01))
    server.tenant.update(ann, {"jobTitle": "doubled"})
    await until(lambda: len(webhook.items) == 3, "the same notification twice")
    assert webhook.items[1] == webhook.items[2]
    server.tenant.faults = Faults(reordered_notifications=1.0, notification_delay=(0.01, 0.01))
    for number in range(20):
        server.tenant.update(ann, {"jobTitle": str(number)})
    await until(lambda: len(webhook.items) == 23, "all of them")
    numbers = [item["resourceData"]["sequenceNumber"] for item in webhook.items[3:]]
    assert numbers != sorted(numbers)


async def test_the_end_of_a_subscription_is_announced_again_and_again(serve: Serve, webhook: Webhook, clock: Clock) -> None:
    _, client = await serve(clock=clock)
    subscription = await subscribe(client, webhook, expirationDateTime=at(clock, hours=1))
    clock.now += 31 * 60
    await until(lambda: len(webhook.items) == 1, "a first reminder")
    clock.now += 15 * 60
    await until(lambda: len(webhook.items) == 2, "a second reminder")
    assert {item["lifecycleEvent"] for item in webhook.items} == {"reauthorizationRequired"}
    assert set(webhook.items[0]) == {
        "subscriptionId",
        "subscriptionExpirationDateTime",
        "tenantId",
        "clientState",
        "lifecycleEvent",
    }
    assert webhook.items[0]["subscriptionId"] == subscription


async def test_delivery_pauses_until_reauthorization_is_answered(serve: Serve, webhook: Webhook, clock: Clock) -> None:
    server, client = await serve(TenantConfig(faults=SOON), clock=clock)
    ann = server.tenant.create_user(userPrincipalName="ann@contoso.com")
    subscription = await subscribe(client, webhook, expirationDateTime=at(clock, hours=10))
    await client.post(f"{server.control_url}/lifecycle", json={"event": "reauthorizationRequired"})
    server.tenant.update(ann, {"jobTitle": "before the pause"})
    await until(lambda: webhook.about(ann), "delivery within the grace")
    clock.now += 601
    server.tenant.update(ann, {"jobTitle": "in the pause"})
    assert server.notifier.counts["paused"] == 1
    await client.post(f"/subscriptions/{subscription}/reauthorize")
    server.tenant.update(ann, {"jobTitle": "after the pause"})
    await until(lambda: len(webhook.about(ann)) == 2, "delivery after the answer")
    assert len(webhook.about(ann)) == 2


async def test_lifecycle_events_are_sent_on_demand_and_removal_removes(serve: Serve, webhook: Webhook) -> None:
    server, client = await serve()
    subscription = await subscribe(client, webhook)
    for event in ("missed", "subscriptionRemoved"):
        response = await client.post(f"{server.control_url}/lifecycle", json={"event": event, "subscriptionId": subscription})
        assert response.json() == {"announced": 1}
        await until(partial(_announced, webhook, event), event)
    assert (await client.get("/subscriptions")).json()["value"] == []
    assert (await client.post(f"{server.control_url}/lifecycle", json={"event": "nonsense"})).status_code == 400


async def test_notifications_can_be_replayed_and_forged(serve: Serve, webhook: Webhook) -> None:
    server, client = await serve(TenantConfig(faults=SOON))
    subscription = await subscribe(client, webhook)
    ann = server.tenant.create_user(userPrincipalName="ann@contoso.com")
    await until(lambda: webhook.items, "the original")
    replayed = await client.post(f"{server.control_url}/notify", json={"replay": 1})
    assert replayed.json() == {"statuses": [202]}
    assert webhook.items[0] == webhook.items[1]
    forged = {"objectId": ann, "clientState": "guessed", "count": 3, "subscriptionId": subscription}
    await client.post(f"{server.control_url}/notify", json=forged)
    assert [item["clientState"] for item in webhook.items[2:]] == ["guessed"] * 3
    await client.post(f"{server.control_url}/notify", json={"value": [{"nonsense": True}]})
    assert webhook.items[-1] == {"nonsense": True}


async def test_a_hanging_endpoint_does_not_hold_up_the_end_of_the_server(serve: Serve, webhook: Webhook) -> None:
    server, client = await serve(TenantConfig(faults=SOON))
    await subscribe(client, webhook)
    webhook.answer_after = 5.0
    server.tenant.create_user(userPrincipalName="ann@contoso.com")
    await until(lambda: server.notifier.pending == 1, "a POST under way")
    async with asyncio.timeout(3):
        await server.__aexit__()
