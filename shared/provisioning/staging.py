"""Held deeds: listed with who and why, approved or rejected one by one or together.

An approval does not repeat what was held: it lets the object be looked at again, and what is true then is done. A rejection
leaves the record as it is until something else would have to be done about the object.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from shared.events import DecisionDue, Event, MembersChanged, new_id
from shared.provisioning.following import AFTERWARDS
from shared.provisioning.guard import tally
from shared.provisioning.paging import page_size, read_token, write_token
from shared.provisioning.remarks import Remark, write_remarks
from shared.provisioning.requests import Unknown
from shared.provisioning.work import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.provisioning.services import Services
    from shared.state.guard import StagedDeed

log = logging.getLogger("provisioning.staging")

#: Deeds that one message decides about; the rest follows in the next one.
_PART = 500


class Staging:
    """What an operator sees and decides of the guard."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def page(self, *, top: str, token: str) -> dict[str, Any]:
        """A page of what is held, with decisions that are being carried out."""
        guard = self._services.guard
        deeds, following = await guard.staged.page(size=page_size(top), token=read_token(token))
        answer: dict[str, Any] = {"value": [_shown(deed) for deed in deeds]}
        if following is not None:
            answer["@odata.nextLink"] = f"staged?$top={page_size(top)}&$skiptoken={write_token(following)}"
        return answer

    async def decide(self, ids: Sequence[str], *, approved: bool, by: str = "") -> int:
        """Approve or reject some; returns how many. Raises ``Unknown`` when nothing is held under one of the ids."""
        found = await self._services.guard.staged.get_many(list(dict.fromkeys(ids)))
        if missing := [subject for subject in ids if subject not in found]:
            raise Unknown(f"nothing is held about {', '.join(missing)}")
        return await self._carry_out(list(found.values()), approved=approved, by=by)

    async def decide_all(self, *, approved: bool, by: str = "") -> int:
        """Approve or reject everything that is held at this moment; carried out in the background. Returns how many wait."""
        services = self._services
        waiting = await services.guard.staged.waiting()
        await services.queues.send(DecisionDue(approved=approved, occurred_at=services.clock(), by=by))
        return sum(waiting.values())

    async def carry_on(self, event: DecisionDue) -> None:
        """Decide the next part of what an operator decided about everything."""
        services = self._services
        deeds = await services.guard.staged.undecided(until=event.occurred_at, limit=_PART)
        if not deeds:
            return
        await self._carry_out(deeds, approved=event.approved, by=event.by)
        await services.queues.send(DecisionDue(approved=event.approved, occurred_at=event.occurred_at, by=event.by))

    async def _carry_out(self, deeds: Sequence[StagedDeed], *, approved: bool, by: str) -> int:
        services = self._services
        verb = "approved" if approved else "rejected"
        if approved:
            # Before the decision is noted, because we may die right after it, and an approved deed is not asked for again.
            await services.queues.send_all(self._events(deeds), delay=AFTERWARDS)
        detail = "ApprovedByOperator" if approved else "RejectedByOperator"
        await write_remarks(
            services,
            [
                Remark(
                    deed.subject,
                    f"{verb} {deed.created_at} {deed.wanted}",
                    f"An operator {verb} what was held: {deed.reason}",
                    Outcome("skipped", "stageddelete", "skipped", detail=detail),
                    display=deed.display,
                )
                for deed in deeds
            ],
            initiated_by=by or "an operator",
        )
        decided = await services.guard.staged.decide(deeds, "approved" if approved else "rejected", services.clock())
        if approved:
            await services.queues.send_all(self._events(decided))
        log.warning("an operator %s %d held deeds: %s", verb, len(decided), tally(decided))
        return len(decided)

    def _events(self, deeds: Sequence[StagedDeed]) -> list[Event]:
        """What makes the engine look again, with the evidence that it had."""
        events: list[Event] = []
        unnamed = [deed for deed in deeds if deed.kind == "pair" and deed.evidence == "absent"]
        for evidence in dict.fromkeys(deed.evidence for deed in deeds):
            subjects = [deed.subject for deed in deeds if deed.evidence == evidence and deed not in unnamed]
            events += self._services.waiting.events(subjects, "released", evidence=evidence)
        at = self._services.clock()
        for deed in unnamed:
            _, group_id, user_id = deed.subject.split(":", 2)
            generation, _, page = deed.position.partition(".")
            events.append(
                MembersChanged(
                    id=new_id(),
                    group_id=group_id,
                    generation=int(generation),
                    page=int(page),
                    chunk=0,
                    cycle_id="",
                    read_at=at,
                    added=(),
                    removed=(user_id,),
                )
            )
        return events


def _shown(deed: StagedDeed) -> dict[str, Any]:
    return {
        "id": deed.subject,
        "displayName": deed.display or None,
        "action": deed.verb,
        "reason": deed.reason,
        "status": deed.status,
        "createdDateTime": deed.created_at.isoformat() if deed.created_at else None,
        "decidedDateTime": deed.decided_at.isoformat() if deed.decided_at else None,
    }
