"""The first full cycle and the rounds after it, end to end in one process."""

from __future__ import annotations

from tests.support.world import world


async def test_a_first_cycle_brings_users_groups_memberships_and_managers(storage: str) -> None:
    async with world(storage, users=120, groups=8) as here:
        await here.cycle()

        directory = here.tenant.tenant
        people = [o for o in directory.objects.values() if o.kind == "user" and o.properties.get("accountEnabled")]
        users = here.rows("sys_user")
        provisioned = {row["user_name"].casefold(): row for row in users.values()}
        assert len(people) > 100
        for person in people:
            name = str(person.properties["userPrincipalName"])
            if "#EXT#" not in name:
                row = provisioned[name.casefold()]
                assert row["active"] == "true"
                assert row["last_name"] == (person.properties.get("surname") or "")
        assert len(here.rows("sys_user_group")) == 8
        pairs = [(row["group"], row["user"]) for row in here.rows("sys_user_grmember").values()]
        assert len(pairs) == len(set(pairs)) > 100
        with_manager = [row for row in users.values() if row["manager"]]
        assert len(with_manager) > 100
        assert all(row["manager"] in users for row in with_manager)


async def test_the_same_again_with_nothing_changed_costs_no_servicenow_request(storage: str) -> None:
    async with world(storage, users=60, groups=5) as here:
        await here.cycle()
        await here.cycle()
        before = here.requests()

        await here.services.operations.restart("Watermark")
        await here.pump()

        assert here.requests() == before
        progress = (await here.services.operations.job())["app"]["outcomes"]
        assert progress["users"]["unchanged"] > 50
