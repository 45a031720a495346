"""One member more: the same few requests in a group of ten and in a very big one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.bench.cycles import provision
from sandbox.bench.sizes import QUERY_SECONDS, WRITE_SECONDS
from sandbox.bench.stage import Stage
from sandbox.bench.table import Row, Section, ratio
from sandbox.bench.table_meter import TableMeter

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

_SMALL = 10
_PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What one new member took: seconds until the committed write, and requests by route until the queues were empty."""

    seconds: float
    graph: Mapping[str, int]
    servicenow: Mapping[str, int]
    tables: Mapping[str, int]


async def big_group(*, members: int) -> Section:
    """Provision a group of everybody from an instance without latency, then add one member to it and to one of ten."""
    async with Stage(users=members, everyone_group=True) as stage:
        stage.begin_phase()
        began = time.monotonic()
        await provision(stage, 2 * members)
        provisioned_in, provisioning_peak = time.monotonic() - began, stage.peak_memory
        await stage.stop_host()
        await stage.target.set(latency_query=QUERY_SECONDS, latency_write=WRITE_SECONDS)
        async with TableMeter(stage.table_url) as meter:
            await stage.start_host(table_url=meter.url)
            try:
                groups = {members: (await stage.source.graph("GET", "/groups?$select=id"))["value"][0]["id"]}
                everybody = [person["id"] for person in await stage.source.users("id")]
                groups[_SMALL] = await _new_group(stage, "Group of ten", everybody[:_SMALL])
                # What a worker reads once, such as the instance's dictionary, is read with the first change of each kind.
                warm = await _new_group(stage, "Another group", everybody[:1])
                joiner = await _new_user(stage)
                await _add(stage, meter.counts, warm, joiner)
                stage.begin_phase()
                costs = {size: await _add(stage, meter.counts, group, joiner) for size, group in groups.items()}
                peak = stage.peak_memory
            finally:
                await stage.stop_host()
    big, small = costs[members], costs[_SMALL]
    rows = (
        *(
            Row(f"requests to {side}", f"{_sum(mine):,}", f"{_sum(theirs):,}", ratio(_sum(mine), _sum(theirs)))
            for side, mine, theirs in (
                ("Graph", big.graph, small.graph),
                ("ServiceNow", big.servicenow, small.servicenow),
                ("Table Storage", big.tables, small.tables),
            )
        ),
        Row("from the change to the committed write", f"{big.seconds:.2f} s", f"{small.seconds:.2f} s"),
        Row("peak memory of the host", peak),
        Row(f"bringing {members:,} users and memberships, no latency", f"{provisioned_in:.1f} s"),
        Row("peak memory of the host meanwhile", provisioning_peak),
    )
    notes = (
        f"The column 'baseline' is the same in a group of {_SMALL}. Counted until the queues were empty, which includes",
        "the one repetition for Graph's replicas; parts of a Graph batch count singly, a table transaction once.",
        *(f"{side}: {_listed(counts)}." for side, counts in (("Graph", big.graph), ("ServiceNow", big.servicenow))),
        f"Table Storage: {_listed(big.tables)}.",
    )
    return Section(f"One member added to a group of {members:,}", rows, notes)


async def _add(stage: Stage, tables: Counter[str], group: str, user: str) -> Cost:
    """Add the member, and wait until everything that follows is done."""
    await stage.quiet(_PATIENCE)
    await stage.target.forget_requests()
    await stage.source.forget_requests()
    tables.clear()
    since = await stage.target.last_commit()
    changed = time.time()
    await stage.source.graph("POST", f"/groups/{group}/members/$ref", _reference(user))
    commit = await stage.target.commit(since, {"table": "sys_user_grmember"})
    await stage.quiet(_PATIENCE)
    asked = await stage.source.requests()
    asked.pop("POST /groups/{id}/members/$ref", None)
    return Cost(commit["time"] - changed, asked, (await stage.target.requests())["http"], dict(tables))


async def _new_group(stage: Stage, name: str, members: list[str]) -> str:
    body = {"displayName": name, "mailEnabled": False, "mailNickname": name.replace(" ", ""), "securityEnabled": True}
    group: str = (await stage.source.graph("POST", "/groups", body))["id"]
    for member in members:
        await stage.source.graph("POST", f"/groups/{group}/members/$ref", _reference(member))
    return group


async def _new_user(stage: Stage) -> str:
    """Hire somebody and wait until the record is there."""
    name = "bench.joiner@contoso.com"
    body = {
        "accountEnabled": True,
        "displayName": "Bench Joiner",
        "givenName": "Bench",
        "surname": "Joiner",
        "mailNickname": "bench.joiner",
        "userPrincipalName": name,
        "passwordProfile": {"password": "invented-for-the-bench"},
    }
    since = await stage.target.last_commit()
    user: str = (await stage.source.graph("POST", "/users", body))["id"]
    await stage.target.commit(since, {"table": "sys_user", "verb": "insert"})
    return user


def _reference(object_id: str) -> dict[str, str]:
    return {"@odata.id": f"https://graph.microsoft.com/v1.0/directoryObjects/{object_id}"}


def _sum(counts: Mapping[str, int]) -> int:
    return sum(counts.values())


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items())) or "none"
