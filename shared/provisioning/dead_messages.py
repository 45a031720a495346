"""Dead messages: what the host gave up on is moved to a table, listed, replayed or dropped, and every step is in the log.

Of a snapshot only the ids of its objects stay: a replay reads them again. Of a message that is no event of ours nothing stays
but its size and what was wrong with it.
"""

from __future__ import annotations

import hashlib
import logging
import traceback
from datetime import timedelta
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from shared.errors import ProvisioningError, TerminalError
from shared.events import (
    ChainAdvance,
    ChainPoke,
    DecisionDue,
    Event,
    GroupMembersDue,
    MalformedEvent,
    MembersChanged,
    NestedMembersDue,
    NestingChanged,
    NewerEvent,
    ObjectsChanged,
    ObjectsSnapshot,
    PairsDue,
    ReportsDue,
    UserMembershipsDue,
    decode,
    encode,
    new_id,
)
from shared.provisioning.page_events import announcement
from shared.provisioning.paging import page_size, read_token, write_token
from shared.provisioning.remarks import Remark, write_remarks
from shared.provisioning.requests import Unknown
from shared.provisioning.work import Outcome
from shared.state.poison import DeadMessage, DeadMessages
from shared.state.progress import round_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.provisioning.services import Services

log = logging.getLogger("provisioning.poison")

_NEWER_DELAY = 60.0
_PART = 200
_FAILURES_KEPT = timedelta(days=7)


class DeadLetters:
    """Move, list, replay, drop."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.store = DeadMessages(services.tables)

    async def note_failure(self, event: Event, defect: Exception) -> None:
        """Remember why an event failed; the last reason is what the operator sees when all tries have failed."""
        try:
            await self.store.note_failure(event.id, _reason(defect), self._services.clock())
        except ProvisioningError as error:
            log.warning("the reason of a failure could not be kept: %s", error.reason)

    async def bury(self, queue: str, text: str) -> None:
        """Move one message of ``queue``'s poison queue to the table, with an entry in the log for each object."""
        at = self._services.clock()
        message_id = hashlib.sha256(f"{queue}|{text}".encode()).hexdigest()[:32]
        try:
            event = decode(text)
        except NewerEvent:
            # A worker of that version can take it; what it holds cannot be judged here.
            await self._services.queues.send_text(queue, text, delay=_NEWER_DELAY)
            return
        except MalformedEvent as error:
            await self.store.write(DeadMessage(message_id, queue, "", "", str(error), size=len(text), moved_at=at))
            # Without the traceback: the parser's error holds the text, and the text may hold people.
            log.warning("a message of %s is no event of this app (%s) and was moved to the table of dead messages", queue, error)
            return
        reason = await self.store.failure_of(event.id) or "every try failed; the app's log says why"
        kept = without_people(event)
        subjects = _subjects(kept)
        message = DeadMessage(message_id, queue, type(event).__name__, encode(kept), reason, len(subjects), len(text), at)
        await self._remark(message, subjects, f"No try to process the event succeeded: {reason}", "failure", "DeadMessage")
        await self.store.write(message)
        await self._note_in_round(event)
        log.error("a %s (%s) of %s was moved to the table of dead messages: %s", type(event).__name__, event.id, queue, reason)

    async def page(self, *, top: str, token: str) -> dict[str, Any]:
        """A page of what is there."""
        messages, following = await self.store.page(size=page_size(top), token=read_token(token))
        answer: dict[str, Any] = {"value": [_shown(message) for message in messages]}
        if following is not None:
            answer["@odata.nextLink"] = f"poison?$top={page_size(top)}&$skiptoken={write_token(following)}"
        return answer

    async def replay(self, ids: Sequence[str] | None) -> int:
        """Queue messages again (all of them without ids); returns how many. Raises ``Unknown`` for one that is not there.

        What cannot be replayed, because nothing of it could be used, stays.
        """
        replayed = 0
        for messages in await self._chosen(ids):
            usable = [message for message in messages if message.text]
            for message in usable:
                event = decode(message.text)
                await self._services.queues.send(event)
            await self.store.remove([message.id for message in usable])
            replayed += len(usable)
        return replayed

    async def drop(self, ids: Sequence[str] | None, by: str = "") -> int:
        """Forget messages (all of them without ids), and say so in the log; returns how many."""
        dropped = 0
        for messages in await self._chosen(ids):
            for message in messages:
                subjects = _subjects(decode(message.text)) if message.text else []
                text = "The event was dropped by an operator; the next change of the object is processed as usual"
                await self._remark(message, subjects, text, "skipped", "DroppedByOperator", by)
                log.warning("the dead message %s (%s) was dropped by an operator", message.id, message.kind or "no event")
            await self.store.remove([message.id for message in messages])
            dropped += len(messages)
        return dropped

    async def sweep(self) -> None:
        """Forget the reasons of failures that did not last."""
        await self.store.sweep(self._services.clock() - _FAILURES_KEPT)

    async def _note_in_round(self, event: Event) -> None:
        """A full round need not wait for it: it ends incomplete, and another one follows."""
        if not isinstance(event, (ObjectsSnapshot, MembersChanged, NestedMembersDue)):
            return
        chunk = announcement(event)
        if chunk is not None:
            chain = "users" if isinstance(event, ObjectsSnapshot) and event.kind == "user" else "groups"
            await self._services.progress.dead(round_key(chain, event.generation), *chunk)

    async def _chosen(self, ids: Sequence[str] | None) -> list[list[DeadMessage]]:
        if ids is not None:
            found = await self.store.get_many(ids)
            if missing := set(ids) - {message.id for message in found}:
                raise Unknown(f"no such dead message: {', '.join(sorted(missing))}")
            return [found]
        messages = await self.store.some(until=self._services.clock(), limit=100_000)
        return [messages[start : start + _PART] for start in range(0, len(messages), _PART)]

    async def _remark(
        self, message: DeadMessage, subjects: Sequence[str], description: str, status: str, code: str, by: str = ""
    ) -> None:
        failed = status == "failure"
        error = TerminalError(description, recommended_action="Look at GET /api/poison.") if failed else None
        outcome = Outcome("skipped", "other", "failure" if failed else "skipped", error, detail=code)
        await write_remarks(
            self._services,
            [Remark(subject, f"{code} {message.id}", description, outcome) for subject in subjects],
            initiated_by=by,
        )


def without_people(event: Event) -> Event:
    """The event with ids alone: a snapshot's objects are to be read again."""
    if not isinstance(event, ObjectsSnapshot):
        return event
    ids = tuple(str(item.get("id", "")) for item in event.items if item.get("id"))
    return ObjectsChanged(
        id=new_id(), kind=event.kind, ids=ids, reason="retry", occurred_at=event.read_at, cycle_id=event.cycle_id
    )


def _subjects(event: Event) -> list[str]:
    """Whom an event is about, as the log names them."""
    match event:
        case ObjectsChanged(kind=kind, ids=ids):
            return [f"{kind}:{object_id}" for object_id in ids]
        case (
            MembersChanged(group_id=group_id)
            | GroupMembersDue(group_id=group_id)
            | NestedMembersDue(group_id=group_id)
            | NestingChanged(group_id=group_id)
        ):
            return [f"group:{group_id}"]
        case PairsDue(pairs=pairs):
            return [f"group:{group}" for group in dict.fromkeys(group for group, _ in pairs)]
        case UserMembershipsDue(user_id=user_id) | ReportsDue(manager_id=user_id):
            return [f"user:{user_id}"]
        case ChainAdvance() | ChainPoke() | DecisionDue():
            return []
        case _:
            return []


def _reason(defect: Exception) -> str:
    """Why something failed, without any value of a person: our own errors speak for themselves, of others the place is told."""
    if isinstance(defect, ProvisioningError):
        return f"{defect.code}: {defect.reason}"
    frames = traceback.extract_tb(defect.__traceback__)
    place = f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(defect).__name__}{place}"


def _shown(message: DeadMessage) -> dict[str, Any]:
    return {
        "id": message.id,
        "queue": message.queue,
        "event": message.kind or None,
        "reason": message.reason,
        "objects": message.subjects,
        "bytes": message.size,
        "canBeReplayed": bool(message.text),
        "movedDateTime": message.moved_at.isoformat() if message.moved_at else None,
    }
