"""Keep the two subscriptions at Graph: create, renew, recreate.

A subscription is recreated when it is gone, when it leads to another URL (the lifecycle URL cannot be changed), or when the
secret was changed. The old one is removed only after the new one stands, so that no notification falls between; both are
accepted meanwhile, because the previous secret is. After every creation an incremental cycle follows: what happened before
the subscription stood is in the delta. A worker that died between making one and noting it leaves a stray; it is removed.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.errors import NotFoundError, ProvisioningError, RetryableError
from shared.events import ChainPoke
from shared.graph.subscriptions import (
    Subscription,
    create_subscription,
    delete_subscription,
    list_subscriptions,
    renew_subscription,
)
from shared.state.subscriptions import HeldSubscription

if TYPE_CHECKING:
    from shared.events import Chain, Kind
    from shared.provisioning.services import Services

log = logging.getLogger("provisioning.subscriptions")

_RESOURCES: tuple[tuple[str, Kind, Chain], ...] = (("users", "user", "users"), ("groups", "group", "groups"))
#: Renewed when less than this is left of the 29 days: weeks of failures fit in before one is lost.
_RENEW_BEFORE = timedelta(days=21)
#: Longer than making two subscriptions takes, with their validations, in seconds.
_TURN_SECONDS = 120.0


class Subscribing:
    """Make what Graph holds equal to what the settings want."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @property
    def urls(self) -> tuple[str, str]:
        base = self._services.settings.notifications.url
        return f"{base}/api/notifications", f"{base}/api/lifecycle"

    async def ensure(self, *, renew: bool = False, ask: bool = False) -> None:
        """Create, renew or recreate what needs it; ``renew`` extends all (Graph asked for reauthorization).

        ``ask`` looks at Graph's own list even if all seems well: a subscription that expired is gone without a word.
        A failure of one resource does not stop the other; it is kept with the resource for the operator to see.
        """
        notifications = self._services.settings.notifications
        if not notifications.url:
            return
        held = {row.resource: row for row in await self._services.held_subscriptions.all()}
        if all(self._is_good(held.get(resource)) for resource, _, _ in _RESOURCES) and not (renew or ask):
            return
        store = self._services.held_subscriptions
        if not await store.take_turn(self._services.clock(), _TURN_SECONDS):
            return  # another worker is at it
        try:
            await self._ensure_all({row.resource: row for row in await store.all()}, renew=renew)
        finally:
            await store.end_turn()

    async def _ensure_all(self, held: dict[str, HeldSubscription], *, renew: bool) -> None:
        present = {row.id: row for row in await list_subscriptions(self._services.graph)}
        for resource, kind, chain in _RESOURCES:
            try:
                await self._ensure_one(resource, kind, chain, held.get(resource), present, renew=renew)
            except RetryableError:
                raise
            except ProvisioningError as error:
                log.exception("the subscription on /%s could not be made or renewed: %s", resource, error.reason)
                known = held.get(resource) or HeldSubscription(resource, "", "", "", None)
                await self._services.held_subscriptions.write(replace(known, error=error.reason))
        await self._remove_strays(present)

    async def _remove_strays(self, present: dict[str, Subscription]) -> None:
        """Remove what leads here and is not noted: a worker died right after making it, and nobody would renew or hear it."""
        for stray in present.values():
            if stray.kind is not None and stray.serves(*self.urls):
                await delete_subscription(self._services.graph, stray.id)
                log.info("a subscription on /%ss that nobody had noted is removed", stray.kind)

    def _is_good(self, held: HeldSubscription | None) -> bool:
        if held is None or not held.id or held.expires_at is None or held.error:
            return False
        wanted = held.url == self.urls[0] and held.state_hash == self._state_hash
        return wanted and held.expires_at - self._services.clock() > _RENEW_BEFORE

    @property
    def _state_hash(self) -> str:
        return hashlib.sha256(self._services.settings.notifications.client_states[0].encode()).hexdigest()[:32]

    async def _ensure_one(
        self,
        resource: str,
        kind: Kind,
        chain: Chain,
        held: HeldSubscription | None,
        present: dict[str, Subscription],
        *,
        renew: bool,
    ) -> None:
        """``present`` is what Graph holds now, by id: a subscription that expired is missing there without a word.

        The one that is noted is taken out of it.
        """
        services = self._services
        url, lifecycle_url = self.urls
        current = present.pop(held.id, None) if held is not None else None
        if (
            held is not None
            and current is not None
            and held.state_hash == self._state_hash
            and current.serves(url, lifecycle_url)
        ):
            if renew or current.expires_at - services.clock() <= _RENEW_BEFORE or held.error:
                try:
                    current = await renew_subscription(services.graph, held.id)
                except NotFoundError:
                    await self._create(resource, kind, chain, former=None)
                    return
                log.info("the subscription on /%s is renewed until %s", resource, current.expires_at)
            await services.held_subscriptions.write(replace(held, expires_at=current.expires_at, error=""))
            return
        await self._create(resource, kind, chain, former=held if current is not None else None)

    async def _create(self, resource: str, kind: Kind, chain: Chain, former: HeldSubscription | None) -> None:
        services = self._services
        url, lifecycle_url = self.urls
        created = await create_subscription(
            services.graph,
            kind,
            notification_url=url,
            lifecycle_url=lifecycle_url,
            client_state=services.settings.notifications.client_states[0],
        )
        await services.held_subscriptions.write(
            HeldSubscription(resource, created.id, url, self._state_hash, created.expires_at, "")
        )
        log.info("subscribed to /%s until %s", resource, created.expires_at)
        await services.queues.send(ChainPoke(chain=chain))
        if former is not None:
            await delete_subscription(services.graph, former.id)
