"""What ServiceNow's own people do to records, in a company with the packaged mapping."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.e2e.lives.company import Company


async def removed(here: Company) -> AsyncGenerator[None]:
    ann = here.hire("removed", jobTitle="old")
    yield
    gone = await here.becomes("removed", title="old")
    here.instance.table("sys_user").remove(gone)
    here.tenant.update(ann, {"jobTitle": "new"})
    await here.becomes("removed", title="new", active="true", email="removed@contoso.com")


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
