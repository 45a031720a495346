"""Discovery: linked accounts, those that could be, those that belong to nobody; nothing is changed by looking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shared.events import WalkDue
from shared.provisioning.requests import BadRequest
from tests.support.people import hire
from tests.support.world import World, world

if TYPE_CHECKING:
    from collections.abc import Mapping


async def report(here: World, status: str = "", *, top: str = "100") -> dict[str, dict[str, Any]]:
    """All findings, by user name."""
    found: dict[str, dict[str, Any]] = {}
    token = ""
    while True:
        page = await here.services.discovery.show(status=status, top=top, token=token)
        found |= {row["account"].get("user_name", row["sysId"]): row for row in page["value"]}
        link = page.get("@odata.nextLink")
        if link is None:
            return found
        token = link.partition("$skiptoken=")[2]


async def discover(here: World) -> Mapping[str, int]:
    await here.services.discovery.begin()
    await here.pump()
    mark = await here.services.discovery.mark()
    assert not mark.running
    assert not mark.error
    return mark.counts


async def test_every_account_is_linked_could_be_linked_or_belongs_to_nobody(storage: str) -> None:
    async with world(storage) as here:
        ann = hire(here, "ann")
        await here.cycle()
        bob = hire(here, "bob")
        here.insert("sys_user", user_name="BOB@contoso.com", name="Bob by hand")
        here.insert("sys_user", user_name="orphan@contoso.com", name="Nobody's")
        before = {table: here.rows(table) for table in ("sys_user", "sys_user_group", "sys_user_grmember")}
        counts = await discover(here)
        found = await report(here)
        assert found["ann@contoso.com"]["status"] == "linked"
        assert found["ann@contoso.com"]["link"] == {"objectId": ann, "state": "linked"}
        assert found["BOB@contoso.com"]["status"] == "couldBeLinked"
        (candidate,) = found["BOB@contoso.com"]["candidates"]
        assert (candidate["objectId"], candidate["matchedBy"], candidate["linkedTo"]) == (bob, ["user_name"], None)
        assert found["orphan@contoso.com"]["status"] == "belongsToNobody"
        assert counts["linked"] + counts["couldBeLinked"] + counts["belongsToNobody"] == len(here.rows("sys_user"))
        assert counts["users"] == 2
        assert {table: here.rows(table) for table in before} == before


async def test_accounts_that_may_not_be_touched_say_why(storage: str) -> None:
    async with world(storage) as here:
        await discover(here)
        found = await report(here)
        assert "own user" in found["entra.provisioning"]["protected"]
        assert found["entra.provisioning"]["status"] == "belongsToNobody"


async def test_somebody_who_is_linked_elsewhere_is_shown_with_that_record(storage: str) -> None:
    async with world(storage) as here:
        ann = hire(here, "ann")
        other = here.insert("sys_user", user_name="ann.admin", name="Ann's other account")
        await here.services.links.adopt(ann, {"targetAnchor": other, "objectTypeName": "User"})
        await here.pump()
        here.insert("sys_user", user_name="spare", name="Spare")
        twin = here.insert("sys_user", user_name="zed@contoso.com", name="Twin")
        here.tenant.tenant.update(ann, {"userPrincipalName": "zed@contoso.com"})
        await discover(here)
        (candidate,) = (await report(here))["zed@contoso.com"]["candidates"]
        assert (candidate["objectId"], candidate["linkedTo"]) == (ann, other)
        assert twin != other


async def test_the_report_is_paged_and_filtered_by_status(storage: str) -> None:
    async with world(storage) as here:
        for number in range(7):
            here.insert("sys_user", user_name=f"orphan{number}", name="Nobody's")
        hire(here, "ann")
        await here.cycle()
        await discover(here)
        linked = await report(here, "linked", top="2")
        nobody = await report(here, "belongsToNobody", top="2")
        assert list(linked) == ["ann@contoso.com"]
        assert {f"orphan{number}" for number in range(7)} <= nobody.keys()
        with pytest.raises(BadRequest):
            await here.services.discovery.show(status="lost", top="", token="")


async def test_it_never_touches_watermarks_and_runs_while_the_job_is_paused(storage: str) -> None:
    async with world(storage) as here:
        hire(here, "ann")
        await here.cycle()
        before = [await here.services.watermarks.get("users"), await here.services.watermarks.get("groups")]
        await here.services.operations.pause()
        await discover(here)
        assert [await here.services.watermarks.get("users"), await here.services.watermarks.get("groups")] == before
        assert (await report(here))["ann@contoso.com"]["status"] == "linked"


async def test_a_step_that_is_delivered_twice_counts_once_and_a_new_run_forgets_the_old_one(storage: str) -> None:
    async with world(storage) as here:
        hire(here, "ann")
        await here.cycle()
        here.deliveries = 2
        first = await discover(here)
        here.insert("sys_user", user_name="late", name="Late")
        second = await discover(here)
        assert second["belongsToNobody"] == first["belongsToNobody"] + 1
        rows = await here.services.tables.query("plans", select=["status"])
        run = (await here.services.discovery.mark()).run
        assert all(run in row["PartitionKey"] for row in rows)


async def test_a_discovery_that_died_is_picked_up_by_the_timer(storage: str) -> None:
    async with world(storage) as here:
        mark = await here.services.discovery.begin()
        await here.services.queues.send(WalkDue(walk="discovery", run="somebody else's", step=0))
        client = here.queues.get_queue_client("cycle-events")
        await client.clear_messages()
        here.clock.advance(1000)
        await here.services.discovery.tick()
        await here.pump()
        finished = await here.services.discovery.mark()
        assert (finished.run, finished.running) == (mark.run, False)
