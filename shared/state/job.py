"""The job: whether it runs, what holds it up, and what all instances of the app must respect.

One row. Reads are cached for a moment, because every event asks; writes are compare-and-set and repeated, because they change
one aspect of the row and must not lose another's.
"""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from shared.events import now
from shared.state.leases import moment
from shared.state.tables import Exists, Stale, row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.state.tables import Tables

_TABLE = "job"
_KEY = ("job", "job")
#: How old a cached read may be, in seconds: a pause or a Retry-After reaches every instance within this time.
_CACHE_SECONDS = 2.0
_ATTEMPTS = 20
#: The longest moment between two attempts at a change, in seconds.
_APART = 0.05

#: The quarantine reasons of Microsoft Graph's synchronizationQuarantine that the app gives.
QuarantineReason = Literal[
    "EncounteredBaseEscrowThreshold",
    "EncounteredTotalEscrowThreshold",
    "EncounteredEscrowProportionThreshold",
    "EncounteredQuarantineException",
    "TooManyDeletes",
    "Unknown",
]


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Why nothing is written for now, since when, and when it is tried again (times as ISO text)."""

    reason: QuarantineReason
    code: str
    message: str
    current_began: str
    series_began: str
    series_count: int
    next_attempt: str
    announced: bool = False
    #: Since when somebody is announcing it.
    announcing_since: str = ""

    @property
    def stops(self) -> bool:
        """Whether nothing is written meanwhile. Held deeds wait by themselves, and the others flow on."""
        return self.reason != "TooManyDeletes"

    @property
    def by_failures(self) -> bool:
        """Whether failures of single objects led here."""
        return self.reason.endswith("Threshold")


@dataclass(frozen=True, slots=True)
class Job:
    """The row, as read. ``paused`` is an operator's wish, ``quarantine`` the app's own."""

    paused: bool = False
    quarantine: Quarantine | None = None
    #: Nobody sends a request to ServiceNow before this moment (Retry-After of a 429).
    not_before: datetime | None = None
    #: Whether the instance keeps the sys_id that an insert carries; None until a first create has shown it.
    honours_sys_ids: bool | None = None
    schema_version: str = ""
    created_at: datetime | None = None
    steady_first_at: datetime | None = None
    steady_last_at: datetime | None = None
    #: Failures of single objects are not judged before this moment.
    judged_from: datetime | None = None
    successive_failures: int = 0
    #: How often the credentials were found good again: every worker then forgets that they were refused to it.
    trusted: int = 0
    rejected_notifications: int = 0
    etag: str = ""

    @property
    def may_write(self) -> bool:
        return not self.paused and (self.quarantine is None or not self.quarantine.stops)


class Jobs:
    """Read and change the job."""

    def __init__(self, tables: Tables, clock: Callable[[], datetime] = now) -> None:
        self._tables = tables
        self._clock = clock
        self._cached: tuple[datetime, Job] | None = None
        #: Sees the job whenever it was read or changed.
        self.observer: Callable[[Job], None] | None = None
        #: Changes of one worker take turns, so that only those of others can cross them.
        self._changing = asyncio.Lock()

    async def get(self, *, fresh: bool = False) -> Job:
        at = self._clock()
        if not fresh and self._cached is not None and at - self._cached[0] < timedelta(seconds=_CACHE_SECONDS):
            return self._cached[1]
        found = await self._tables.get(_TABLE, *_KEY)
        job = Job() if found is None else _from_row(found)
        self._keep(at, job)
        return job

    def _keep(self, at: datetime, job: Job) -> None:
        self._cached = (at, job)
        if self.observer is not None:
            self.observer(job)

    async def change(self, decide: Callable[[Job], Job | None]) -> Job:
        """Change the row: ``decide`` sees the present one and returns the new one, or None to leave it."""
        async with self._changing:
            return await self._change(decide)

    async def _change(self, decide: Callable[[Job], Job | None]) -> Job:
        for _ in range(_ATTEMPTS):
            before = await self.get(fresh=True)
            after = decide(before)
            if after is None or after == before:
                return before
            if not before.etag:
                after = replace(after, created_at=after.created_at or self._clock())
            try:
                if before.etag:
                    etag = await self._tables.replace(_TABLE, _to_row(after), before.etag)
                else:
                    etag = await self._tables.insert(_TABLE, _to_row(after))
            except (Stale, Exists):
                # A moment by chance, so that two workers do not keep step and one of them always comes second.
                await asyncio.sleep(random.uniform(0.0, _APART))  # noqa: S311 - not a secret
                continue
            after = replace(after, etag=etag)
            self._keep(self._clock(), after)
            return after
        raise Stale("the job's row is changed by too many at once")


def _to_row(job: Job) -> dict[str, Any]:
    times = {
        name: value.isoformat()
        for name in ("not_before", "created_at", "steady_first_at", "steady_last_at", "judged_from")
        if (value := getattr(job, name)) is not None
    }
    return row(
        *_KEY,
        paused=job.paused,
        quarantine=json.dumps(asdict(job.quarantine)) if job.quarantine else "",
        honours_sys_ids=job.honours_sys_ids,
        schema_version=job.schema_version,
        successive_failures=job.successive_failures,
        trusted=job.trusted,
        rejected_notifications=job.rejected_notifications,
        **times,
    )


def _from_row(found: Mapping[str, Any]) -> Job:
    quarantine = str(found.get("quarantine", ""))
    return Job(
        paused=bool(found["paused"]),
        quarantine=Quarantine(**json.loads(quarantine)) if quarantine else None,
        not_before=moment(found.get("not_before")),
        honours_sys_ids=found.get("honours_sys_ids"),
        schema_version=str(found.get("schema_version", "")),
        created_at=moment(found.get("created_at")),
        steady_first_at=moment(found.get("steady_first_at")),
        steady_last_at=moment(found.get("steady_last_at")),
        judged_from=moment(found.get("judged_from")),
        successive_failures=int(found.get("successive_failures", 0)),
        trusted=int(found.get("trusted", 0)),
        rejected_notifications=int(found.get("rejected_notifications", 0)),
        etag=str(found["etag"]),
    )
