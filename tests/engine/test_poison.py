"""Dead messages: moved with their reason, without people, replayed or dropped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from shared.events import MembersChanged, ObjectsChanged, ObjectsSnapshot, encode, now
from shared.provisioning.requests import BadRequest, Unknown
from tests.support.people import hire, record_of
from tests.support.world import world

if TYPE_CHECKING:
    from typing import Any

    from shared.events import Event
    from tests.support.world import World


async def dead(here: World) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await here.services.dead_messages.page(top="", token=""))["value"]
    return rows


async def fail(here: World, event: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every try of an event fail with a defect of ours, and bury it as the host would."""

    async def defect(_: Event) -> None:
        raise KeyError("ann@contoso.com")

    with monkeypatch.context() as broken:
        broken.setattr(here.services.dispatcher, "process", defect)
        with pytest.raises(KeyError):
            await here.services.dispatcher.handle("user-events", encode(event))
    await here.services.dead_messages.bury("user-events", encode(event))


async def test_a_dead_snapshot_keeps_ids_and_a_reason_but_no_person_and_is_replayed(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(storage) as here:
        ann = hire(here, "ann")
        item = {"id": ann, "userPrincipalName": "ann@contoso.com", "displayName": "Ann Secret"}
        event = ObjectsSnapshot(kind="user", generation=1, page=0, chunk=0, cycle_id="c", read_at=now(), items=(item,))
        await fail(here, event, monkeypatch)
        await here.services.dead_messages.bury("user-events", encode(event))  # delivered twice

        (message,) = await dead(here)
        assert message["event"] == "ObjectsSnapshot"
        assert message["reason"].startswith("KeyError at test_poison.py:")
        assert (message["objects"], message["canBeReplayed"], message["queue"]) == (1, True, "user-events")
        stored = json.dumps([dict(row) for row in await here.services.tables.query("poison")], default=str)
        assert "ann@contoso.com" not in stored
        assert "Ann Secret" not in stored
        assert ann in stored
        assert await here.ended(ann) == ("failure", "InternalError")

        assert await here.services.dead_messages.replay([message["id"]]) == 1
        await here.pump()
        assert record_of(here, "ann")["active"] == "true"
        assert await dead(here) == []


async def test_what_is_no_event_is_listed_by_its_size_and_can_only_be_dropped(storage: str) -> None:
    async with world(storage) as here:
        await here.services.dead_messages.bury("group-events", '{"displayName": "Ann Secret"}')
        (message,) = await dead(here)
        assert (message["event"], message["canBeReplayed"], message["bytes"]) == (None, False, 29)
        assert await here.services.dead_messages.replay(None) == 0
        assert len(await dead(here)) == 1
        assert await here.services.dead_messages.drop(None) == 1
        assert await dead(here) == []


async def test_a_drop_is_in_the_log(storage: str) -> None:
    async with world(storage) as here:
        event = ObjectsChanged(kind="user", ids=("u1", "u2"), reason="delta", occurred_at=now())
        await here.services.dead_messages.bury("user-events", encode(event))
        (message,) = await dead(here)
        await here.services.dead_messages.drop([message["id"]], by="eve@contoso.com")
        for object_id in ("u1", "u2"):
            entries = await here.log_of(object_id)
            assert entries[0]["provisioningStatusInfo"]["errorInformation"]["errorCode"] == "DroppedByOperator"
            assert entries[0]["initiatedBy"]["displayName"] == "eve@contoso.com"


async def test_a_message_of_a_newer_version_goes_back_to_its_queue(storage: str) -> None:
    async with world(storage) as here:
        await here.services.dead_messages.bury("user-events", '{"v": 99, "kind": "whatNow"}')
        assert await dead(here) == []
        assert [message.queue for message in here.held.held] == ["user-events"]


async def test_slices_of_members_are_kept_whole_and_pages_follow_each_other(storage: str) -> None:
    async with world(storage) as here:
        for number in range(5):
            members = tuple(f"user-{number}-{member}" for member in range(90))
            event = MembersChanged(
                group_id=f"g{number}",
                generation=1,
                page=0,
                chunk=0,
                cycle_id="c",
                read_at=now(),
                added=members,
                removed=(),
            )
            await here.services.dead_messages.bury("group-events", encode(event))
        first = await here.services.dead_messages.page(top="3", token="")
        token = first["@odata.nextLink"].partition("$skiptoken=")[2]
        second = await here.services.dead_messages.page(top="3", token=token)
        assert len({row["id"] for row in (*first["value"], *second["value"])}) == 5
        assert "@odata.nextLink" not in second


@pytest.mark.parametrize("message_id", ["nobody", "' or 1 eq 1 or RowKey eq '", "a/b\\c?d#e\x00"])
async def test_an_id_that_nobody_gave_is_unknown(storage: str, message_id: str) -> None:
    async with world(storage) as here:
        with pytest.raises(Unknown):
            await here.services.dead_messages.replay([message_id])


async def test_a_token_that_nobody_gave_is_refused(storage: str) -> None:
    async with world(storage) as here:
        with pytest.raises(BadRequest):
            await here.services.dead_messages.page(top="", token="AAAA")
        with pytest.raises(BadRequest):
            await here.services.dead_messages.page(top="0", token="")
