"""Turns of a person's life in a company where everybody is in scope, under the packaged mapping."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.e2e.lives.company import Company


async def hire(here: Company) -> AsyncGenerator[None]:
    known = here.insert("sys_user", user_name="ADOPTED@CONTOSO.COM", state="typed by hand", active="true")
    here.hire("hired.before", jobTitle="Engineer")
    yield
    await here.becomes("hired.before", active="true", locked_out="false", title="Engineer")
    hired = here.hire("hired", jobTitle="Engineer")
    here.hire("adopted", jobTitle="Keeper")
    here.tenant.create_group("Hired people", members=[hired])
    await here.becomes("hired", active="true", locked_out="false", title="Engineer")
    assert await here.becomes("adopted", title="Keeper", state="typed by hand") == known
    await here.group_has("Hired people", "hired")
    await here.ends(hired, "success")


async def hired_disabled(here: Company) -> AsyncGenerator[None]:
    before = here.hire("hired.disabled", accountEnabled=False)
    yield
    after = here.hire("hired.disabled.too", accountEnabled=False)
    for person, name in ((before, "hired.disabled"), (after, "hired.disabled.too")):
        await here.ends(person, "skipped", "NotEffectivelyEntitled")
        assert here.record(name) is None
        here.tenant.update(person, {"accountEnabled": True})
        await here.becomes(name, active="true", locked_out="false")


async def changed(here: Company) -> AsyncGenerator[None]:
    ann = here.hire("changes", jobTitle="Engineer", city="Lyon")
    yield
    record = await here.becomes("changes", title="Engineer", city="Lyon")
    here.edit("sys_user", record, state="typed by hand")
    start = here.instance.commits.last
    here.tenant.update(ann, {"jobTitle": None, "city": "Paris"})
    await here.becomes("changes", title="", city="Paris")
    yield
    assert here.written(record, start) == [("update", ("city", "title"))]
    await here.becomes("changes", state="typed by hand")


async def renamed(here: Company) -> AsyncGenerator[None]:
    ann = here.hire("maiden")
    yield
    record = await here.becomes("maiden", last_name="Sample")
    here.tenant.update(ann, {"userPrincipalName": "married@contoso.com", "surname": "New"})
    assert await here.becomes("married", last_name="New") == record
    assert here.record("maiden") is None


async def disabled(here: Company) -> AsyncGenerator[None]:
    ann = here.hire("pauses", jobTitle="Engineer")
    here.tenant.create_group("Pausing", members=[ann])
    yield
    await here.group_has("Pausing", "pauses")
    here.tenant.update(ann, {"accountEnabled": False, "jobTitle": "On leave"})
    await here.becomes("pauses", active="false", locked_out="true", title="On leave")
    yield
    assert here.members("Pausing") == ["pauses"]


async def enabled_again(here: Company) -> AsyncGenerator[None]:
    ann = here.hire("returns")
    yield
    record = await here.becomes("returns", active="true")
    here.tenant.update(ann, {"accountEnabled": False})
    await here.becomes("returns", active="false", locked_out="true")
    here.tenant.update(ann, {"accountEnabled": True})
    assert await here.becomes("returns", active="true", locked_out="false") == record


async def soft_deleted(here: Company) -> AsyncGenerator[None]:
    ann = here.hire("binned")
    here.tenant.create_group("Binned", members=[ann])
    yield
    record = await here.becomes("binned", active="true")
    await here.group_has("Binned", "binned")
    here.tenant.delete(ann)
    assert await here.becomes("binned", active="false", locked_out="true", email="binned@contoso.com") == record
    await here.group_has("Binned")


async def restored(here: Company) -> AsyncGenerator[None]:
    ann = here.hire("restored")
    here.tenant.create_group("Restored", members=[ann])
    yield
    record = await here.becomes("restored", active="true")
    await here.group_has("Restored", "restored")
    here.tenant.delete(ann)
    await here.becomes("restored", active="false", locked_out="true")
    await here.group_has("Restored")
    here.tenant.restore(ann)
    assert await here.becomes("restored", active="true", locked_out="false") == record
    await here.group_has("Restored", "restored")


async def deleted_and_restored_unseen(here: Company) -> AsyncGenerator[None]:
    ann = here.hire("quick.restore")
    here.tenant.create_group("Quick", members=[ann])
    yield
    record = await here.becomes("quick.restore", active="true")
    await here.group_has("Quick", "quick.restore")
    start = here.instance.commits.last
    here.tenant.delete(ann)
    here.tenant.restore(ann)
    here.tenant.update(ann, {"jobTitle": "Still here"})
    await here.becomes("quick.restore", title="Still here")
    yield
    assert here.written(record, start) == [("update", ("title",))]
    assert here.members("Quick") == ["quick.restore"]


async def permanently_deleted(here: Company) -> AsyncGenerator[None]:
    ann, quick = here.hire("purged"), here.hire("quick.purge")
    here.tenant.create_group("Purged", members=[ann, quick])
    yield
    await here.group_has("Purged", "purged", "quick.purge")
    here.tenant.delete(quick)
    here.tenant.purge(quick)
    here.tenant.delete(ann)
    await here.becomes("purged", active="false")
    await here.vanishes("quick.purge")
    here.tenant.purge(ann)
    await here.vanishes("purged")
    await here.ends(ann, "success")
    await here.group_has("Purged")


async def rehired_with_the_old_name(here: Company) -> AsyncGenerator[None]:
    old = here.hire("again", jobTitle="first time", city="Lyon")
    here.tenant.create_group("Old friends", members=[old])
    yield
    record = await here.becomes("again", title="first time", city="Lyon")
    await here.group_has("Old friends", "again")
    here.tenant.delete(old)
    await here.becomes("again", active="false")
    here.hire("again", jobTitle="second time")
    assert await here.becomes("again", active="true", locked_out="false", title="second time", city="") == record
    await here.group_has("Old friends")
    here.tenant.purge(old)
    yield
    assert await here.becomes("again", active="true", title="second time") == record


async def guest_turned_member(here: Company) -> AsyncGenerator[None]:
    guest = here.hire(
        "unused",
        userPrincipalName="kim_fabrikam.com#EXT#@contoso.onmicrosoft.com",
        mail="kim@fabrikam.com",
        userType="Guest",
    )
    yield
    (record,) = [row for row in here.instance.table("sys_user").rows() if row.get("email") == "kim@fabrikam.com"]
    assert "#EXT#" not in record["user_name"]
    here.tenant.update(guest, {"userType": "Member", "userPrincipalName": "kim@contoso.com"})
    assert await here.becomes("kim", active="true") == record["sys_id"]


async def manager_who_comes_late(here: Company) -> AsyncGenerator[None]:
    boss = here.hire("late.boss", accountEnabled=False)
    here.tenant.set_manager(here.hire("led.late"), boss)
    here.tenant.set_manager(here.hire("never.led"), here.hire("never.boss", accountEnabled=False))
    yield
    await here.becomes("led.late", manager="")
    await here.becomes("never.led", manager="")
    here.tenant.update(boss, {"accountEnabled": True})
    record = await here.becomes("late.boss", active="true")
    await here.becomes("led.late", manager=record)


async def manager_restored(here: Company) -> AsyncGenerator[None]:
    boss = here.hire("restored.boss")
    here.tenant.set_manager(here.hire("led.again"), boss)
    yield
    record = await here.becomes("restored.boss", active="true")
    await here.becomes("led.again", manager=record)
    here.tenant.delete(boss)
    await here.becomes("restored.boss", active="false")
    await here.becomes("led.again", manager="")
    here.tenant.restore(boss)
    await here.becomes("restored.boss", active="true")
    await here.becomes("led.again", manager=record)


async def managers_in_a_circle(here: Company) -> AsyncGenerator[None]:
    first, second = here.hire("circle.one"), here.hire("circle.two")
    here.tenant.set_manager(first, second)
    here.tenant.set_manager(second, first)
    yield
    await here.becomes("circle.two", manager=await here.becomes("circle.one"))
    await here.becomes("circle.one", manager=await here.becomes("circle.two"))
    alone = here.hire("circle.alone")
    here.tenant.set_manager(alone, alone)
    await here.becomes("circle.alone", manager=await here.becomes("circle.alone"))
