"""What waits, and what releases it.

A wait on an object or a record is released the moment that one appears; a retry when its time has come; everything else when
an operator says so. Releasing means queueing an event: the object is looked at again, and if it still has to wait, it writes
its escrow again.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from shared.errors import TerminalError
from shared.events import Event, GroupMembersDue, ObjectsChanged, PairsDue, UserMembershipsDue, chunks
from shared.provisioning.remarks import Remark, write_remarks
from shared.provisioning.work import Outcome
from shared.state.escrows import RETRY, Escrow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from shared.errors import ProvisioningError
    from shared.events import Kind, Reason
    from shared.provisioning.services import Services

log = logging.getLogger("provisioning.waiting")

#: Times between the tries of something that failed, in seconds: from a minute to a day.
_INTERVALS = (60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 12 * 3600.0, 24 * 3600.0)
#: Entra ID gives up after 28 days (docs, "application provisioning in quarantine status"); so do we, aloud.
_GIVE_UP = timedelta(days=28)


class Waiting:
    """Escrow what failed, release what can go on."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def retry_later(self, waiter: str, error: ProvisioningError, *, evidence: str = "") -> datetime:
        """Escrow something that failed; each failure in a row doubles the patience. Returns when it is tried again."""
        at = self._services.clock()
        earlier = await self._services.escrows.get(RETRY, waiter)
        attempts = earlier.attempts + 1 if earlier else 1
        delay = timedelta(seconds=_INTERVALS[min(attempts, len(_INTERVALS)) - 1])
        created = earlier.created_at if earlier and earlier.created_at else at
        escrow = Escrow(
            RETRY,
            waiter,
            waiter,
            error.code,
            error.reason,
            error.recommended_action or "",
            attempts=attempts,
            created_at=created,
            next_at=at + delay,
            evidence=evidence,
        )
        await self._services.escrows.write([escrow])
        return at + delay

    async def release(self, escrows: Iterable[Escrow], *, reason: Reason = "released", cycle_id: str = "") -> int:
        """Queue whatever waits, as few events as possible. Returns how many waiters that were."""
        events: list[Event] = []
        for evidence, part in groupby(sorted(escrows, key=lambda escrow: escrow.evidence), key=lambda escrow: escrow.evidence):
            events += self.events([escrow.waiter for escrow in part], reason, cycle_id, evidence=evidence)
        await self._services.queues.send_all(events)
        return len(events)

    def events(self, waiters: Sequence[str], reason: Reason, cycle_id: str = "", *, evidence: str = "") -> list[Event]:
        """The events that make the engine look at these waiters again; ``evidence`` as in ``Escrow``."""
        at = self._services.clock()
        events: list[Event] = []
        kinds: tuple[Kind, ...] = ("user", "group")
        for kind in kinds:
            # Somebody's roles are looked at with him.
            names = {"user", "roles"} if kind == "user" else {kind}
            ids = sorted({waiter.partition(":")[2] for waiter in waiters if waiter.partition(":")[0] in names})
            events += [
                ObjectsChanged(
                    kind=kind,
                    ids=tuple(part),
                    reason="absent" if evidence == "absent" else reason,
                    occurred_at=at,
                    gone=evidence == "gone",
                    cycle_id=cycle_id,
                )
                for part in chunks(ids)
            ]
        pairs = sorted({_pair(waiter) for waiter in waiters if waiter.startswith("pair:")})
        events += [PairsDue(pairs=tuple(part), reason=reason, cycle_id=cycle_id) for part in chunks(pairs)]
        for waiter in sorted(set(waiters)):
            what, _, object_id = waiter.partition(":")
            if what == "members":
                events.append(GroupMembersDue(group_id=object_id, reason=reason, cycle_id=cycle_id))
            elif what == "memberOf":
                events.append(UserMembershipsDue(user_id=object_id, reason=reason, cycle_id=cycle_id))
        return events

    async def release_for(self, kind: Kind, ids: Sequence[str], cycle_id: str = "") -> None:
        """These objects have just become provisioned: whatever waits for one of them can go on."""
        services = self._services
        waiting: list[Escrow] = []
        for object_id in ids:
            waiting += await services.escrows.waiting_for_object(object_id)
        await self.release(waiting, cycle_id=cycle_id)
        if kind == "user":
            pairs: list[tuple[str, str]] = []
            for object_id in ids:
                pairs += await services.memberships.of_user(object_id)
            await services.queues.send_all(
                PairsDue(pairs=tuple(part), reason="released", cycle_id=cycle_id) for part in chunks(sorted(pairs))
            )

    async def tick(self) -> None:
        """Queue the retries whose time has come, and ask ServiceNow for the records that are awaited."""
        services = self._services
        at = services.clock()
        due = await services.escrows.due(at)
        old = [escrow for escrow in due if escrow.created_at is not None and at - escrow.created_at > _GIVE_UP]
        await self._give_up(old)
        await self.release([escrow for escrow in due if escrow not in old], reason="retry")
        await self._ask_for_records(await services.escrows.waiting_for_records())

    async def _give_up(self, escrows: Sequence[Escrow]) -> None:
        """End what has failed for too long, in the log where an operator finds it."""
        remarks = []
        for escrow in escrows:
            log.error("%s has failed for 28 days and is given up: %s (%s)", escrow.waiter, escrow.reason, escrow.code)
            error = TerminalError(escrow.reason, code=escrow.code, recommended_action=escrow.recommended_action or None)
            description = f"Given up after 28 days and {escrow.attempts} tries: the next change of the object is tried again"
            outcome = Outcome("skipped", "other", "failure", error)
            remarks.append(Remark(escrow.waiter, f"given up {escrow.key} {escrow.created_at}", description, outcome))
        await write_remarks(self._services, remarks)
        await self._services.escrows.remove([escrow.key for escrow in escrows])

    async def retry_all(self) -> None:
        """An operator's wish: look at everything that failed now."""
        due = await self._services.escrows.due(self._services.clock() + _GIVE_UP)
        await self.release(due, reason="retry")

    async def _ask_for_records(self, waiting: Sequence[Escrow]) -> None:
        """One question per table for all awaited names; what is there now releases its waiters."""
        tables: dict[str, list[Escrow]] = {}
        for escrow in waiting:
            tables.setdefault(escrow.partition.removeprefix("record-"), []).append(escrow)
        for table, escrows in tables.items():
            names = sorted({escrow.awaited for escrow in escrows})
            found = await self._services.references.look_up(table, names, refresh=True)
            ready = [escrow for escrow in escrows if found[escrow.awaited].sys_id]
            if ready:
                log.info("%d waits on %s end: the records are there now", len(ready), table)
            await self.release(ready)


def _pair(waiter: str) -> tuple[str, str]:
    _, group, user = waiter.split(":")
    return group, user
