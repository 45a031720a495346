"""Webhooks: from Graph's POST to as few queue messages as possible.

A notification is a hint with an id; nothing else of it is believed. An item counts only if it carries the secret
(``clientState``, compared in constant time) and names a subscription that the app holds. Everything else is counted and
dropped: answering differently would tell a forger what was wrong.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.events import ChainPoke, Event, ObjectsChanged, SubscriptionsDue, chunks
from shared.graph.notifications import (
    ChangeNotification,
    LifecycleNotification,
    MalformedNotification,
    client_state_matches,
    parse_notifications,
)

if TYPE_CHECKING:
    from datetime import datetime

    from shared.provisioning.services import Services
    from shared.state.job import Job

log = logging.getLogger("provisioning.intake")

#: How long the list of held subscriptions is believed before an unknown id makes us read it again, in seconds.
_FRESH = 5.0


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a POST amounted to. ``malformed`` is set when the body is no collection of notifications at all."""

    accepted: int = 0
    rejected: int = 0
    queued: int = 0
    malformed: str = ""


class Intake:
    """Check notifications and queue what they hint at."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._known: frozenset[str] = frozenset()
        self._known_at: datetime | None = None

    async def receive(self, body: bytes) -> Accepted:
        """Queue the changes and lifecycle events of one POST. Raises ``UnavailableError`` when nothing could be queued."""
        try:
            parsed = parse_notifications(body)
        except MalformedNotification as error:
            await self._count_rejected(1)
            log.warning("a POST to the webhook was refused: %s", error)
            return Accepted(rejected=1, malformed=str(error))
        genuine = [item for item in parsed.items if client_state_matches(item.client_state, self._secrets)]
        known = await self._subscriptions({item.subscription_id for item in genuine})
        genuine = [item for item in genuine if item.subscription_id in known]
        rejected = len(parsed.items) - len(genuine) + len(parsed.rejected)
        if rejected:
            await self._count_rejected(rejected)
            log.warning("%d of %d notifications were foreign or malformed and were dropped", rejected, rejected + len(genuine))
        events = self._events(genuine)
        await self._services.queues.send_all(events)
        return Accepted(len(genuine), rejected, len(events))

    @property
    def _secrets(self) -> tuple[str, ...]:
        return self._services.settings.notifications.client_states

    def _events(self, items: list[ChangeNotification | LifecycleNotification]) -> list[Event]:
        at = self._services.clock()
        updated: dict[str, None] = {}
        deleted: dict[str, None] = {}
        deleted_groups: dict[str, None] = {}
        chains: set[str] = set()
        renew = False
        for item in items:
            if isinstance(item, LifecycleNotification):
                # Whatever the event, what was not delivered meanwhile is in the delta.
                chains |= {"users", "groups"}
                renew = renew or item.event in {"reauthorizationRequired", "subscriptionRemoved"}
            elif item.kind == "group":
                # One delta page costs less than reading the members of a group again.
                chains.add("groups")
                if item.change_type == "deleted":
                    deleted_groups[item.object_id] = None
            else:
                (deleted if item.change_type == "deleted" else updated)[item.object_id] = None
        events: list[Event] = []
        for ids, gone in ((updated, False), (deleted, True)):
            events += [
                ObjectsChanged(kind="user", ids=tuple(part), reason="notification", occurred_at=at, gone=gone)
                for part in chunks(list(ids))
            ]
        events += [
            ObjectsChanged(kind="group", ids=tuple(part), reason="notification", occurred_at=at, gone=True)
            for part in chunks(list(deleted_groups))
        ]
        if "users" in chains:
            events.append(ChainPoke(chain="users"))
        if "groups" in chains:
            events.append(ChainPoke(chain="groups", repeat=True))
        if renew:
            events.append(SubscriptionsDue())
        return events

    async def _subscriptions(self, wanted: set[str]) -> frozenset[str]:
        """The ids of the subscriptions that the app holds; read again when one is asked for that is not among them."""
        at = self._services.clock()
        fresh = self._known_at is not None and at - self._known_at < timedelta(seconds=_FRESH)
        if wanted and not (wanted <= self._known and fresh):
            self._known = frozenset(held.id for held in await self._services.held_subscriptions.all())
            self._known_at = at
        return self._known

    async def _count_rejected(self, number: int) -> None:
        def add(job: Job) -> Job:
            return replace(job, rejected_notifications=job.rejected_notifications + number)

        await self._services.jobs.change(add)
