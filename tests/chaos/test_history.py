"""A history is made from its seed alone, and can be shortened."""

from __future__ import annotations

from sandbox.chaos.history import DEEDS, HARMS, PAUSE, History, Step, history
from sandbox.chaos.shrinking import shrunk


def test_a_seed_makes_the_same_history_again() -> None:
    assert history(7) == history(7)
    assert history(7) != history(8)


def test_every_deed_and_every_harm_occurs() -> None:
    names = {step.name for seed in range(60) for step in history(seed).steps}
    assert names == {*DEEDS, *HARMS, PAUSE}


async def test_a_failing_history_is_shortened_to_the_steps_that_make_it_fail() -> None:
    steps = tuple(Step(f"step {number}") for number in range(24))
    played = 0

    async def fails(shorter: History) -> bool:
        nonlocal played
        played += 1
        return {"step 5", "step 17"} <= {step.name for step in shorter.steps}

    found = await shrunk(History(1, "all", early=False, steps=steps), fails, tries=200)
    assert [step.name for step in found.steps] == ["step 5", "step 17"]
    assert played <= 200


async def test_shortening_ends_after_so_many_tries() -> None:
    played = 0

    async def fails(_: History) -> bool:
        nonlocal played
        played += 1
        return False

    given = History(1, "all", early=False, steps=tuple(Step(f"{number}") for number in range(24)))
    assert await shrunk(given, fails, tries=5) == given
    assert played == 5
