"""The gate: never more requests at ServiceNow than the limit, over all workers together."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from shared.errors import ThrottledError
from shared.events import now
from shared.provisioning.gate import SharedGate
from shared.settings import Storage
from shared.state.job import Jobs
from shared.state.slots import Slots
from shared.state.tables import Tables
from tests.support.storage import empty_tables

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

LIMIT = 4


@pytest.fixture
async def tables(storage: str) -> AsyncIterator[Tables]:
    tables = Tables.open(Storage(storage))
    await empty_tables(tables)
    yield tables
    await tables.aclose()


class Service:
    """Stands for ServiceNow: counts who is there at once."""

    def __init__(self) -> None:
        self.present = 0
        self.most = 0
        self.served: dict[str, int] = {}

    async def serve(self, gate: SharedGate, name: str, seconds: float) -> None:
        async with gate.slot():
            self.present += 1
            self.most = max(self.most, self.present)
            try:
                await asyncio.sleep(seconds)
            finally:
                self.present -= 1
            self.served[name] = self.served.get(name, 0) + 1


@contextlib.asynccontextmanager
async def gate_of(tables: Tables, worker: str, clock: Callable[[], datetime] = now) -> AsyncIterator[SharedGate]:
    gate = SharedGate(Slots(tables, LIMIT, worker, clock), Jobs(tables, clock), LIMIT, clock)
    try:
        yield gate
    finally:
        await gate.aclose()


async def test_one_worker_uses_the_whole_limit_and_never_more(tables: Tables) -> None:
    service = Service()
    async with gate_of(tables, "w1") as gate:
        await asyncio.gather(*(service.serve(gate, "w1", 0.02) for _ in range(30)))
    assert service.most == LIMIT
    assert service.served == {"w1": 30}


async def test_requests_share_slots_and_do_not_cost_a_table_request_each(tables: Tables) -> None:
    service = Service()
    async with gate_of(tables, "w1") as gate:
        await service.serve(gate, "w1", 0)
        tables.requests.clear()
        for _ in range(50):
            await service.serve(gate, "w1", 0)
        assert sum(tables.requests.values()) <= 2


async def test_a_second_worker_gets_a_fair_share_while_the_limit_holds(tables: Tables) -> None:
    service = Service()
    under_way, enough = asyncio.Event(), asyncio.Event()

    async def keep_busy(gate: SharedGate, name: str) -> None:
        while not enough.is_set():
            try:
                await service.serve(gate, name, 0.05)
            except ThrottledError:
                await asyncio.sleep(0.1)
            if service.served.get("w1", 0) >= 2 * LIMIT:
                under_way.set()
            if service.served.get("w2", 0) >= 40:
                enough.set()

    async with gate_of(tables, "w1") as first, gate_of(tables, "w2") as second, asyncio.timeout(40):
        early = [asyncio.create_task(keep_busy(first, "w1")) for _ in range(2 * LIMIT)]
        await under_way.wait()
        late = [asyncio.create_task(keep_busy(second, "w2")) for _ in range(2 * LIMIT)]
        await asyncio.gather(*early, *late)

    assert service.served["w2"] >= 40
    assert service.most <= LIMIT


async def test_a_worker_that_finds_no_slot_sends_its_event_back(tables: Tables) -> None:
    async with gate_of(tables, "w1") as first, gate_of(tables, "w2") as second, contextlib.AsyncExitStack() as stack:
        for _ in range(LIMIT):
            await stack.enter_async_context(first.slot())
        with pytest.raises(ThrottledError) as caught:
            async with second.slot():
                pass
        assert caught.value.retry_after == 2.0


async def test_a_failed_request_gives_its_slot_back(tables: Tables) -> None:
    async with gate_of(tables, "w1") as gate:
        for _ in range(3 * LIMIT):
            with pytest.raises(RuntimeError):
                async with gate.slot():
                    raise RuntimeError
        service = Service()
        await asyncio.gather(*(service.serve(gate, "w1", 0.01) for _ in range(LIMIT)))
        assert service.most == LIMIT


async def test_unused_slots_are_given_back_soon(tables: Tables) -> None:
    async with gate_of(tables, "w1") as first:
        await Service().serve(first, "w1", 0)
        deadline = asyncio.get_running_loop().time() + 15
        while any(row["until"] for row in await tables.query("job", "PartitionKey eq 'slots'")):
            assert asyncio.get_running_loop().time() < deadline, "idle slots are not given back"
            await asyncio.sleep(0.1)


async def test_a_closed_gate_leaves_its_slots_to_others_at_once(tables: Tables) -> None:
    async with gate_of(tables, "w1") as first:
        await Service().serve(first, "w1", 0)
    service = Service()
    async with gate_of(tables, "w2") as second:
        await asyncio.gather(*(service.serve(second, "w2", 0.01) for _ in range(LIMIT)))
    assert service.most == LIMIT


async def test_a_long_retry_after_stops_all_workers(tables: Tables) -> None:
    async with gate_of(tables, "w1") as first, gate_of(tables, "w2") as second:
        first.slow_down(30.0)
        jobs = Jobs(tables)
        deadline = asyncio.get_running_loop().time() + 10
        while (await jobs.get(fresh=True)).not_before is None:
            assert asyncio.get_running_loop().time() < deadline, "the pause is not shared"
            await asyncio.sleep(0.02)
        for gate in (first, second):
            with pytest.raises(ThrottledError) as caught:
                async with gate.slot():
                    pass
            assert 20 < (caught.value.retry_after or 0) <= 30


async def test_a_shorter_retry_after_does_not_shorten_a_longer_one(tables: Tables) -> None:
    jobs = Jobs(tables)
    until = now() + timedelta(seconds=100)
    await jobs.change(lambda job: replace(job, not_before=until))
    async with gate_of(tables, "w1") as gate:
        await gate._share_pause(now() + timedelta(seconds=5))
    assert (await jobs.get(fresh=True)).not_before == until


async def test_a_pause_that_is_over_holds_nobody_up(tables: Tables) -> None:
    await Jobs(tables).change(lambda job: replace(job, not_before=now() - timedelta(seconds=1)))
    async with gate_of(tables, "w1") as gate:
        await Service().serve(gate, "w1", 0)


async def test_a_slot_in_use_goes_to_who_wants_it_when_its_request_ends(tables: Tables) -> None:
    wanting = Slots(tables, LIMIT, "w2")
    async with gate_of(tables, "w1") as gate, contextlib.AsyncExitStack() as rest:
        held = [await rest.enter_async_context(contextlib.AsyncExitStack()) for _ in range(LIMIT)]
        for stack in held:
            await stack.enter_async_context(gate.slot())
        assert await wanting.take(1) == []
        await gate._renew()
        assert await wanting.take(1) == [], "a request that goes on keeps its slot"

        await held[0].aclose()
        deadline = asyncio.get_running_loop().time() + 5
        while not await wanting.take(1):
            assert asyncio.get_running_loop().time() < deadline, "the slot is not given back"
            await asyncio.sleep(0.02)
