from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.tenant import SubscriptionRules, TenantConfig

if TYPE_CHECKING:
    from .conftest import Serve
    from .support import Clock, Webhook


def asked(webhook: Webhook, **changes: Any) -> dict[str, Any]:
    """A request for a subscription of ten hours, with changes."""
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(hours=10)
    return {
        "changeType": "updated,deleted",
        "notificationUrl": f"{webhook.url}/notifications",
        "lifecycleNotificationUrl": f"{webhook.url}/lifecycle",
        "resource": "/users",
        "expirationDateTime": ends.isoformat(),
        "clientState": "a secret of the endpoint",
    } | changes


def at(clock: Clock, **after: float) -> str:
    return (dt.datetime.fromtimestamp(clock.now, dt.UTC) + dt.timedelta(**after)).isoformat()


async def test_a_subscription_is_made_after_both_urls_have_proved_themselves(serve: Serve, webhook: Webhook) -> None:
    _, client = await serve()
    response = await client.post("/subscriptions", json=asked(webhook))
    assert response.status_code == 201
    body = response.json()
    assert body["clientState"] is None
    assert body["changeType"] == "updated,deleted"
    assert len(set(webhook.tokens)) == 2
    assert any(" " in token and "+" in token for token in webhook.tokens)
    assert (await client.get(f"/subscriptions/{body['id']}")).json()["clientState"] is None
    assert [held["id"] for held in (await client.get("/subscriptions")).json()["value"]] == [body["id"]]
    assert (await client.delete(f"/subscriptions/{body['id']}")).status_code == 204
    assert (await client.get(f"/subscriptions/{body['id']}")).status_code == 404


@pytest.mark.parametrize("behaviour", ["still encoded", "json", "refused"])
async def test_an_endpoint_that_fails_the_handshake_gets_no_subscription(serve: Serve, webhook: Webhook, behaviour: str) -> None:
    _, client = await serve()
    webhook.validation = behaviour
    response = await client.post("/subscriptions", json=asked(webhook))
    assert response.status_code == 400
    assert "validation" in response.json()["error"]["message"]
    assert (await client.get("/subscriptions")).json()["value"] == []


async def test_nobody_at_the_url_is_a_failed_handshake(serve: Serve, webhook: Webhook) -> None:
    _, client = await serve()
    response = await client.post("/subscriptions", json=asked(webhook, notificationUrl="http://127.0.0.1:9/api"))
    assert response.status_code == 400


async def test_a_url_with_a_query_string_keeps_it(serve: Serve, webhook: Webhook) -> None:
    _, client = await serve()
    url = f"{webhook.url}/notifications?code=a%2Fb&x=1"
    response = await client.post("/subscriptions", json=asked(webhook, notificationUrl=url))
    assert response.status_code == 201
    assert webhook.queries[0]["code"] == "a/b"
    assert webhook.queries[0]["validationToken"] == webhook.tokens[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"changeType": "created"},
        {"changeType": "created,updated"},
        {"changeType": None},
        {"resource": "/me/messages"},
        {"resource": "/users/11111111-0000-4000-8000-000000000001/memberOf"},
        {"notificationUrl": "http://example.com/api"},
        {"notificationUrl": None},
        {"expirationDateTime": "yesterday"},
        {"expirationDateTime": "2020-01-01T00:00:00Z"},
        {"expirationDateTime": "2999-01-01T00:00:00Z"},
        {"clientState": "x" * 129},
        {"includeResourceData": True},
        {"latestSupportedTlsVersion": "v9"},
    ],
)
async def test_what_graph_does_not_take_is_refused_before_the_handshake(
    serve: Serve, webhook: Webhook, changes: dict[str, Any]
) -> None:
    _, client = await serve()
    response = await client.post("/subscriptions", json=asked(webhook, **changes))
    assert response.status_code == 400
    assert webhook.tokens == []


async def test_created_is_refused_in_graphs_words(serve: Serve, webhook: Webhook) -> None:
    _, client = await serve()
    error = (await client.post("/subscriptions", json=asked(webhook, changeType="created"))).json()["error"]
    assert (error["code"], error["message"]) == ("InvalidRequest", "Invalid 'changeType' attribute: 'created'.")


async def test_life_is_at_least_45_minutes_and_at_most_41760(serve: Serve, webhook: Webhook, clock: Clock) -> None:
    _, client = await serve(clock=clock)
    short = await client.post("/subscriptions", json=asked(webhook, expirationDateTime=at(clock, minutes=1)))
    ends = dt.datetime.fromisoformat(short.json()["expirationDateTime"]).timestamp()
    assert ends - clock.now == 45 * 60
    longest = await client.post("/subscriptions", json=asked(webhook, expirationDateTime=at(clock, minutes=41_760)))
    assert longest.status_code == 201
    too_long = await client.post("/subscriptions", json=asked(webhook, expirationDateTime=at(clock, minutes=41_761)))
    assert too_long.status_code == 400


async def test_an_ended_subscription_vanishes(serve: Serve, webhook: Webhook, clock: Clock) -> None:
    _, client = await serve(clock=clock)
    made = (await client.post("/subscriptions", json=asked(webhook, expirationDateTime=at(clock, hours=1)))).json()
    clock.now += 3601
    assert (await client.get("/subscriptions")).json()["value"] == []
    renewed = await client.patch(f"/subscriptions/{made['id']}", json={"expirationDateTime": at(clock, hours=1)})
    assert renewed.status_code == 404


async def test_renewing_extends_the_life_and_reauthorizing_does_not(serve: Serve, webhook: Webhook, clock: Clock) -> None:
    _, client = await serve(clock=clock)
    made = (await client.post("/subscriptions", json=asked(webhook, expirationDateTime=at(clock, hours=1)))).json()
    link = f"/subscriptions/{made['id']}"
    assert (await client.post(f"{link}/reauthorize")).status_code == 204
    assert (await client.get(link)).json()["expirationDateTime"] == made["expirationDateTime"]
    renewed = await client.patch(link, json={"expirationDateTime": at(clock, hours=5)})
    assert renewed.status_code == 200
    assert renewed.json()["expirationDateTime"] > made["expirationDateTime"]


async def test_a_new_notification_url_is_validated_and_a_lifecycle_url_cannot_be_added(serve: Serve, webhook: Webhook) -> None:
    _, client = await serve()
    body = asked(webhook)
    del body["lifecycleNotificationUrl"]
    made = (await client.post("/subscriptions", json=body)).json()
    link = f"/subscriptions/{made['id']}"
    webhook.validation = "refused"
    moved = await client.patch(link, json={"notificationUrl": f"{webhook.url}/elsewhere"})
    assert moved.status_code == 400
    assert (await client.get(link)).json()["notificationUrl"] == body["notificationUrl"]
    webhook.validation = "good"
    moved = await client.patch(link, json={"notificationUrl": f"{webhook.url}/elsewhere"})
    assert moved.json()["notificationUrl"] == f"{webhook.url}/elsewhere"
    added = await client.patch(link, json={"lifecycleNotificationUrl": f"{webhook.url}/lifecycle"})
    assert added.status_code == 400


async def test_a_quota_that_is_reached_is_a_403(serve: Serve, webhook: Webhook) -> None:
    _, client = await serve(TenantConfig(subscriptions=SubscriptionRules(per_application_and_tenant=2)))
    codes = [(await client.post("/subscriptions", json=asked(webhook))).status_code for _ in range(3)]
    assert codes == [201, 201, 403]
