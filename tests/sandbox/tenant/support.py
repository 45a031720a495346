"""What the tenant's tests have in common: an endpoint for notifications, a clock, and waiting with a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

DEADLINE = 10.0


class Clock:
    """Time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for ``condition``, or fail after the deadline with ``what`` was awaited."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEADLINE
    while not condition():
        assert loop.time() < deadline, f"never happened: {what}"
        await asyncio.sleep(0.005)


@dataclasses.dataclass(slots=True)
class Webhook:
    """An endpoint for notifications that behaves as told: ``statuses`` answer the next POSTs, then 202 does."""

    url: str = ""
    items: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    posts: list[int] = dataclasses.field(default_factory=list)
    statuses: list[int] = dataclasses.field(default_factory=list)
    tokens: list[str] = dataclasses.field(default_factory=list)
    queries: list[dict[str, str]] = dataclasses.field(default_factory=list)
    validation: str = "good"
    answer_after: float = 0.0
    _stack: contextlib.AsyncExitStack = dataclasses.field(default_factory=contextlib.AsyncExitStack)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/api/{name}", self._post)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _post(self, request: web.Request) -> web.Response:
        self.queries.append(dict(request.query))
        token = request.query.get("validationToken")
        if token is not None:
            self.tokens.append(token)
            encoded = request.rel_url.raw_query_string.partition("validationToken=")[2]
            body = {"good": token, "still encoded": encoded, "json": token, "refused": token}[self.validation]
            content_type = "application/json" if self.validation == "json" else "text/plain"
            return web.Response(status=403 if self.validation == "refused" else 200, text=body, content_type=content_type)
        body_json = await request.json()
        if self.answer_after:
            await asyncio.sleep(self.answer_after)
        self.posts.append(len(body_json["value"]))
        status = self.statuses.pop(0) if self.statuses else 202
        if status < 300:
            self.items.extend(body_json["value"])
        return web.Response(status=status)

    def about(self, object_id: str) -> list[dict[str, Any]]:
        """The notifications of one object."""
        return [item for item in self.items if item.get("resourceData", {}).get("id") == object_id]


async def drain(client: httpx.AsyncClient, link: str, **headers: str) -> tuple[list[dict[str, Any]], str, int]:
    """Follow a delta round to its end: all items, the delta link, the number of pages."""
    items: list[dict[str, Any]] = []
    for pages in range(1, 1000):
        response = await client.get(link, headers=headers)
        assert response.status_code == 200, response.text
        body = response.json()
        assert ("@odata.nextLink" in body) != ("@odata.deltaLink" in body)
        items += body["value"]
        if "@odata.deltaLink" in body:
            return items, body["@odata.deltaLink"], pages
        link = body["@odata.nextLink"]
    raise AssertionError("a round without end")
