from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from shared.errors import FateUnknownError, NotFoundError, ProtocolError, RefusedError
from shared.graph.subscriptions import (
    DEFAULT_LIFETIME,
    MAX_LIFETIME,
    create_subscription,
    delete_subscription,
    list_subscriptions,
    renew_subscription,
)
from tests.graph.conftest import BASE_URL, NOW, ScriptedGraph, error_reply, ok

if TYPE_CHECKING:
    from shared.graph.client import GraphClient
    from shared.graph.identities import ObjectKind

ID = "bbbbbbbb-0000-4000-8000-00000000000b"
NOTIFY, LIFECYCLE = "https://func.contoso.com/api/notifications", "https://func.contoso.com/api/lifecycle"


def held(**changes: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "resource": "/users",
        "changeType": "updated,deleted",
        "clientState": None,
        "notificationUrl": NOTIFY,
        "lifecycleNotificationUrl": LIFECYCLE,
        "expirationDateTime": "2026-01-29T00:00:00.1234567Z",
        **changes,
    }


@pytest.mark.parametrize(("kind", "resource"), [("user", "/users"), ("group", "/groups")])
async def test_a_subscription_is_asked_for_as_the_docs_want_it(
    client: GraphClient, graph: ScriptedGraph, kind: ObjectKind, resource: str
) -> None:
    graph.on("/subscriptions", httpx.Response(201, json=held(resource=resource)))
    made = await create_subscription(client, kind, notification_url=NOTIFY, lifecycle_url=LIFECYCLE, client_state="secret-1")
    body = graph.body()
    expires = datetime.fromisoformat(body.pop("expirationDateTime"))
    assert expires == NOW + DEFAULT_LIFETIME
    assert expires - NOW < timedelta(minutes=41_760)
    assert body == {
        "changeType": "updated,deleted",
        "notificationUrl": NOTIFY,
        "lifecycleNotificationUrl": LIFECYCLE,
        "resource": resource,
        "clientState": "secret-1",
        "latestSupportedTlsVersion": "v1_2",
    }
    assert graph.requests[0].method == "POST"
    assert graph.requests[0].headers["Content-Type"] == "application/json"
    assert made.kind == kind
    assert made.expires_at == datetime(2026, 1, 29, 0, 0, 0, 123456, tzinfo=UTC)
    assert made.serves(NOTIFY, LIFECYCLE)


@pytest.mark.parametrize("state", ["", "x" * 129])
async def test_a_client_state_that_graph_would_refuse_is_not_sent(client: GraphClient, graph: ScriptedGraph, state: str) -> None:
    with pytest.raises(ValueError, match="clientState"):
        await create_subscription(client, "user", notification_url=NOTIFY, lifecycle_url=LIFECYCLE, client_state=state)
    assert graph.requests == []


@pytest.mark.parametrize("lifetime", [MAX_LIFETIME, timedelta(0)])
async def test_a_lifetime_that_graph_would_refuse_is_not_asked_for(
    client: GraphClient, graph: ScriptedGraph, lifetime: timedelta
) -> None:
    with pytest.raises(ValueError, match="lives less than"):
        await renew_subscription(client, ID, lifetime=lifetime)
    assert graph.requests == []


async def test_a_failed_validation_tells_the_operator_why(client: GraphClient, graph: ScriptedGraph) -> None:
    said = "Subscription validation request failed. Notification endpoint must respond with 200 OK to validation request."
    graph.on("/subscriptions", error_reply(400, "InvalidRequest", said))
    with pytest.raises(ProtocolError, match="must respond with 200 OK"):
        await create_subscription(client, "user", notification_url=NOTIFY, lifecycle_url=LIFECYCLE, client_state="s")


async def test_groups_need_their_own_permission(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on("/subscriptions", error_reply(403, "Forbidden"))
    with pytest.raises(RefusedError, match=r"Group\.Read\.All"):
        await create_subscription(client, "group", notification_url=NOTIFY, lifecycle_url=LIFECYCLE, client_state="s")


async def test_a_lost_answer_to_a_create_is_not_taken_for_a_failure(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on("/subscriptions", httpx.ReadTimeout("slow"))
    with pytest.raises(FateUnknownError):
        await create_subscription(client, "user", notification_url=NOTIFY, lifecycle_url=LIFECYCLE, client_state="s")


async def test_the_list_is_read_to_its_end_and_others_are_told_apart(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on(
        "/subscriptions",
        ok({"value": [held(), held(resource="Groups", id="g")], "@odata.nextLink": f"{BASE_URL}/subscriptions?$skiptoken=2"}),
        ok({"value": [held(resource="me/messages", id="m", notificationUrl=None), held(id="old", changeType="updated")]}),
    )
    found = await list_subscriptions(client)
    assert [subscription.kind for subscription in found] == ["user", "group", None, "user"]
    assert [subscription.serves(NOTIFY, LIFECYCLE) for subscription in found] == [True, True, False, False]
    assert not found[0].serves(NOTIFY, "https://elsewhere.contoso.com/api/lifecycle")


async def test_renewing_sends_the_expiration_only(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on(f"/subscriptions/{ID}", ok(held()))
    assert (await renew_subscription(client, ID)).id == ID
    assert graph.requests[0].method == "PATCH"
    assert list(graph.body()) == ["expirationDateTime"]


async def test_renewing_what_expired_says_that_it_is_gone(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on(f"/subscriptions/{ID}", error_reply(404, "ResourceNotFound"))
    with pytest.raises(NotFoundError):
        await renew_subscription(client, ID)


@pytest.mark.parametrize("reply", [httpx.Response(204), error_reply(404, "ResourceNotFound")])
async def test_deleting_twice_is_fine(client: GraphClient, graph: ScriptedGraph, reply: httpx.Response) -> None:
    graph.on(f"/subscriptions/{ID}", reply)
    await delete_subscription(client, ID)
    assert graph.requests[0].method == "DELETE"
    assert graph.requests[0].content == b""


@pytest.mark.parametrize("broken", [{}, {"id": ID}, held(expirationDateTime="soon"), held(expirationDateTime=None)])
async def test_a_subscription_that_cannot_be_read_is_an_error(
    client: GraphClient, graph: ScriptedGraph, broken: dict[str, Any]
) -> None:
    graph.on(f"/subscriptions/{ID}", ok(broken))
    with pytest.raises(ProtocolError):
        await renew_subscription(client, ID)
