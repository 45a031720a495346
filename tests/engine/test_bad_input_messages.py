"""Notifications and queue messages from strangers, from the past, from the future, and of garbage."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from shared.events import USER_EVENTS, MalformedEvent, ObjectsChanged, encode, now
from shared.state.subscriptions import HeldSubscription
from tests.support.people import hire, memberships, record_of
from tests.support.world import STATE, World, world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SUBSCRIPTION = "7f105c7d-2dc5-4530-97cd-4e7ae6534c07"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(storage: str) -> AsyncIterator[World]:
    async with world(storage, NOTIFICATION_CLIENT_STATE=STATE, NOTIFICATION_CLIENT_STATE_PREVIOUS="the-one-before") as made:
        await made.services.held_subscriptions.write(HeldSubscription("users", _SUBSCRIPTION, "", "", None))
        await made.cycle()
        yield made


def _notification(object_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "changeType": "updated",
        "clientState": STATE,
        "resource": f"Users/{object_id}",
        "resourceData": {"@odata.type": "#Microsoft.Graph.User", "@odata.id": f"Users/{object_id}", "id": object_id},
        "subscriptionExpirationDateTime": "2030-01-01T00:00:00+00:00",
        "subscriptionId": _SUBSCRIPTION,
        "tenantId": "aaaaaaaa-0000-4000-8000-00000000000a",
        **changes,
    }


def _post(*items: Any) -> bytes:
    return json.dumps({"value": list(items)}).encode()


async def _rejected(here: World) -> int:
    return (await here.services.jobs.get(fresh=True)).rejected_notifications


async def test_a_notification_brings_the_change_without_a_cycle(here: World) -> None:
    ann = hire(here, "ann.noted", jobTitle="one")
    accepted = await here.services.intake.receive(_post(_notification(ann)))
    assert (accepted.accepted, accepted.rejected, accepted.queued) == (1, 0, 1)
    await here.pump()
    assert record_of(here, "ann.noted")["title"] == "one"


async def test_the_secret_before_the_present_one_still_counts(here: World) -> None:
    ann = hire(here, "ann.rotated")
    accepted = await here.services.intake.receive(_post(_notification(ann, clientState="the-one-before")))
    assert accepted.accepted == 1
    await here.pump()
    assert record_of(here, "ann.rotated")["active"] == "true"


@pytest.mark.parametrize(
    "changes",
    [
        {"clientState": "forged"},
        {"clientState": None},
        {"clientState": STATE + "x"},
        {"subscriptionId": "00000000-0000-4000-8000-000000000000"},
        {"resource": "Users", "resourceData": {"id": "../../admin"}},
        {"resourceData": None, "resource": 7},
        {"changeType": "sabotage"},
    ],
)
async def test_a_forged_or_malformed_notification_changes_nothing_and_is_counted(here: World, changes: dict[str, Any]) -> None:
    counted, sent = await _rejected(here), here.held.sent.total()
    accepted = await here.services.intake.receive(_post(_notification("0b1f7c7e-1f6e-4b2c-9a53-0c7f4a4e7a11", **changes)))
    assert (accepted.accepted, accepted.rejected, accepted.queued) == (0, 1, 0)
    assert await _rejected(here) == counted + 1
    assert here.held.sent.total() == sent


async def test_good_items_of_a_post_count_beside_bad_ones(here: World) -> None:
    ann = hire(here, "ann.beside")
    accepted = await here.services.intake.receive(_post("text", 7, _notification(ann, clientState="x"), _notification(ann)))
    assert (accepted.accepted, accepted.rejected) == (1, 3)
    await here.pump()
    assert record_of(here, "ann.beside")["active"] == "true"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe garbage",
        b"[]",
        b'{"value": 7}',
        b'{"value": [' * 3000,
        b'{"value": "' + b"x" * 9_000_000 + b'"}',
    ],
    ids=["empty", "not text", "list", "number", "deeply nested", "oversized"],
)
async def test_a_body_that_is_no_collection_is_refused_and_counted(here: World, body: bytes) -> None:
    counted, sent = await _rejected(here), here.held.sent.total()
    accepted = await here.services.intake.receive(body)
    assert accepted.malformed
    assert accepted.queued == 0
    assert await _rejected(here) == counted + 1
    assert here.held.sent.total() == sent


async def test_a_thousand_notifications_are_queued_as_few_messages(here: World) -> None:
    sent = here.held.sent.total()
    items = [_notification(f"0b1f7c7e-1f6e-4b2c-9a53-{number:012x}") for number in range(1000)]
    accepted = await here.services.intake.receive(_post(*items))
    assert accepted.accepted == 1000
    assert here.held.sent.total() - sent <= 10
    await here.pump()


async def test_replayed_notifications_write_nothing(here: World) -> None:
    ann = hire(here, "ann.replay")
    await here.services.intake.receive(_post(_notification(ann)))
    await here.pump()
    start, before = here.instance.instance.commits.last, here.requests()
    await here.services.intake.receive(_post(*[_notification(ann)] * 5))
    await here.services.intake.receive(_post(_notification(ann)))
    await here.pump()
    assert here.instance.instance.commits.last == start
    assert here.requests() == before


async def test_a_forged_deletion_of_somebody_who_is_there_deletes_nobody(here: World) -> None:
    ann = hire(here, "ann.alive")
    await here.cycle()
    await here.services.intake.receive(_post(_notification(ann, changeType="deleted")))
    await here.pump()
    assert record_of(here, "ann.alive")["active"] == "true"


async def test_missed_and_removed_lifecycle_events_start_a_round(here: World) -> None:
    ann = hire(here, "ann.missed")
    here.tenant.tenant.create_group("Missed", members=[ann])
    item = {
        "subscriptionId": _SUBSCRIPTION,
        "subscriptionExpirationDateTime": "2030-01-01T00:00:00Z",
        "tenantId": "aaaaaaaa-0000-4000-8000-00000000000a",
        "clientState": STATE,
        "lifecycleEvent": "missed",
    }
    accepted = await here.services.intake.receive(_post(item))
    assert accepted.accepted == 1
    await here.pump()
    assert record_of(here, "ann.missed")["active"] == "true"
    assert memberships(here, "Missed") == ["ann.missed@contoso.com"]


async def test_a_message_of_a_newer_version_waits_untouched_for_a_newer_worker(here: World) -> None:
    text = '{"v":2,"kind":"somethingNew","id":"1","secret":"kept as it is"}'
    await here.services.dispatcher.handle(USER_EVENTS, text)
    (held,) = [message for message in here.held.held if message.text == text]
    assert held.queue == USER_EVENTS
    assert 30 <= (held.due - here.clock()).total_seconds() <= 300
    here.held.held.remove(held)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pure garbage",
        "[]",
        '{"v":1,"kind":"unknown"}',
        '{"v":1,"kind":"objectsChanged","id":"1"}',
        '{"v":1,"kind":"objectsChanged","objects":"planet","ids":["a"],"reason":"delta","occurred_at":"2026-01-01T00:00:00Z"}',
        '{"v":1,"kind":"objectsSnapshot","id":"1","items":"' + base64.b64encode(b"no zlib").decode() + '"}',
    ],
)
async def test_a_message_of_garbage_goes_back_to_the_host_for_the_poison_queue(here: World, text: str) -> None:
    start = here.instance.instance.commits.last
    with pytest.raises(MalformedEvent):
        await here.services.dispatcher.handle(USER_EVENTS, text)
    assert here.instance.instance.commits.last == start


async def test_an_event_about_somebody_unknown_ends_with_a_reason(here: World) -> None:
    stranger = "0b1f7c7e-1f6e-4b2c-9a53-ffffffffffff"
    event = ObjectsChanged(kind="user", ids=(stranger,), reason="notification", occurred_at=now())
    await here.services.dispatcher.handle(USER_EVENTS, encode(event))
    assert await here.ended(stranger) == ("skipped", "NotFound")


async def test_a_paused_job_writes_nothing_and_makes_up_for_it(here: World) -> None:
    await here.services.operations.pause()
    ann = hire(here, "ann.paused")
    await here.services.intake.receive(_post(_notification(ann)))
    start = here.instance.instance.commits.last
    await here.cycle()
    assert here.instance.instance.commits.last == start
    await here.services.operations.start()
    await asyncio.gather(here.later(120))
    assert record_of(here, "ann.paused")["active"] == "true"
