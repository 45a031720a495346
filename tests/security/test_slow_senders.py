"""Webhook bodies that come in halves, slowly, or never: they are nothing, and hold up nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from shared.graph.notifications import MAX_BYTES
from tests.support.hosted import STATE, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.hosted import Hosted

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

#: Graph calls an endpoint slow that takes longer than this (change notifications, "drop" and "slow" states).
_SLOW = 10.0
_SENDERS = 60


@contextlib.asynccontextmanager
async def _connected(here: Hosted) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    address = urlsplit(here.host.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def _head(framing: str) -> bytes:
    lines = ("POST /api/notifications HTTP/1.1", "Host: localhost", "Content-Type: application/json", framing)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _body(here: Hosted) -> bytes:
    subscription = (await here.subscriptions())[0]["id"]
    stranger = str(uuid.uuid4())
    item = {
        "subscriptionId": subscription,
        "clientState": STATE,
        "changeType": "updated",
        "resource": f"Users/{stranger}",
        "resourceData": {"@odata.type": "#Microsoft.Graph.User", "id": stranger},
    }
    return json.dumps({"value": [item]}).encode()


async def _status(reader: asyncio.StreamReader) -> int:
    line = await asyncio.wait_for(reader.readline(), timeout=30)
    return int(line.split()[1])


async def _accepted(here: Hosted) -> float:
    """Send a genuine notification; how long its answer took, in seconds."""
    body = await _body(here)
    begun = time.monotonic()
    async with here.session.post(f"{here.host.url}/api/notifications", data=body) as answer:
        assert answer.status == 202
    return time.monotonic() - begun


async def _rejected(here: Hosted) -> int:
    job: dict[str, Any] = await here.get("job")
    return int(job["app"]["rejectedNotifications"])


async def _drained(here: Hosted) -> None:
    async def empty() -> bool:
        return not any((await here.queue_lengths()).values())

    await until(empty, seconds=60, what="the queues are empty")


@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_a_half_sent_body_is_nothing(here: Hosted, framing: str) -> None:
    await _drained(here)
    before, asked = await _rejected(here), here.tenant.api.requests.total()
    body = await _body(here)
    asked = here.tenant.api.requests.total()
    half = body[: len(body) // 2]
    for _ in range(5):
        async with _connected(here) as (_, writer):
            if framing == "length":
                writer.write(_head(f"Content-Length: {len(body)}") + half)
            else:
                writer.write(_head("Transfer-Encoding: chunked") + b"%x\r\n%b" % (len(body), half))
            await writer.drain()
    assert await _accepted(here) < _SLOW
    await _drained(here)
    assert await _rejected(here) == before
    # The one genuine notification asked for one object that nobody knows, and nothing else was asked for.
    assert here.tenant.api.requests.total() - asked <= 4


async def test_a_complete_body_behind_a_wrong_length_is_judged_by_what_was_framed(here: Hosted) -> None:
    """Whoever says that less comes than does: the rest is no second request of his that anybody believes."""
    body = await _body(here)
    async with _connected(here) as (reader, writer):
        writer.write(_head(f"Content-Length: {len(body) // 2}") + body)
        await writer.drain()
        assert await _status(reader) == 400
    assert await _accepted(here) < _SLOW


async def test_a_body_without_a_length_is_measured_all_the_same(here: Hosted) -> None:
    before = await _rejected(here)
    async with _connected(here) as (reader, writer):
        writer.write(_head("Transfer-Encoding: chunked"))
        piece = b" " * 65536
        for _ in range(MAX_BYTES // len(piece) + 1):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        assert await _status(reader) == 400
    assert await _rejected(here) == before + 1


async def test_slow_senders_hold_up_nobody_and_are_heard_when_they_are_done(here: Hosted) -> None:
    await _drained(here)
    body = await _body(here)
    async with contextlib.AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(_connected(here)) for _ in range(_SENDERS)]
        for number, (_, writer) in enumerate(slow):
            writer.write(_head(f"Content-Length: {len(body)}") + body[: 1 + number % len(body)])
            await writer.drain()
        for _ in range(3):
            assert await _accepted(here) < _SLOW
        async with here.session.get(f"{here.host.url}/api/health") as answer:
            assert answer.status == 200
        # A byte at a time to the end, all of them side by side; each is a notification like any other then.
        for number, (_, writer) in enumerate(slow[:5]):
            for byte in body[1 + number : -1]:
                writer.write(bytes([byte]))
                await writer.drain()
            writer.write(body[-1:])
            await writer.drain()
        assert [await _status(reader) for reader, _ in slow[:5]] == [202] * 5
    assert await _accepted(here) < _SLOW
    await _drained(here)
