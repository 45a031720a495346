"""The job's row: many change it, none loses another's change."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from shared.state.job import Job, Jobs, Quarantine

if TYPE_CHECKING:
    from shared.state.tables import Tables
    from tests.state.conftest import Clock


def one_more(job: Job) -> Job:
    return replace(job, rejected_notifications=job.rejected_notifications + 1)


async def test_changes_at_once_by_several_workers_all_count(tables: Tables, other: Tables) -> None:
    workers = [Jobs(tables), Jobs(other)]
    await asyncio.gather(*(workers[number % 2].change(one_more) for number in range(60)))
    assert (await Jobs(tables).get()).rejected_notifications == 60


async def test_a_change_of_one_aspect_keeps_the_others(tables: Tables, other: Tables, clock: Clock) -> None:
    quarantine = Quarantine("EncounteredQuarantineException", "Unauthorized", "refused", "a", "b", 2, "c")
    first = Jobs(tables, clock)
    await first.change(lambda job: replace(job, paused=True, honours_sys_ids=False))
    await asyncio.gather(
        first.change(lambda job: replace(job, quarantine=quarantine)),
        Jobs(other, clock).change(lambda job: replace(job, not_before=clock(), schema_version="s")),
    )
    found = await Jobs(other, clock).get()
    assert replace(found, etag="") == Job(
        paused=True, quarantine=quarantine, not_before=clock(), honours_sys_ids=False, schema_version="s", created_at=clock()
    )
    assert not found.may_write

    cleared = await first.change(lambda job: replace(job, quarantine=None, not_before=None, paused=False))
    assert cleared.may_write
    assert (await Jobs(other, clock).get()).not_before is None


async def test_a_change_that_changes_nothing_writes_nothing(tables: Tables) -> None:
    jobs = Jobs(tables)
    await jobs.change(one_more)
    tables.requests.clear()
    await jobs.change(lambda _: None)
    await jobs.change(lambda job: job)
    assert set(tables.requests) == {"get"}


async def test_another_workers_change_is_seen_within_seconds(tables: Tables, other: Tables, clock: Clock) -> None:
    mine, theirs = Jobs(tables, clock), Jobs(other, clock)
    assert (await mine.get()).may_write
    await theirs.change(lambda job: replace(job, paused=True))
    tables.requests.clear()
    assert (await mine.get()).may_write
    assert tables.requests == {}, "every event asks: not every event may cost a request"
    assert not (await mine.get(fresh=True)).may_write
    await theirs.change(lambda job: replace(job, paused=False))
    clock.turn(2)
    assert (await mine.get()).may_write
