"""A watermark moves once, and whoever moved it knows that he did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, override

import pytest

from sandbox.chaos.memory import MemoryTables
from shared.errors import UnavailableError
from shared.state.watermarks import Watermarks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.state.conftest import Clock


class Silent(MemoryTables):
    """Storage that does with one write what it is told, and gives no answer."""

    def __init__(self) -> None:
        super().__init__()
        #: ``lost``: the write is not made; ``made``: it is; ``repeated``: it is, and what is refused is its repetition.
        self.next = ""

    @override
    async def _write(self, table: str, verb: str, row: Mapping[str, Any], etag: str = "") -> str:
        what, self.next = self.next, ""
        if what == "lost":
            raise UnavailableError("no answer")
        version = await super()._write(table, verb, row, etag)
        if what == "made":
            raise UnavailableError("no answer")
        return await super()._write(table, verb, row, etag) if what == "repeated" else version


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("answer", ["made", "repeated"])
async def test_a_move_whose_answer_was_lost_is_known_to_have_been_made(clock: Clock, answer: str, *, there: bool) -> None:
    tables = Silent()
    marks = Watermarks(tables)
    before = await marks.get("users")
    if there:
        moved = await marks.move(before, generation=1, heartbeat=clock())
        assert moved is not None
        before = moved
    clock.turn(1)
    tables.next = answer
    moved = await marks.move(before, page=7, link="next", heartbeat=clock(), cycle_id="c")
    assert moved == await marks.get("users")
    assert moved is not None
    assert moved.page == 7
    assert await marks.move(moved, page=8) is not None


async def test_a_move_that_was_not_made_is_an_error(clock: Clock) -> None:
    tables = Silent()
    marks = Watermarks(tables)
    moved = await marks.move(await marks.get("users"), generation=1, heartbeat=clock())
    assert moved is not None
    clock.turn(1)
    tables.next = "lost"
    with pytest.raises(UnavailableError):
        await marks.move(moved, page=7, heartbeat=clock())
    assert await marks.get("users") == moved


async def test_a_move_that_somebody_else_has_made_meanwhile_is_none_of_ours(clock: Clock) -> None:
    marks = Watermarks(MemoryTables())
    before = await marks.move(await marks.get("users"), generation=1, heartbeat=clock())
    assert before is not None
    clock.turn(1)
    assert await marks.move(before, page=7, heartbeat=clock()) is not None
    clock.turn(1)
    assert await marks.move(before, page=7, heartbeat=clock()) is None
