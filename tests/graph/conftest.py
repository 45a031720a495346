"""A Graph that answers what a test tells it, through httpx's transport seam."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from shared.graph.client import GraphClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

BASE_URL = "http://127.0.0.1:7072/v1.0"
TOKEN = "local-token"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

type Reply = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


class ScriptedGraph(httpx.AsyncBaseTransport):
    """Answers by path (below the version), in order; the last answer of a path stays. Records what was asked."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.closed = False
        self._replies: dict[str, list[Reply]] = {}

    def on(self, path: str, *replies: Reply) -> None:
        self._replies[path] = list(replies)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        replies = self._replies.get(request.url.path.removeprefix("/v1.0"), [error_reply(404, "Request_ResourceNotFound")])
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, httpx.Response):
            return httpx.Response(reply.status_code, headers=reply.headers, content=reply.content)
        return reply(request)

    async def aclose(self) -> None:
        self.closed = True

    @property
    def urls(self) -> list[str]:
        return [request.url.raw_path.decode().removeprefix("/v1.0") for request in self.requests]

    def body(self, index: int = -1) -> Any:
        return json.loads(self.requests[index].content)


def ok(body: Any, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(200, json=body, headers={"request-id": "rid-1", **named})


def error_reply(status: int, code: str = "SomeCode", message: str = "", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    error = {"error": {"code": code, "message": message}}
    return httpx.Response(status, json=error, headers={"request-id": "rid-1", **named})


def user_id(number: int) -> str:
    return f"11111111-0000-4000-8000-{number:012d}"


def group_id(number: int) -> str:
    return f"22222222-0000-4000-8000-{number:012d}"


@pytest.fixture
def graph() -> ScriptedGraph:
    return ScriptedGraph()


@pytest.fixture
async def client(graph: ScriptedGraph) -> AsyncIterator[GraphClient]:
    made = GraphClient(BASE_URL, access_token=TOKEN, transport=graph, clock=lambda: NOW)
    yield made
    await made.aclose()
