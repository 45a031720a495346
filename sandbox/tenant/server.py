"""The tenant on a port of the loopback interface."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import time
import uuid
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from aiohttp import web

from sandbox.tenant.api import GraphApi, encoded
from sandbox.tenant.control import Control
from sandbox.tenant.delta import DeltaTokens
from sandbox.tenant.directory import Tenant
from sandbox.tenant.messages import GraphRequest
from sandbox.tenant.notifications import Notifier
from sandbox.tenant.routing import Services
from sandbox.tenant.subscriptions import Subscriptions, ask_over_http
from sandbox.tenant.tokens import Sealer

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.people import Organisation
    from sandbox.tenant.config import TenantConfig

_HOST = "127.0.0.1"
_LARGEST_BODY = 4 * 1024 * 1024
_VERSIONS = ("/v1.0", "/beta")
_BAD_JSON = object()


class TenantServer:
    """Serves a tenant while it is entered: ``async with TenantServer(config) as server: server.url``.

    ``port`` 0 takes a free one. ``url`` is the base URL of Graph, ``control_url`` that of the control routes.
    """

    def __init__(
        self,
        config: TenantConfig,
        port: int = 0,
        *,
        organisation: Organisation | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._port = port
        self.tenant = Tenant(config, organisation=organisation, clock=clock)
        self.url = ""
        self.control_url = ""
        self._stack = contextlib.AsyncExitStack()

    @property
    def notifier(self) -> Notifier:
        """Delivery of notifications; only while the server runs."""
        return self._notifier

    @property
    def api(self) -> GraphApi:
        """Graph without HTTP; only while the server runs."""
        return self._api

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            # Everything that the tenant sends goes to endpoints under rehearsal: no cookies, a connection each if need be.
            session = await stack.enter_async_context(
                aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(limit=32))
            )
            subscriptions = Subscriptions(self.tenant, functools.partial(ask_over_http, session))
            sealer = Sealer()
            services = Services(self.tenant, subscriptions, sealer, DeltaTokens(self.tenant, sealer))
            self._api = GraphApi(services)
            self._notifier = Notifier(self.tenant, subscriptions, session)
            await self._listen(stack, Control(services, self._api, self._notifier))
            sending = asyncio.create_task(self._notifier.run())
            stack.push_async_callback(_stopped, sending)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.tenant.listeners.clear()
        await self._stack.aclose()

    async def _listen(self, stack: contextlib.AsyncExitStack, control: Control) -> None:
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.add_routes(control.routes())
        app.router.add_route("*", "/{tail:.*}", self._graph)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, _HOST, self._port)
        await site.start()
        port = runner.addresses[0][1]
        self.url = f"http://{_HOST}:{port}/v1.0"
        self.control_url = f"http://{_HOST}:{port}/control"

    async def _graph(self, request: web.Request) -> web.Response:
        version, target = request.raw_path[:5], request.raw_path[5:]
        if version not in _VERSIONS or target[:1] not in {"/", "?", ""}:
            raise web.HTTPNotFound
        base = f"{request.scheme}://{request.host}{version}"
        graph_request = GraphRequest.parse(request.method, base, target, request.headers, await _body(request))
        response = await self._api.answer(graph_request)
        content, content_type = encoded(response)
        headers = {
            "request-id": str(uuid.uuid4()),
            "client-request-id": graph_request.headers.get("client-request-id", ""),
            "OData-Version": "4.0",
            **response.headers,
        }
        if content:
            headers["Content-Type"] = content_type
        return web.Response(status=response.status, body=content, headers=headers)


async def _body(request: web.Request) -> Any:
    """The JSON of a request, or something that is no JSON value where it has none."""
    content = await request.read()
    if not content:
        return None
    try:
        return json.loads(content)
    except ValueError:
        return _BAD_JSON


async def _stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
