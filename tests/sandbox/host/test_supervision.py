"""Loops that outlive their errors."""

from __future__ import annotations

import asyncio

from sandbox.host.supervision import supervise


async def test_a_loop_goes_on_after_an_error() -> None:
    stopping = asyncio.Event()
    seen: list[int] = []

    async def step() -> None:
        seen.append(len(seen))
        if len(seen) == 1:
            raise RuntimeError("once")
        stopping.set()

    async with asyncio.timeout(5):
        await supervise("sample", step, stopping)
    assert seen == [0, 1]


async def test_a_loop_that_waits_after_an_error_stops_at_once() -> None:
    stopping = asyncio.Event()

    async def step() -> None:
        asyncio.get_running_loop().call_soon(stopping.set)
        raise RuntimeError("down")

    async with asyncio.timeout(0.4):
        await supervise("sample", step, stopping)
