"""Timer functions over one and several hosts."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from azure.data.tables.aio import TableServiceClient

from sandbox.host.occurrences import TABLE, Occurrence, OccurrenceStore

from .conftest import NEVER, until

if TYPE_CHECKING:
    from .conftest import Story

pytestmark = pytest.mark.e2e
EVERY_SECOND = "* * * * * *"


async def test_a_timer_fires_once_over_all_hosts_and_outlives_one_of_them(story: Story) -> None:
    first, second = story.host(lease=3, settings={"TICK": EVERY_SECOND}), story.host(lease=3, settings={"TICK": EVERY_SECOND})
    async with first, second:
        await until(lambda: len(story.records("tick", "started")) >= 4)
        before = len(story.records("tick", "started"))
        await first.kill()
        survived = len(story.records("tick", "started"))
        await until(lambda: len(story.records("tick", "started")) >= survived + 2)
    # What was due is in the row that the next run is told of.
    runs = [record["status"]["Last"] for record in story.records("tick", "started")]
    repeated = [run for run, times in Counter(runs).items() if times > 1]
    # What the kill cut off counts as not run.
    assert set(repeated) <= set(runs[before - 1 : survived]), "an occurrence ran twice"
    assert len(runs) - len(set(runs)) <= 1


async def test_occurrences_of_a_timer_never_overlap(story: Story) -> None:
    settings = {"TICK": EVERY_SECOND, "TICK_SECONDS": "1.6"}
    async with story.host(settings=settings), story.host(settings=settings):
        await until(lambda: len(story.records("tick", "ended")) >= 3)
    states = [record["state"] for record in story.records("tick")]
    assert states == [("started", "ended")[position % 2] for position in range(len(states))]


async def test_an_occurrence_that_was_missed_is_made_up_for_once(story: Story) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    async with TableServiceClient.from_connection_string(story.connection_string) as tables:
        store = OccurrenceStore(tables.get_table_client(TABLE), story.settings["AzureFunctionsWebHost__hostid"])
        await store.create_table()
        assert await store.write("tick", Occurrence(NEVER, due=yesterday)) is not None
        async with story.host(), story.host():
            await until(lambda: story.records("tick", "ended"))
            row = await store.read("tick")
            assert row is not None
    assert [record["past_due"] for record in story.records("tick", "started")] == [True]
    assert row.due > datetime.now(UTC)


async def test_an_occurrence_cut_off_by_a_crash_runs_again(story: Story) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    async with TableServiceClient.from_connection_string(story.connection_string) as tables:
        store = OccurrenceStore(tables.get_table_client(TABLE), story.settings["AzureFunctionsWebHost__hostid"])
        await store.create_table()
        await store.write("tick", Occurrence(NEVER, due=yesterday))
    victim = await story.host(lease=2, settings={"TICK_SECONDS": "60"}).start()
    await until(lambda: story.records("tick", "started"))
    await victim.kill()
    async with story.host(lease=2):
        await until(lambda: story.records("tick", "ended"))
    assert len(story.records("tick", "started")) == 2


async def test_a_timer_that_runs_at_start_is_retried_by_its_policy(story: Story) -> None:
    async with story.host():
        await until(lambda: len(story.records("at_start")) >= 3)
    assert [record["retries"] for record in story.records("at_start")] == [0, 1, 2]


async def test_a_schedule_that_was_changed_takes_effect(story: Story) -> None:
    async with story.host(settings={"TICK": NEVER}):
        pass
    async with story.host(settings={"TICK": EVERY_SECOND}):
        await until(lambda: len(story.records("tick", "started")) >= 2)
