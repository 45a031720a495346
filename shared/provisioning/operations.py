"""What an operator asks and commands, in the shapes of Microsoft Graph's ``synchronizationJob``.

Source: Microsoft Graph, resources ``synchronizationJob``, ``synchronizationStatus``, ``synchronizationTaskExecution``,
``synchronizationProgress`` and ``synchronizationQuarantine``.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from shared.errors import ProvisioningError
from shared.events import QUEUES
from shared.provisioning import restarting
from shared.provisioning.cycles import CHAINS
from shared.provisioning.paging import MAX_PAGE, page_size, read_token, write_token
from shared.provisioning.requests import BadRequest
from shared.servicenow.queries import everything
from shared.state.progress import Progress, round_key

if TYPE_CHECKING:
    from shared.provisioning.services import Services
    from shared.state.watermarks import Watermark

__all__ = ["BadRequest", "Operations"]

log = logging.getLogger("provisioning.operations")

#: Pages that one request looks through for entries that satisfy a filter.
_SCANNED_PAGES = 20
_COUNTS_KEPT = timedelta(seconds=15)
_COMPARISON = re.compile(r"\s*([A-Za-z/]+)\s+(eq|gt|lt|ge|le)\s+('(?:[^']|'')*'|[0-9A-Za-z:.\-+]+)\s*")
_CONTAINS = re.compile(r"\s*contains\(\s*([A-Za-z/]+)\s*,\s*('(?:[^']|'')*')\s*\)\s*")
_ZERO = "0001-01-01T00:00:00Z"


class Operations:
    """Answer and carry out."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._counted: tuple[datetime, dict[str, int]] | None = None

    async def job(self) -> dict[str, Any]:
        """The ``synchronizationJob``, with figures of the app's own under ``app``."""
        services = self._services
        await services.schemas.refresh()
        job = await services.jobs.get(fresh=True)
        marks = {chain: await services.watermarks.get(chain) for chain in CHAINS}
        progress = {
            chain: await services.progress.sum(round_key(chain, mark.generation))
            for chain, mark in marks.items()
            if mark.generation
        }
        counts = await self._entry_counts()
        ran = any(mark.finished_at for mark in marks.values())
        code = "Quarantine" if job.quarantine else "Paused" if job.paused else "Active" if ran else "NotRun"
        execution = _execution(marks, progress)
        return {
            "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#synchronizationJob/$entity",
            "id": services.job_id,
            "templateId": "ServiceNowOutDelta",
            "schedule": {
                "expiration": None,
                "interval": services.settings.schedules.cycle,
                "state": "Paused" if job.paused else "Active",
            },
            "status": {
                "code": code,
                "countSuccessiveCompleteFailures": job.successive_failures,
                "escrowsPruned": False,
                "lastExecution": execution,
                "lastSuccessfulExecution": execution if ran else None,
                "lastSuccessfulExecutionWithExports": execution if execution and execution["countExports"] else None,
                "progress": [_progress(chain, marks[chain], sums) for chain, sums in progress.items()],
                "quarantine": _quarantine(job.quarantine),
                "steadyStateFirstAchievedTime": _time(job.steady_first_at) or _ZERO,
                "steadyStateLastAchievedTime": _time(_latest(marks)) or _ZERO,
                "synchronizedEntryCountByType": [{"key": kind, "value": number} for kind, number in sorted(counts.items())],
                "troubleshootingUrl": None,
            },
            "synchronizationJobSettings": [
                {"name": "QuarantineTooManyDeletesThreshold", "value": str(services.settings.delete_threshold)}
            ],
            "app": {
                "schemaVersion": services.mappings.version,
                "chains": {chain: _chain(mark) for chain, mark in marks.items()},
                "outcomes": {chain: dict(sums.outcomes) for chain, sums in progress.items()},
                "escrows": await services.escrows.counts(),
                "queues": await services.queues.lengths([*QUEUES, *(f"{queue}-poison" for queue in QUEUES)]),
                "subscriptions": await self._subscriptions(),
                "rejectedNotifications": job.rejected_notifications,
            },
        }

    async def tick(self) -> None:
        """The cycle's timer: heal, subscribe, go on with what waits, start or pick up the chains."""
        services = self._services
        await self._report_queues()
        await services.schemas.refresh()
        await services.quarantine.tick()
        await services.guard.tick()
        await services.plan.tick()
        await services.discovery.tick()
        if not (await services.jobs.get(fresh=True)).may_write:
            return
        await services.parking.release()
        await services.subscribing.ensure()
        await services.assigned.tick()
        await services.cycles.tick()
        await services.waiting.tick()
        await services.verification.tick()
        await services.dead_messages.sweep()

    async def start(self) -> None:
        """Run, make up for what was parked, and begin a cycle now."""
        await restarting.start(self._services)

    async def resume(self) -> None:
        """The job runs again by itself: bring back what was parked, and go on."""
        await restarting.resume(self._services)

    async def pause(self) -> None:
        """Write nothing more; what arrives is parked."""
        await restarting.pause(self._services)

    async def restart(self, scope: str) -> None:
        """Begin anew, as Graph's ``synchronizationJobRestartCriteria.resetScope`` says (see ``restarting``)."""
        await restarting.restart(self._services, scope)

    async def validate_credentials(self) -> None:
        """Sign in to both sides and read one row of each. Raises what the refusing side said."""
        services = self._services
        services.servicenow.auth.reset()
        await services.servicenow.sample("sys_user", everything(), ("sys_id",), limit=1)
        await self.check_graph()

    async def check_graph(self) -> None:
        """Read something small that every deployment may read."""
        services = self._services
        ask = services.graph.read(lambda graph: graph.users, permission="User.Read.All", select=["id"], top=1)
        await services.graph.object(ask)

    async def logs(self, *, condition: str, top: str, token: str) -> dict[str, Any]:
        """Entries of the provisioning log, newest first, as a page of Graph's ``/auditLogs/provisioning``."""
        size = page_size(top)
        wanted = _parse_filter(condition)
        exact = {path: value for path, operator, value in wanted if operator == "eq"}
        object_id = exact.get("sourceIdentity/id") or exact.get("targetIdentity/id")
        entries: list[dict[str, Any]] = []
        following: dict[str, str] | None = None
        if "sourceIdentity/id" in exact and object_id:
            found = await self._services.log.of_object(object_id, limit=MAX_PAGE)
            entries = [entry for entry in found if _satisfies(entry, wanted)][:size]
        else:
            following = read_token(token)
            for _ in range(_SCANNED_PAGES):
                page, following = await self._services.log.page(size=size - len(entries), token=following)
                entries += [entry for entry in page if _satisfies(entry, wanted)]
                if following is None or len(entries) >= size:
                    break
        answer: dict[str, Any] = {
            "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#auditLogs/provisioning",
            "value": entries,
        }
        if following is not None:
            answer["@odata.nextLink"] = f"logs?$top={size}&$skiptoken={write_token(following)}" + (
                f"&$filter={condition}" if condition else ""
            )
        return answer

    async def health(self) -> list[str]:
        """What is wrong, as sentences; empty when all is well. Asks the storage and looks at the job, contacts no service."""
        try:
            job = await self._services.jobs.get(fresh=True)
        except ProvisioningError as error:
            return [error.reason]
        if job.quarantine is not None and job.quarantine.stops:
            return [f"the job is in quarantine since {job.quarantine.current_began}: {job.quarantine.message}"]
        return []

    async def _report_queues(self) -> None:
        """One line per queue with messages: what alerts and the workbook read."""
        for queue in QUEUES:
            backlog = await self._services.queues.backlog(queue)
            if backlog.messages:
                log.info("queue %s: %d messages, oldest visible %.0f s", queue, backlog.messages, backlog.oldest_seconds)

    async def _entry_counts(self) -> dict[str, int]:
        """Linked objects by type, counted at most every few seconds: a status page asks often, and counting reads every row."""
        at = self._services.clock()
        if self._counted is None or at - self._counted[0] > _COUNTS_KEPT:
            joins = self._services.joins
            counts = {"Group": await joins.count_linked("group"), "User": await joins.count_linked("user")}
            self._counted = (at, counts)
        return self._counted[1]

    async def _subscriptions(self) -> list[dict[str, Any]]:
        notifications = self._services.settings.notifications
        if not notifications.url:
            return [{"resource": "none", "error": notifications.why_not}]
        return [
            {"resource": held.resource, "expirationDateTime": _time(held.expires_at), "error": held.error or None}
            for held in await self._services.held_subscriptions.all()
        ]


def _execution(marks: dict[Any, Watermark], progress: dict[Any, Progress]) -> dict[str, Any] | None:
    """A ``synchronizationTaskExecution`` over both chains' last full round."""
    began = [mark.started_at for mark in marks.values() if mark.started_at]
    if not began:
        return None
    ended = _latest(marks)
    outcomes: Counter[str] = Counter()
    for sums in progress.values():
        outcomes.update(sums.outcomes)
    written = sum(outcomes[name] for name in ("created", "updated", "disabled", "deleted", "added", "removed"))
    return {
        "activityIdentifier": next((mark.cycle_id for mark in marks.values() if mark.cycle_id), ""),
        "countEntitled": sum(outcomes.values()) - outcomes["skipped"],
        "countEntitledForProvisioning": sum(outcomes.values()) - outcomes["skipped"],
        "countEscrowed": outcomes["escrowed"],
        "countEscrowedRaw": outcomes["escrowed"],
        "countExported": written,
        "countExports": written,
        "countImported": sum(sums.objects_done for sums in progress.values()),
        "countImportedDeltas": 0,
        "countImportedReferenceDeltas": outcomes["added"] + outcomes["removed"],
        "error": None,
        "state": "EntryLevelErrors" if outcomes["escrowed"] else "Succeeded",
        "timeBegan": _time(min(began)),
        "timeEnded": _time(ended),
    }


def _progress(chain: str, mark: Watermark, sums: Progress) -> dict[str, Any]:
    return {
        "completedUnits": sums.objects_done,
        "totalUnits": sums.objects,
        "units": "users" if chain == "users" else "groups and members",
        "progressObservationDateTime": _time(mark.heartbeat),
    }


def _chain(mark: Watermark) -> dict[str, Any]:
    return {
        "phase": mark.phase,
        "generation": mark.generation,
        "page": mark.page,
        "full": mark.full,
        "completeGeneration": mark.complete,
        "cycleId": mark.cycle_id,
        "startedDateTime": _time(mark.started_at),
        "finishedDateTime": _time(mark.finished_at),
        "fullFinishedDateTime": _time(mark.full_finished_at),
    }


def _quarantine(quarantine: Any) -> dict[str, Any] | None:
    if quarantine is None:
        return None
    return {
        "currentBegan": quarantine.current_began,
        "nextAttempt": quarantine.next_attempt,
        "reason": quarantine.reason,
        "seriesBegan": quarantine.series_began,
        "seriesCount": quarantine.series_count,
        "error": {"code": quarantine.code, "message": quarantine.message, "tenantActionable": True},
    }


def _latest(marks: dict[Any, Watermark]) -> datetime | None:
    return max((mark.finished_at for mark in marks.values() if mark.finished_at), default=None)


def _time(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None


def _parse_filter(condition: str) -> list[tuple[str, str, str]]:
    """Comparisons joined by ``and``: (path, operator, value)."""
    wanted: list[tuple[str, str, str]] = []
    position = 0
    while condition[position:].strip():
        match = _COMPARISON.match(condition, position)
        if match is not None:
            wanted.append((match[1], match[2], _unquote(match[3])))
        else:
            match = _CONTAINS.match(condition, position)
            if match is None:
                raise BadRequest("$filter must be comparisons (eq, gt, lt, ge, le, contains) joined by and")
            wanted.append((match[1], "contains", _unquote(match[2])))
        position = match.end()
        if condition[position:].strip():
            if not condition[position:].startswith("and "):
                raise BadRequest("$filter must be comparisons (eq, gt, lt, ge, le, contains) joined by and")
            position += len("and ")
    return wanted


def _unquote(text: str) -> str:
    return text[1:-1].replace("''", "'") if text.startswith("'") else text


def _satisfies(entry: dict[str, Any], wanted: list[tuple[str, str, str]]) -> bool:
    for path, operator, value in wanted:
        found: Any = entry
        for name in path.split("/"):
            found = found.get(name) if isinstance(found, dict) else None
        if found is None:
            return False
        have: Any = str(found)
        want: Any = value
        if operator not in {"eq", "contains"} and isinstance(found, int):
            if not value.lstrip("-").isdigit():
                raise BadRequest(f"$filter compares the number {path} with '{value}'")
            have, want = found, int(value)
        held = {
            "eq": have == want,
            "contains": operator == "contains" and want in have,
            "gt": operator == "gt" and have > want,
            "lt": operator == "lt" and have < want,
            "ge": operator == "ge" and have >= want,
            "le": operator == "le" and have <= want,
        }[operator]
        if not held:
            return False
    return True
