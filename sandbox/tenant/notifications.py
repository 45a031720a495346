"""Change notifications: what is told to whom, when, and how often it is tried again.

Source: "Receive change notifications through webhooks", Microsoft Graph docs. A change is told after a delay; everything due
for one endpoint goes out together, mixed over subscriptions.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from sandbox.tenant.objects import Change, Kind, timestamp

if TYPE_CHECKING:
    from sandbox.tenant.config import DeliveryRules
    from sandbox.tenant.directory import Tenant
    from sandbox.tenant.subscriptions import Subscription, Subscriptions

_WATCH_SECONDS = 1.0
_KEPT_FOR_REPLAY = 1000
_TICKS_AT_1970 = 621_355_968_000_000_000
_TICKS_PER_SECOND = 10_000_000
_COLLECTIONS = {Kind.USER: "Users", Kind.GROUP: "Groups"}


@dataclass(frozen=True, slots=True)
class Delivered:
    """One POST of notifications that an endpoint has answered, or has not (status 0)."""

    url: str
    items: tuple[dict[str, Any], ...]
    status: int


class _Endpoint:
    """How one endpoint has answered in the last minutes."""

    def __init__(self, rules: DeliveryRules) -> None:
        self._rules = rules
        self._answers: deque[tuple[float, bool]] = deque()

    def answered(self, now: float, seconds: float) -> None:
        self._answers.append((now, seconds > self._rules.slow_answer))

    def slow_share(self, now: float) -> float:
        """Share of slow answers in the window; 0 while there are too few to judge."""
        while self._answers and self._answers[0][0] < now - self._rules.window:
            self._answers.popleft()
        if len(self._answers) < self._rules.minimum_answers:
            return 0.0
        return sum(slow for _, slow in self._answers) / len(self._answers)


class Notifier:
    """Turns changes and lifecycle events into POSTs. ``run`` must be running for anything to be sent."""

    def __init__(self, tenant: Tenant, subscriptions: Subscriptions, session: aiohttp.ClientSession) -> None:
        self._tenant = tenant
        self._subscriptions = subscriptions
        self._session = session
        self._rules = tenant.config.delivery
        self._due: list[tuple[float, int, str, dict[str, Any]]] = []
        self._numbers = itertools.count()
        self._sequence = 0
        self._wake = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()
        self._endpoints: dict[str, _Endpoint] = defaultdict(lambda: _Endpoint(self._rules))
        self.counts: Counter[str] = Counter()
        self.delivered: deque[Delivered] = deque(maxlen=_KEPT_FOR_REPLAY)
        tenant.listeners.append(self._on_change)
        subscriptions.on_lifecycle.append(self._on_lifecycle)

    @property
    def pending(self) -> int:
        """Notifications and POSTs that are not through yet."""
        return len(self._due) + len(self._sending)

    async def run(self) -> None:
        """Send what is due until cancelled, and remind of subscriptions that are about to end."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._subscriptions.remind()
                self._send_due(loop.time())
                wait = min(_WATCH_SECONDS, self._due[0][0] - loop.time()) if self._due else _WATCH_SECONDS
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), max(0.0, wait))
        finally:
            for task in self._sending:
                task.cancel()
            await asyncio.gather(*self._sending, return_exceptions=True)

    async def post(self, url: str, items: list[dict[str, Any]]) -> int:
        """POST a collection of notifications once; the HTTP status of the answer, or 0 if there was none in time."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with self._session.post(
                URL(url, encoded=True),
                json={"value": items},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._rules.timeout),
            ) as response:
                await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError):
            status = 0
        self._endpoints[url].answered(loop.time(), loop.time() - started)
        self.delivered.append(Delivered(url, tuple(items), status))
        return status

    def item(self, held: Subscription, kind: Kind, object_id: str, change_type: str) -> dict[str, Any]:
        """A notification as it is seen on the wire: capital collection names, a sequence number above 2^53."""
        now = self._tenant.clock()
        self._sequence = max(self._sequence + 1, _TICKS_AT_1970 + int(now * _TICKS_PER_SECOND))
        resource = f"{_COLLECTIONS[kind]}/{object_id}"
        return {
            "changeType": change_type,
            "clientState": held.client_state,
            "resource": resource,
            "resourceData": {
                "@odata.type": f"#Microsoft.Graph.{kind.value.title()}",
                "@odata.id": resource,
                "id": object_id,
                "organizationId": self._tenant.config.tenant_id,
                "eventTime": timestamp(now, digits=7),
                "sequenceNumber": self._sequence,
            },
            "subscriptionExpirationDateTime": timestamp(held.expires).replace("Z", "+00:00"),
            "subscriptionId": held.id,
            "tenantId": self._tenant.config.tenant_id,
        }

    def _on_change(self, change: Change) -> None:
        if change.subject.kind not in _COLLECTIONS:
            return
        for held in self._subscriptions.live():
            change_type = held.wants(change)
            if change_type is None:
                continue
            if self._subscriptions.paused(held):
                self.counts["paused"] += 1
                continue
            item = self.item(held, change.subject.kind, change.subject.id, change_type)
            if change.members:
                item["resourceData"]["members@delta"] = [
                    {"id": member} if joined else {"id": member, "@removed": "deleted"} for member, joined, _ in change.members
                ]
            self._submit(held.notification_url, item)

    def _on_lifecycle(self, held: Subscription, event: str) -> None:
        if held.lifecycle_url is None:
            return
        item = {
            "subscriptionId": held.id,
            "subscriptionExpirationDateTime": timestamp(held.expires, digits=7),
            "tenantId": self._tenant.config.tenant_id,
            "clientState": held.client_state,
            "lifecycleEvent": event,
        }
        self._push(held.lifecycle_url, item, 0.0)

    def _submit(self, url: str, item: dict[str, Any]) -> None:
        """Queue a notification as the endpoint's record and the switches want it."""
        faults, rng = self._tenant.faults, self._tenant.rng
        delay = rng.uniform(*faults.notification_delay)
        slow = self._endpoints[url].slow_share(asyncio.get_running_loop().time())
        if slow > self._rules.drop_share:
            self.counts["dropped"] += 1
            return
        if slow > self._rules.slow_share:
            self.counts["slowed"] += 1
            delay += self._rules.slow_delay
        if rng.random() < faults.lost_notifications:
            self.counts["lost"] += 1
            return
        if rng.random() < faults.reordered_notifications:
            delay += rng.uniform(0, 5 * max(0.1, faults.notification_delay[1]))
        self._push(url, item, delay)
        if rng.random() < faults.duplicate_notifications:
            self.counts["duplicated"] += 1
            self._push(url, item, delay + rng.uniform(0, max(0.1, delay)))

    def _push(self, url: str, item: dict[str, Any], delay: float) -> None:
        heapq.heappush(self._due, (asyncio.get_running_loop().time() + delay, next(self._numbers), url, item))
        self._wake.set()

    def _send_due(self, now: float) -> None:
        """Start a POST for every full or partial batch of what is due."""
        together: dict[str, list[dict[str, Any]]] = defaultdict(list)
        while self._due and self._due[0][0] <= now:
            _, _, url, item = heapq.heappop(self._due)
            together[url].append(item)
        for url, items in together.items():
            for batch in itertools.batched(items, self._tenant.config.notification_batch, strict=False):
                task = asyncio.create_task(self._deliver(url, list(batch)))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)

    async def _deliver(self, url: str, items: list[dict[str, Any]]) -> None:
        """POST until it is answered by any 2xx, at growing intervals, for hours."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._rules.retry_for
        pause = self._rules.first_retry
        while True:
            status = await self.post(url, items)
            if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
                self.counts["delivered"] += len(items)
                return
            self.counts["retried"] += len(items)
            if loop.time() + pause > give_up:
                self.counts["given up"] += len(items)
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._rules.longest_retry)
