"""The first full cycle, end to end in one process."""

from __future__ import annotations

from tests.support.world import world


async def test_a_first_cycle_brings_users_groups_memberships_and_managers(storage: str) -> None:
    async with world(storage, users=120, groups=8) as here:
        await here.cycle()
        job = await here.services.operations.job()
        print(job["status"], job["app"])
        users = here.rows("sys_user")
        print(len(users), len(here.rows("sys_user_group")), len(here.rows("sys_user_grmember")))
        assert 0
