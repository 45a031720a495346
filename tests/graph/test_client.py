from __future__ import annotations

import logging
import subprocess
import sys
from datetime import timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import httpx
import pytest

from shared.errors import (
    ConflictError,
    CredentialsError,
    FateUnknownError,
    NotFoundError,
    ProtocolError,
    ProvisioningError,
    RefusedError,
    SchemaMismatchError,
    ThrottledError,
    UnavailableError,
)
from shared.graph.client import GraphClient
from tests.graph.conftest import BASE_URL, NOW, TOKEN, ScriptedGraph, error_reply, ok, user_id

if TYPE_CHECKING:
    from shared.graph.answers import Ask

USER_PATH = f"/users/{user_id(1)}"


def user_ask(client: GraphClient) -> Ask:
    return client.read(lambda graph: graph.users.by_user_id(user_id(1)), permission="User.Read.All")


@pytest.mark.parametrize(
    ("status", "code", "message", "expected"),
    [
        (401, "InvalidAuthenticationToken", "", CredentialsError),
        (403, "Authorization_RequestDenied", "", RefusedError),
        (404, "Request_ResourceNotFound", "", NotFoundError),
        (409, "Conflict", "", ConflictError),
        (429, "TooManyRequests", "", ThrottledError),
        (509, "BandwidthLimitExceeded", "", ThrottledError),
        (400, "Request_BadRequest", "", ProtocolError),
        (400, "BadRequest", "Could not find a property named 'shoeSize' on type 'microsoft.graph.user'.", SchemaMismatchError),
        (501, "NotImplemented", "", SchemaMismatchError),
        (408, "Timeout", "", UnavailableError),
        (500, "InternalServerError", "", UnavailableError),
        (503, "ServiceUnavailable", "", UnavailableError),
        (504, "GatewayTimeout", "", UnavailableError),
        (302, "Moved", "", ProtocolError),
    ],
)
async def test_each_status_is_its_own_error_and_is_never_repeated(
    client: GraphClient,
    graph: ScriptedGraph,
    status: int,
    code: str,
    message: str,
    expected: type[ProvisioningError],
) -> None:
    graph.on(
        USER_PATH, error_reply(status, code, message, Retry_After="1", Location="http://127.0.0.1:7072/v1.0/users/elsewhere")
    )
    with pytest.raises(expected) as caught:
        await client.send(user_ask(client))
    assert type(caught.value) is expected
    assert "rid-1" in caught.value.reason
    assert code in caught.value.reason
    assert len(graph.requests) == 1


async def test_a_refusal_names_the_permission_to_grant(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on(USER_PATH, error_reply(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."))
    with pytest.raises(RefusedError, match=r"User\.Read\.All") as caught:
        await client.send(user_ask(client))
    assert caught.value.recommended_action is not None
    assert "User.Read.All" in caught.value.recommended_action


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("10", 10.0),
        ("0", 0.0),
        ("-3", 0.0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
    ],
)
async def test_retry_after_is_handed_on_in_seconds(
    client: GraphClient, graph: ScriptedGraph, value: str, expected: float | None
) -> None:
    graph.on(USER_PATH, error_reply(429, "TooManyRequests", Retry_After=value))
    with pytest.raises(ThrottledError) as caught:
        await client.send(user_ask(client))
    assert caught.value.retry_after == expected


async def test_a_throttled_answer_says_which_limit_was_met(client: GraphClient, graph: ScriptedGraph) -> None:
    limits = {"x-ms-throttle-information": "ResourceUnitLimitExceeded", "x-ms-throttle-scope": "Tenant_Application/ReadWrite/a/t"}
    graph.on(USER_PATH, httpx.Response(429, json={"error": {"code": "TooManyRequests"}}, headers=limits))
    with pytest.raises(ThrottledError, match="ResourceUnitLimitExceeded, Tenant_Application"):
        await client.send(user_ask(client))


async def test_an_unavailable_graph_may_state_its_wish_too(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on(USER_PATH, error_reply(503, "ServiceUnavailable", Retry_After="7"))
    with pytest.raises(UnavailableError) as caught:
        await client.send(user_ask(client))
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize(
    "content",
    [b"<html>proxy login</html>", b'{"id": "cut of', b"[" * 200_000, b'{"error": {"code": "generalException"}}', b"\xff\xfe\xfa"],
)
async def test_a_2xx_that_is_no_answer_is_not_believed(client: GraphClient, graph: ScriptedGraph, content: bytes) -> None:
    graph.on(USER_PATH, httpx.Response(200, content=content, headers={"content-type": "text/html", "request-id": "rid-9"}))
    with pytest.raises(UnavailableError, match="rid-9") as caught:
        await client.object(user_ask(client))
    assert "proxy login" not in caught.value.reason


@pytest.mark.parametrize("content", [b"", b"[]", b'"text"', b"null"])
async def test_an_object_that_is_none_is_a_protocol_error(client: GraphClient, graph: ScriptedGraph, content: bytes) -> None:
    graph.on(USER_PATH, httpx.Response(200, content=content))
    with pytest.raises(ProtocolError):
        await client.object(user_ask(client))


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("cut off"),
        httpx.DecodingError("broken gzip"),
    ],
)
async def test_a_network_failure_of_a_read_can_be_repeated(client: GraphClient, graph: ScriptedGraph, failure: Exception) -> None:
    graph.on(USER_PATH, failure)
    with pytest.raises(UnavailableError, match=r"GET /users/\{user-id\}"):
        await client.send(user_ask(client))


@pytest.mark.parametrize(
    ("failure", "expected"),
    [(httpx.ReadTimeout("slow"), FateUnknownError), (httpx.ConnectError("refused"), UnavailableError)],
)
async def test_a_lost_answer_to_a_write_leaves_its_fate_unknown(
    client: GraphClient, graph: ScriptedGraph, failure: Exception, expected: type[ProvisioningError]
) -> None:
    graph.on("/subscriptions", failure)
    with pytest.raises(expected):
        await client.send(client.write(lambda sdk: sdk.subscriptions, "POST", {}, permission="User.Read.All"))


async def test_a_message_for_the_operator_carries_no_address_and_no_line_break(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on(USER_PATH, error_reply(400, "BadRequest", "ann.one@contoso.com\r\nforged log line " + "x" * 1000))
    with pytest.raises(ProtocolError) as caught:
        await client.send(user_ask(client))
    assert "contoso" not in caught.value.reason
    assert "\n" not in caught.value.reason
    assert len(caught.value.reason) < 500


async def test_the_request_id_may_stand_in_the_body_only(client: GraphClient, graph: ScriptedGraph) -> None:
    error = {"code": "InvalidRequest", "message": "m", "innerError": {"request-id": "inner-7"}}
    graph.on(USER_PATH, httpx.Response(400, json={"error": error}))
    with pytest.raises(ProtocolError, match="inner-7"):
        await client.send(user_ask(client))


@pytest.mark.parametrize(
    "tail",
    [
        "/users/delta()?$deltatoken=a%2Db%2e%7E~'(c)*!:@;=-_.&x=y",
        "/users/delta?$skipToken=%C3%A9+%20%2B%26%3D",
        "/users/microsoft.graph.delta?%24deltatoken=" + "A" * 4000,
    ],
)
async def test_a_link_is_sent_as_graph_wrote_it(client: GraphClient, graph: ScriptedGraph, tail: str) -> None:
    graph.on(tail.partition("?")[0], ok({"value": []}))
    await client.send(client.follow(BASE_URL + tail, user_ask(client)))
    # The SDK writes "$" for "%24" in the names of options, and touches no value.
    assert graph.urls == [tail.replace("?%24deltatoken", "?$deltatoken")]
    assert graph.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"


async def test_a_short_page_is_not_the_end_and_neither_is_an_empty_one(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on(
        "/subscriptions",
        ok({"value": [1], "@odata.nextLink": f"{BASE_URL}/subscriptions?$skiptoken=2"}),
        ok({"value": [], "@odata.nextLink": f"{BASE_URL}/subscriptions?$skiptoken=3"}),
        ok({"value": [2, 3]}),
    )
    ask = client.read(lambda sdk: sdk.subscriptions, permission="User.Read.All")
    assert [page async for page in client.pages(ask)] == [[1], [], [2, 3]]


async def test_a_list_that_never_ends_is_left(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on("/subscriptions", ok({"value": [], "@odata.nextLink": f"{BASE_URL}/subscriptions?$skiptoken=2"}))
    ask = client.read(lambda sdk: sdk.subscriptions, permission="User.Read.All")
    with pytest.raises(ProtocolError, match="never end"):
        _ = [page async for page in client.pages(ask)]
    assert len(graph.requests) == 2


async def test_a_page_without_a_list_is_not_an_empty_page(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on("/subscriptions", ok({}))
    with pytest.raises(ProtocolError):
        _ = [page async for page in client.pages(client.read(lambda sdk: sdk.subscriptions, permission=""))]


async def test_an_expired_page_token_asks_for_the_whole_list_again(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on(
        "/subscriptions",
        ok({"value": [], "@odata.nextLink": f"{BASE_URL}/subscriptions?$skiptoken=2"}),
        error_reply(400, "Directory_ExpiredPageToken"),
    )
    with pytest.raises(UnavailableError, match="from its start"):
        _ = [page async for page in client.pages(client.read(lambda sdk: sdk.subscriptions, permission=""))]


async def test_a_link_that_no_url_can_hold_is_a_protocol_error(client: GraphClient, graph: ScriptedGraph) -> None:
    with pytest.raises(ProtocolError, match="no url"):
        await client.send(client.follow(f"{BASE_URL}/users/delta?$deltatoken={'x' * 70_000}", user_ask(client)))
    assert graph.requests == []


async def test_the_log_names_routes_and_request_ids_but_neither_people_nor_tokens(
    client: GraphClient, graph: ScriptedGraph, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    graph.on(USER_PATH, ok({"id": user_id(1), "displayName": "Ann One"}))
    await client.send(user_ask(client))
    await client.send(client.follow(f"{BASE_URL}{USER_PATH}?$skiptoken=SECRET", user_ask(client)))
    written = "\n".join(record.getMessage() for record in caplog.records)
    assert "GET /users/{user-id} 200" in written
    assert "rid-1" in written
    for hidden in (user_id(1), "Ann", TOKEN, "SECRET"):
        assert hidden not in written
    assert {record.name for record in caplog.records} == {"provisioning.graph"}


async def test_no_span_of_the_sdk_may_carry_a_url(client: GraphClient) -> None:
    user_ask(client)
    assert client._connection is not None
    assert client._connection._adapter.observability_options.include_euii_attributes is False


async def test_closing_reaches_the_connections_below_the_sdk(graph: ScriptedGraph) -> None:
    client = GraphClient(BASE_URL, access_token=TOKEN, transport=graph)
    graph.on(USER_PATH, ok({"id": user_id(1)}))
    await client.send(user_ask(client))
    await client.aclose()
    assert graph.closed


def test_nothing_heavy_is_imported_before_the_first_request_and_no_model_at_it() -> None:
    program = f"""
import asyncio, sys
from shared.graph import assignments, batch, client, delta, notifications, objects, subscriptions
heavy = {{"httpx", "msgraph", "msgraph_core", "azure", "kiota_http", "aiohttp"}} & set(sys.modules)
assert not heavy, heavy
import httpx
async def main():
    page = {{"value": [{{"id": "1"}}], "@odata.deltaLink": "{BASE_URL}/users/delta?$deltatoken=x"}}
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=page))
    graph = client.GraphClient("{BASE_URL}", access_token="t", transport=transport)
    assert len((await delta.delta_page(graph, "user", link=None, select=["displayName"])).items) == 1
    await graph.aclose()
asyncio.run(main())
models = [name for name in sys.modules if name.startswith("msgraph.generated.models")]
assert not models, models
assert "azure.identity" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - our own program
    assert done.returncode == 0, done.stderr
