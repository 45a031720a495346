"""Quarantine: nothing is written while the whole job is at fault, and it heals by itself.

| reason | entered | left |
|---|---|---|
| ``EncounteredQuarantineException`` | at once, when credentials are refused or a permission is missing | when a probe succeeds |
| ``Encountered...EscrowThreshold`` | when too many objects fail (``thresholds``) | when a sample of them succeeds |
| ``TooManyDeletes`` | while deeds are held (``guard``) | when the last one is decided |

The last one stops nothing: the held deeds wait, everything else flows on. Probes follow at growing intervals, because an
account is locked after a few refused sign-ins. Sources: Microsoft Graph, ``synchronizationQuarantine``; Microsoft Entra docs,
"Application provisioning in quarantine status".
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.errors import ProvisioningError, RetryableError
from shared.events import ObjectsChanged
from shared.provisioning import thresholds
from shared.servicenow.queries import everything
from shared.state.escrows import RETRY
from shared.state.job import Quarantine

if TYPE_CHECKING:
    from shared.provisioning.services import Services
    from shared.state.job import Job, QuarantineReason

log = logging.getLogger("provisioning.quarantine")

#: Minutes until the next probe after the first, second, ... failure: an account is locked after few refused sign-ins.
_PROBES = (5, 15, 60, 240, 720, 1440)
#: Failing objects that are tried to see whether the others are worth it.
_SAMPLE = 20
#: After a quarantine by failures the retries get this time before they are judged again.
_CONVALESCENCE = timedelta(hours=6)


class QuarantineWard:
    """Enter, probe, leave."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._trusted: int | None = None
        services.jobs.observer = self._recall

    def _recall(self, job: Job) -> None:
        """Forget a refusal of ours once another worker's probe, or an operator, has found that the credentials are good again."""
        if self._trusted is not None and job.trusted != self._trusted:
            self._services.servicenow.auth.reset()
        self._trusted = job.trusted

    async def enter(self, reason: QuarantineReason, error: ProvisioningError) -> None:
        """Note the reason, and announce it. Entering for the same reason again changes nothing.

        A reason that stops the job takes the place of one that does not, and never the other way round.
        """
        at = self._services.clock()
        entered = False

        def begin(job: Job) -> Job | None:
            nonlocal entered
            present = job.quarantine
            entered = present is None or (not present.stops and reason != present.reason)
            return replace(job, quarantine=self._next(None, reason, error, at)) if entered else None

        await self._services.jobs.change(begin)
        if entered:
            log.error("the job is in quarantine (%s, %s): %s", reason, error.code, error.reason)
            await self._services.announcing.quarantine()

    async def leave(self, reason: QuarantineReason) -> None:
        """End a quarantine, if it is for this reason."""
        job = await self._services.jobs.get()
        if job.quarantine is None or job.quarantine.reason != reason:
            return

        def end(present: Job) -> Job | None:
            held = present.quarantine
            return replace(present, quarantine=None) if held is not None and held.reason == reason else None

        await self._services.jobs.change(end)
        log.warning("the job is out of quarantine (%s)", reason)

    async def tick(self) -> None:
        """Judge the failures, probe when it is time: leave on success, wait longer on failure."""
        job = await self._services.jobs.get(fresh=True)
        await self._services.announcing.quarantine()
        quarantine = job.quarantine
        if quarantine is None or not quarantine.stops:
            await self._judge(job)
        elif datetime.fromisoformat(quarantine.next_attempt) <= self._services.clock():
            await self.probe()

    async def probe(self) -> bool:
        """Ask both services one harmless question, and try a sample of what failed. True when the job runs again."""
        services = self._services
        job = await services.jobs.get(fresh=True)
        quarantine = job.quarantine
        if quarantine is None or not quarantine.stops:
            return True
        services.servicenow.auth.reset()
        try:
            await services.servicenow.sample("sys_user", everything(), ("sys_id",), limit=1)
            await services.operations.check_graph()
            healed = await self._sample_heals() if quarantine.by_failures else True
        except RetryableError as error:
            log.warning("the probe of the quarantine was not answered: %s", error.reason)
            return False
        except ProvisioningError as error:
            await self._prolong(error)
            return False
        if not healed:
            await self._prolong(None)
            return False
        from_ = services.clock() + _CONVALESCENCE if quarantine.by_failures else job.judged_from
        await services.jobs.change(
            lambda present: replace(present, quarantine=None, judged_from=from_, trusted=present.trusted + 1)
        )
        log.warning("the job is out of quarantine after %d probes", quarantine.series_count)
        await services.operations.resume()
        if quarantine.by_failures:
            await services.waiting.retry_all()
        return True

    async def _judge(self, job: Job) -> None:
        """Whether single failures have become too many. Provisioned objects are counted only if that can matter."""
        services = self._services
        if job.judged_from is not None and services.clock() < job.judged_from:
            return
        counts = await services.escrows.counts()
        failures, references = counts.get(RETRY, 0), counts.get("object", 0) + counts.get("record", 0)
        succeeded = 0
        if failures >= thresholds.LEAST:
            succeeded = await services.joins.count_linked("user") + await services.joins.count_linked("group")
        reason = thresholds.judge(failures, references, succeeded)
        if reason is not None:
            error = ProvisioningError(
                f"{failures} objects fail and {references} wait for references, {succeeded} are provisioned",
                code="TooManyFailures",
                recommended_action="Look at GET /api/escrows for the most frequent reason.",
            )
            await self.enter(reason, error)

    async def _sample_heals(self) -> bool:
        """Try some of the objects that failed; true if most of them fail no longer, or nothing fails."""
        services = self._services
        sample = (await services.escrows.failed(limit=_SAMPLE)) or []
        for event in services.waiting.events([escrow.waiter for escrow in sample], "retry"):
            if isinstance(event, ObjectsChanged):
                await services.objects.process(event)
            else:
                await services.dispatcher.process(event)
        left = [await services.escrows.get(RETRY, escrow.row_key) for escrow in sample]
        return sum(escrow is not None for escrow in left) * 2 <= len(sample)

    async def _prolong(self, error: ProvisioningError | None) -> None:
        at = self._services.clock()

        def later(job: Job) -> Job | None:
            former = job.quarantine
            if former is None:
                return None
            reason = error or ProvisioningError(former.message, code=former.code)
            return replace(job, quarantine=self._next(former, former.reason, reason, at))

        await self._services.jobs.change(later)

    @staticmethod
    def _next(former: Quarantine | None, reason: QuarantineReason, error: ProvisioningError, at: datetime) -> Quarantine:
        count = former.series_count + 1 if former else 1
        minutes = _PROBES[min(count, len(_PROBES)) - 1]
        return Quarantine(
            reason=reason,
            code=error.code,
            message=error.reason,
            current_began=former.current_began if former else at.isoformat(),
            series_began=former.series_began if former else at.isoformat(),
            series_count=count,
            next_attempt=(at + timedelta(minutes=minutes)).isoformat(),
            announced=former.announced if former else False,
        )
