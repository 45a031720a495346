"""Graph's replicas may be behind: a read inside the grace decides nothing for good, and is repeated once after it."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.events import ObjectsChanged
from tests.support.people import hire, memberships, record_of
from tests.support.world import world

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.world import World

GRACE = 10.0


class Behind(random.Random):
    """Chance as it would be if every replica showed the directory as it was at one moment."""

    def __init__(self, clock: Callable[[], float], moment: float) -> None:
        super().__init__(0)
        self._clock = clock
        self._moment = moment

    def uniform(self, a: float, b: float) -> float:
        del a, b
        return self._clock() - self._moment


def _freeze(here: World) -> None:
    """From here on, Graph's reads show the directory as it is now."""
    tenant = here.tenant.tenant
    tenant.rng = Behind(tenant.clock, tenant.clock())
    tenant.faults = tenant.faults.merged({"lag_seconds": 3600.0})


def _thaw(here: World) -> None:
    here.tenant.tenant.faults = here.tenant.tenant.faults.merged({"lag_seconds": 0.0})


async def _notify(here: World, *ids: str) -> None:
    event = ObjectsChanged(kind="user", ids=ids, reason="notification", occurred_at=here.clock())
    await here.services.queues.send(event)
    await here.pump(patience=1)


async def test_a_change_that_the_replica_does_not_show_yet_is_seen_after_the_grace(storage: str) -> None:
    async with world(storage, GRAPH_REPLICATION_GRACE=str(GRACE)) as here:
        ann = hire(here, "ann", jobTitle="one")
        await here.cycle()
        _freeze(here)
        here.tenant.tenant.update(ann, {"jobTitle": "two"})
        await _notify(here, ann)
        assert record_of(here, "ann")["title"] == "one"
        _thaw(here)
        await here.later(GRACE + 2)
        assert record_of(here, "ann")["title"] == "two"


async def test_a_hire_whom_the_replica_does_not_know_yet_comes_after_the_grace(storage: str) -> None:
    async with world(storage, GRAPH_REPLICATION_GRACE=str(GRACE)) as here:
        await here.cycle()
        _freeze(here)
        ann = hire(here, "ann")
        await _notify(here, ann)
        assert here.user("ann@contoso.com") is None
        assert await here.ended(ann) == ("skipped", "NotFound")
        _thaw(here)
        await here.later(GRACE + 2)
        assert record_of(here, "ann")["active"] == "true"


async def test_a_read_inside_the_grace_that_showed_the_change_costs_one_more_read_and_no_request(storage: str) -> None:
    async with world(storage, GRAPH_REPLICATION_GRACE=str(GRACE)) as here:
        ann = hire(here, "ann", jobTitle="one")
        await here.cycle()
        here.tenant.tenant.update(ann, {"jobTitle": "two"})
        await _notify(here, ann)
        assert record_of(here, "ann")["title"] == "two"
        requests = here.requests()
        await here.later(GRACE + 2)
        read_at = (await here.services.joins.get("user", ann)).read_at
        assert here.requests() == requests
        assert read_at is not None
        assert here.clock() - read_at < timedelta(seconds=GRACE)


async def test_a_restored_user_whom_the_replica_still_misses_gets_his_memberships_back(storage: str) -> None:
    async with world(storage, GRAPH_REPLICATION_GRACE=str(GRACE)) as here:
        ann = hire(here, "ann")
        here.tenant.tenant.create_group("Team", members=[ann])
        await here.cycle()
        here.tenant.tenant.delete(ann)
        await here.cycle()
        await here.later(GRACE + 2)
        assert memberships(here, "Team") == []
        _freeze(here)
        here.tenant.tenant.restore(ann)
        await _notify(here, ann)
        assert memberships(here, "Team") == []
        _thaw(here)
        await here.later(GRACE + 2)
        await here.later(GRACE + 2)
        assert record_of(here, "ann")["active"] == "true"
        assert memberships(here, "Team") == ["ann@contoso.com"]
