"""Groups in groups: with ``NestedGroups=expand`` whoever is in an inner group is a member of the outer one in ServiceNow."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest_asyncio

from tests.support.mapped import changed_document, clauses, options
from tests.support.people import hire, memberships, record_of
from tests.support.world import world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.world import World

GRACE = 10


@contextlib.asynccontextmanager
async def _expanding(storage: str) -> AsyncIterator[World]:
    async with world(storage, GRAPH_REPLICATION_GRACE=str(GRACE)) as here:
        await here.services.schemas.put(changed_document(options(NestedGroups="expand"), kind="Group"))
        yield here


@pytest_asyncio.fixture(loop_scope="function")
async def here(storage: str) -> AsyncIterator[World]:
    async with _expanding(storage) as made:
        yield made


async def _settled(here: World) -> None:
    await here.cycle()
    await here.later(GRACE + 5)


async def test_a_full_round_names_the_members_at_any_depth(here: World) -> None:
    ann, bob, eve = hire(here, "ann"), hire(here, "bob"), hire(here, "eve")
    deepest = here.tenant.tenant.create_group("Deepest", members=[ann])
    middle = here.tenant.tenant.create_group("Middle", members=[deepest, bob])
    here.tenant.tenant.create_group("Top", members=[middle, eve])
    await _settled(here)
    assert memberships(here, "Deepest") == ["ann@contoso.com"]
    assert memberships(here, "Middle") == ["ann@contoso.com", "bob@contoso.com"]
    assert memberships(here, "Top") == ["ann@contoso.com", "bob@contoso.com", "eve@contoso.com"]

    start = here.instance.instance.commits.last
    await here.services.operations.restart("Full")
    await here.pump()
    await _settled(here)
    assert here.instance.instance.commits.last == start


async def test_who_joins_deep_inside_joins_all_around_and_leaves_them_again(here: World) -> None:
    ann = hire(here, "ann")
    deepest = here.tenant.tenant.create_group("Deepest")
    middle = here.tenant.tenant.create_group("Middle", members=[deepest])
    here.tenant.tenant.create_group("Top", members=[middle])
    await _settled(here)
    here.tenant.tenant.add_members(deepest, [ann])
    await _settled(here)
    for name in ("Deepest", "Middle", "Top"):
        assert memberships(here, name) == ["ann@contoso.com"]
    here.tenant.tenant.remove_members(deepest, [ann])
    await _settled(here)
    for name in ("Deepest", "Middle", "Top"):
        assert memberships(here, name) == []


async def test_who_leaves_one_way_in_stays_while_there_is_another(here: World) -> None:
    ann = hire(here, "ann")
    left = here.tenant.tenant.create_group("Left", members=[ann])
    right = here.tenant.tenant.create_group("Right", members=[ann])
    top = here.tenant.tenant.create_group("Top", members=[left, right, ann])
    await _settled(here)
    (row,) = [row["sys_id"] for row in here.rows("sys_user_grmember").values() if row["group"] == _group(here, "Top")]
    here.tenant.tenant.remove_members(left, [ann])
    here.tenant.tenant.remove_members(top, [ann])
    await _settled(here)
    assert memberships(here, "Left") == []
    assert memberships(here, "Top") == ["ann@contoso.com"]
    assert row in here.rows("sys_user_grmember"), "it is the same row: nobody was taken out and put in again"
    here.tenant.tenant.remove_members(right, [ann])
    await _settled(here)
    assert memberships(here, "Top") == []


async def test_a_member_group_that_comes_brings_its_people_and_takes_them_along(here: World) -> None:
    people = [hire(here, f"p{number}") for number in range(3)]
    names = [f"p{number}@contoso.com" for number in range(3)]
    deepest = here.tenant.tenant.create_group("Deepest", members=people[:1])
    inner = here.tenant.tenant.create_group("Inner", members=[deepest, *people[1:]])
    outer = here.tenant.tenant.create_group("Outer")
    here.tenant.tenant.create_group("Top", members=[outer])
    await _settled(here)
    assert memberships(here, "Top") == []
    here.tenant.tenant.add_members(outer, [inner])
    await _settled(here)
    assert memberships(here, "Outer") == memberships(here, "Top") == names
    here.tenant.tenant.remove_members(outer, [inner])
    await _settled(here)
    assert memberships(here, "Outer") == memberships(here, "Top") == []
    assert memberships(here, "Inner") == names


async def test_a_member_group_that_is_deleted_takes_its_people_along(here: World) -> None:
    ann, bob = hire(here, "ann"), hire(here, "bob")
    inner = here.tenant.tenant.create_group("Inner", members=[ann])
    here.tenant.tenant.create_group("Outer", members=[inner, bob])
    await _settled(here)
    here.tenant.tenant.delete(inner)
    await _settled(here)
    assert memberships(here, "Outer") == ["bob@contoso.com"]


async def test_groups_that_are_members_of_each_other_end(here: World) -> None:
    ann = hire(here, "ann")
    one = here.tenant.tenant.create_group("One", members=[ann])
    two = here.tenant.tenant.create_group("Two", members=[one])
    here.tenant.tenant.add_members(one, [two])
    await _settled(here)
    assert memberships(here, "One") == memberships(here, "Two") == ["ann@contoso.com"]


async def test_a_plan_sees_members_at_any_depth(here: World) -> None:
    ann = hire(here, "ann")
    inner = here.tenant.tenant.create_group("Inner", members=[ann])
    here.tenant.tenant.create_group("Outer", members=[inner])
    await _settled(here)
    await here.services.plan.begin()
    await here.pump()
    assert (await here.services.plan.show(top="500", token=""))["value"] == []


async def test_nesting_that_is_switched_off_takes_the_inner_people_out_with_the_next_full_round(here: World) -> None:
    ann, bob = hire(here, "ann"), hire(here, "bob")
    inner = here.tenant.tenant.create_group("Inner", members=[ann])
    here.tenant.tenant.create_group("Outer", members=[inner, bob])
    await _settled(here)
    assert memberships(here, "Outer") == ["ann@contoso.com", "bob@contoso.com"]
    await here.services.schemas.put(changed_document(kind="Group"))
    await here.pump()
    await _settled(here)
    assert memberships(here, "Outer") == ["bob@contoso.com"]
    assert memberships(here, "Inner") == ["ann@contoso.com"]


async def test_a_group_that_joins_the_group_of_a_filter_brings_its_people_at_once(storage: str) -> None:
    async with world(storage, GRAPH_REPLICATION_GRACE=str(GRACE)) as here:
        hire(here, "ann")
        ann = hire(here, "late")
        inner = here.tenant.tenant.create_group("Inner", members=[ann])
        chosen = here.tenant.tenant.create_group("Chosen")
        changes = clauses(("memberOf", "IS MEMBER OF", chosen)), options(NestedGroups="expand")
        await here.services.schemas.put(changed_document(*changes))
        await _settled(here)
        assert here.user("late@contoso.com") is None
        here.tenant.tenant.add_members(chosen, [inner])
        await _settled(here)
        assert record_of(here, "late")["active"] == "true"
        here.tenant.tenant.remove_members(chosen, [inner])
        await _settled(here)
        assert record_of(here, "late")["active"] == "false"
        assert here.user("ann@contoso.com") is None


def _group(here: World, name: str) -> str:
    return next(sys_id for sys_id, row in here.rows("sys_user_group").items() if row["name"] == name)
