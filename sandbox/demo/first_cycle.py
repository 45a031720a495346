"""The first act: the whole directory arrives, while its progress is shown."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx

from sandbox.demo.progress import Display, Progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.demo.app import App, Job
    from sandbox.demo.stage import Stage

_LOOK: Final = 1.0
#: A cycle that makes no progress for so long, in seconds, will not end any more.
_PATIENCE: Final = 120.0
#: The queues must be empty this often in a row: a message may be on its way from one to the next.
_QUIET_LOOKS: Final = 2


class StuckError(Exception):
    """Something that should have gone on did not; the message says what was seen last."""


@dataclass(slots=True)
class _Patience:
    """Notices that nothing moves any more."""

    seen: object = None
    since: float = 0.0

    def check(self, stage: Stage, state: object, doing: str, last: str) -> None:
        now = time.monotonic()
        if state != self.seen:
            self.seen, self.since = state, now
        ended = stage.ended()
        if ended is not None:
            raise StuckError(f"{ended} has ended on its own while {doing}: see {stage.directory / 'logs'}")
        if now - self.since > _PATIENCE:
            raise StuckError(f"nothing has moved for {_PATIENCE:.0f} s while {doing}: {last} (logs: {stage.directory / 'logs'})")


async def run_first_cycle(stage: Stage, app: App, totals: Mapping[str, int]) -> tuple[Job, float]:
    """Start the job and watch it until both chains have completed their full round and the queues are empty.

    ``totals``: users, groups and memberships to arrive. Returns the job and the seconds that it took. Raises ``StuckError``.
    """
    began = ended = time.monotonic()
    await app.start()
    progress, display, patience = Progress(totals), Display(sys.stdout), _Patience()
    quiet = 0
    while True:
        await asyncio.sleep(_LOOK)
        job = await _job(app)
        if job is None:
            patience.check(stage, None, "the app was asked for its job", "GET /api/job is not answered")
            continue
        if job.quarantine:
            raise StuckError(f"the job is in quarantine: {job.quarantine}")
        progress.observe(counts_of(job), time.monotonic())
        if job.complete and job.is_quiet:
            quiet += 1
        else:
            quiet, ended = 0, time.monotonic()
        if quiet >= _QUIET_LOOKS:
            display.finish(progress)
            return job, ended - began
        display.show(progress, time.monotonic())
        patience.check(
            stage, (progress.done, job.queued, job.escrows), "the first cycle ran", f"{job.queued} messages are queued"
        )


async def wait_until_quiet(stage: Stage, app: App) -> Job:
    """Wait until no message is queued and no chain runs. Raises ``StuckError``."""
    patience, quiet = _Patience(), 0
    while True:
        job = await _job(app)
        quiet = quiet + 1 if job is not None and job.is_quiet else 0
        if job is not None and quiet >= _QUIET_LOOKS:
            return job
        queued = job.queued if job is not None else None
        patience.check(stage, queued, "the queues emptied", f"{queued} messages are queued")
        await asyncio.sleep(_LOOK)


async def _job(app: App) -> Job | None:
    """The job; None while the app is too busy to answer."""
    try:
        return await app.job()
    except httpx.TimeoutException:
        return None
    except httpx.HTTPStatusError as error:
        if error.response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            return None
        raise


def counts_of(job: Job) -> dict[str, int]:
    """What is done. The groups chain counts groups and memberships in one: what became of groups alone tells them apart."""
    groups = sum(job.outcomes.get("groups", {}).get(name, 0) for name in ("created", "matched", "updated", "skipped"))
    return {
        "users": job.units.get("users", 0),
        "groups": groups,
        "memberships": max(0, job.units.get("groups", 0) - groups),
    }
