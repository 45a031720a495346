"""The guard: taking away is counted, and held above a threshold until an operator decides.

| deed | counted as | limit in a rolling day, over all instances |
|---|---|---|
| a record is disabled or deleted, or its link ends with a change | ``deprovision`` | ``DELETE_THRESHOLD`` (500) |
| a membership's record is deleted | ``membership`` | 20 times that |
| columns that held a value of ours are emptied | ``clearing`` | 20 times that |
| somebody loses roles (``AppRoles=authoritative``) | ``roles`` | ``DELETE_THRESHOLD`` |

A place is reserved before the write. What finds none is *staged*: nothing of it is written, the others flow on. Approved, it is
looked at again, and whatever is true then is done; rejected, it is left alone until something else would have to be done.

What a whole round implies (everybody whom it did not name or who falls out of scope in it, everybody who lost his assignment)
is held as a whole if it is more than there are places for, or, from ten on, more than half of what there is: a directory that is
suddenly half empty is a fault of somebody's, not five hundred leavers, and a small company is no less one than a big one.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from shared.errors import ProvisioningError
from shared.provisioning.work import Outcome
from shared.servicenow.writes import Delete, Update
from shared.state.guard import CATEGORIES, Reservations, Staged, StagedDeed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from shared.events import Kind
    from shared.provisioning.batch import Batch
    from shared.provisioning.membership_cases import Case
    from shared.provisioning.services import Services
    from shared.provisioning.work import Work
    from shared.servicenow.writes import Write
    from shared.state.guard import Category, Verb

log = logging.getLogger("provisioning.guard")

#: Membership removals and clearings for each disable or delete that is let through.
RATIO = 20
#: Fewer than these are never held for being more than half of all.
_EMPTIED = 10
#: How long the answer to "is anything staged at all" is believed.
_GLANCE = timedelta(seconds=30)
_SWEEP_EVERY = timedelta(hours=1)

#: ``staged``: held from now on; ``held``: it was before.
Ruling = Literal["granted", "staged", "held", "rejected"]


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that is about to be taken away. ``transition``: what it leads away from, so that a replay is the same deed."""

    subject: str
    verb: Verb
    transition: str
    reason: str
    wanted: str = ""
    display: str = ""
    evidence: str = ""


class Guard:
    """Count, hold, and let through what an operator approved."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.reservations = Reservations(services.tables, services.clock)
        self.staged = Staged(services.tables)
        self._glanced: tuple[datetime, bool] | None = None
        self._swept: datetime | None = None
        #: A plan shows every deed, however many there are.
        self.lets_all_through = False

    def limit(self, category: Category) -> int:
        """Deeds of a category that a rolling day lets through."""
        threshold = self._services.settings.delete_threshold
        return threshold if category in {"deprovision", "roles"} else threshold * RATIO

    async def room(self, category: Category) -> int:
        """Places that are left."""
        return max(0, self.limit(category) - await self.reservations.used(category))

    async def judge(self, deeds: Sequence[Deed]) -> dict[str, Ruling]:
        """Rule on each deed, by subject; those without a place are staged before this returns."""
        if not deeds or self.lets_all_through:
            return {deed.subject: "granted" for deed in deeds}
        known = await self.staged.get_many([deed.subject for deed in deeds])
        rulings: dict[str, Ruling] = {}
        open_: list[Deed] = []
        for deed in deeds:
            row = known.get(deed.subject)
            if row is not None and row.status == "approved" and _covers(row, deed):
                rulings[deed.subject] = "granted"
            elif row is not None and row.status == "rejected" and (row.verb, row.wanted) == (deed.verb, deed.wanted):
                rulings[deed.subject] = "rejected"
            elif row is not None and row.status == "staged":
                rulings[deed.subject] = "held"
            else:
                open_.append(deed)
        held: list[Deed] = []
        for category in dict.fromkeys(CATEGORIES[deed.verb] for deed in open_):
            part = [deed for deed in open_ if CATEGORIES[deed.verb] == category]
            keys = {deed.subject: f"{deed.subject}|{deed.verb}|{deed.transition}" for deed in part}
            places = await self.reservations.reserve(category, list(keys.values()), self.limit(category))
            held += [deed for deed in part if keys[deed.subject] not in places]
        at = self._services.clock()
        # A deed that has changed its kind or its wish since it was staged is staged anew, with its present reason.
        renewed = [deed for deed in deeds if rulings.get(deed.subject) == "held" and not _is_same(known[deed.subject], deed)]
        await self.staged.write([_staged(deed, known.get(deed.subject), at) for deed in (*held, *renewed)])
        rulings.update((deed.subject, "granted") for deed in open_)
        rulings.update((deed.subject, "staged") for deed in held)
        if held:
            self._glanced = (at, True)
            log.warning("%d deeds are held: the limit of the last 24 hours is reached (%s)", len(held), held[0].verb)
        return rulings

    async def admit(self, batch: Batch, acting: Sequence[tuple[Work, Write]]) -> list[tuple[Work, Write]]:
        """Those writes that may be sent; works whose deed is held or was rejected end here."""
        deeds = {work.object_id: deed for work, write in acting if (deed := _deed(batch, work, write)) is not None}
        rulings = await self.judge(list(deeds.values()))
        for work, _ in acting:
            deed = deeds.get(work.object_id)
            ruling = rulings[deed.subject] if deed is not None else "granted"
            if deed is not None and ruling != "granted":
                _end(work, deed, rejected=ruling == "rejected")
        return [(work, write) for work, write in acting if work.is_open]

    async def admit_removals(self, cases: Sequence[Case]) -> None:
        """Take the removal from each membership whose deed is held or was rejected: it stays as it is."""
        removals = [case for case in cases if case.verb == "remove" and case.found]
        deeds = {case.pair: _removal(case) for case in removals}
        rulings = await self.judge(list(deeds.values()))
        for case in removals:
            ruling = rulings[deeds[case.pair].subject]
            if ruling != "granted":
                case.verb = "held"
                case.result = "staged" if ruling == "staged" else "held"

    async def hold_absent(self, kind: Kind, ids: Sequence[str], generation: int) -> list[str]:
        """Of those whom a complete round did not name, or who are out of scope in it, the ones that may be looked at now.

        Too many are staged as a whole.
        """
        services = self._services
        joins = await services.joins.get_many(kind, ids)
        at_stake = [join.object_id for join in joins if join.state == "linked"]
        unseen = {f"{kind}:{object_id}" for object_id in at_stake}
        seen = [row.subject for row in await self.staged.of_verb("absent", kind) if row.subject not in unseen]
        await self.staged.forget(seen)
        reason = f"a complete round did not name, or leaves out of scope, {{count}} {kind}s that are provisioned"
        held = await self._hold_whole("absent", kind, at_stake, reason, f"generation {generation}", evidence="absent")
        return [object_id for object_id in ids if object_id not in held]

    async def hold_unassigned(self, kind: Kind, ids: Sequence[str], *, nobody_left: bool) -> list[str]:
        """Of those who lost their assignment, the ones that may be looked at now. Too many are staged as a whole.

        So is a list that names nobody at all any more, from ten people on: an empty answer is the likeliest wrong one.
        """
        joins = await self._services.joins.get_many(kind, ids)
        at_stake = [join.object_id for join in joins if join.state == "linked"]
        reason = f"{{count}} {kind}s lost their assignment at once"
        emptied = nobody_left and len(at_stake) >= _EMPTIED
        held = await self._hold_whole("unassigned", kind, at_stake, reason, "", evidence="", always=emptied)
        return [object_id for object_id in ids if object_id not in held]

    async def hold_absent_members(
        self, unseen: dict[str, list[str]], generation: int, page: int, *, named: int
    ) -> dict[str, list[str]]:
        """The memberships that may be taken away because a complete round did not name them. Too many are staged as a whole.

        ``named``: how many groups and members the round did name.
        """
        subjects = [f"pair:{group}:{user}" for group, users in unseen.items() for user in users]
        known = await self.staged.get_many(subjects)
        fresh = [subject for subject in subjects if subject not in known]
        room = await self.room("membership")
        if len(fresh) > room or (len(fresh) >= _EMPTIED and len(fresh) > named):
            reason = f"a complete round did not name {len(fresh)} memberships, {room} may be taken away"
            at, position = self._services.clock(), f"{generation}.{page}"
            await self.staged.write(
                [
                    StagedDeed(
                        subject, "removeMember", reason=reason, wanted=f"absent|{generation}", evidence="absent",
                        position=position, created_at=at,
                    )
                    for subject in fresh
                ]
            )  # fmt: skip
            known |= dict.fromkeys(fresh, StagedDeed("", "removeMember"))
            self._glanced = (at, True)
            log.error("%s: all of them are held", reason)
        return {group: [user for user in users if f"pair:{group}:{user}" not in known] for group, users in unseen.items()}

    async def forget(self, subjects: Iterable[str]) -> None:
        """The truth is another now, or the deed is done: nothing is held about these any more."""
        wanted = list(subjects)
        if wanted and await self.holds_anything():
            await self.staged.forget(wanted)

    async def holds_anything(self) -> bool:
        """Whether there are rows at all; asked at most every half minute."""
        at = self._services.clock()
        if self._glanced is None or at - self._glanced[0] > _GLANCE:
            self._glanced = (at, await self.staged.any())
        return self._glanced[1]

    async def tick(self) -> None:
        """Forget old reservations, and say through the job's status that deeds are held."""
        services = self._services
        at = services.clock()
        if self._swept is None or at - self._swept > _SWEEP_EVERY:
            await self.reservations.sweep()
            self._swept = at
        counts = await self.staged.waiting() if await self.staged.any() else {}
        if counts:
            shown = ", ".join(f"{number} {verb}" for verb, number in sorted(counts.items()))
            error = ProvisioningError(
                f"deeds are held for a decision: {shown}",
                code="TooManyDeletes",
                recommended_action="Look at GET /api/staged, then POST /api/staged/approve or /reject.",
            )
            await services.quarantine.enter("TooManyDeletes", error)
        else:
            await services.quarantine.leave("TooManyDeletes")

    async def _is_half(self, kind: Kind, ids: Sequence[str]) -> bool:
        """Whether these are more than half of all that are provisioned. Everybody is counted only if that can matter."""
        return len(ids) >= _EMPTIED and 2 * len(ids) > await self._services.joins.count_linked(kind)

    async def _hold_whole(
        self, verb: Verb, kind: Kind, ids: Sequence[str], reason: str, wanted: str, *, evidence: str, always: bool = False
    ) -> set[str]:
        """Stage all of them if they are more than may be taken away; returns those that are held, old ones included."""
        known = await self.staged.get_many([f"{kind}:{object_id}" for object_id in ids])
        held = {object_id for object_id in ids if f"{kind}:{object_id}" in known}
        fresh = [object_id for object_id in ids if object_id not in held]
        room = await self.room("deprovision")
        if len(fresh) <= room and not always and not await self._is_half(kind, fresh):
            return held
        text = f"{reason.format(count=len(fresh))}, {room} may be taken away"
        at = self._services.clock()
        await self.staged.write(
            [
                StagedDeed(f"{kind}:{object_id}", verb, reason=text, wanted=wanted, evidence=evidence, created_at=at)
                for object_id in fresh
            ]
        )
        self._glanced = (at, True)
        log.error("%s: all of them are held", text)
        return held | set(fresh)


def tally(deeds: Iterable[StagedDeed]) -> dict[str, int]:
    """How many of each verb."""
    return dict(Counter(deed.verb for deed in deeds))


def _deed(batch: Batch, work: Work, write: Write) -> Deed | None:
    """What a write takes away; None if it takes nothing."""
    verdict = batch.verdicts[work.object_id]
    verb: Verb
    if isinstance(write, Delete):
        verb = "delete"
    elif not isinstance(write, Update):
        return None
    elif (
        work.changes.get("active") == "false"
        or work.changes.get("locked_out") == "true"
        or (work.decision == "disable" and work.join.state == "linked" != verdict.state)
    ):
        verb = "disable"
    elif any(value == "" for value in work.changes.values()):
        verb = "clear"
    else:
        return None
    subject = f"{work.kind}:{work.object_id}"
    transition = f"{work.join.state}|{work.join.fingerprint}"
    return Deed(subject, verb, transition, _why(work, verb), work.fingerprint, work.display, work.evidence)


def _why(work: Work, verb: Verb) -> str:
    if verb == "clear":
        cleared = ", ".join(sorted(column for column, value in work.changes.items() if value == ""))
        return f"{cleared} would be emptied"
    here = {
        "present": "it is disabled, unassigned or out of scope in Entra ID",
        "softDeleted": "it is in the recycle bin",
        "gone": "it is deleted for good",
    }.get(work.presence, "Microsoft Graph does not know it")
    return f"{verb}: {here}"


def _removal(case: Case) -> Deed:
    row = case.membership
    why = "he is in the recycle bin" if row.desired else "he is no longer a member in Entra ID"
    return Deed(
        f"pair:{row.group_id}:{row.user_id}",
        "removeMember",
        f"{row.generation}.{row.page}|{case.user.state}",
        f"removeMember: {why}",
        f"{row.desired}|{case.user.state}",
    )


def _end(work: Work, deed: Deed, *, rejected: bool) -> None:
    work.reason = deed.reason
    if rejected:
        text = f"{work.noun} '{work.display}' is left alone: an operator rejected this ({deed.reason})"
        work.note("EntrySynchronizationSkip", "export", "skipped", text, SkipReason="RejectedByOperator")
        work.end(Outcome("skipped", "other", "skipped", detail="RejectedByOperator"))
    else:
        text = f"{work.noun} '{work.display}' is held for a decision: the limit of 24 hours is reached ({deed.reason})"
        work.note("EntryStagedDelete", "export", "skipped", text, SkipReason="StagedDelete")
        # Said once: the join remembers that it was said.
        work.end(Outcome("staged", "stageddelete", "skipped", detail="StillStaged" if work.join.held else "StagedDelete"))
    work.changes = {}
    work.next_join = replace(work.join, held=True)


def _covers(row: StagedDeed, deed: Deed) -> bool:
    """Whether an operator's approval of what was staged is one of this deed too."""
    return row.verb == deed.verb or (row.verb in {"absent", "unassigned"} and deed.verb in {"disable", "delete"})


def _is_same(row: StagedDeed, deed: Deed) -> bool:
    return (row.verb, row.wanted, row.evidence) == (deed.verb, deed.wanted, deed.evidence) or row.verb in {"absent", "unassigned"}


def _staged(deed: Deed, former: StagedDeed | None, at: datetime) -> StagedDeed:
    created = former.created_at if former is not None and former.status == "staged" else at
    return StagedDeed(
        deed.subject, deed.verb, "staged", deed.reason, deed.display, deed.wanted, deed.evidence, created_at=created
    )
