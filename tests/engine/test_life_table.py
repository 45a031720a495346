"""Every row of the table of life names a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GUIDE = HERE.parents[1] / "docs" / "life.md"
_ROW = re.compile(r"^\| (?!turn |---)(?P<turn>[^|]+) \|[^|]+\| (?P<shown>[^|]+) \|$", re.MULTILINE)


def rows() -> list[tuple[str, str]]:
    return [(found["turn"], found["shown"]) for found in _ROW.finditer(GUIDE.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("turn", "shown"), rows())
def test_a_turn_of_life_is_shown_by_a_test(turn: str, shown: str) -> None:
    if shown == "the same two":
        return
    named = re.findall(r"`(?:(test_\w+\.py)::)?(test_\w+(?:\.py)?)`", shown)
    assert named, f"{turn}: no test is named"
    for file, test in named:
        if test.endswith(".py"):
            assert (HERE / test).is_file()
            continue
        source = (HERE / (file or "test_users_life.py")).read_text(encoding="utf-8")
        assert f"def {test}(" in source, f"{turn}: {file or 'test_users_life.py'} has no {test}"


def test_the_table_has_the_turns_that_matter() -> None:
    told = " ".join(turn for turn, _ in rows())
    for turn in ("hire", "rehire", "disable", "soft delete", "permanent delete", "unassign", "dynamic", "cloned", "guest"):
        assert turn in told
