"""The webhook: POSTs of many notifications, several at a time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import httpx

from sandbox.bench.ends import BenchError
from sandbox.bench.table import Row, Section, percentile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.bench.stage import Stage

_AT_ONCE = 4
_PATIENCE = 600.0
_ACCEPTED = 202


async def webhook(stage: Stage, *, posts: int, notifications: int) -> Section:
    """POST notifications about everybody, with the real subscription and the right secret."""
    held = (await stage.source.graph("GET", "/subscriptions"))["value"]
    subscription = next((item for item in held if item["resource"].strip("/") == "users"), None)
    if subscription is None:
        raise BenchError(f"the app has no subscription on users: {[item['resource'] for item in held]}")
    ids = [person["id"] for person in await stage.source.users("id")]
    bodies = [_body(stage.client_state, subscription, ids, start, notifications) for start in range(posts)]
    stage.begin_phase()
    await stage.target.forget_requests()
    async with httpx.AsyncClient(timeout=60.0) as client:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def post(body: dict[str, Any]) -> float:
            async with slots:
                started = time.monotonic()
                answer = await client.post(subscription["notificationUrl"], json=body)
                if answer.status_code != _ACCEPTED:
                    raise BenchError(f"notifications were answered with {answer.status_code}")
                return time.monotonic() - started

        began = time.monotonic()
        answers = await asyncio.gather(*(post(body) for body in bodies))
        seconds = time.monotonic() - began
    await stage.quiet(_PATIENCE)
    worked_off = time.monotonic() - began
    counts = await stage.target.requests()
    number = posts * notifications
    rows = (
        Row("notifications accepted a second", f"{number / seconds:,.0f}"),
        Row("slowest answer", f"{max(answers):.2f} s", "", "", "< 3 s"),
        Row("median answer", f"{percentile(answers, 0.5):.2f} s"),
        Row("all worked off after", f"{worked_off:.1f} s"),
        Row("ServiceNow requests (nobody had changed)", f"{counts['http_total']:,}", "", "", "0"),
        Row("peak memory of the host", stage.peak_memory),
    )
    notes = (f"{_AT_ONCE} POSTs at a time, about {len(ids):,} users, while the queues are worked off.",)
    return Section(f"Webhook, {posts:,} POSTs of {notifications:,} notifications", rows, notes)


def _body(state: str, subscription: dict[str, Any], ids: Sequence[str], start: int, size: int) -> dict[str, Any]:
    """A collection of notifications as Graph sends it."""
    return {
        "value": [
            {
                "changeType": "updated",
                "clientState": state,
                "resource": f"Users/{object_id}",
                "resourceData": {"@odata.type": "#Microsoft.Graph.User", "@odata.id": f"Users/{object_id}", "id": object_id},
                "subscriptionExpirationDateTime": subscription["expirationDateTime"],
                "subscriptionId": subscription["id"],
                "tenantId": "aaaaaaaa-0000-4000-8000-00000000000a",
            }
            for object_id in (ids[(start * size + offset) % len(ids)] for offset in range(size))
        ]
    }
