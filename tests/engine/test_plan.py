"""A plan tells what a full cycle would do, and does nothing; and the status page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.tenant import TenantConfig
from shared.provisioning import portal
from shared.provisioning.planning import as_text
from shared.state.tables import TABLES
from tests.support.people import hire
from tests.support.world import world

if TYPE_CHECKING:
    from typing import Any

    from tests.support.world import World


async def make(here: World) -> dict[str, Any]:
    """A plan from its beginning to its end, all on one page."""
    await here.services.plan.begin()
    await here.pump()
    document: dict[str, Any] = await here.services.plan.show(top="500", token="")
    assert document["status"] == "completed", document
    return document


async def state(here: World) -> dict[str, Any]:
    """Everything that a plan must leave as it was."""
    tables = sorted(set(TABLES) - {"plans", "watermarks", "guard", "references", "job", "schemas"})
    rows = {table: [{**row, "etag": ""} for row in await here.services.tables.query(table)] for table in tables}
    marks = await here.services.tables.query("watermarks", "PartitionKey eq 'chain'")
    return {**rows, "marks": marks, "users": here.rows("sys_user"), "members": here.rows("sys_user_grmember")}


async def test_a_plan_of_an_empty_instance_creates_everybody_and_writes_nothing(storage: str) -> None:
    async with world(storage, users=40, groups=3, tenant=TenantConfig(user_delta_page=15)) as here:
        before = await state(here)
        document = await make(here)
        assert await state(here) == before
        counts = document["counts"]
        created = counts["users.created"]
        assert created > 25
        assert counts["groups.created"] == 3
        assert counts["membersWaiting"] > 10
        assert len([row for row in document["value"] if row["action"] == "created"]) == created + 3

        await here.cycle()
        assert len(here.rows("sys_user")) - len(before["users"]) == created


async def test_a_plan_shows_every_single_difference(storage: str) -> None:
    async with world(storage, DELETE_THRESHOLD="1") as here:
        people = {name: hire(here, name, jobTitle="Lead") for name in ("ann", "ben", "cleo", "dan")}
        team = here.tenant.tenant.create_group("Team", members=[people["ann"], people["dan"]])
        await here.cycle()
        directory = here.tenant.tenant
        directory.update(people["ann"], {"jobTitle": "Boss"})
        for name in ("ben", "cleo"):
            directory.update(people[name], {"accountEnabled": False})
        directory.remove_members(team, [people["dan"]])
        directory.add_members(team, [people["cleo"]])
        hire(here, "eve")
        before = await state(here)
        document = await make(here)
        assert await state(here) == before

        actions = {(row["displayName"], row["action"]): row for row in document["value"]}
        assert set(actions) == {
            ("ann@contoso.com", "updated"),
            ("ben@contoso.com", "disabled"),
            ("cleo@contoso.com", "disabled"),
            ("eve@contoso.com", "created"),
            ("Team", "members"),
        }
        change = actions["ann@contoso.com", "updated"]["modifiedProperties"]
        assert [(entry["displayName"], entry["newValue"]) for entry in change] == [("title", "Boss")]
        assert document["counts"]["users.disabled"] == 2  # more than the guard would let through, and said so
        assert document["limits"]["disablesAndDeletes"] == 1
        assert (document["counts"]["membersAdded"], document["counts"]["membersRemoved"]) == (1, 1)

        text = as_text(document)
        assert "disabled  User   ben@contoso.com" in text
        assert "title: - -> 'Boss'" in text or "title: 'Lead' -> 'Boss'" in text


async def test_whoever_is_gone_is_in_the_plan_and_pages_follow_each_other(storage: str) -> None:
    async with world(storage) as here:
        people = [hire(here, f"p{number}") for number in range(5)]
        await here.cycle()
        for person in people:
            here.tenant.tenant.delete(person)
        document = await make(here)
        assert document["counts"]["users.disabled"] == 5
        first = await here.services.plan.show(top="3", token="")
        token = first["@odata.nextLink"].partition("$skiptoken=")[2]
        second = await here.services.plan.show(top="3", token=token)
        assert {row["objectId"] for row in (*first["value"], *second["value"])} == set(people)

        # The next plan begins anew.
        for person in people:
            here.tenant.tenant.restore(person)
        assert (await make(here))["value"] == []


async def test_a_plan_can_be_made_while_the_job_is_paused(storage: str) -> None:
    async with world(storage) as here:
        hire(here, "ann")
        await here.services.operations.pause()
        assert (await make(here))["counts"]["users.created"] == 1
        assert here.user("ann@contoso.com") is None


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "\x1b[2Jcleared\r\nforged"])
async def test_the_status_page_and_the_table_escape_what_others_wrote(storage: str, name: str) -> None:
    async with world(storage) as here:
        here.tenant.tenant.create_group(name)
        await make(here)
        text = as_text(await here.services.plan.show(top="", token=""))
        assert not set(text) & {"\x1b", "\r"}
        await here.cycle()
        page = portal.render(await portal.gather(here.services))
        assert "<script" not in page
        assert "<img" not in page
        assert "http://" not in page.replace(here.services.settings.servicenow.instance_url, "")
        assert "Active" in page
        assert "default-src 'none'" in portal.CONTENT_SECURITY_POLICY


async def test_the_status_page_tells_of_quarantine_waits_and_held_deeds(storage: str) -> None:
    async with world(storage, DELETE_THRESHOLD="0") as here:
        ann = hire(here, "ann", department="Astronomy")
        await here.cycle()
        here.tenant.tenant.update(ann, {"accountEnabled": False})
        await here.cycle()
        await here.services.operations.tick()
        page = portal.render(await portal.gather(here.services))
        for told in ("TooManyDeletes", "InvalidLookupReference", "ann@contoso.com", "disable", "user-events", "notRun"):
            assert told in page
