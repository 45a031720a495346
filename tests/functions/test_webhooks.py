"""Graph's webhooks through the host: the handshake, a thousand notifications in a POST, and everything that is not Graph's."""

from __future__ import annotations

import asyncio
import io
import json
import time
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from yarl import URL

from sandbox.tenant import DeliveryRules
from shared.graph.notifications import MAX_BYTES, MAX_ITEMS
from tests.support.hosted import STATE, until

if TYPE_CHECKING:
    from tests.support.hosted import Hosted

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

ROUTES = ("notifications", "lifecycle")


async def users_subscription(here: Hosted) -> str:
    return str((await here.subscriptions())[0]["id"])


def notification(subscription: str, object_id: str = "", **changes: Any) -> dict[str, Any]:
    object_id = object_id or str(uuid.uuid4())
    return {
        "subscriptionId": subscription,
        "clientState": STATE,
        "changeType": "updated",
        "resource": f"Users/{object_id}",
        "resourceData": {"@odata.type": "#Microsoft.Graph.User", "id": object_id},
        **changes,
    }


async def send(here: Hosted, body: Any, route: str = "notifications") -> int:
    data = body if isinstance(body, bytes) else json.dumps({"value": body}).encode()
    headers = {"Content-Type": "application/json"}
    async with here.session.post(f"{here.host.url}/api/{route}", data=io.BytesIO(data), headers=headers) as response:
        await response.read()
        return response.status


async def rejected(here: Hosted) -> int:
    return int((await here.get("job"))["app"]["rejectedNotifications"])


async def pages(here: Hosted) -> dict[str, int]:
    """Delta queries that the tenant has answered, by route."""
    return {route: count for route, count in here.tenant.api.requests.items() if "delta" in route}


async def drained(here: Hosted) -> None:
    async def empty() -> bool:
        return not any((await here.queue_lengths()).values())

    await until(empty, seconds=60, what="the queues are empty")


#: An id that nobody has.
_STRANGER = "5f0c1d7e-0000-4000-8000-00000000dead"


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "token",
    [
        "Validation: Testing client application reachability for subscription Request-Id: 1",
        "<script>alert('x')</script>",
        '"><img src=x onerror=alert(1)>&amp;',
        "plus+and 100% and \u00e9\u4e2d\U0001f600",
        "x" * 2000,
    ],
    ids=lambda token: token[:16],
)
async def test_the_handshake_gives_the_decoded_token_back_as_plain_text(here: Hosted, route: str, token: str) -> None:
    url = f"{here.host.url}/api/{route}?validationToken={quote(token, safe='')}"
    async with here.session.post(URL(url, encoded=True)) as response:
        assert response.status == 200
        assert await response.text() == token
        assert response.headers.getall("Content-Type") == ["text/plain; charset=utf-8"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("token", ["", "x" * 8193], ids=["empty", "long"])
async def test_a_token_that_graph_would_not_send_is_refused(here: Hosted, token: str) -> None:
    # The host's web server bounds a request line too; either refuses.
    async with here.session.post(f"{here.host.url}/api/notifications?validationToken={token}") as response:
        assert 400 <= response.status < 500
        assert token not in await response.text() or not token


async def test_a_thousand_notifications_are_answered_well_before_graph_calls_that_slow(here: Hosted) -> None:
    subscription = await users_subscription(here)
    people = [one.id for one in here.tenant.tenant.objects.values() if one.kind == "user"]
    body = [notification(subscription, people[number % len(people)]) for number in range(1000)]
    started = time.monotonic()
    assert await send(here, body) == 202
    assert time.monotonic() - started < DeliveryRules().slow_answer
    await drained(here)


@pytest.mark.parametrize(
    "changes",
    [
        {"clientState": "forged"},
        {"clientState": ""},
        {"clientState": None},
        {"clientState": ["a-secret-of-the-tests"]},
        {"clientState": f"{STATE} "},
        {"subscriptionId": _STRANGER},
        {"subscriptionId": "not a guid"},
        {"resource": "Users/../groups"},
        {"resource": "me/messages"},
        {"changeType": "exploded"},
        {"resourceData": {"id": _STRANGER}},
        {"subscriptionId": _STRANGER, "lifecycleEvent": "subscriptionRemoved"},
        {"clientState": "forged", "lifecycleEvent": "missed"},
    ],
    ids=str,
)
async def test_a_forged_or_foreign_notification_changes_nothing_and_is_counted(here: Hosted, changes: dict[str, Any]) -> None:
    await drained(here)
    subscription, before = await users_subscription(here), await rejected(here)
    asked = here.tenant.api.requests.total()
    assert await send(here, [notification(subscription, **changes)]) == 202, "a forger learns nothing"
    assert await rejected(here) == before + 1
    assert not any((await here.queue_lengths()).values())
    assert here.tenant.api.requests.total() == asked


async def test_forgeries_do_not_hold_up_the_genuine_ones_beside_them(here: Hosted) -> None:
    before = await rejected(here)
    person = here.tenant.tenant.create_user(
        userPrincipalName="beside@contoso.com", displayName="Beside", givenName="B", surname="E", mail="beside@contoso.com"
    )
    subscription = await users_subscription(here)
    forged = [notification(subscription, clientState="forged") for _ in range(5)]
    assert await send(here, [*forged, notification(subscription, person), {}, None, 7]) == 202

    async def there() -> bool:
        return here.user("beside@contoso.com") is not None

    await until(there)
    assert await rejected(here) == before + 8


async def test_many_forgeries_at_once_are_all_answered_and_all_counted(here: Hosted) -> None:
    subscription, before = await users_subscription(here), await rejected(here)
    body = [notification(subscription, clientState="forged")]
    statuses = await asyncio.gather(*(send(here, body) for _ in range(40)))
    assert set(statuses) == {202}
    assert await rejected(here) == before + 40


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b'{"value": null}',
        b'{"value": {"subscriptionId": 1}}',
        b"[" * 200_000,
        b'{"value": [' + b'{"a": ' * 5_000 + b"1" + b"}" * 5_000 + b"]}",
        b'{"value": [' + b" " * MAX_BYTES + b"]}",
        b'{"value": [' + b"{}," * MAX_ITEMS + b"{}]}",
    ],
    ids=lambda body: f"{body[:16].decode(errors='replace')!r} {len(body)}",
)
@pytest.mark.parametrize("route", ROUTES)
async def test_a_malformed_oversized_or_deeply_nested_body_is_refused_and_counted(here: Hosted, route: str, body: bytes) -> None:
    before = await rejected(here)
    assert await send(here, body, route) == 400
    assert await rejected(here) == before + 1
    async with here.session.get(f"{here.host.url}/api/health") as response:
        assert response.status == 200


async def test_a_replayed_notification_changes_nothing(here: Hosted) -> None:
    await drained(here)
    person = next(one for one in here.tenant.tenant.objects.values() if one.kind == "user" and one.properties["accountEnabled"])
    subscription, commits = await users_subscription(here), here.instance.instance.commits.last
    for _ in range(3):
        assert await send(here, [notification(subscription, person.id)]) == 202
    await drained(here)
    assert here.instance.instance.commits.last == commits


@pytest.mark.parametrize("event", ["missed", "somethingNewer"])
async def test_a_missed_event_starts_an_incremental_cycle_of_both_chains(here: Hosted, event: str) -> None:
    await drained(here)
    before, subscription = await pages(here), await users_subscription(here)
    chains = (await here.get("job"))["app"]["chains"]
    item = {"subscriptionId": subscription, "clientState": STATE, "lifecycleEvent": event}
    assert await send(here, [item], "lifecycle") == 202

    async def ran() -> bool:
        now = await pages(here)
        return len(now) == 2 and all(now[route] > before[route] for route in now)

    await until(ran, what="both delta queries are asked again")
    after = (await here.get("job"))["app"]["chains"]
    assert {name: chain["generation"] for name, chain in after.items()} == {
        name: chain["generation"] for name, chain in chains.items()
    }, "incremental: the generation stays"


async def test_a_removed_subscription_is_made_again_and_a_cycle_covers_the_gap(here: Hosted) -> None:
    await drained(here)
    users, groups = await here.subscriptions()
    before = await pages(here)
    await here.control("lifecycle", event="subscriptionRemoved", subscriptionId=users["id"])

    async def recreated() -> bool:
        held = await here.subscriptions()
        return len(held) == 2 and held[0]["id"] != users["id"]

    await until(recreated, what="the users' subscription is made again")
    assert (await here.subscriptions())[1]["id"] == groups["id"], "the other one is left as it is"

    async def ran() -> bool:
        now = await pages(here)
        return all(now[route] > before[route] for route in now)

    await until(ran, what="a cycle follows")


async def test_a_subscription_that_must_be_reauthorized_is_renewed(here: Hosted) -> None:
    await drained(here)
    before = await here.subscriptions()
    asked = here.tenant.api.requests.copy()
    await asyncio.sleep(1.1)  # an expiry is told in whole seconds: without this, a renewed one could look the same
    await here.control("lifecycle", event="reauthorizationRequired", subscriptionId=before[0]["id"])

    async def renewed() -> bool:
        held = await here.subscriptions()
        return str(held[0]["expirationDateTime"]) > str(before[0]["expirationDateTime"])

    await until(renewed, what="the subscription ends later than before")
    assert [held["id"] for held in await here.subscriptions()] == [held["id"] for held in before]
    patched = {route: n - asked[route] for route, n in here.tenant.api.requests.items() if route.startswith("PATCH")}
    assert sum(patched.values()) >= 1


async def test_a_changed_secret_makes_other_subscriptions_and_both_secrets_count_meanwhile(here: Hosted) -> None:
    before = await here.subscriptions()
    await here.restart(NOTIFICATION_CLIENT_STATE="another-secret", NOTIFICATION_CLIENT_STATE_PREVIOUS=STATE)
    old = await rejected(here)
    assert await send(here, [notification(before[0]["id"])]) == 202
    assert await rejected(here) == old, "the secret before is still known"

    await here.post("job/start")
    after = await here.subscriptions()
    assert len(after) == 2
    assert not {held["id"] for held in after} & {held["id"] for held in before}
    assert await send(here, [notification(after[0]["id"], clientState="another-secret")]) == 202
    assert await rejected(here) == old

    await here.post("job/start")
    assert [held["id"] for held in await here.subscriptions()] == [held["id"] for held in after], "made once"


async def test_a_subscription_that_a_worker_made_right_before_he_died_is_removed_and_no_other(here: Hosted) -> None:
    await drained(here)
    before, made = await here.subscriptions(), {}
    person = next(one.id for one in here.tenant.tenant.objects.values() if one.kind == "user")
    headers = {"Authorization": f"Bearer {here.settings['GRAPH_ACCESS_TOKEN']}"}
    for resource in ("/users", "/groups", f"/users/{person}"):
        wanted = {name: before[0][name] for name in ("changeType", "notificationUrl", "lifecycleNotificationUrl")}
        body = {**wanted, "resource": resource, "expirationDateTime": before[0]["expirationDateTime"], "clientState": "his"}
        async with here.session.post(f"{here.tenant.url}/subscriptions", json=body, headers=headers) as response:
            assert response.status == 201, await response.text()
            made[resource] = (await response.json())["id"]
    await here.control("lifecycle", event="reauthorizationRequired", subscriptionId=before[0]["id"])

    async def removed() -> bool:
        held = {one["id"] for one in await here.subscriptions()}
        return held == {one["id"] for one in before} | {made[f"/users/{person}"]}

    await until(removed, what="only what the app has not made is left beside its two")
    await here.session.delete(f"{here.tenant.url}/subscriptions/{made[f'/users/{person}']}", headers=headers)


async def test_a_changed_url_makes_other_subscriptions(here: Hosted) -> None:
    before = await here.subscriptions()
    url = here.settings["NOTIFICATION_URL"].replace("127.0.0.1", "localhost")
    await here.restart(NOTIFICATION_URL=url)
    await here.post("job/start")
    after = await here.subscriptions()
    assert not {held["id"] for held in after} & {held["id"] for held in before}
    assert {held["notificationUrl"] for held in after} == {f"{url}/api/notifications"}
    assert {held["lifecycleNotificationUrl"] for held in after} == {f"{url}/api/lifecycle"}
