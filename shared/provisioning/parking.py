"""What happens to events while the job may not write: paused by an operator, or in quarantine.

| event | becomes |
|---|---|
| objects or memberships to be looked at | an escrow of the job for each, with the evidence that it carried |
| a snapshot or a slice of a round | delayed as it is: its round waits where it stands |
| a link of a chain | nothing: the watermark knows where the chain stands, and ``start`` goes on from there |

Escrows of the job are released when it runs again, by whoever sees that first.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from shared.events import (
    ChainAdvance,
    ChainPoke,
    Event,
    GroupMembersDue,
    ObjectsChanged,
    PairsDue,
    UserMembershipsDue,
    WalkDue,
)
from shared.state.escrows import JOB, Escrow

if TYPE_CHECKING:
    from shared.provisioning.services import Services

log = logging.getLogger("provisioning.parking")

#: How long a part of a round waits before it asks again whether the job runs, in seconds.
_PARKED_DELAY = 60.0
_PAGE = 1000


class Parking:
    """Park events, and bring them back."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def park(self, event: Event) -> None:
        """Keep an event for the time when the job runs again."""
        waiters, evidence = _waiters(event)
        at = self._services.clock()
        if waiters:
            reason = "the job is paused or in quarantine"
            await self._services.escrows.write(
                [
                    Escrow(JOB, waiter, waiter, "JobNotRunning", reason, created_at=at, evidence=evidence)
                    for waiter in dict.fromkeys(waiters)
                ]
            )
        elif not isinstance(event, (ChainAdvance, ChainPoke, WalkDue)):
            await self._services.queues.send(event, delay=_PARKED_DELAY)

    async def release(self) -> int:
        """Queue whatever was parked; returns how many waiters that were. May be repeated."""
        services = self._services
        released = 0
        while parked := await services.escrows.parked(limit=_PAGE):
            await services.waiting.release(parked)
            await services.escrows.remove_as_read(parked)
            released += len(parked)
            if len(parked) < _PAGE:
                break
        if released:
            log.info("%d objects and memberships that were parked are looked at now", released)
        return released


def _waiters(event: Event) -> tuple[list[str], str]:
    """Who is to be looked at again, and on what evidence."""
    match event:
        case ObjectsChanged(kind=kind, ids=ids, gone=gone, reason=reason):
            return [f"{kind}:{object_id}" for object_id in ids], "gone" if gone else "absent" if reason == "absent" else ""
        case PairsDue(pairs=pairs):
            return [f"pair:{group}:{user}" for group, user in pairs], ""
        case GroupMembersDue(group_id=group_id):
            return [f"members:{group_id}"], ""
        case UserMembershipsDue(user_id=user_id):
            return [f"memberOf:{user_id}"], ""
        case _:
            return [], ""
