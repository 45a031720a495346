from __future__ import annotations

import asyncio
import itertools

import pytest

from shared.errors import ThrottledError
from shared.servicenow.gate import AdaptiveGate
from tests.servicenow.scripted import Clock


class Crowd:
    """Requests that hold a place until told to leave."""

    def __init__(self, gate: AdaptiveGate) -> None:
        self.gate = gate
        self.inside = 0
        self.leave = asyncio.Event()

    async def visit(self) -> None:
        async with self.gate.slot():
            self.inside += 1
            await self.leave.wait()
            self.inside -= 1


async def until_idle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_no_more_requests_than_the_limit_are_under_way() -> None:
    crowd = Crowd(AdaptiveGate(3))
    visits = [asyncio.create_task(crowd.visit()) for _ in range(10)]
    await until_idle()
    assert crowd.inside == 3
    crowd.leave.set()
    await asyncio.gather(*visits)
    assert crowd.inside == 0


async def test_complaints_halve_the_limit_down_to_one_and_successes_bring_it_back() -> None:
    clock = Clock()
    gate = AdaptiveGate(8, clock=clock, sleep=clock.sleep)
    limits = []
    for _ in range(5):
        gate.slow_down(0)
        limits.append(gate.limit)
        clock.now += 2
    assert limits == [4, 2, 1, 1, 1]
    for _ in range(100):
        gate.succeeded()
    assert gate.limit == 8


async def test_requests_refused_together_are_one_complaint() -> None:
    clock = Clock()
    gate = AdaptiveGate(8, clock=clock, sleep=clock.sleep)
    for _ in range(8):
        gate.slow_down(0)
    assert gate.limit == 4


async def test_a_success_lets_the_next_one_in() -> None:
    clock = Clock()
    gate = AdaptiveGate(2, clock=clock, sleep=clock.sleep)
    gate.slow_down(0)
    crowd = Crowd(gate)
    visits = [asyncio.create_task(crowd.visit()) for _ in range(2)]
    await until_idle()
    assert crowd.inside == 1
    gate.succeeded()
    await until_idle()
    assert crowd.inside == 2
    crowd.leave.set()
    await asyncio.gather(*visits)


async def test_a_short_pause_is_waited_for_and_a_long_one_is_raised() -> None:
    clock = Clock()
    gate = AdaptiveGate(4, clock=clock, sleep=clock.sleep)
    gate.slow_down(1.5)
    async with gate.slot():
        assert clock.slept == [1.5]
    gate.slow_down(1800)
    with pytest.raises(ThrottledError) as caught:
        async with gate.slot():
            pytest.fail("must not be entered")
    assert caught.value.retry_after == 1800
    assert clock.slept == [1.5]


async def test_pauses_without_a_stated_time_grow_and_start_again_after_a_success() -> None:
    clock = Clock()
    gate = AdaptiveGate(4, clock=clock, sleep=clock.sleep)
    pauses = []
    for _ in range(8):
        gate.slow_down(None)
        pauses.append(gate.pause)
        clock.now += 60
    assert 1.0 <= pauses[0] <= 1.25
    assert all(later >= 1.5 * earlier for earlier, later in itertools.pairwise(pauses[:5]))
    assert 30 <= pauses[-1] <= 37.5
    gate.succeeded()
    gate.slow_down(None)
    assert 1.0 <= gate.pause <= 1.25


async def test_waiting_for_a_place_ends_with_an_error_and_a_cancelled_wait_keeps_no_place() -> None:
    gate = AdaptiveGate(1, max_wait=0.02)
    crowd = Crowd(gate)
    first = asyncio.create_task(crowd.visit())
    await until_idle()
    with pytest.raises(ThrottledError):
        await crowd.visit()
    waiting = asyncio.create_task(crowd.visit())
    await until_idle()
    waiting.cancel()
    crowd.leave.set()
    await first
    await asyncio.gather(waiting, return_exceptions=True)
    async with gate.slot():
        pass


async def test_a_place_granted_to_a_cancelled_request_goes_to_the_next() -> None:
    gate = AdaptiveGate(1)
    crowd = Crowd(gate)
    first, second = asyncio.create_task(crowd.visit()), asyncio.create_task(crowd.visit())
    await until_idle()
    crowd.leave.set()
    while not first.done():
        await asyncio.sleep(0)
        second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    async with asyncio.timeout(1), gate.slot():
        pass
