from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from shared.errors import CredentialsError, NotFoundError, ProvisioningError, RefusedError, ThrottledError, UnavailableError
from shared.graph.answers import Answer
from shared.graph.batch import send_batch
from tests.graph.conftest import NOW, ScriptedGraph, error_reply, ok, user_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.graph.answers import Ask
    from shared.graph.client import GraphClient

type PartReply = Callable[[dict[str, Any]], dict[str, Any] | None]


def asks(client: GraphClient, count: int) -> list[Ask]:
    def ask(number: int) -> Ask:
        return client.read(
            lambda graph: graph.users.by_user_id(user_id(number)), permission="User.Read.All", select=["id", "mail"]
        )

    return [ask(number) for number in range(count)]


def each_part(answer: PartReply) -> Callable[[httpx.Request], httpx.Response]:
    """A batch endpoint that answers every part with ``answer``, in reversed order, leaving out those that are None."""

    def reply(request: httpx.Request) -> httpx.Response:
        parts = json.loads(request.content)["requests"]
        answered = ((part, answer(part)) for part in reversed(parts))
        responses = [{"id": part["id"], **found} for part, found in answered if found is not None]
        return httpx.Response(200, json={"responses": responses})

    return reply


def echo(part: dict[str, Any]) -> dict[str, Any]:
    return {"status": 200, "headers": {}, "body": {"url": part["url"]}}


async def test_parts_are_relative_numbered_and_at_most_twenty(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on("/$batch", each_part(echo))
    outcomes = await send_batch(client, asks(client, 45))
    sizes = sorted(len(graph.body(index)["requests"]) for index in range(len(graph.requests)))
    assert sizes == [5, 20, 20]
    first = next(graph.body(i)["requests"] for i in range(3) if user_id(0) in graph.requests[i].content.decode())[0]
    assert first["id"] == "1"
    assert first["method"] == "GET"
    assert first["url"] == f"/users/{user_id(0)}?$select=id,mail"
    assert [user_id(n) in outcome.body["url"] for n, outcome in enumerate(outcomes) if isinstance(outcome, Answer)] == [True] * 45


async def test_each_part_succeeds_or_fails_alone_with_its_own_wait(client: GraphClient, graph: ScriptedGraph) -> None:
    parts: dict[str, dict[str, Any] | None] = {
        "1": {"status": 200, "headers": None, "body": {"id": "a"}},
        "2": {"status": 429, "headers": {"Retry-After": "3"}, "body": {"error": {"code": "TooManyRequests"}}},
        "3": {"status": 429, "headers": {"retry-after": "17"}, "body": {"error": {"code": "TooManyRequests"}}},
        "4": {"status": 404, "body": {"error": {"code": "Request_ResourceNotFound"}}},
        "5": {"status": 403, "body": {"error": {"code": "Authorization_RequestDenied", "innerError": {"request-id": "in-5"}}}},
        "6": {"status": 424, "body": {"error": {"code": "FailedDependency"}}},
        "7": {"status": 200, "body": "PGh0bWw+"},
        "8": {"status": "200", "body": {}},
        "9": None,
    }
    graph.on("/$batch", each_part(lambda part: parts[part["id"]]))
    outcomes = await send_batch(client, asks(client, 9))
    assert isinstance(outcomes[0], Answer)
    kinds = [type(outcome) for outcome in outcomes[1:]]
    assert kinds == [ThrottledError, ThrottledError, NotFoundError, RefusedError, *[UnavailableError] * 4]
    assert [outcome.retry_after for outcome in outcomes if isinstance(outcome, ThrottledError)] == [3.0, 17.0]
    refused = outcomes[4]
    assert isinstance(refused, RefusedError)
    assert "User.Read.All" in refused.reason
    assert "in-5" in refused.reason


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (error_reply(429, "TooManyRequests", Retry_After="4"), ThrottledError),
        (error_reply(503, "ServiceUnavailable"), UnavailableError),
        (httpx.ReadTimeout("slow"), UnavailableError),
        (ok({"responses": None}), UnavailableError),
        (ok({}), UnavailableError),
    ],
)
async def test_a_batch_that_fails_as_a_whole_fails_each_part(
    client: GraphClient, graph: ScriptedGraph, reply: httpx.Response | Exception, expected: type[ProvisioningError]
) -> None:
    graph.on("/$batch", reply)
    outcomes = await send_batch(client, asks(client, 3))
    assert [type(outcome) for outcome in outcomes] == [expected] * 3
    assert len(graph.requests) == 1


@pytest.mark.parametrize("inside", [True, False])
async def test_refused_credentials_stop_everything(client: GraphClient, graph: ScriptedGraph, inside: bool) -> None:
    refusal = {"status": 401, "body": {"error": {"code": "InvalidAuthenticationToken"}}}
    graph.on("/$batch", each_part(lambda _: refusal) if inside else error_reply(401))
    with pytest.raises(CredentialsError):
        await send_batch(client, asks(client, 400))
    assert len(graph.requests) <= 4, "only what was on its way already"


async def test_nothing_to_send_sends_nothing(client: GraphClient, graph: ScriptedGraph) -> None:
    assert await send_batch(client, []) == ()
    assert graph.requests == []
    assert client.now() == NOW
