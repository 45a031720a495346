"""From Graph's POST to as few queue messages as possible, and none for what is not Graph's."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shared.events import CHUNK, QUEUES, now
from shared.state.subscriptions import HeldSubscription
from tests.support.world import World, world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STATE, PREVIOUS = "a-secret-of-the-tests", "the-secret-before"
USERS, GROUPS = str(uuid.uuid4()), str(uuid.uuid4())


@pytest.fixture
async def here(storage: str) -> AsyncIterator[World]:
    async with world(
        storage,
        NOTIFICATION_URL="http://127.0.0.1:9",
        NOTIFICATION_CLIENT_STATE=STATE,
        NOTIFICATION_CLIENT_STATE_PREVIOUS=PREVIOUS,
    ) as made:
        until = now() + timedelta(days=20)
        for resource, identifier in (("users", USERS), ("groups", GROUPS)):
            await made.services.held_subscriptions.write(HeldSubscription(resource, identifier, "url", "hash", until))
        yield made


def item(object_id: str = "", *, kind: str = "Users", subscription: str = USERS, **changes: Any) -> dict[str, Any]:
    resource = f"{kind}/{object_id or uuid.uuid4()}"
    return {"subscriptionId": subscription, "clientState": STATE, "changeType": "updated", "resource": resource, **changes}


def group(**changes: Any) -> dict[str, Any]:
    return item(kind="Groups", subscription=GROUPS, **changes)


async def receive(here: World, *items: Any) -> tuple[int, int, int]:
    """Accepted, rejected and queued."""
    accepted = await here.services.intake.receive(json.dumps({"value": items}).encode())
    return accepted.accepted, accepted.rejected, accepted.queued


async def queued(here: World) -> dict[str, int]:
    return await here.services.queues.lengths(QUEUES)


async def test_a_thousand_people_are_ten_messages(here: World) -> None:
    assert await receive(here, *(item() for _ in range(10 * CHUNK))) == (1000, 0, 10)
    assert await queued(here) == {"user-events": 10, "group-events": 0, "cycle-events": 0}


async def test_the_same_person_a_thousand_times_is_one_message(here: World) -> None:
    person = str(uuid.uuid4())
    assert await receive(here, *[item(person)] * 1000) == (1000, 0, 1)


async def test_any_number_of_groups_is_one_look_at_the_groups_delta(here: World) -> None:
    assert await receive(here, *(group() for _ in range(300))) == (300, 0, 1)
    assert (await queued(here))["cycle-events"] == 1


async def test_a_deleted_group_is_named_beside_the_delta_because_that_is_the_evidence(here: World) -> None:
    assert await receive(here, group(changeType="deleted"), group()) == (2, 0, 2)
    assert await queued(here) == {"user-events": 0, "group-events": 1, "cycle-events": 1}


async def test_a_lifecycle_event_pokes_both_chains_and_renews_what_must_be(here: World) -> None:
    assert await receive(here, item(lifecycleEvent="missed")) == (1, 0, 2)
    assert await receive(here, item(lifecycleEvent="reauthorizationRequired"), item(lifecycleEvent="missed")) == (2, 0, 3)


async def test_both_secrets_count_while_one_rotates_and_no_other_does(here: World) -> None:
    assert await receive(here, item(clientState=PREVIOUS), item()) == (2, 0, 1)
    assert await receive(here, item(clientState="other"), item(clientState=None), item(subscription=str(uuid.uuid4()))) == (
        0,
        3,
        0,
    )
    assert (await here.services.jobs.get(fresh=True)).rejected_notifications == 3


async def test_a_body_that_is_no_collection_is_malformed_and_counted(here: World) -> None:
    accepted = await here.services.intake.receive(b"[]")
    assert accepted.malformed
    assert accepted.queued == 0
    assert (await here.services.jobs.get(fresh=True)).rejected_notifications == 1


async def test_a_subscription_made_by_another_worker_is_known_at_once(here: World) -> None:
    assert await receive(here, item()) == (1, 0, 1)
    fresh = str(uuid.uuid4())
    await here.services.held_subscriptions.write(HeldSubscription("users", fresh, "url", "hash", now()))
    assert await receive(here, item(subscription=fresh)) == (1, 0, 1)
