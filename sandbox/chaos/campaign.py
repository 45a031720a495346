"""One history from beginning to end, and what came of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sandbox.chaos.checking import Judge, Spared, picture, unaccounted, unequal, unheard
from sandbox.chaos.hands import Hands
from sandbox.chaos.history import DEEDS, PAUSE, history
from sandbox.chaos.looking import records_of
from sandbox.chaos.stage import Stage
from sandbox.chaos.undisturbed import undisturbed

if TYPE_CHECKING:
    from sandbox.chaos.history import History

#: How long a history may take to calm down, in seconds; after half of it an operator asks for the retries of what failed.
_CALM: Final = 90.0
_BY_HAND_AFTER: Final = 25.0
_LOOK_AGAIN: Final = 1.0
_LOG_PAGES: Final = 40
_FIRST_CYCLE: Final = 60.0
_SHOWN: Final = 5
#: The timer fires by hand at every so many looks.
_LOOKS_PER_CYCLE: Final = 3


@dataclass(slots=True)
class Result:
    """``faults`` is empty when the history ended right. ``events`` says what happened; ``counts`` how often what."""

    history: History
    faults: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    harms: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    calm_seconds: float = 0.0
    log: str = ""


async def play(played: History, log_level: str = "warning") -> Result:
    """Play a history and judge its end; the hosts log from this level on."""
    result = Result(played)
    started = time.monotonic()
    async with Stage(played, log_level) as stage:
        before = records_of(stage.instance)
        hands = Hands(stage.source.tenant, stage.instance, assigned=played.scope == "assigned")
        judge = Judge(stage.source.tenant, stage.instance, hands.memory, before)
        await stage.cycle()
        if not played.early:
            late = await _until_right(stage, judge, hands, _FIRST_CYCLE)
            result.events += [f"the first cycle has not ended right: {fault}" for fault in late[:_SHOWN]]
        for step in played.steps:
            if step.name == PAUSE:
                await asyncio.sleep(step.a / 1000)
                continue
            said = hands.do(step) if step.name in DEEDS else stage.weather.strike(step)
            if said:
                result.events.append(f"{time.monotonic() - started:6.2f} s  {said}")
                result.counts["deeds" if step.name in DEEDS else "harms"] += 1
        judge.tokens_lost = stage.weather.tokens_lost
        calmed = time.monotonic()
        await stage.weather.calm()
        result.faults = await _until_right(stage, judge, hands, _CALM, result)
        result.calm_seconds = time.monotonic() - calmed
        logged = await _logged(stage)
        result.faults += unaccounted(stage.instance.deeds, logged)
        result.faults += unheard(stage.source.tenant, logged)
        _count(result, stage)
        mine = picture(records_of(stage.instance), hands.memory)
        result.log = stage.logs()
    records, memory = await undisturbed(played)
    spared = Spared.of(stage.source.tenant, hands.in_scope, hands.memory, memory)
    result.faults += unequal(mine, picture(records, memory), spared)
    result.seconds = time.monotonic() - started
    return result


def play_seed(seed: int, steps: int, log_level: str = "warning") -> Result:
    """Play the history of a seed in this process."""
    # What the undisturbed run has to say is said by its end.
    logging.getLogger("provisioning").setLevel(logging.ERROR)
    return asyncio.run(play(history(seed, steps), log_level))


async def _until_right(stage: Stage, judge: Judge, hands: Hands, seconds: float, result: Result | None = None) -> list[str]:
    """Wait until nothing is wrong and nothing is under way; what is still wrong when time is up."""
    begun = time.monotonic()
    by_hand = False
    looks = 0
    while True:
        if looks % _LOOKS_PER_CYCLE == 0:
            await stage.cycle()
        looks += 1
        await asyncio.sleep(_LOOK_AGAIN)
        waiting = await stage.waiting()
        faults = judge.faults(hands.in_scope)
        if not faults and not waiting:
            return []
        spent = time.monotonic() - begun
        if spent > seconds:
            return [*faults, *([f"{waiting} messages are still waiting"] if waiting else [])]
        if result is not None and spent > _BY_HAND_AFTER and not by_hand:
            by_hand = True
            result.counts["ended by hand"] += 1
            result.counts["messages requeued"] += await stage.requeue_dead()
            await stage.ask("POST", "/job/restart", {"criteria": {"resetScope": "Escrows,QuarantineState"}})


async def _logged(stage: Stage) -> dict[str, float]:
    """For each source object and target record of the provisioning log: when its latest entry was written, in real time."""
    latest: dict[str, float] = {}
    path = "/logs?$top=500"
    for _ in range(_LOG_PAGES):
        page = await stage.ask("GET", path)
        if page is None:
            break
        for entry in page["value"]:
            at = stage.clock.real(datetime.fromisoformat(entry["activityDateTime"])).timestamp()
            for side in ("sourceIdentity", "targetIdentity"):
                key = str(entry[side]["id"])
                latest[key] = max(at, latest.get(key, 0.0))
        if "@odata.nextLink" not in page:
            break
        path = f"/{page['@odata.nextLink']}"
    return latest


def _count(result: Result, stage: Stage) -> None:
    log = stage.logs()
    result.harms.update(stage.weather.counts)
    result.counts["writes"] += len(stage.instance.deeds)
    result.counts["changes in Entra"] += stage.source.tenant.position
    result.counts["events tried again"] += log.count("goes back for")
    result.counts["quarantines"] += log.count("the job is in quarantine (")
    for proxy in stage.proxies:
        kind = "notifications" if proxy.name == "front" else "storage"
        result.counts[f"{kind} requests"] += proxy.counts["requests"]
        result.counts["events queued"] += proxy.counts["messages"]
        result.counts[f"{kind} failures"] += proxy.counts["refused"] + proxy.counts["lost"] + proxy.counts["unanswered"]
