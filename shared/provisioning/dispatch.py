"""From a queue message to its end: every event is done, delayed or escrowed here, and nowhere else.

| what happened | what becomes of the message |
|---|---|
| processed | done (objects that failed are escrowed or requeued one by one by the engine) |
| written by a newer version | delayed as it is, until a worker of that version takes it |
| garbage | the exception goes to the host, which moves the message to the poison queue after its tries |
| the job is paused or in quarantine | parked (``parking``) |
| a retryable failure of the whole event | the same event again, later: the service's Retry-After, or a growing delay |
| refused credentials | the job goes into quarantine, the event waits |
| a defect of ours | the exception goes to the host: tried again, then poison |
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from shared.errors import CredentialsError, RefusedError, RetryableError
from shared.events import (
    ChainAdvance,
    ChainPoke,
    DecisionDue,
    Event,
    FollowUpsDue,
    GroupMembersDue,
    MembersChanged,
    NestedMembersDue,
    NestingChanged,
    NewerEvent,
    ObjectsChanged,
    ObjectsSnapshot,
    PairsDue,
    ReportsDue,
    SubscriptionsDue,
    UserMembershipsDue,
    WalkDue,
    decode,
)
from shared.provisioning.backoff import retry_delay
from shared.provisioning.following import follow, look_at_reports

if TYPE_CHECKING:
    from shared.provisioning.services import Services

log = logging.getLogger("provisioning.dispatch")

#: How long a message of a newer version waits for a newer worker, in seconds.
_NEWER_DELAY = 60.0


class Dispatcher:
    """Take messages to their end."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def handle(self, queue: str, text: str) -> None:
        """Process one message. Returning means that it is done; raising gives it back to the host."""
        try:
            event = decode(text)
        except NewerEvent as newer:
            log.warning("a message in %s waits for a newer version of the app: %s", queue, newer)
            await self._services.queues.send_text(queue, text, delay=_NEWER_DELAY)
            return
        job = await self._services.jobs.get()
        if not job.may_write and not isinstance(event, (SubscriptionsDue, DecisionDue)) and not _only_reads(event):
            await self._services.parking.park(event)
            return
        try:
            await self.process(event)
        except RetryableError as error:
            delay = retry_delay(event.attempt, error.retry_after)
            log.warning("%s %s goes back for %.0f s: %s", type(event).__name__, event.id, delay, error.reason)
            await self._services.queues.send(event.again(), delay=delay)
        except (CredentialsError, RefusedError) as error:
            # What concerns one object ends inside the engine; what arrives here concerns the whole job.
            await self._services.quarantine.enter("EncounteredQuarantineException", error)
            await self._services.parking.park(event)
        except Exception as defect:
            # The poison queue's messages do not say why they are there.
            await self._services.dead_messages.note_failure(event, defect)
            raise

    async def process(self, event: Event) -> None:  # noqa: C901, PLR0912 - one line for each kind of event
        """Hand an event to the part of the engine that it concerns, whatever the state of the job."""
        services = self._services
        await services.schemas.refresh()
        match event:
            case ObjectsChanged() | ObjectsSnapshot():
                await services.objects.process(event)
            case MembersChanged():
                await services.members.apply_slice(event)
            case PairsDue():
                await services.members.reconcile(list(event.pairs), event)
            case GroupMembersDue():
                await services.members.reconcile_group(event)
            case FollowUpsDue():
                await follow(services, event)
            case ReportsDue():
                await look_at_reports(services, event)
            case UserMembershipsDue():
                await services.members.rederive(event)
            case NestedMembersDue():
                await services.nesting.name(event)
            case NestingChanged():
                await services.nesting.follow(event)
            case ChainAdvance():
                await services.cycles.advance(event)
            case ChainPoke():
                await services.cycles.poke(event)
            case SubscriptionsDue():
                await services.subscribing.ensure(renew=True)
            case WalkDue():
                await services.walks[event.walk].advance(event)
            case DecisionDue():
                await services.staging.carry_on(event)
            case _:
                raise TypeError(f"no way to process a {type(event).__name__}")


def _only_reads(event: Event) -> bool:
    """A plan or a discovery writes nothing, so it may be made while the job does not run."""
    return isinstance(event, WalkDue) and event.walk in {"plan", "discovery"}
