"""Quarantine: nothing is written while the whole job is at fault, and it heals by itself.

Entered at once when credentials are refused or a permission is missing (trying on would lock the account), and left when a
probe succeeds. Probes follow at growing intervals. Source of the states: Microsoft Graph, ``synchronizationQuarantine``.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.errors import ProvisioningError, RetryableError
from shared.servicenow.queries import everything
from shared.state.job import Quarantine

if TYPE_CHECKING:
    from shared.provisioning.services import Services
    from shared.state.job import Job, QuarantineReason

log = logging.getLogger("provisioning.quarantine")

#: Minutes until the next probe after the first, second, ... failure: an account is locked after few refused sign-ins.
_PROBES = (5, 15, 60, 240, 720, 1440)


class QuarantineWard:
    """Enter, probe, leave."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def enter(self, reason: QuarantineReason, error: ProvisioningError) -> None:
        """Stop writing. Entering again while in quarantine changes nothing."""
        at = self._services.clock()
        entered = False

        def begin(job: Job) -> Job | None:
            nonlocal entered
            entered = job.quarantine is None
            return replace(job, quarantine=self._next(None, reason, error, at)) if entered else None

        await self._services.jobs.change(begin)
        if entered:
            log.error("the job is in quarantine (%s, %s): %s", reason, error.code, error.reason)

    async def tick(self) -> None:
        """Probe when it is time; leave on success, wait longer on failure."""
        job = await self._services.jobs.get(fresh=True)
        if job.quarantine is None or datetime.fromisoformat(job.quarantine.next_attempt) > self._services.clock():
            return
        await self.probe()

    async def probe(self) -> bool:
        """Ask both services one harmless question. True when the job is out of quarantine."""
        services = self._services
        job = await services.jobs.get(fresh=True)
        quarantine = job.quarantine
        if quarantine is None:
            return True
        services.servicenow.auth.reset()
        try:
            await services.servicenow.sample("sys_user", everything(), ("sys_id",), limit=1)
            await services.operations.check_graph()
        except RetryableError as error:
            log.warning("the probe of the quarantine was not answered: %s", error.reason)
            return False
        except ProvisioningError as error:
            await self._prolong(error)
            return False
        await services.jobs.change(lambda present: replace(present, quarantine=None))
        log.warning("the job is out of quarantine after %d probes", quarantine.series_count)
        await services.cycles.tick()
        return True

    async def _prolong(self, error: ProvisioningError) -> None:
        at = self._services.clock()

        def later(job: Job) -> Job | None:
            former = job.quarantine
            return None if former is None else replace(job, quarantine=self._next(former, former.reason, error, at))

        await self._services.jobs.change(later)

    @staticmethod
    def _next(former: Quarantine | None, reason: str, error: ProvisioningError, at: datetime) -> Quarantine:
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
        )
