"""A full round of which something could not be processed: nothing is taken away on its word, nothing waits for it for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.errors import UnavailableError
from shared.events import MembersChanged, ObjectsSnapshot, decode
from shared.state.progress import round_key
from tests.support.people import hire, memberships, record_of
from tests.support.world import world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shared.events import Event
    from tests.support.world import World


@pytest.fixture
def give_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[World, type[Event]], None]]:
    """Let the host give up on every message of a kind: what it moves to the poison queue is buried at once."""

    def of_kind(here: World, kind: type[Event]) -> None:
        handle = here.services.dispatcher.handle

        async def bury_or_handle(queue: str, text: str) -> None:
            if isinstance(decode(text), kind):
                await here.services.dead_messages.bury(queue, text)
            else:
                await handle(queue, text)

        monkeypatch.setattr(here.services.dispatcher, "handle", bury_or_handle)

    yield of_kind
    monkeypatch.undo()


async def test_groups_are_provisioned_though_a_chunk_of_the_first_round_of_users_is_dead(
    storage: str, give_up: Callable[[World, type[Event]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(storage) as here:
        ann = hire(here, "ann")
        here.tenant.tenant.create_group("Team", members=[ann])
        give_up(here, ObjectsSnapshot)
        await here.cycle()
        users, groups = [await here.services.watermarks.get(chain) for chain in ("users", "groups")]
        assert (users.phase, users.generation, users.complete) == ("idle", 1, 0)
        assert groups.generation == 1
        monkeypatch.undo()

        await here.cycle()
        assert (await here.services.watermarks.get("users")).generation == 1, "made again at once"
        await here.later(300)
        await here.cycle()
        await here.later(300)
        users = await here.services.watermarks.get("users")
        assert users.complete == users.generation == 2
        assert record_of(here, "ann")["active"] == "true"
        assert memberships(here, "Team") == ["ann@contoso.com"]


async def test_what_an_incomplete_round_could_not_find_is_found_by_the_next_one(
    storage: str, give_up: Callable[[World, type[Event]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(storage) as here:
        ann, ben = hire(here, "ann"), hire(here, "ben")
        team = here.tenant.tenant.create_group("Team", members=[ann, ben])
        await here.cycle()
        here.tenant.tenant.remove_members(team, [ann])
        here.api_tokens.reset()
        give_up(here, MembersChanged)
        await here.cycle()
        groups = await here.services.watermarks.get("groups")
        assert (groups.phase, groups.generation, groups.complete) == ("idle", 2, 1)
        assert memberships(here, "Team") == ["ann@contoso.com", "ben@contoso.com"], "taken away too early"
        monkeypatch.undo()

        await here.later(300)
        await here.cycle()
        groups = await here.services.watermarks.get("groups")
        assert groups.complete == groups.generation == 3
        assert memberships(here, "Team") == ["ben@contoso.com"]


async def test_the_times_between_the_tries_grow(storage: str, give_up: Callable[[World, type[Event]], None]) -> None:
    async with world(storage) as here:
        hire(here, "ann")
        give_up(here, ObjectsSnapshot)
        await here.cycle()
        generations = []
        for _ in range(12):
            here.clock.advance(300)
            await here.cycle()
            generations.append((await here.services.watermarks.get("users")).generation)
        assert generations == [2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3]


async def test_a_worker_that_dies_before_it_queues_what_it_leaves_lets_no_round_wait_for_it(storage: str) -> None:
    async with world(storage) as here:
        ann, ben = hire(here, "ann"), hire(here, "ben")
        team = here.tenant.tenant.create_group("Team", members=[ann, ben])
        await here.cycle()
        mark = await here.services.watermarks.get("groups")
        event = MembersChanged(
            group_id=team, generation=mark.generation + 1, page=0, chunk=0, cycle_id="c", read_at=here.clock(),
            added=(ann, ben), removed=(), full=True,
        )  # fmt: skip
        progress, key = here.services.progress, round_key("groups", mark.generation + 1)
        rows = await here.services.memberships.of_slice(team, [ann])
        ((_, taken),) = await here.services.memberships.take(rows, "somebody else")
        assert taken.lease is not None

        here.held.refuses = lambda _queue, _text: True
        with pytest.raises(UnavailableError):
            await here.services.members.apply_slice(event)
        assert (await progress.sum(key)).chunks == 0, "a round would wait for what was never queued"

        here.held.refuses = lambda _queue, _text: False
        await here.services.members.apply_slice(event)
        found = await progress.sum(key)
        assert (found.chunks, found.chunks_done) == (2, 1)
        await here.later(200)
        assert (await progress.sum(key)).is_settled
