"""A crash at every step: each path is cut before and after each single call to Graph, ServiceNow and storage.

The calls are counted in an undisturbed run, so a call that is added tomorrow is cut tomorrow. After the cut another process
starts, when the leases have ended, with the messages that were not done; one of its calls fails as well. From then on nothing
disturbs, and it must end right: both sides equal, nothing doubled, nothing left waiting, every last write told of in the log.

``CRASH_EVERY_STEP=1`` cuts at every call; without it the long paths are cut at a seeded sample of them. ``CRASH_SEED`` is any
text; another one lets other calls of the second process fail, and chooses another sample.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.crash.knife import Knife, Stumble
from tests.crash.life import Scene
from tests.crash.paths import PATHS, Path

if TYPE_CHECKING:
    from collections.abc import Callable

#: Cuts of one path unless all are wanted; fewer of a very long one, whose rounds wait for themselves.
_SAMPLE, _FEW, _LONG = 24, 8, 150
#: Cuts made in one scene: everybody of the earlier ones is still there, and a full round looks at all of them.
_PER_SCENE = 20
_SEED = os.environ.get("CRASH_SEED", "")


async def _prepare(scene: Scene, path: Path) -> None:
    """A new cast, provisioned; then the change, of which the app has heard but which it has not looked at."""
    scene.begin_case()
    for change in path.before:
        await scene.hear(change(scene))
        assert await scene.live(Knife())
    await scene.hear(path.then(scene))


async def _faults(scene: Scene, path: Path, knife: Knife, second: Knife) -> list[str]:
    """Run the change through one life that the knife may cut, and another one that may stumble; what is wrong in the end."""
    await _prepare(scene, path)
    whole = await scene.live(knife, path.command)
    if path.meanwhile is not None:
        scene.overlook()
        await scene.hear(path.meanwhile(scene))
    if not whole or path.meanwhile is not None:
        await scene.recover(second, path.command)
    agreement = scene.agreement()
    wrong = [] if agreement.agrees else [agreement.table()]
    return [*wrong, *scene.unsettled(), *scene.unlogged()]


def _cuts(calls: int, path: Path) -> list[tuple[int, bool]]:
    cuts = [(number, after) for number in range(calls) for after in (False, True)]
    wanted = _FEW if calls > _LONG else _SAMPLE
    if os.environ.get("CRASH_EVERY_STEP") or len(cuts) <= wanted:
        return cuts
    return sorted(random.Random(f"{_SEED}{path.name}").sample(cuts, wanted))  # noqa: S311 - the same choice each time


def _stumble(path: Path, number: int, calls: int, *, after: bool) -> Stumble:
    """The next life's call that fails: another one for each cut, the same each time."""
    choice = random.Random(f"{_SEED}{path.name}/{number}/{after}")  # noqa: S311 - the same choice each time
    return Stumble(choice.randrange(calls), after=choice.random() < 0.5)


async def _first_failure(path: Path, cuts: list[tuple[int, bool]], calls: int) -> str:
    """Make some of these cuts, until one ends wrong, and take them off the list; what is wrong, or nothing."""
    mine = cuts[:_PER_SCENE]
    async with Scene(path.settings) as scene:
        for number, after in mine:
            cuts.remove((number, after))
            knife = Knife(number, after=after)
            second = _stumble(path, number, calls, after=after)
            wrong = await _faults(scene, path, knife, second)
            if wrong:
                where = f"{'after' if after else 'before'} call {number}, {knife.calls[-1]}; then {second.told}"
                return "\n  ".join((where, *wrong))
    return ""


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
async def test_a_crash_at_any_step_ends_right(path: Path, record_property: Callable[[str, object], None]) -> None:
    async with Scene(path.settings) as scene:
        clean = Knife()
        assert await _faults(scene, path, clean, Knife()) == []
    calls = len(clean.calls)
    cuts = _cuts(calls, path)
    record_property("path", path.name)
    record_property("calls", calls)
    record_property("cuts", len(cuts))
    failures: list[str] = []
    while cuts:
        # What a wrong end leaves behind must not disturb the next case.
        failure = await _first_failure(path, cuts, calls)
        failures += [failure] if failure else []
    assert calls
    assert not failures, f"{path.name}: {len(failures)} cuts end wrong:\n" + "\n".join(failures[:10])
