"""Filters that ask for a group or a manager: who joins comes, who leaves goes."""

from __future__ import annotations

from tests.support.mapped import changed_document, clauses, options
from tests.support.people import hire, record_of
from tests.support.world import world


async def test_who_is_a_member_of_the_group_is_in_scope_and_follows_the_membership(storage: str) -> None:
    async with world(storage) as here:
        ann, bob = hire(here, "ann"), hire(here, "bob")
        group = here.tenant.tenant.create_group("Chosen", members=[ann])
        await here.services.schemas.put(changed_document(clauses(("memberOf", "IS MEMBER OF", group))))
        await here.cycle()
        assert record_of(here, "ann")["active"] == "true"
        assert here.user("bob@contoso.com") is None
        here.tenant.tenant.add_members(group, [bob])
        here.tenant.tenant.remove_members(group, [ann])
        await here.cycle()
        assert record_of(here, "ann")["active"] == "false"
        assert record_of(here, "bob")["active"] == "true"


async def test_a_full_round_of_many_reads_the_group_and_not_every_user(storage: str) -> None:
    async with world(storage) as here:
        people = [hire(here, f"p{number}") for number in range(30)]
        group = here.tenant.tenant.create_group("Chosen", members=people[:3])
        await here.services.schemas.put(changed_document(clauses(("memberOf", "IS MEMBER OF", group))))
        await here.cycle()
        names = {row["user_name"] for row in here.rows("sys_user").values() if row["user_name"].startswith("p")}
        assert names == {f"p{number}@contoso.com" for number in range(3)}
        assert list(here.services.member_filters._pictures) == [group]


async def test_members_of_nested_groups_count_where_the_mapping_expands_them(storage: str) -> None:
    async with world(storage) as here:
        ann = hire(here, "ann")
        inner = here.tenant.tenant.create_group("Inner", members=[ann])
        outer = here.tenant.tenant.create_group("Outer", members=[inner])
        changes = clauses(("memberOf", "IS MEMBER OF", outer)), options(NestedGroups="expand")
        await here.services.schemas.put(changed_document(*changes))
        await here.cycle()
        assert record_of(here, "ann")["active"] == "true"
        here.tenant.tenant.remove_members(inner, [ann])
        await here.cycle()
        assert record_of(here, "ann")["active"] == "false"


async def test_a_manager_decides_the_scope(storage: str) -> None:
    async with world(storage) as here:
        boss, ann, bob = hire(here, "boss"), hire(here, "ann"), hire(here, "bob")
        here.tenant.tenant.set_manager(ann, boss)
        await here.services.schemas.put(changed_document(clauses(("manager", "EQUALS", boss))))
        await here.cycle()
        assert record_of(here, "ann")["active"] == "true"
        assert here.user("bob@contoso.com") is None
        here.tenant.tenant.set_manager(bob, boss)
        here.tenant.tenant.set_manager(ann, None)
        await here.cycle()
        assert record_of(here, "bob")["active"] == "true"
        assert record_of(here, "ann")["active"] == "false"
