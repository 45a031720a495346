"""The whole story: start, first cycle, live changes, a department that comes late, and whether both sides agree."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx

from sandbox.agreement import compare, home_name
from sandbox.demo.app import App
from sandbox.demo.cast import Troupe, furnish, scenery
from sandbox.demo.entra import Entra
from sandbox.demo.first_cycle import run_first_cycle, wait_until_quiet
from sandbox.demo.live import LiveChanges
from sandbox.demo.outcomes import counts_table, reasons, reasons_table
from sandbox.demo.play import follow, invitation
from sandbox.demo.servicenow import ServiceNow
from sandbox.demo.stage import stage
from sandbox.sides import read_directory, read_records

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.demo.app import Job
    from sandbox.demo.cast import Scenery
    from sandbox.demo.servicenow import Commit
    from sandbox.demo.stage import Sizes, Stage
    from sandbox.sides import Directory, Records

_PATIENCE: Final = 60.0


@dataclass(slots=True)
class Verdict:
    """How the story ended: ``exit_code`` is 1 until both sides were found to agree and every change arrived."""

    exit_code: int = 1


async def tell(sizes: Sizes, directory: Path, verdict: Verdict) -> None:
    """Play everything and keep the result in ``verdict``, which is there even if the wait on a terminal is cancelled.

    Raises ``ProcessError``, ``StuckError``, ``CastingError`` and httpx.HTTPError when something cannot go on.
    """
    print(
        f"Starting Azurite, an Entra tenant with {sizes.users:,} users and {sizes.groups:,} groups, a ServiceNow instance "
        f"({sizes.latency_query * 1000:g} ms a query, {sizes.latency_write * 1000:g} ms a write, four at a time) and the "
        "Functions host ...",
        flush=True,
    )
    began = time.monotonic()
    # No proxy: everything is on this machine.
    async with stage(sizes, directory) as here, httpx.AsyncClient(timeout=60.0, trust_env=False) as http:
        print(f"All are up after {time.monotonic() - began:.1f} s.\n", flush=True)
        play = _Play(here, http, sizes)
        await play.first_act()
        arrived = await play.second_act()
        arrived = await play.third_act() and arrived
        verdict.exit_code = 0 if await play.last_act() and arrived else 1
        if sys.stdin.isatty() and sys.stdout.isatty():
            print("\n" + invitation(here, play.somebody), flush=True)
            ended = await follow(here, play.servicenow)
            print(f"{ended} has ended on its own: see {here.directory / 'logs'}", flush=True)
            verdict.exit_code = 1


class _Play:
    """The acts share the stage, and what was known before the first of them."""

    directory: Directory
    before: Records
    scenery: Scenery
    troupe: Troupe

    def __init__(self, here: Stage, http: httpx.AsyncClient, sizes: Sizes) -> None:
        self._here = here
        self._http = http
        self._sizes = sizes
        self._app = App(http, here.host)
        self._entra = Entra(http, here.graph_url, here.token)
        self.servicenow = ServiceNow(http, here.instance_url)

    @property
    def somebody(self) -> str:
        """The user name of a person to play with."""
        return str(self.troupe.anybody()["userPrincipalName"])

    async def first_act(self) -> None:
        """Seed what ServiceNow knows, run the first cycle, and tell what became of it."""
        self.directory = await self._directory()
        self.scenery = scenery(self.directory, self._sizes.seed)
        await furnish(self.servicenow, self.scenery)
        self.before = await read_records(self._http, self._here.instance_url)
        self.troupe = Troupe(self.directory, self.scenery, self._sizes.seed)
        print(
            f"ServiceNow knows {len(self.scenery.known_people)} of the people and one of the groups already, and lacks the "
            f"departments '{self.scenery.late_department}' and '{self.scenery.missing_department}'.\n\nFirst cycle",
            flush=True,
        )
        totals = {
            "users": len(self.directory.users),
            "groups": len(self.directory.groups),
            "memberships": self.directory.memberships,
        }
        job, seconds = await run_first_cycle(self._here, self._app, totals)
        requests = await self.servicenow.requests()
        names = {user["id"]: user["userPrincipalName"] for user in self.directory.users}
        names |= {group["id"]: group["displayName"] for group in self.directory.groups}
        everything = sum(totals.values())
        print(f"  {everything:,} objects and memberships in {seconds:.1f} s: {everything / seconds:,.0f} per second, with")
        print(f"  {requests.http:,} requests to ServiceNow, which carried {requests.batched:,} operations in batches")
        print(counts_table(job.outcomes))
        print(reasons_table(reasons(await self._app.logs(), names)))
        print(f"  Waiting in all: {_escrows(job)}", flush=True)

    async def second_act(self) -> bool:
        """Live changes, each with its time; whether all arrived."""
        print("\nLive changes: from the request to Graph until ServiceNow has committed the write", flush=True)
        arrived = True
        async for timing in LiveChanges(self._entra, self.servicenow, self.troupe).play():
            print(timing.line(), flush=True)
            arrived = arrived and timing.seconds is not None
        return arrived

    async def third_act(self) -> bool:
        """The missing department is created in ServiceNow; whether everybody who waits for it is linked."""
        name = self.scenery.late_department
        waiting = await self._people_of(name)
        await self.servicenow.seed({"departments": [name]})
        department = (await self.servicenow.rows("cmn_department", f"name={name}", fields="sys_id"))[0]["sys_id"]
        print(
            f"\nThe department '{name}' is created in ServiceNow; {len(waiting)} people wait for it. A cycle's tick:", flush=True
        )

        async def linked(commit: Commit) -> bool:
            if commit.table != "sys_user" or "department" not in commit.fields:
                return False
            rows = await self.servicenow.rows("sys_user", f"department={department}", fields="user_name")
            return waiting <= {row["user_name"].casefold() for row in rows}

        since, began = await self.servicenow.last_commit(), time.time()
        await self._app.tick()
        at = await self.servicenow.committed(since, [linked], patience=_PATIENCE)
        if at is None:
            print(f"  not all of them are linked within {_PATIENCE:.0f} s")
            return False
        print(f"  all {len(waiting)} are linked after {at - began:.2f} s")
        return True

    async def last_act(self) -> bool:
        """Compare both sides once everything has come to rest; whether they agree."""
        job = await wait_until_quiet(self._here, self._app)
        agreement = compare(
            await self._directory(),
            await read_records(self._http, self._here.instance_url),
            provisioned=self.directory.enabled,
            before=self.before,
        )
        print("\nDo both sides agree?\n" + agreement.table())
        print(f"Still waiting: {_escrows(job)}. Dead messages: {job.poisoned}.")
        agrees = agreement.agrees and job.poisoned == 0
        print("Both sides agree." if agrees else "Both sides DIFFER.", flush=True)
        return agrees

    async def _people_of(self, department: str) -> set[str]:
        """User names of everybody in a department who has an account."""
        now = await self._directory()
        names = {
            home_name(user["userPrincipalName"]).casefold()
            for user in now.users
            if user.get("department") == department and user["id"] in now.enabled | self.directory.enabled
        }
        rows = await self.servicenow.rows("sys_user", "", fields="user_name")
        return names & {row["user_name"].casefold() for row in rows}

    async def _directory(self) -> Directory:
        return await read_directory(self._http, self._here.graph_url, self._here.token)


def _escrows(job: Job) -> str:
    """What waits, by what it waits for."""
    words = {
        "object": "for another person",
        "record": "for a reference record",
        "retry": "to be tried again",
        "job": "for the job",
    }
    found = [f"{number:,} {words.get(kind, kind)}" for kind, number in sorted(job.escrows.items()) if number]
    return ", ".join(found) or "nothing"
