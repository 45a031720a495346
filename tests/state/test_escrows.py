"""What waits: found by what it waits for, once, since when it began."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.state.escrows import JOB, RETRY, Escrow, Escrows

if TYPE_CHECKING:
    from shared.state.tables import Tables
    from tests.state.conftest import Clock


def plain(escrows: list[Escrow]) -> list[Escrow]:
    """Without what the storage adds."""
    return [replace(escrow, etag="") for escrow in escrows]


async def test_whatever_appears_finds_all_its_waiters_and_nobody_elses(tables: Tables, clock: Clock) -> None:
    escrows = Escrows(tables)
    waiting = [Escrow.on_object("boss", f"user:{number}", "no manager yet", clock()) for number in range(3)]
    await escrows.write([*waiting, Escrow.on_object("boss2", "user:7", "no manager yet", clock())])

    assert plain(await escrows.waiting_for_object("boss")) == waiting
    assert [escrow.waiter for escrow in await escrows.waiting_for_object("boss2")] == ["user:7"]
    assert await escrows.waiting_for_object("bos") == []
    assert len(await escrows.waiting_for_objects()) == 4


async def test_a_wait_that_is_written_again_is_one_wait_since_when_it_began(tables: Tables, clock: Clock) -> None:
    escrows = Escrows(tables)
    began = clock()
    first = Escrow.on_object("boss", "user:1", "first", began)
    await escrows.write([first])
    clock.turn(3600)
    another = Escrow.on_object("boss", "user:2", "new", clock())
    await escrows.write([Escrow.on_object("boss", "user:1", "second", clock()), another])

    assert plain(await escrows.waiting_for_object("boss")) == [replace(first, reason="second"), another]


async def test_a_value_of_a_reference_waits_under_no_name_but_can_be_asked_for(tables: Tables, clock: Clock) -> None:
    escrows = Escrows(tables)
    strange = "R&D / Süd #1? \\ 50%"
    escrow = Escrow.on_record("cmn_department", strange, "user:1", "missing", clock())
    await escrows.write([escrow, Escrow.on_record("cmn_department", strange.upper(), "user:1", "missing", clock())])

    (found,) = await escrows.waiting_for_records()
    assert found.awaited.casefold() == strange.casefold()
    assert "Süd" not in found.key
    assert found.recommended_action.startswith("Create the record in cmn_department")
    await escrows.remove([found.key])
    assert await escrows.waiting_for_records() == []
    await escrows.remove([found.key])


async def test_a_retry_is_due_when_its_time_has_come(tables: Tables, clock: Clock) -> None:
    escrows = Escrows(tables)
    for number in range(3):
        at = clock() + timedelta(minutes=number)
        await escrows.write([Escrow(RETRY, f"user:{number}", f"user:{number}", attempts=number, created_at=clock(), next_at=at)])
    await escrows.write([Escrow(JOB, "user:9", "user:9", next_at=clock())])

    assert [escrow.waiter for escrow in await escrows.due(clock() + timedelta(minutes=1))] == ["user:0", "user:1"]
    assert [escrow.waiter for escrow in await escrows.parked()] == ["user:9"]
    found = await escrows.get(RETRY, "user:2")
    assert found is not None
    assert (found.attempts, found.next_at) == (2, clock() + timedelta(minutes=2))
    assert await escrows.get(RETRY, "user:3") is None


async def test_everything_that_waits_is_counted_and_paged(tables: Tables, clock: Clock) -> None:
    escrows = Escrows(tables)
    await escrows.write([Escrow.on_object(f"boss{number}", "user:1", "r", clock()) for number in range(12)])
    await escrows.write([Escrow.on_record("cmn_location", "Paris", "user:1", "r", clock()), Escrow(RETRY, "user:1", "user:1")])
    assert await escrows.counts() == {"object": 12, "record": 1, "retry": 1}

    ids: list[str] = []
    token = None
    while True:
        rows, token = await escrows.page(size=5, token=token)
        ids += [escrow.id for escrow in rows]
        if token is None:
            break
    assert len(ids) == len(set(ids)) == 14
