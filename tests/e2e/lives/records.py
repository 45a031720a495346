"""What ServiceNow's own people do to records, in a company with the packaged mapping."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.instance.access import SYSTEM

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.e2e.lives.company import Company


async def removed(here: Company) -> AsyncGenerator[None]:
    ann, bob = here.hire("removed", jobTitle="old"), here.hire("of.removed")
    here.tenant.set_manager(bob, ann)
    here.tenant.create_group("Of Removed", members=[ann, bob])
    yield
    gone = await here.becomes("removed", title="old")
    await here.becomes("of.removed", manager=gone)
    await here.group_has("Of Removed", "of.removed", "removed")
    yield
    here.instance.delete("sys_user", gone, SYSTEM)
    here.tenant.update(ann, {"jobTitle": "new"})
    record = await here.becomes("removed", title="new", active="true", email="removed@contoso.com")
    await here.group_has("Of Removed", "of.removed", "removed")
    await here.becomes("of.removed", manager=record)


async def merged(here: Company) -> AsyncGenerator[None]:
    survivor = here.insert("sys_user", user_name="merged.before", first_name="Ann")
    ann = here.hire("merged", jobTitle="old")
    here.tenant.create_group("Of Merged", members=[ann])
    yield
    gone = await here.becomes("merged", title="old")
    await here.group_has("Of Merged", "merged")
    yield
    for row in here.rows("sys_user_grmember", user=gone):
        here.edit("sys_user_grmember", row["sys_id"], user=survivor)
    here.instance.delete("sys_user", gone, SYSTEM)
    here.edit("sys_user", survivor, user_name="merged@contoso.com")
    here.tenant.update(ann, {"jobTitle": "new"})
    assert await here.becomes("merged", title="new") == survivor
    yield
    assert here.members("Of Merged") == ["merged"]


async def edited(here: Company) -> AsyncGenerator[None]:
    ann = here.hire("edited", jobTitle="one", city="Lyon")
    yield
    record = await here.becomes("edited", title="one", city="Lyon")
    here.edit("sys_user", record, title="edited", city="Nice")
    here.tenant.update(ann, {"jobTitle": "two"})
    await here.becomes("edited", title="two")
    yield
    await here.becomes("edited", title="two", city="Nice")
    subjects = [{"objectId": ann, "objectTypeName": "User"}]
    await here.hosted.post("job/provisionOnDemand", status=200, json={"parameters": [{"subjects": subjects, "ruleId": ""}]})
    await here.becomes("edited", title="two", city="Lyon")


async def locked_by_hand(here: Company) -> AsyncGenerator[None]:
    ann = here.hire("locked")
    yield
    here.edit("sys_user", await here.becomes("locked", active="true"), locked_out="true")
    here.tenant.update(ann, {"jobTitle": "still locked"})
    await here.becomes("locked", title="still locked")
    yield
    await here.becomes("locked", locked_out="true", active="true")


async def protected(here: Company) -> AsyncGenerator[None]:
    robot = here.insert("sys_user", user_name="robot@contoso.com", name="Robot", web_service_access_only="true")
    ann = here.hire("robot", jobTitle="Robot keeper")
    yield
    await here.ends(ann, "failure", "EntryConflict")
    await here.becomes("robot", title="")
    url, key = f"{here.hosted.host.url}/api/links/{ann}", here.hosted.host.headers
    async with here.hosted.session.put(url, headers=key, json={"targetAnchor": robot}) as response:
        assert response.status == 200, await response.text()
    assert await here.becomes("robot", title="Robot keeper") == robot


async def member_added_by_hand(here: Company) -> AsyncGenerator[None]:
    ann, bob = here.hire("ann.ours"), here.hire("bob.ours")
    stranger = here.insert("sys_user", user_name="theirs@contoso.com")
    team = here.tenant.create_group("Mixed", members=[ann])
    yield
    await here.group_has("Mixed", "ann.ours")
    here.insert("sys_user_grmember", user=stranger, group=await here.group_becomes("Mixed"))
    here.tenant.remove_members(team, [ann])
    here.tenant.add_members(team, [bob])
    await here.group_has("Mixed", "bob.ours", "theirs")
    yield
    assert here.members("Mixed") == ["bob.ours", "theirs"]
