"""The first cycle's progress, as a bar or as lines."""

from __future__ import annotations

import io
from typing import override

from sandbox.demo.progress import Display, Progress


class _Terminal(io.StringIO):
    @override
    def isatty(self) -> bool:
        return True


def test_speed_and_remaining_time_follow_what_is_seen() -> None:
    progress = Progress({"users": 100, "memberships": 300})
    progress.observe({"users": 50}, at=0.0)
    progress.observe({"users": 100, "memberships": 50}, at=5.0)
    assert progress.per_second == 20.0
    assert progress.remaining == 12.5
    assert progress.line().endswith("38%  users 100/100  memberships 50/300  20/s  0:12 left")


def test_a_count_never_falls_and_never_exceeds_its_total() -> None:
    progress = Progress({"users": 10})
    progress.observe({"users": 12}, at=0.0)
    progress.observe({"users": 3}, at=1.0)
    assert progress.done == {"users": 10}
    assert progress.share == 1.0


def test_no_promise_is_made_while_nothing_moves() -> None:
    progress = Progress({"users": 10})
    progress.observe({"users": 5}, at=0.0)
    progress.observe({"users": 5}, at=5.0)
    assert progress.remaining is None
    assert "left" not in progress.line()


def test_speed_forgets_what_was_long_ago() -> None:
    progress = Progress({"users": 1000})
    for second in range(31):
        progress.observe({"users": 500 if second >= 1 else 0}, at=float(second))
    assert progress.per_second == 0.0


def test_without_a_terminal_there_is_a_line_every_few_seconds() -> None:
    out, progress = io.StringIO(), Progress({"users": 10})
    display = Display(out)
    for second in range(11):
        progress.observe({"users": second}, at=float(second))
        display.show(progress, float(second))
    assert out.getvalue().count("\n") == 3
    assert "\r" not in out.getvalue()


def test_on_a_terminal_one_line_is_redrawn() -> None:
    out, progress = _Terminal(), Progress({"users": 10})
    display = Display(out)
    for second in range(3):
        progress.observe({"users": second}, at=float(second))
        display.show(progress, float(second))
    assert out.getvalue().count("\r") == 3
    assert "\n" not in out.getvalue()
    display.finish(progress)
    assert out.getvalue().endswith("\n")
