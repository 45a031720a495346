"""A person changes in Entra ID: what becomes of the record in ServiceNow."""

from __future__ import annotations

from tests.support.world import World, world


async def _hire(here: World, name: str = "ann@contoso.com", **properties: object) -> str:
    values = {
        "userPrincipalName": name,
        "displayName": "Ann One",
        "givenName": "Ann",
        "surname": "One",
        "mail": name,
        **properties,
    }
    return here.tenant.tenant.create_user(**values)


def _manager(here: World, name: str) -> str:
    """The user name of somebody's manager in ServiceNow; empty without one."""
    row = here.user(name)
    assert row is not None
    return here.rows("sys_user").get(row["manager"], {}).get("user_name", "")


async def test_a_hire_a_change_and_a_cleared_attribute(storage: str) -> None:
    async with world(storage) as here:
        ann = await _hire(here, jobTitle="Engineer", city="Lyon")
        await here.cycle()
        row = here.user("ann@contoso.com")
        assert row is not None
        assert (row["title"], row["city"], row["active"]) == ("Engineer", "Lyon", "true")

        here.tenant.tenant.update(ann, {"jobTitle": "Lead", "city": None, "userPrincipalName": "ann.two@contoso.com"})
        await here.cycle()
        row = here.user("ann.two@contoso.com")
        assert row is not None
        assert (row["title"], row["city"]) == ("Lead", "")
        assert here.user("ann@contoso.com") is None


async def test_disable_and_enable_locks_and_unlocks(storage: str) -> None:
    async with world(storage) as here:
        ann = await _hire(here)
        await here.cycle()
        here.tenant.tenant.update(ann, {"accountEnabled": False})
        await here.cycle()
        row = here.user("ann@contoso.com")
        assert row is not None
        assert (row["active"], row["locked_out"]) == ("false", "true")

        here.tenant.tenant.update(ann, {"accountEnabled": True})
        await here.cycle()
        row = here.user("ann@contoso.com")
        assert row is not None
        assert (row["active"], row["locked_out"]) == ("true", "false")


async def test_soft_delete_suspends_restore_brings_back_and_purge_deletes(storage: str) -> None:
    async with world(storage) as here:
        ann = await _hire(here)
        team = here.tenant.tenant.create_group("Team", members=[ann])
        await here.cycle()
        assert len(here.rows("sys_user_grmember")) == 1

        here.tenant.tenant.delete(ann)
        await here.cycle()
        row = here.user("ann@contoso.com")
        assert row is not None
        assert row["active"] == "false"
        assert here.rows("sys_user_grmember") == {}

        here.tenant.tenant.restore(ann)
        await here.cycle()
        row = here.user("ann@contoso.com")
        assert row is not None
        assert (row["active"], row["locked_out"]) == ("true", "false")
        assert len(here.rows("sys_user_grmember")) == 1

        here.tenant.tenant.delete(ann)
        await here.cycle()
        here.tenant.tenant.purge(ann)
        await here.cycle()
        assert here.user("ann@contoso.com") is None
        del team


async def test_members_join_and_leave_by_difference(storage: str) -> None:
    async with world(storage) as here:
        people = [await _hire(here, f"p{n}@contoso.com") for n in range(5)]
        team = here.tenant.tenant.create_group("Team", members=people[:3])
        await here.cycle()
        before = set(here.rows("sys_user_grmember"))
        assert len(before) == 3

        here.tenant.tenant.add_members(team, [people[3]])
        here.tenant.tenant.remove_members(team, [people[0]])
        await here.cycle()
        after = set(here.rows("sys_user_grmember"))
        assert len(after) == 3
        assert len(before & after) == 2


async def test_a_manager_who_comes_later_is_linked_then(storage: str) -> None:
    async with world(storage) as here:
        boss = await _hire(here, "boss@contoso.com", accountEnabled=False)
        ann = await _hire(here)
        here.tenant.tenant.set_manager(ann, boss)
        await here.cycle()
        row = here.user("ann@contoso.com")
        assert row is not None
        assert row["manager"] == ""

        here.tenant.tenant.update(boss, {"accountEnabled": True})
        await here.cycle()
        assert _manager(here, "ann@contoso.com") == "boss@contoso.com"
        assert (await here.services.escrows.counts()) == {}


async def test_the_people_of_a_manager_who_is_restored_have_him_again(storage: str) -> None:
    async with world(storage) as here:
        boss = await _hire(here, "boss@contoso.com")
        for name in ("ann@contoso.com", "ben@contoso.com"):
            here.tenant.tenant.set_manager(await _hire(here, name), boss)
        await here.cycle()

        for change, manager in (
            (lambda: None, "boss@contoso.com"),
            (lambda: here.tenant.tenant.delete(boss), ""),
            (lambda: here.tenant.tenant.restore(boss), "boss@contoso.com"),
        ):
            change()
            await here.cycle()
            assert [_manager(here, name) for name in ("ann@contoso.com", "ben@contoso.com")] == [manager] * 2


async def test_a_change_to_a_manager_who_is_not_there_yet_waits_though_nothing_else_changes(storage: str) -> None:
    async with world(storage) as here:
        old = await _hire(here, "old@contoso.com")
        boss = await _hire(here, "boss@contoso.com", accountEnabled=False)
        ann = await _hire(here, department="Sales")
        here.tenant.tenant.set_manager(ann, old)
        await here.cycle()
        here.tenant.tenant.set_manager(ann, boss)
        await here.cycle()
        (escrow,) = await here.services.escrows.waiting_for_object(boss)
        assert escrow.waiter == f"user:{ann}"

        here.tenant.tenant.update(boss, {"accountEnabled": True})
        await here.cycle()
        assert _manager(here, "ann@contoso.com") == "boss@contoso.com"
        assert (await here.services.escrows.counts()) == {}

        here.tenant.tenant.update(ann, {"department": "Astronomy"})
        await here.cycle()
        assert (await here.services.escrows.counts()) == {"record": 1}
        here.insert("cmn_department", name="Astronomy")
        await here.cycle()
        row = here.user("ann@contoso.com")
        assert row is not None
        assert here.rows("cmn_department")[row["department"]]["name"] == "Astronomy"


async def test_a_department_that_comes_later_is_linked_then(storage: str) -> None:
    async with world(storage) as here:
        await _hire(here, department="Astronomy")
        await here.cycle()
        row = here.user("ann@contoso.com")
        assert row is not None
        assert row["department"] == ""
        assert (await here.services.escrows.counts()) == {"record": 1}

        made = here.insert("cmn_department", name="Astronomy")
        await here.cycle()
        row = here.user("ann@contoso.com")
        assert row is not None
        assert row["department"] == made
        assert (await here.services.escrows.counts()) == {}


async def test_a_group_is_created_renamed_described_and_deactivated(storage: str) -> None:
    async with world(storage) as here:
        team = here.tenant.tenant.create_group("Team", description="old")
        await here.cycle()
        here.tenant.tenant.update(team, {"displayName": "Crew", "description": "new"})
        await here.cycle()
        (row,) = here.rows("sys_user_group").values()
        assert (row["name"], row["description"], row["active"]) == ("Crew", "new", "true")
        here.tenant.tenant.delete(team)
        await here.cycle()
        rows = list(here.rows("sys_user_group").values())
        assert [row["active"] for row in rows] in (["false"], [])
