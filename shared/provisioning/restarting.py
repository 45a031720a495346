"""Start, pause and restart.

| resetScope | here |
|---|---|
| ``None`` | the job runs (as ``start``) |
| ``QuarantineState`` | the quarantine ends, and the next failure counts as the first |
| ``Watermark`` | a full round of users and of groups; a round that runs ends at its next page |
| ``Escrows`` | everything that failed or waits is tried now |
| ``ConnectorDataStore`` | nothing remembered of the records is believed: each is compared, what is gone is matched again |
| ``ForceDeletes`` | every held deed is approved |
| ``Full`` | all but ``ForceDeletes`` |
| nothing | ``QuarantineState``, ``Watermark`` and ``Escrows``, as the portal's button |

Links to records that are there are kept with ``ConnectorDataStore`` too: forgetting them all would let one renamed person be
created twice. A single link is removed by ``DELETE /links/{objectId}``. Source: Microsoft Graph,
``synchronizationJobRestartCriteria``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shared.provisioning.following import doubt_memberships
from shared.provisioning.requests import BadRequest

if TYPE_CHECKING:
    from shared.events import Kind
    from shared.provisioning.services import Services
    from shared.state.job import Job

_SCOPES = frozenset({"None", "ConnectorDataStore", "Escrows", "Watermark", "QuarantineState", "Full", "ForceDeletes"})
_DEFAULT = frozenset({"QuarantineState", "Watermark", "Escrows"})
_ALL = _SCOPES - {"None", "ForceDeletes", "Full"}
_PART = 5000


async def start(services: Services) -> None:
    """Run, make up for what was parked, and begin a cycle now."""
    await services.jobs.change(lambda job: replace(job, paused=False))
    await services.subscribing.ensure()
    await resume(services)


async def resume(services: Services) -> None:
    """The job runs again: bring back what was parked, and let every chain go on from where it stands."""
    if (await services.jobs.get(fresh=True)).may_write:
        await services.parking.release()
        await services.cycles.resume()


async def pause(services: Services) -> None:
    """Write nothing more; what arrives is parked."""
    await services.jobs.change(lambda job: replace(job, paused=True))


async def restart(services: Services, scope: str, by: str = "") -> None:
    """Begin anew, as the comma list says (see the table above). Raises ``BadRequest`` for a word that is none of it."""
    asked = {part.strip() for part in scope.split(",") if part.strip()} or set(_DEFAULT)
    if asked - _SCOPES:
        raise BadRequest(f"resetScope must be a list of {', '.join(sorted(_SCOPES))}")
    if "Full" in asked:
        asked |= _ALL
    await services.jobs.change(lambda job: replace(job, paused=False))
    if "QuarantineState" in asked:
        services.servicenow.auth.reset()
        await services.jobs.change(_trusting)
    if "ConnectorDataStore" in asked:
        await _doubt_everything(services)
    if asked & {"Watermark", "ConnectorDataStore"}:
        await services.cycles.request_full()
    if "Escrows" in asked:
        await services.waiting.retry_all()
    if "ForceDeletes" in asked:
        await services.staging.decide_all(approved=True, by=by)
    await resume(services)


def _trusting(job: Job) -> Job:
    """Out of a quarantine that stops it; every worker may try the credentials again."""
    stops = job.quarantine is not None and job.quarantine.stops
    return replace(job, quarantine=None if stops else job.quarantine, trusted=job.trusted + 1)


async def _doubt_everything(services: Services) -> None:
    """Mark every link and membership, so that its record is compared before anything is believed; forget references' names."""
    kinds: tuple[Kind, ...] = ("user", "group")
    for kind in kinds:
        ids = [join.object_id async for join in services.joins.scan(kind)]
        for start_at in range(0, len(ids), _PART):
            await services.joins.mark_dirty(kind, ids[start_at : start_at + _PART])
        if kind == "group":
            for group_id in ids:
                await doubt_memberships(services, kind, group_id)
    await services.lookups.forget_all()
