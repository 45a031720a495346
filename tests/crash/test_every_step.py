"""A crash and a stop at every step: each path is cut before and after each single call to Graph, ServiceNow and storage.

The calls are counted in an undisturbed run, so a call that is added tomorrow is cut tomorrow. After the cut another process
starts, when the leases have ended, with the messages that were not done; one of its calls fails as well. From then on nothing
disturbs, and it must end right: both sides equal, nothing doubled, nothing left waiting, every last write told of in the log.

A process that is merely stopped there goes on when the other one has done everything, with what it knew before.

``CRASH_EVERY_STEP=1`` cuts at every call; without it the long paths are cut at a seeded sample of them. ``CRASH_SEED`` is any
text; another one lets other calls of the second process fail, and chooses another sample.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from shared.state.slots import SLOT_SECONDS
from tests.crash.knife import Knife, Stop, Stumble
from tests.crash.life import Scene
from tests.crash.paths import PATHS, Ask, Path, tick

if TYPE_CHECKING:
    from collections.abc import Callable

#: Cuts of one path unless all are wanted; fewer of a very long one.
_SAMPLE, _FEW, _LONG = 20, 8, 150
#: A stop is worst right before a request that changes something: those are always among the cuts, and some others.
_BESIDE = 6
#: Cuts made in one scene: everybody of the earlier ones is still there, and a full round looks at all of them.
_PER_SCENE = 20
_SEED = os.environ.get("CRASH_SEED", "")


async def _prepare(scene: Scene, path: Path) -> None:
    """A new cast, provisioned; then the change, of which the app has heard but which it has not looked at."""
    scene.begin_case()
    for before in path.before:
        if isinstance(before, Ask):
            assert await scene.live(Knife(), before.command)
            continue
        await scene.hear(before(scene))
        assert await scene.live(Knife())
    await scene.hear(path.then(scene))


async def _faults(scene: Scene, path: Path, knife: Knife, second: Knife) -> list[str]:
    """Run the change through one life that the knife may cut, and another one that may stumble; what is wrong in the end."""
    await _prepare(scene, path)
    stopped = await scene.stop(knife, path.command) if isinstance(knife, Stop) else None
    whole = stopped is None and await scene.live(knife, path.command)
    if path.meanwhile is not None:
        scene.overlook()
        await scene.hear(path.meanwhile(scene))
    if not whole or path.meanwhile is not None:
        await scene.recover(second, path.command)
    if isinstance(knife, Stop) and stopped is not None:
        # Slots that the other one could not give back end by themselves, and not in this clock's time.
        scene.clock.advance(SLOT_SECONDS)
        knife.go_on()
        assert await stopped
        scene.look_again()
    if path.command is tick:
        # What a tick could not read is read by the next one.
        await scene.recover(Knife(), tick)
    agreement = scene.agreement()
    wrong = [] if agreement.agrees else [agreement.table()]
    return [*wrong, *scene.unsettled(), *scene.unlogged()]


def _cuts(calls: list[str], path: Path, way: type[Knife]) -> list[tuple[int, bool]]:
    cuts = [(number, after) for number in range(len(calls)) for after in (False, True)]
    wanted = _FEW if len(calls) > _LONG else _SAMPLE
    if os.environ.get("CRASH_EVERY_STEP") or len(cuts) <= wanted:
        return cuts
    if way is Stop:
        writes = [number for number, call in enumerate(calls) if call.startswith("servicenow") and " GET " not in call]
        chosen = random.Random(f"{_SEED}{path.name}").sample(cuts, _BESIDE)  # noqa: S311 - the same choice each time
        return sorted({*chosen, *((number, False) for number in writes)})
    return sorted(random.Random(f"{_SEED}{path.name}").sample(cuts, wanted))  # noqa: S311 - the same choice each time


def _stumble(path: Path, number: int, calls: int, *, after: bool) -> Stumble:
    """The next life's call that fails: another one for each cut, the same each time."""
    choice = random.Random(f"{_SEED}{path.name}/{number}/{after}")  # noqa: S311 - the same choice each time
    return Stumble(choice.randrange(calls), after=choice.random() < 0.5)


async def _first_failure(path: Path, cuts: list[tuple[int, bool]], calls: int, way: type[Knife]) -> str:
    """Make some of these cuts in this way, until one ends wrong, and take them off the list; what is wrong, or nothing."""
    mine = cuts[:_PER_SCENE]
    async with Scene(path.settings) as scene:
        for number, after in mine:
            cuts.remove((number, after))
            knife = way(number, after=after)
            second = _stumble(path, number, calls, after=after)
            wrong = await _faults(scene, path, knife, second)
            if wrong:
                call = knife.calls[number] if number < len(knife.calls) else "none"
                where = f"{'after' if after else 'before'} call {number}, {call}; then {second.told}"
                return "\n  ".join((where, *wrong))
    return ""


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
@pytest.mark.parametrize("way", [Knife, Stop], ids=["crash", "stop"])
async def test_a_cut_at_any_step_ends_right(path: Path, way: type[Knife], record_property: Callable[[str, object], None]) -> None:
    async with Scene(path.settings) as scene:
        clean = Knife()
        assert await _faults(scene, path, clean, Knife()) == []
    calls = len(clean.calls)
    cuts = _cuts(clean.calls, path, way)
    record_property("path", path.name)
    record_property("way", "stop" if way is Stop else "crash")
    record_property("calls", calls)
    record_property("cuts", len(cuts))
    failures: list[str] = []
    while cuts:
        # What a wrong end leaves behind must not disturb the next case.
        failure = await _first_failure(path, cuts, calls, way)
        failures += [failure] if failure else []
    assert calls
    assert not failures, f"{path.name}: {len(failures)} cuts end wrong:\n" + "\n".join(failures[:10])
