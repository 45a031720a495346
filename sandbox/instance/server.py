"""The instance on a port of the loopback address."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import TYPE_CHECKING, Final, Self

from aiohttp import web

from .answers import ApiAnswer, ApiRequest, refused
from .control import Control
from .instance import Instance
from .persistence import DataDirectory
from .service import LostAnswerError, Service, too_large

if TYPE_CHECKING:
    from pathlib import Path
    from ssl import SSLContext
    from types import TracebackType

    from .config import InstanceConfig

HOST: Final = "127.0.0.1"
SESSION_COOKIE: Final = "JSESSIONID"


class InstanceServer:
    """``async with InstanceServer(config) as server: server.url``. Port 0 takes a free one.

    With ``data`` the rows are kept in that directory; with ``ssl_context`` the instance speaks https.
    """

    def __init__(
        self,
        config: InstanceConfig | None = None,
        port: int = 0,
        *,
        instance: Instance | None = None,
        data: Path | None = None,
        ssl_context: SSLContext | None = None,
    ) -> None:
        self.instance = instance or Instance(config)
        self.service = Service(self.instance)
        self._port = port
        self._ssl_context = ssl_context
        self._data = None if data is None else DataDirectory(self.instance, data)
        self._runner: web.AppRunner | None = None
        self._saving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The instance's address, without a slash at the end."""
        return f"{'https' if self._ssl_context else 'http'}://{HOST}:{self._port}"

    async def __aenter__(self) -> Self:
        if self._data is not None:
            await self._data.load()
            self._saving = asyncio.create_task(self._data.keep_saving())
        app = web.Application(client_max_size=0)
        Control(self.service).add_routes(app)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, self._port, ssl_context=self._ssl_context, backlog=512)
        await site.start()
        self._port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._saving is not None and self._data is not None:
            self._saving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._saving
            await self._data.save()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        limit = self.instance.config.payload_limit
        session = request.cookies.get(SESSION_COOKIE, "")
        if (request.content_length or 0) > limit:
            answer = refused(too_large(request.content_length or 0, limit))
        else:
            try:
                answer = await self.service.serve(await self._read(request), session)
            except LostAnswerError:
                return self._cut(request)
        return self._response(answer, session)

    async def _read(self, request: web.Request) -> ApiRequest:
        return ApiRequest(
            method=request.method,
            path=request.path,
            params=dict(request.query),
            headers={name.casefold(): value for name, value in request.headers.items()},
            body=await request.read(),
            origin=self.url,
            query_string=request.rel_url.raw_query_string,
        )

    def _response(self, answer: ApiAnswer, session: str) -> web.Response:
        response = web.Response(status=answer.status, body=answer.body, headers=dict(answer.headers))
        response.set_cookie(SESSION_COOKIE, session or uuid.uuid4().hex.upper(), path="/", httponly=True)
        return response

    @staticmethod
    def _cut(request: web.Request) -> web.StreamResponse:
        """Cut the connection without a byte of an answer."""
        if request.transport is not None:
            request.transport.abort()
        return web.Response()
