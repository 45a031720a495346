from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from sandbox.tenant import TenantConfig, TenantServer

from .support import Clock, Webhook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Serve = Callable[..., Awaitable[tuple[TenantServer, httpx.AsyncClient]]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a tenant, and a client that has a token for it."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(
            config: TenantConfig | None = None, *, clock: Callable[[], float] = time.time
        ) -> tuple[TenantServer, httpx.AsyncClient]:
            server = await stack.enter_async_context(TenantServer(config or TenantConfig(), clock=clock))
            client = httpx.AsyncClient(base_url=server.url, headers={"Authorization": "Bearer test"}, timeout=20)
            return server, await stack.enter_async_context(client)

        yield start


@pytest.fixture
async def webhook() -> AsyncIterator[Webhook]:
    async with Webhook() as endpoint:
        yield endpoint
