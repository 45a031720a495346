"""Provision on demand: one user or group, now, by the same steps as every change, with an answer that shows them.

Request and answer have the shape of Microsoft Graph's ``synchronizationJob: provisionOnDemand``. Beyond it: groups of any size,
disabled and deleted objects, and ``preview: true``, which runs the same engine with an exporter that writes nothing anywhere.
Nothing that was remembered is believed: the record is read and compared, also where a fingerprint would end an ordinary event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.errors import RetryableError
from shared.events import ObjectsChanged
from shared.provisioning.demand_answer import answer
from shared.provisioning.group_read import MembersRead, read_group
from shared.provisioning.requests import BadRequest, NotNow, object_id_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.events import Kind
    from shared.provisioning.services import Services
    from shared.provisioning.work import Work
    from shared.schema.mapping import ObjectMapping

_KINDS: Mapping[str, Kind] = {"user": "user", "group": "group"}
#: When somebody who lost the race for an object may ask again, in seconds, where nobody knows better.
_SOON = 5.0


@dataclass(frozen=True, slots=True)
class Demand:
    """A parsed request. ``members``: the only members of a group that are to be looked at; None: all of them."""

    kind: Kind
    object_id: str
    preview: bool = False
    members: tuple[str, ...] | None = None


def parse_demand(body: Mapping[str, Any]) -> Demand:
    """The one subject of a request. Raises ``BadRequest``."""
    parameters = body.get("parameters")
    if not isinstance(parameters, list) or len(parameters) != 1 or not isinstance(parameters[0], dict):
        raise BadRequest("parameters must be a list of one object with subjects")
    subjects = parameters[0].get("subjects")
    if not isinstance(subjects, list) or len(subjects) != 1 or not isinstance(subjects[0], dict):
        raise BadRequest("subjects must be a list of one object with objectId and objectTypeName: one at a time")
    subject = subjects[0]
    kind = _KINDS.get(str(subject.get("objectTypeName") or "").casefold())
    if kind is None:
        raise BadRequest("objectTypeName must be User or Group")
    object_id = object_id_of(subject.get("objectId"))
    preview = body.get("preview", False)
    if not isinstance(preview, bool):
        raise BadRequest("preview must be true or false")
    return Demand(kind, object_id, preview, _members(subject))


def _members(subject: Mapping[str, Any]) -> tuple[str, ...] | None:
    links = subject.get("links")
    members = links.get("members") if isinstance(links, dict) else None
    if members is None:
        return None
    if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
        raise BadRequest("links.members must be a list of objects with objectId")
    return tuple(dict.fromkeys(object_id_of(member.get("objectId"), "objectId of links.members") for member in members))


class OnDemand:
    """Carry out demands."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def provision(self, demand: Demand, *, initiated_by: str = "") -> dict[str, Any]:
        """Take the object through the five steps and answer with them.

        Raises ``BadRequest`` when the schema does not provision this kind, ``NotNow`` when another worker holds the object or
        the job is in quarantine, and what the services raise when they cannot answer.
        """
        services = self._services
        await services.schemas.refresh()
        mapping = services.mapping(demand.kind)
        if mapping is None:
            raise BadRequest(f"the schema does not provision {demand.kind}s")
        quarantine = (await services.jobs.get(fresh=True)).quarantine
        if quarantine is not None and quarantine.stops:
            raise NotNow("JobInQuarantine", "the job is in quarantine: see GET /api/job, and restart it first")
        if demand.preview:
            services, _ = services.rehearse()
        await self._demand_free(services, demand)
        started = services.clock()
        event = ObjectsChanged(kind=demand.kind, ids=(demand.object_id,), reason="request", occurred_at=started)
        batch = await services.objects.process(event)
        if batch is None:  # the schema was changed at this very moment
            raise BadRequest(f"the schema does not provision {demand.kind}s")
        work = batch.works[0]
        _demand_outcome(work)
        if demand.kind == "group":
            await self._members_of(services, work, mapping, demand, event)
        return answer(work, mapping, services.log_context("", initiated_by), started, services.clock(), preview=demand.preview)

    @staticmethod
    async def _demand_free(services: Services, demand: Demand) -> None:
        join = await services.joins.get(demand.kind, demand.object_id)
        at = services.clock()
        if join.is_held(at) and join.lease_until is not None:
            raise NotNow(
                "ObjectIsBusy",
                f"another worker is provisioning {demand.object_id} at this moment",
                retry_after=max(1.0, (join.lease_until - at).total_seconds()),
            )

    @staticmethod
    async def _members_of(services: Services, work: Work, mapping: ObjectMapping, demand: Demand, event: ObjectsChanged) -> None:
        """The members of a group that is provisioned: read from Graph, the first differences written now, the rest queued."""
        if work.presence != "present" or work.decision != "provision" or mapping.attribute("members") is None:
            return
        try:
            read = await read_group(services, demand.object_id, event.id, only=demand.members)
        except RetryableError as error:
            work.note("EntryImport", "import", "failure", f"The members could not be read: {error.reason}", errorCode=error.code)
            return
        _note_members(work, read)


def _demand_outcome(work: Work) -> None:
    """An object that somebody else took in between has no outcome of ours."""
    outcome = work.outcome
    if outcome is not None and outcome.name == "retried" and outcome.error is None:
        raise NotNow(
            "ObjectIsBusy",
            f"another worker is provisioning {work.object_id} at this moment",
            retry_after=outcome.again or _SOON,
        )


def _note_members(work: Work, read: MembersRead) -> None:
    details = {name: str(number) for name, number in read.counts.items()}
    work.note(
        "EntryExportUpdate" if read.changes else "EntrySynchronizationSkip",
        "export",
        "success" if not read.failed else "failure",
        f"{read.inside} members in Microsoft Entra ID; {read.changes} memberships differ from what ServiceNow should hold",
        **details,
        queued=str(read.queued),
        inOtherHands=str(read.busy),
    )
