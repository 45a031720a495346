"""``python -m sandbox.chaos --seeds 200``: play histories, print what came of them, and end with 1 if any ended wrong."""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import multiprocessing
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox.chaos.campaign import Result, play, play_seed
from sandbox.chaos.shrinking import shrunk

if TYPE_CHECKING:
    from sandbox.chaos.history import History

_SHOWN: Final = 15


def main(arguments: list[str]) -> int:
    """Play the histories that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="how many histories (%(default)s)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (%(default)s)")
    parser.add_argument("--seed", type=int, help="play this one again, and say everything that happens")
    parser.add_argument("--steps", type=int, default=30, help="deeds and harms in a history (%(default)s)")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, help="histories played side by side (%(default)s)")
    parser.add_argument("--shrink", type=int, default=8, help="tries to shorten a history that ends wrong (%(default)s)")
    parser.add_argument("--logs", type=Path, help="keep the hosts' logs of what ends wrong in this directory")
    parser.add_argument("--log-level", default="warning", help="what the hosts log, from this level on (%(default)s)")
    return _run(parser.parse_args(arguments))


def _run(args: argparse.Namespace) -> int:
    seeds = [args.seed] if args.seed is not None else list(range(args.first, args.first + args.seeds))
    begun = time.monotonic()
    counts: Counter[str] = Counter()
    harms: Counter[str] = Counter()
    failing: list[History] = []
    # Each in a process of its own: both simulators of a history run in it, and are not to wait for another history's.
    spawn = multiprocessing.get_context("spawn")
    lanes = max(1, min(args.at_once, len(seeds)))
    with concurrent.futures.ProcessPoolExecutor(lanes, mp_context=spawn, max_tasks_per_child=1) as pool:
        for ended in concurrent.futures.as_completed(
            [pool.submit(play_seed, seed, args.steps, args.log_level) for seed in seeds]
        ):
            result = ended.result()
            counts.update(result.counts)
            harms.update(result.harms)
            _print(result, everything=args.seed is not None)
            if result.faults:
                failing.append(result.history)
                _keep_log(args.logs, result)
    if args.shrink:
        for one in failing:
            asyncio.run(_shorten(one, args.shrink))
    wrong = sorted(one.seed for one in failing)
    print(_summary(len(seeds), wrong, counts, harms, time.monotonic() - begun), flush=True)
    return 1 if wrong else 0


def _print(result: Result, *, everything: bool) -> None:
    seed, scope = result.history.seed, result.history.scope
    end = "ends right" if not result.faults else f"ENDS WRONG, {len(result.faults)} faults"
    hand = ", after a retry by hand" if result.counts["ended by hand"] else ""
    deeds, harms = result.counts["deeds"], result.counts["harms"]
    print(
        f"seed {seed:4} ({scope}): {end}{hand} - {deeds} deeds, {harms} harms, "
        f"calm after {result.calm_seconds:.0f} s, {result.seconds:.0f} s in all",
        flush=True,
    )
    if result.faults or everything:
        print("\n".join(f"    {event}" for event in result.events))
        print("\n".join(f"    ! {fault}" for fault in result.faults[:_SHOWN]), flush=True)
        if result.faults:
            print(f"  again: python -m sandbox.chaos --seed {seed} --steps {args_of(result.history)}", flush=True)


def args_of(played: History) -> int:
    """How many deeds and harms a history has."""
    return sum(step.name != "pause" for step in played.steps)


async def _shorten(failing: History, tries: int) -> None:
    async def fails(shorter: History) -> bool:
        return bool((await play(shorter)).faults)

    shorter = await shrunk(failing, fails, tries=tries)
    print(f"  shortest history found that ends wrong:\n{shorter}", flush=True)


def _keep_log(directory: Path | None, result: Result) -> None:
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"seed-{result.history.seed}.log").write_text(result.log, encoding="utf-8")


def _summary(played: int, wrong: list[int], counts: Counter[str], harms: Counter[str], seconds: float) -> str:
    lines = [f"{played} histories in {seconds / 60:.1f} min: {played - len(wrong)} end right, {len(wrong)} wrong {wrong or ''}"]
    lines += [f"  {name:24}{number:10,}" for name, number in sorted(counts.items())]
    lines.append("harms")
    lines += [f"  {name:24}{number:10,}" for name, number in sorted(harms.items())]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
