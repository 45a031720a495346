"""A reverse proxy that can fail: in front of storage, and in front of the hosts as the one address that Graph knows.

A request can be refused before it is passed on (nothing has happened), or its answer can be lost (it has happened, and nobody
is told). Those are the two failures that every protocol has.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Final, Self

import aiohttp
from aiohttp import web
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Callable

_LARGEST: Final = 8 * 1024 * 1024
#: What belongs to one connection (RFC 9110, 7.6.1), and what the body's transfer sets anew.
_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})
_OWN: Final = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")
_TIMEOUT: Final = 20.0


class Proxy:
    """``async with Proxy(lambda: "http://127.0.0.1:10002", name="tables") as proxy``: serves the same at ``proxy.url``.

    ``upstream`` is asked for each request; None means that nobody is there. ``refused`` and ``lost`` are shares from 0 to 1.
    ``counts`` counts requests, messages put into queues, refusals and lost answers.
    """

    def __init__(self, upstream: Callable[[], str | None], *, name: str, seed: int = 0) -> None:
        self._upstream = upstream
        self._chance = random.Random(f"{name}/{seed}")
        self.name = name
        self.refused = 0.0
        self.lost = 0.0
        self.counts: Counter[str] = Counter()
        self.url = ""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT),
        )
        app = web.Application(client_max_size=_LARGEST)
        app.router.add_route("*", "/{tail:.*}", self._forward)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=512).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        self.counts["requests"] += 1
        if request.method == "POST" and request.path.endswith("/messages"):
            self.counts["messages"] += 1
        body = await request.read()
        upstream = self._upstream()
        if upstream is None or self._chance.random() < self.refused:
            self.counts["refused"] += 1
            return web.Response(status=503)
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP]
        try:
            async with self._session.request(
                request.method,
                URL(upstream + request.raw_path, encoded=True),
                headers=headers,
                data=body or None,
                skip_auto_headers=_OWN,
                allow_redirects=False,
            ) as answer:
                response = web.Response(status=answer.status, body=await answer.read() or None)
                response.headers.clear()
                for name, value in answer.headers.items():
                    if name.lower() not in _HOP_BY_HOP:
                        response.headers.add(name, value)
        except (aiohttp.ClientError, TimeoutError):
            self.counts["unanswered"] += 1
            return web.Response(status=502)
        if self._chance.random() < self.lost:
            self.counts["lost"] += 1
            if request.transport is not None:
                request.transport.abort()
        return response
