"""What waits: seen, released, parked while the job does not run, and given up aloud."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from shared.errors import TerminalError
from shared.provisioning import escrowed
from shared.provisioning.requests import BadRequest, Unknown
from shared.state.escrows import RETRY, Escrow
from tests.support.people import hire, memberships, record_of
from tests.support.world import world

if TYPE_CHECKING:
    from typing import Any

    from tests.support.world import World


async def waiting(here: World) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await escrowed.page(here.services, top="", token=""))["value"]
    return rows


async def test_a_wait_says_who_waits_for_what_and_is_released_by_hand(storage: str) -> None:
    async with world(storage) as here:
        ann = hire(here, "ann", department="Astronomy")
        await here.cycle()
        (row,) = await waiting(here)
        assert (row["objectId"], row["objectTypeName"], row["waitsFor"]) == (ann, "User", "record")
        assert (row["table"], row["awaited"]) == ("cmn_department", "Astronomy")
        assert row["recommendedAction"]

        made = here.insert("cmn_department", name="Astronomy")
        here.clock.advance(660)  # past the time for which "not there" is believed
        await escrowed.retry(here.services, row["id"])
        await here.pump()
        assert record_of(here, "ann")["department"] == made
        assert await waiting(here) == []


@pytest.mark.parametrize("escrow_id", ["", "nobody", "' or 1 eq 1", "cmV0cnkvJyBvciAxIGVxIDE", "AAAA", "é" * 300])
async def test_an_id_that_nobody_gave_is_unknown(storage: str, escrow_id: str) -> None:
    async with world(storage) as here:
        with pytest.raises(Unknown):
            await escrowed.retry(here.services, escrow_id)


async def test_pages_follow_each_other(storage: str) -> None:
    async with world(storage) as here:
        await here.services.escrows.write([Escrow(RETRY, f"user:{number}", f"user:{number}") for number in range(5)])
        first = await escrowed.page(here.services, top="3", token="")
        token = first["@odata.nextLink"].partition("$skiptoken=")[2]
        second = await escrowed.page(here.services, top="3", token=token)
        assert len({row["id"] for row in (*first["value"], *second["value"])}) == 5
        with pytest.raises(BadRequest):
            await escrowed.page(here.services, top="999999", token="")


async def test_what_failed_for_28_days_is_given_up_aloud(storage: str) -> None:
    async with world(storage) as here:
        await here.services.waiting.retry_later("user:u1", TerminalError("a data policy refused it", code="InsufficientRights"))
        here.clock.advance(timedelta(days=29).total_seconds())
        await here.services.waiting.tick()
        assert await waiting(here) == []
        assert await here.ended("u1") == ("failure", "InsufficientRights")
        assert "28 days" in (await here.log_of("u1"))[0]["provisioningSteps"][0]["description"]


async def test_a_paused_job_parks_what_arrives_and_start_makes_up_for_it(storage: str) -> None:
    async with world(storage) as here:
        ann, ben = hire(here, "ann"), hire(here, "ben")
        team = here.tenant.tenant.create_group("Team", members=[ann])
        await here.cycle()
        await here.services.operations.pause()
        written = here.requests()

        here.tenant.tenant.update(ann, {"jobTitle": "Lead"})
        here.tenant.tenant.delete(ben)
        here.tenant.tenant.purge(ben)
        here.tenant.tenant.add_members(team, [hire(here, "cleo")])
        for reason, ids, gone in (("notification", (ann,), False), ("delta", (ben,), True), ("delta", (ben,), False)):
            event = _changed(here, reason, ids, gone=gone)
            await here.services.queues.send(event)
        await here.pump()
        await here.cycle()
        assert here.requests() == written
        assert (await here.services.operations.job())["status"]["code"] == "Paused"
        assert {row["waitsFor"] for row in await waiting(here)} == {"job"}
        assert await here.held.visible(("user-events", "group-events", "cycle-events")) == 0

        await here.services.operations.start()
        await here.pump()
        assert record_of(here, "ann")["title"] == "Lead"
        assert here.user("ben@contoso.com") is None  # the word that he is gone was not forgotten
        assert memberships(here, "Team") == ["ann@contoso.com", "cleo@contoso.com"]
        assert await waiting(here) == []


async def test_a_pause_in_the_middle_of_a_full_round_loses_nothing_of_it(storage: str) -> None:
    async with world(storage) as here:
        names = [f"p{number}" for number in range(12)]
        people = [hire(here, name) for name in names]
        here.tenant.tenant.create_group("Team", members=people)
        await here.services.operations.tick()
        await here.pump(until=lambda: bool(here.rows("sys_user")))
        await here.services.operations.pause()
        here.clock.advance(7200)
        await here.pump()
        await here.services.operations.start()
        await here.later(70)
        await here.later(70)
        assert all(record_of(here, name)["active"] == "true" for name in names)
        assert len(memberships(here, "Team")) == 12
        marks = [await here.services.watermarks.get("users"), await here.services.watermarks.get("groups")]
        assert all(mark.phase == "idle" and mark.complete for mark in marks)


def _changed(here: World, reason: Any, ids: tuple[str, ...], *, gone: bool) -> Any:
    from shared.events import ObjectsChanged

    return ObjectsChanged(kind="user", ids=ids, reason=reason, occurred_at=here.clock(), gone=gone)
