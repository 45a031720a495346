"""A change while everything is idle: from the change in Entra to the committed write in ServiceNow."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from sandbox.bench.ends import BenchError
from sandbox.bench.table import Row, Section, percentile

if TYPE_CHECKING:
    from sandbox.bench.stage import Stage

#: Between two changes, in seconds: at random, so that changes fall anywhere between two looks at a queue.
_PAUSE = (0.1, 0.5)


async def live_changes(stage: Stage, *, changes: int) -> Section:
    """Change so many users, one after another, each once the last one has arrived."""
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
    stage.begin_phase()
    await stage.target.forget_requests()
    await stage.source.forget_requests()
    latencies: list[float] = []
    for number in range(changes):
        object_id, sys_id = people[number % len(people)]
        since = await stage.target.last_commit()
        changed = time.time()
        await stage.source.graph("PATCH", f"/users/{object_id}", {"jobTitle": f"Engineer {number}"})
        commit = await stage.target.commit(since, {"table": "sys_user", "sys_id": sys_id})
        latencies.append(commit["time"] - changed)
        await asyncio.sleep(chance.uniform(*_PAUSE))
    counts, asked = await stage.target.requests(), await stage.source.requests()
    reads = sum(asked.values()) - asked.get("PATCH /users/{id}", 0)
    rows = (
        Row("p50", f"{percentile(latencies, 0.5):.2f} s", "next run", "", "< 1 s"),
        Row("p99", f"{percentile(latencies, 0.99):.2f} s", "next run", "", "< 3 s"),
        Row("shortest and longest", f"{min(latencies):.2f} s, {max(latencies):.2f} s"),
        Row("ServiceNow requests per change", f"{counts['http_total'] / changes:.2f}"),
        Row("Graph requests per change", f"{reads / changes:.2f}"),
        Row("peak memory of the host", stage.peak_memory),
    )
    notes = ("From the PATCH in Entra, notification delay 0, to the commit; the baseline sees changes when it is run again.",)
    return Section(f"A change while idle, {changes:,} changes", rows, notes)
