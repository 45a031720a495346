"""An instance that answers by script: each request is recorded, and the next answer, or a function of the request, is given."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import httpx

from shared.servicenow.auth import Auth, basic, build_auth
from shared.servicenow.client import ServiceNowClient
from shared.servicenow.gate import AdaptiveGate

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from shared.servicenow.gate import Gate

URL = "https://contoso.service-now.com"
JSON = "application/json;charset=UTF-8"
NOW = 1_800_000_000.0

type Handler = Callable[[httpx.Request], httpx.Response] | Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]
type Reply = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


class Script:
    """Answers in order; the last one is repeated."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.requests: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, httpx.Response):
            # A response is consumed by its first reader, so each request gets a copy.
            return httpx.Response(reply.status_code, headers=reply.headers, content=reply.content)
        return reply(request)

    @property
    def count(self) -> int:
        return len(self.requests)

    def parameters(self, number: int) -> dict[str, str]:
        return dict(parse_qsl(self.requests[number].url.query.decode(), keep_blank_values=True))

    def batched(self, number: int) -> list[dict[str, Any]]:
        """The items of a batch request, bodies decoded."""
        items: list[dict[str, Any]] = json.loads(self.requests[number].content)["rest_requests"]
        return [{**item, "body": json.loads(base64.b64decode(item["body"]))} if "body" in item else item for item in items]


class Clock:
    """Unix time that passes only when told to, or when somebody sleeps."""

    def __init__(self) -> None:
        self.now = NOW
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def auth_of(kind: str, given: Mapping[str, str], clock: Callable[[], float] = time.time) -> Auth:
    """Credentials of this kind from those of the names that are given."""
    return build_auth(
        kind,
        username=given.get("username", ""),
        password=given.get("password", ""),
        client_id=given.get("client_id", ""),
        client_secret=given.get("client_secret", ""),
        api_key=given.get("api_key", ""),
        clock=clock,
    )


def client_of(
    script: Handler,
    *,
    auth: Auth | None = None,
    gate: Gate | None = None,
    clock: Clock | None = None,
    timeout: float = 65.0,
    batch_timeout: float = 35.0,
) -> ServiceNowClient:
    clock = clock or Clock()
    return ServiceNowClient(
        URL,
        auth or basic("entra.provisioning", "provisioning"),
        gate=gate or AdaptiveGate(4, clock=clock, sleep=clock.sleep),
        transport=httpx.MockTransport(script),
        clock=clock,
        sleep=clock.sleep,
        timeout=timeout,
        batch_timeout=batch_timeout,
    )


def reply(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> httpx.Response:
    content = b"" if body is None else json.dumps(body).encode()
    return httpx.Response(status, headers={"Content-Type": JSON, **(headers or {})}, content=content)


def rows(*found: Mapping[str, str], total: int | None = None) -> httpx.Response:
    return reply(200, {"result": list(found)}, {"X-Total-Count": str(len(found) if total is None else total)})


def failure(status: int, message: str, detail: str | None = None, headers: Mapping[str, str] | None = None) -> httpx.Response:
    return reply(status, {"error": {"message": message, "detail": detail}, "status": "failure"}, headers)


def page(title: str = "Log in", status: int = 200) -> httpx.Response:
    html = f"<html><head><title>{title}</title></head></html>"
    return httpx.Response(status, headers={"Content-Type": "text/html;charset=UTF-8"}, text=html)


def item(number: int, status: int, body: Any = None, *, milliseconds: int = 50) -> dict[str, Any]:
    content = "" if body is None else base64.b64encode(json.dumps(body).encode()).decode()
    return {"id": str(number), "status_code": status, "body": content, "headers": [], "execution_time": milliseconds}


def batch(*serviced: Mapping[str, Any], unserviced: Sequence[int] = ()) -> httpx.Response:
    left = [str(number) for number in unserviced]
    return reply(200, {"batch_request_id": "1", "serviced_requests": list(serviced), "unserviced_requests": left})


def echo(request: httpx.Request) -> httpx.Response:
    """An instance that takes every write as it is, alone or in a batch, and shows the record."""
    if request.url.path == "/api/now/v1/batch":
        requests = json.loads(request.content)["rest_requests"]
        return batch(*(_echoed(number, one) for number, one in enumerate(requests, start=1)))
    if request.method == "DELETE":
        return httpx.Response(204)
    record = json.loads(request.content)
    return reply(201 if request.method == "POST" else 200, {"result": {"sys_id": request.url.path.rpartition("/")[2], **record}})


def _echoed(number: int, one: Mapping[str, Any]) -> dict[str, Any]:
    if one["method"] == "DELETE":
        return item(number, 204)
    record = {"sys_id": one["url"].partition("?")[0].rpartition("/")[2], **json.loads(base64.b64decode(one["body"]))}
    return item(number, 201 if one["method"] == "POST" else 200, {"result": record})
