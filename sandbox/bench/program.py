"""The cases in their order, each on the stage that it needs."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

import httpx

from sandbox.bench.big_group import big_group
from sandbox.bench.cycles import first_cycle, provision, unchanged_cycle
from sandbox.bench.ends import BenchError
from sandbox.bench.live import live_changes
from sandbox.bench.sizes import QUERY_SECONDS, SLOW_WRITE_SECONDS, WRITE_SECONDS
from sandbox.bench.stage import Stage
from sandbox.bench.table import Row, Section, percentile
from sandbox.bench.webhook import webhook
from sandbox.processes import ProcessError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator

    from sandbox.bench.sizes import Sizes

_ON_ONE_STAGE: Final = ("start", "first-cycle", "unchanged", "live", "webhook")
CASES: Final = (*_ON_ONE_STAGE, "slow-writes", "big-group")


class Program:
    """Runs cases. A case that fails is a section of its own; ``failed`` says that there was one."""

    def __init__(self, sizes: Sizes, cases: Collection[str], tell: Callable[[str], None]) -> None:
        self._sizes = sizes
        self._cases = cases
        self._tell = tell
        self.sections: list[Section] = []
        self.failed = False

    async def run(self) -> None:
        """Run the chosen cases, one after another."""
        if any(name in self._cases for name in _ON_ONE_STAGE):
            with self._failures("the stage for users"):
                async with Stage(users=self._sizes.users) as stage:
                    await self._on(stage)
        await self._case("slow-writes", self._slow_writes)
        await self._case("big-group", lambda: big_group(members=self._sizes.members))

    async def _on(self, stage: Stage) -> None:
        sizes = self._sizes
        await self._case("start", lambda: self._starts(stage))
        slow = {"latency_query": QUERY_SECONDS, "latency_write": WRITE_SECONDS}
        if "first-cycle" in self._cases:
            await stage.target.set(**slow)
            await self._case(
                "first-cycle",
                lambda: first_cycle(stage, users=sizes.users, write=WRITE_SECONDS, baseline_users=sizes.baseline_users),
            )
        elif {"unchanged", "live", "webhook"} & set(self._cases):
            self._tell("provisioning from an instance without latency, for the cases that follow")
            await provision(stage, sizes.users)
            await stage.target.set(**slow)
        await self._case(
            "unchanged",
            lambda: unchanged_cycle(stage, users=sizes.users, write=WRITE_SECONDS, baseline_users=sizes.baseline_again),
        )
        await self._case("live", lambda: live_changes(stage, changes=sizes.changes, quiet_changes=sizes.quiet_changes))
        await self._case("webhook", lambda: webhook(stage, posts=sizes.posts, notifications=sizes.notifications))

    async def _starts(self, stage: Stage) -> Section:
        """Start the host several times; the stage's own start is the first."""
        times = [stage.started_in]
        while len(times) < self._sizes.starts:
            await stage.stop_host()
            await stage.start_host()
            times.append(stage.started_in)
        rows = (
            Row("to the first function served, median", f"{percentile(times, 0.5):.2f} s"),
            Row("longest", f"{max(times):.2f} s"),
            Row("peak memory of the host", stage.peak_memory),
        )
        return Section(f"Start of the host's process, {len(times)} starts", rows)

    async def _slow_writes(self) -> Section:
        sizes = self._sizes
        async with Stage(users=sizes.slow_users, query=QUERY_SECONDS, write=SLOW_WRITE_SECONDS) as stage:
            return await first_cycle(
                stage, users=sizes.slow_users, write=SLOW_WRITE_SECONDS, baseline_users=sizes.slow_baseline_users
            )

    async def _case(self, name: str, measure: Callable[[], Awaitable[Section]]) -> None:
        if name not in self._cases:
            return
        self._tell(f"{name} ...")
        began = time.monotonic()
        with self._failures(name):
            self.sections.append(await measure())
        self._tell(f"{name} took {time.monotonic() - began:.0f} s")

    @contextlib.contextmanager
    def _failures(self, name: str) -> Iterator[None]:
        try:
            yield
        except (BenchError, ProcessError, httpx.HTTPError) as error:
            self.failed = True
            self.sections.append(Section(f"{name}: no figures", notes=(f"{type(error).__name__}: {error}",)))
