"""A change while everything is idle: from the change in Entra to the committed write in ServiceNow."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from typing import TYPE_CHECKING

from sandbox.bench.ends import BenchError
from sandbox.bench.table import Row, Section, percentile

if TYPE_CHECKING:
    from sandbox.bench.stage import Stage

#: Between two changes, in seconds: at random, so that changes fall anywhere between two looks at a queue.
_PAUSE = (0.1, 0.5)
_PATIENCE = 120.0


async def live_changes(stage: Stage, *, changes: int, quiet_changes: int) -> Section:
    """Change so many users, one after another, each once the last one has arrived; a few more after every queue was empty."""
    active = await stage.target.rows("sys_user", "active=true", "sys_id", "user_name")
    records = {row["user_name"].casefold(): row["sys_id"] for row in active}
    people = [
        (person["id"], records[person["userPrincipalName"].casefold()])
        for person in await stage.source.users("id", "userPrincipalName")
        if person["userPrincipalName"].casefold() in records
    ]
    if not people:
        raise BenchError("nobody is provisioned who could change")
    chance = random.Random(1)
    turns = itertools.cycle(people)
    await stage.quiet(_PATIENCE)
    stage.begin_phase()
    await stage.target.forget_requests()
    await stage.source.forget_requests()
    latencies: list[float] = []
    for number, (object_id, sys_id) in zip(range(changes), turns, strict=False):
        latencies.append(await _change(stage, object_id, sys_id, f"Engineer {number}"))
        await asyncio.sleep(chance.uniform(*_PAUSE))
    counts, asked = await stage.target.requests(), await stage.source.requests()
    reads = sum(asked.values()) - asked.get("PATCH /users/{id}", 0)
    rested: list[float] = []
    for number, (object_id, sys_id) in zip(range(quiet_changes), turns, strict=False):
        await stage.quiet(_PATIENCE)
        await asyncio.sleep(chance.uniform(*_PAUSE))
        rested.append(await _change(stage, object_id, sys_id, f"Architect {number}"))
    rows = (
        Row("p50", f"{percentile(latencies, 0.5):.2f} s", "next run", "", "< 1 s"),
        Row("p99", f"{percentile(latencies, 0.99):.2f} s", "next run", "", "< 3 s"),
        Row("shortest and longest", f"{min(latencies):.2f} s, {max(latencies):.2f} s"),
        *(
            [
                Row(
                    f"median and longest of {quiet_changes} more, all queues empty before",
                    f"{percentile(rested, 0.5):.2f} s, {max(rested):.2f} s",
                )
            ]
            if rested
            else []
        ),
        Row("ServiceNow requests per change", f"{counts['http_total'] / changes:.2f}"),
        Row("Graph requests per change", f"{reads / changes:.2f}"),
        Row("peak memory of the host", stage.peak_memory),
    )
    notes = (
        "From the PATCH in Entra, notification delay 0, to the commit; the baseline sees changes when it is run again.",
        "Each change is read a second time 10 s later, for Graph's replicas: the queues are looked at more often meanwhile.",
    )
    return Section(f"A change while idle, {changes:,} changes", rows, notes)


async def _change(stage: Stage, object_id: str, sys_id: str, title: str) -> float:
    """Change somebody's title; the seconds until the committed write."""
    since = await stage.target.last_commit()
    changed = time.time()
    await stage.source.graph("PATCH", f"/users/{object_id}", {"jobTitle": title})
    commit = await stage.target.commit(since, {"table": "sys_user", "sys_id": sys_id})
    return float(commit["time"]) - changed
