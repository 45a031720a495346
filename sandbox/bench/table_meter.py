"""A reverse proxy in front of the table service that counts requests."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Self

import aiohttp
from aiohttp import web
from yarl import URL

if TYPE_CHECKING:
    from types import TracebackType

_LARGEST: Final = 8 * 1024 * 1024
#: What belongs to one connection (RFC 9110, 7.6.1), and what the body's transfer sets anew.
_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})
_OWN: Final = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")


class TableMeter:
    """``async with TableMeter("http://127.0.0.1:10002") as meter``: serves the same at ``meter.url``.

    ``counts``: requests by method and table; a transaction counts once, as ``POST $batch``.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self.counts: Counter[str] = Counter()
        self.url = ""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(limit=0)
        )
        app = web.Application(client_max_size=_LARGEST)
        app.router.add_route("*", "/{tail:.*}", self._forward)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _forward(self, request: web.Request) -> web.Response:
        table = request.path.split("/")[2].partition("(")[0] if request.path.count("/") > 1 else ""
        self.counts[f"{request.method} {table}"] += 1
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP]
        async with self._session.request(
            request.method,
            URL(self._upstream + request.raw_path, encoded=True),
            headers=headers,
            data=await request.read() or None,
            skip_auto_headers=_OWN,
            allow_redirects=False,
        ) as answer:
            body = await answer.read()
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP]
            response = web.Response(status=answer.status, body=body or None)
            response.headers.clear()
            for name, value in kept:
                response.headers.add(name, value)
            return response
