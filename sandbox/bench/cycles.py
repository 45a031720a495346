"""Full cycles: the first one into an empty instance, and the same again with nothing changed."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from sandbox.bench.baseline import COLUMNS, Baseline, baselines
from sandbox.bench.ends import BenchError
from sandbox.bench.sizes import QUERY_SECONDS, SLOTS
from sandbox.bench.table import Row, Section, ratio

if TYPE_CHECKING:
    from sandbox.bench.stage import Stage

_LOOK_AGAIN = 0.02
#: A cycle that takes longer than this for a user, and this much besides, hangs; in seconds.
_PATIENCE_PER_USER, _PATIENCE = 0.5, 300.0


async def provision(stage: Stage, users: int) -> None:
    """Run the first cycle to its end. Raises ``BenchError`` if it does not end, or ends incomplete."""
    await stage.post("/job/start")
    await _complete(stage, users, above=0)


async def _complete(stage: Stage, users: int, *, above: int) -> None:
    """Wait until both chains have completed a generation after number ``above``, and nothing is queued any more."""
    await stage.quiet(_PATIENCE + _PATIENCE_PER_USER * users)
    chains = (await stage.job())["app"]["chains"]
    incomplete = {name: chain for name, chain in chains.items() if chain["completeGeneration"] <= above}
    if incomplete:
        raise BenchError(f"nothing is queued any more, but the full round is not complete: {incomplete}")


async def first_cycle(stage: Stage, *, users: int, write: float, baseline_users: int) -> Section:
    """Bring everybody into the empty instance; the plain baseline does the same with fewer people, right after it."""
    stage.begin_phase()
    await stage.target.forget_requests()
    watching = asyncio.create_task(_first_request(stage))
    began = time.time()
    try:
        await provision(stage, users)
        first = await asyncio.wait_for(watching, timeout=1.0)
    except TimeoutError as error:
        raise BenchError("the first cycle asked ServiceNow nothing") from error
    finally:
        watching.cancel()
    ended = time.time()
    counts = await stage.target.requests()
    commits = [commit for commit in await stage.target.commits(0) if commit["time"] >= first]
    created = sum(1 for commit in commits if commit["table"] == "sys_user" and commit["verb"] == "insert")
    wall = commits[-1]["time"] - first if commits else 0.0
    if not created or wall <= 0:
        raise BenchError(f"the first cycle created nobody: {counts['commits']}")
    share = len(commits) * write / (SLOTS * wall)
    peak = stage.peak_memory
    sample = (await stage.source.users(*COLUMNS))[:baseline_users]
    plain = (await baselines(sample, write=write))[0]
    rows = (
        Row("users created", f"{created:,}", f"{plain.users:,}"),
        Row(
            "wall time, first request to last commit",
            f"{wall:.1f} s",
            f"{created / plain.per_second:.1f} s *",
            ratio(wall, created / plain.per_second),
        ),
        Row("users a second", f"{created / wall:.1f}", f"{plain.per_second:.1f}", ratio(created / wall, plain.per_second)),
        Row(
            "ServiceNow requests per user",
            f"{counts['http_total'] / created:.3f}",
            f"{plain.per_user:.3f}",
            ratio(counts["http_total"] / created, plain.per_user),
            "<= 0.1",
        ),
        Row("share of the write capacity", f"{share:.0%}", f"{plain.capacity:.0%}", ratio(share, plain.capacity), "> 90%"),
        Row("writes per user", f"{len(commits) / created:.2f}", "1.00"),
        Row("from the start of the cycle to its end", f"{ended - began:.1f} s"),
        Row("peak memory of the host", peak),
    )
    notes = (
        f"The instance needs {QUERY_SECONDS * 1000:.0f} ms for a query, {write * 1000:.0f} ms for a write, {SLOTS} at a time.",
        f"* measured with {plain.users:,} users in {plain.seconds:.1f} s, scaled to {created:,}.",
        f"ServiceNow requests: {', '.join(f'{name} {number}' for name, number in counts['http'].items())}.",
        f"Committed: {', '.join(f'{name} {number}' for name, number in counts['commits'].items())}.",
    )
    return Section(f"First cycle of {users:,} users, {write * 1000:.0f} ms a write", rows, notes)


async def unchanged_cycle(stage: Stage, *, users: int, write: float, baseline_users: int) -> Section:
    """Run a full cycle again with nothing changed."""
    stage.begin_phase()
    await stage.target.forget_requests()
    await stage.source.forget_requests()
    chains = (await stage.job())["app"]["chains"].values()
    before = max(chain["completeGeneration"] for chain in chains)
    began = time.monotonic()
    await stage.post("/job/restart", {"criteria": {"resetScope": "Watermark"}})
    await _complete(stage, users, above=before)
    seconds = time.monotonic() - began
    counts, asked = await stage.target.requests(), await stage.source.requests()
    peak = stage.peak_memory
    again = await _baseline_again(stage, baseline_users, write)
    rows = (
        Row("ServiceNow requests", f"{counts['http_total']:,}", f"{again.per_user * users:,.0f} *", "", "0"),
        Row("wall time", f"{seconds:.1f} s", f"{users / again.per_second:.1f} s *", ratio(seconds, users / again.per_second)),
        Row("users a second", f"{users / seconds:.1f}", f"{again.per_second:.1f}", ratio(users / seconds, again.per_second)),
        Row("Graph requests", f"{sum(asked.values()):,}"),
        Row("peak memory of the host", peak),
    )
    notes = [f"* measured with {again.users:,} users, scaled to {users:,}."]
    if counts["http"]:
        notes.append(f"ServiceNow requests: {', '.join(f'{name} {number}' for name, number in counts['http'].items())}.")
    notes.append(f"Graph requests: {', '.join(f'{name} {number}' for name, number in asked.items())}.")
    return Section(f"The same again, nothing changed ({users:,} users)", rows, tuple(notes))


async def _baseline_again(stage: Stage, users: int, write: float) -> Baseline:
    sample = (await stage.source.users(*COLUMNS))[:users]
    return (await baselines(sample, write=write, again=len(sample)))[1]


async def _first_request(stage: Stage) -> float:
    """When ServiceNow was asked for the first time, in unix time, to a few hundredths of a second."""
    while not (await stage.target.requests())["http_total"]:  # noqa: ASYNC110 - the instance tells it to nobody
        await asyncio.sleep(_LOOK_AGAIN)
    return time.time()
