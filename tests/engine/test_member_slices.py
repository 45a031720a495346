"""Slices of the groups' delta chain count by the generation and page that they come from, in whatever order they arrive."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sandbox.instance.access import SYSTEM
from shared.events import MembersChanged
from tests.support.people import hire, memberships
from tests.support.world import world

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.world import World


async def _apply(here: World, group: str, user: str, pages: Sequence[tuple[int, bool]]) -> None:
    """Slices of (page, whether the user was added or removed on it), after those of the last round."""
    mark = await here.services.watermarks.get("groups")
    for page, added in pages:
        event = MembersChanged(
            group_id=group,
            generation=mark.generation,
            page=mark.page + page,
            chunk=0,
            cycle_id="c",
            read_at=here.clock(),
            added=(user,) if added else (),
            removed=() if added else (user,),
        )
        await here.services.members.apply_slice(event)
    await here.pump()


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
@pytest.mark.parametrize("is_member", [True, False])
async def test_the_last_page_counts_in_whatever_order_they_arrive(
    storage: str, order: tuple[int, ...], *, is_member: bool
) -> None:
    async with world(storage) as here:
        ann = hire(here, "ann")
        team = here.tenant.tenant.create_group("Team", members=[ann] if is_member else [])
        await here.cycle()
        # He changes on the first page, changes back on the second, and once more on the third.
        said = {1: not is_member, 2: is_member, 3: not is_member}
        await _apply(here, team, ann, [(page, said[page]) for page in order])
        assert memberships(here, "Team") == ([] if is_member else ["ann@contoso.com"])


@pytest.mark.parametrize("is_member", [True, False])
async def test_an_older_page_says_nothing_against_one_that_changed_nothing(storage: str, *, is_member: bool) -> None:
    async with world(storage) as here:
        ann = hire(here, "ann")
        team = here.tenant.tenant.create_group("Team", members=[ann] if is_member else [])
        await here.cycle()
        before, requests = memberships(here, "Team"), here.requests()
        await _apply(here, team, ann, [(2, is_member), (1, not is_member), (2, is_member)])
        assert memberships(here, "Team") == before
        assert here.requests() == requests


@pytest.mark.parametrize("is_member", [True, False])
async def test_an_older_page_is_reason_enough_to_look_at_a_membership_that_is_in_doubt(storage: str, *, is_member: bool) -> None:
    async with world(storage) as here:
        ann = hire(here, "ann")
        team = here.tenant.tenant.create_group("Team", members=[ann] if is_member else [])
        await here.cycle()
        (row,) = await here.services.memberships.get_many([(team, ann)])
        # Somebody who had lost his lease wrote the contrary; he comes back with the page that he had.
        if is_member:
            here.instance.instance.delete("sys_user_grmember", row.sys_id, SYSTEM)
        else:
            user, group = await here.services.joins.get("user", ann), await here.services.joins.get("group", team)
            here.insert("sys_user_grmember", user=user.sys_id, group=group.sys_id)
        await _apply(here, team, ann, [(2, is_member)])
        await here.services.memberships.mark_dirty([(team, ann)])
        await _apply(here, team, ann, [(1, not is_member)])
        assert memberships(here, "Team") == (["ann@contoso.com"] if is_member else [])
        (row,) = await here.services.memberships.get_many([(team, ann)])
        assert not row.dirty


@pytest.mark.parametrize("is_member", [True, False])
@pytest.mark.parametrize("late", ["the earlier reading", "the later reading"])
async def test_of_a_page_that_was_read_twice_the_later_reading_counts(storage: str, late: str, *, is_member: bool) -> None:
    async with world(storage) as here:
        ann = hire(here, "ann")
        team = here.tenant.tenant.create_group("Team", members=[ann] if is_member else [])
        await here.cycle()
        mark = await here.services.watermarks.get("groups")
        # A worker queued what the page said and died; he changed back before the page was read again.
        readings = [(not is_member, 0.0), (is_member, 20.0)]
        for added, seconds in readings if late == "the later reading" else reversed(readings):
            event = MembersChanged(
                group_id=team,
                generation=mark.generation,
                page=mark.page,
                chunk=0,
                cycle_id="c",
                read_at=here.clock() + timedelta(seconds=seconds),
                added=(ann,) if added else (),
                removed=() if added else (ann,),
            )
            await here.services.members.apply_slice(event)
        await here.pump()
        assert memberships(here, "Team") == (["ann@contoso.com"] if is_member else [])
