"""Cycles: chains of ``cycle-events`` that carry a delta query page by page, so that a cycle survives restarts and has no limit.

A page is processed in this order, which is what makes every crash harmless:

1. read the page that the watermark names,
2. queue its events (twice, if we die before 3: events may repeat),
3. move the watermark by compare-and-set under its own generation,
4. go on with the next page, or poke the next link of the chain.

A *full* round (the first, and after a restart, a changed selection or an expired token) queues complete snapshots and then
*settles*: when its events are processed, what waits for other objects is released in bulk, what the round did not name is
looked at again, and the groups may follow the users. An *incremental* round queues ids only.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shared.errors import ResyncRequiredError, RetryableError
from shared.events import (
    ChainAdvance,
    ChainPoke,
    MembersChanged,
    NestingChanged,
    ObjectsChanged,
    chunks,
    new_id,
)
from shared.graph.delta import delta_page
from shared.provisioning.page_events import KINDS, Reading, announcement, page_events
from shared.state.progress import round_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shared.events import Chain
    from shared.provisioning.services import Services
    from shared.state.joins import Join
    from shared.state.progress import Progress
    from shared.state.watermarks import Watermark

log = logging.getLogger("provisioning.cycles")

CHAINS: tuple[Chain, ...] = ("users", "groups")
#: Stands for a schema that is not the active one any more.
_EARLIER = "earlier"
#: How long one invocation goes on with the next page before it hands over to a message, in seconds.
_STRETCH = 60.0
#: A chain that has not moved for this long has died, in seconds.
_STALE = 60.0
#: How often a settling round looks whether its events are processed, in seconds: soon at first, for a small round is soon done.
_SETTLE_SOON, _SETTLE_AGAIN = 0.1, 1.0
#: A full round whose events make no progress for this long goes on without them, in seconds.
_SETTLE_PATIENCE = 900.0
#: A full round that ended incomplete is made again after this time, in seconds: what it took for granted that a complete one
#: would find is still to be found. The last of them for every further one.
_AGAIN = (300.0, 900.0, 3600.0, 4 * 3600.0, 12 * 3600.0, 24 * 3600.0)


class Cycles:
    """Start, carry and finish rounds."""

    def __init__(self, services: Services) -> None:
        self._services = services
        #: Round -> (chunks done, since when there are no more): how a settling round that stands still is noticed.
        self._settled: dict[str, tuple[int, datetime]] = {}
        #: The round that settles, and how often it was looked at.
        self._looks = ("", 0)

    async def tick(self) -> None:
        """The timer: start what is idle, pick up what has died, leave what runs."""
        for chain in CHAINS:
            mark = await self._services.watermarks.get(chain)
            if mark.phase != "idle":
                if self._is_stale(mark):
                    log.warning("the %s chain has not moved since %s: picked up", chain, mark.heartbeat)
                    await self._services.queues.send(ChainAdvance(chain=chain, generation=mark.generation, page=mark.page))
                continue
            await self._services.queues.send(ChainPoke(chain=chain))

    async def resume(self) -> None:
        """The job runs again: every chain goes on from where its watermark stands, without waiting to be taken for dead."""
        for chain in CHAINS:
            mark = await self._services.watermarks.get(chain)
            await self._services.queues.send(self._message(mark) if mark.phase != "idle" else ChainPoke(chain=chain))

    async def request_full(self, chains: Sequence[Chain] = CHAINS) -> None:
        """Ask for a full round of each chain; one that runs ends at its next page."""
        for chain in chains:
            while True:
                mark = await self._services.watermarks.get(chain)
                if await self._services.watermarks.move(mark, wants_full=True) is not None:
                    break
            await self._services.queues.send(ChainPoke(chain=chain, full=True))

    async def poke(self, event: ChainPoke) -> None:
        """Make sure that a round runs, or runs once more."""
        watermarks = self._services.watermarks
        while True:
            mark = await watermarks.get(event.chain)
            full = mark.wants_full or event.full or mark.selection != self._selection(event.chain) or self._owes_full(mark)
            if full and not await self._may_start_full(event.chain):
                return
            if mark.phase != "idle" and not (full and (mark.wants_full or not mark.full)):
                noted = await watermarks.move(mark, again=True, repeat=mark.repeat or event.repeat)
                if noted is None:
                    continue
                if self._is_stale(mark):
                    # Whoever carried it is dead; the wish may be his own message, come again.
                    await self._carry(noted)
                return
            started = await self._start(mark, full=full, repeat=event.repeat or mark.repeat)
            if started is not None:
                await self._carry(started)
                return

    async def advance(self, event: ChainAdvance) -> None:
        """Go on with a chain that stands where the message says; one that has moved on carries itself."""
        mark = await self._services.watermarks.get(event.chain)
        if mark.generation != event.generation or mark.phase == "idle":
            return
        if mark.page != event.page and not self._is_stale(mark):
            return
        await self._carry(mark)

    def _is_stale(self, mark: Watermark) -> bool:
        at = self._services.clock()
        return mark.heartbeat is None or at - mark.heartbeat > timedelta(seconds=_STALE)

    async def _may_start_full(self, chain: Chain) -> bool:
        """Users first: a membership or a manager is cheapest when the users are there. Only an order, nothing rests on it."""
        if chain == "users":
            return True
        users = await self._services.watermarks.get("users")
        if users.full_finished_at is None or users.wants_full:
            return False
        return not (users.phase != "idle" and users.full)

    def _owes_full(self, mark: Watermark) -> bool:
        """Whether there was no full round yet, or none since that was completed, and it is time for another try."""
        if mark.generation == 0:
            return True
        tries = mark.generation - mark.complete
        if mark.phase != "idle" or not tries or mark.full_finished_at is None:
            return False
        patience = timedelta(seconds=_AGAIN[min(tries, len(_AGAIN)) - 1])
        return self._services.clock() - mark.full_finished_at >= patience

    async def _start(self, mark: Watermark, *, full: bool, repeat: bool) -> Watermark | None:
        at = self._services.clock()
        if full:
            return await self._services.watermarks.move(
                mark,
                generation=mark.generation + 1,
                page=0,
                link="",
                phase="reading",
                full=True,
                wants_full=False,
                again=False,
                repeat=repeat,
                selection=self._selection(mark.chain),
                cycle_id=new_id(),
                started_at=at,
                heartbeat=at,
            )
        changes = {"phase": "reading", "full": False, "again": False, "repeat": repeat, "cycle_id": new_id()}
        return await self._services.watermarks.move(mark, **changes, started_at=at, heartbeat=at)

    async def _carry(self, mark: Watermark) -> None:
        """Process pages until the round is done, time is up, or somebody else has taken over."""
        until = self._services.clock() + timedelta(seconds=_STRETCH)
        current: Watermark | None = mark
        while current is not None and current.phase != "idle":
            if not (await self._services.jobs.get()).may_write:
                log.info("%s: the job does not run, the round waits at page %d", current.chain, current.page)
                return
            try:
                following = await (self._settle(current) if current.phase == "settling" else self._page(current))
            except ResyncRequiredError as error:
                log.warning("%s: Graph no longer knows the delta token, a full round follows (%s)", mark.chain, error.reason)
                following = await self._start(current, full=True, repeat=False)
            except RetryableError as error:
                await self._hold(current, error)
                return
            if following is not None and following.phase != "idle" and self._services.clock() > until:
                await self._services.queues.send(self._message(following))
                return
            current = following

    async def _hold(self, mark: Watermark, error: RetryableError) -> None:
        """Come back when the service wants us to; the heartbeat says that the chain lives."""
        delay = error.retry_after if error.retry_after is not None else 5.0
        log.warning("%s: page %d waits %.0f s: %s", mark.chain, mark.page, delay, error.reason)
        heartbeat = self._services.clock() + timedelta(seconds=delay)
        if await self._move(mark, heartbeat=heartbeat) is not None:
            await self._services.queues.send(self._message(mark), delay=delay)

    @staticmethod
    def _message(mark: Watermark) -> ChainAdvance:
        return ChainAdvance(chain=mark.chain, generation=mark.generation, page=mark.page)

    async def _page(self, mark: Watermark) -> Watermark | None:
        """Read one page, queue its events, move the watermark. None when the chain is no longer ours."""
        services = self._services
        if mark.page == 0 and mark.full and mark.chain == "users":
            await services.assigned.refresh()
        kind = KINDS[mark.chain]
        page = await delta_page(services.graph, kind, link=mark.link or None, select=self._select(mark.chain))
        events = page_events(page, self._reading(mark))
        if mark.full:
            announced = [entry for entry in map(announcement, events) if entry is not None]
            await services.progress.announce_page(round_key(mark.chain, mark.generation), f"{mark.page:08d}-", announced)
        await services.queues.send_all(event for event in events if not isinstance(event, NestingChanged))
        # What follows from nesting is read from Graph, and not before its replicas agree.
        nesting = [event for event in events if isinstance(event, NestingChanged)]
        await services.queues.send_all(nesting, delay=services.settings.graph.replication_grace)
        at = services.clock()
        if page.next_link:
            return await self._move(mark, page=mark.page + 1, link=page.next_link, heartbeat=at)
        log.info("%s: round of generation %d read, %d pages", mark.chain, mark.generation, mark.page + 1)
        if mark.full:
            changes = {"page": mark.page + 1, "link": page.delta_link, "phase": "settling", "heartbeat": at}
            return await self._move(mark, **changes)
        return await self._finish(mark, link=page.delta_link or mark.link)

    def _reading(self, mark: Watermark) -> Reading:
        services = self._services
        # A link asks for what was selected when its round began.
        schema = services.mappings.version if mark.selection == self._selection(mark.chain) else _EARLIER
        expands = frozenset(kind for kind in KINDS.values() if services.nesting.is_expanded(kind))
        return Reading(mark, services.clock(), schema, expands)

    async def _settle(self, mark: Watermark) -> Watermark | None:
        """Wait until the events of a full round are processed; then do what only a complete round allows."""
        services = self._services
        progress = await services.progress.sum(round_key(mark.chain, mark.generation))
        if not progress.is_settled:
            at = services.clock()
            still = at - self._still_since(mark, progress.chunks_done)
            if progress.is_ended or still >= timedelta(seconds=_SETTLE_PATIENCE):
                return await self._end_incomplete(mark, progress)
            await services.sleep(self._until_next_look(mark))
            return await self._move(mark, heartbeat=services.clock())
        await self._release_waiters(mark)
        await self._look_at_unseen(mark, progress.objects)
        finished = await self._finish(mark, link=mark.link, complete=mark.generation)
        if finished is not None and mark.chain == "users":
            await services.queues.send(ChainPoke(chain="groups"))
        return finished

    async def _end_incomplete(self, mark: Watermark, progress: Progress) -> Watermark | None:
        """Go on without what is not done. Nothing is taken away on the word of such a round; another one follows."""
        log.error(
            "%s: %d chunks of the full round are not processed, %d of them dead; the round ends incomplete, takes nothing away "
            "and is made again",
            mark.chain,
            progress.chunks - progress.chunks_done,
            progress.chunks_dead,
        )
        await self._release_waiters(mark)
        finished = await self._finish(mark, link=mark.link)
        if finished is not None and mark.chain == "users":
            await self._services.queues.send(ChainPoke(chain="groups"))
        return finished

    async def _move(self, mark: Watermark, **changes: Any) -> Watermark | None:
        """Move the watermark on from where we stood; None when somebody else has moved it on.

        A wish that was noted meanwhile (again, repeat, a full round) changes the row but not where the chain stands.
        """
        current = mark
        while True:
            moved = await self._services.watermarks.move(current, **changes)
            if moved is not None:
                return moved
            current = await self._services.watermarks.get(mark.chain)
            if (current.generation, current.page, current.phase) != (mark.generation, mark.page, mark.phase):
                return None

    def _until_next_look(self, mark: Watermark) -> float:
        key = round_key(mark.chain, mark.generation)
        looks = self._looks[1] if self._looks[0] == key else 0
        self._looks = (key, looks + 1)
        return min(_SETTLE_AGAIN, _SETTLE_SOON * (1 << min(looks, 8)))

    def _still_since(self, mark: Watermark, done: int) -> datetime:
        key = round_key(mark.chain, mark.generation)
        known = self._settled.get(key)
        if known is None or known[0] != done or self._is_stale(mark):
            # A round that stood still because the job did not run has its whole patience before it.
            known = self._settled[key] = (done, self._services.clock())
        return known[1]

    async def _finish(self, mark: Watermark, *, link: str, complete: int | None = None) -> Watermark | None:
        """End the round; start another one if something changed while it ran, or was asked for."""
        services = self._services
        at = services.clock()
        done = await self._move(
            mark,
            page=mark.page + 1,
            link=link,
            phase="idle",
            heartbeat=at,
            finished_at=at,
            full_finished_at=at if mark.full else mark.full_finished_at,
            complete=mark.complete if complete is None else complete,
        )
        if done is None:
            return None
        if done.wants_full and await self._may_start_full(mark.chain):
            return await self._start(done, full=True, repeat=done.repeat)
        if done.again:
            return await self._start(done, full=False, repeat=done.repeat)
        if done.repeat:
            await services.queues.send(ChainPoke(chain=mark.chain), delay=services.settings.graph.replication_grace)
            # Somebody who starts a round in between keeps the wish for himself: one round too many.
            return await services.watermarks.move(done, repeat=False) or done
        return done

    async def _release_waiters(self, mark: Watermark) -> None:
        """Look again at everything that waits for an object that is there by now, in bulk."""
        if mark.chain != "users":
            return
        services = self._services
        waiting = await services.escrows.waiting_for_objects()
        awaited = list(dict.fromkeys(escrow.awaited for escrow in waiting))
        there = {join.object_id for join in await services.joins.get_many("user", awaited) if join.is_linked}
        await services.waiting.release([escrow for escrow in waiting if escrow.awaited in there], cycle_id=mark.cycle_id)

    async def _look_at_unseen(self, mark: Watermark, named: int) -> None:
        """What a complete round did not name may be gone: ask Graph about each, take nothing away on absence alone."""
        services = self._services
        kind = KINDS[mark.chain]
        unseen: list[str] = []
        members: dict[str, list[str]] = {}
        async for join in services.joins.scan(kind):
            if join.generation < mark.generation and not _was_there(join, mark):
                unseen.append(join.object_id)
            elif kind == "group":
                found = await services.memberships.unseen(join.object_id, mark.generation)
                members[join.object_id] = [membership.user_id for membership in found]
        # Only now, at the end of a complete round, is it known how much it takes away: all of that, or nothing.
        unseen = await services.guard.hold_absent(kind, unseen, mark.generation)
        members = await services.guard.hold_absent_members(members, mark.generation, mark.page, named=named)
        for group_id, users in members.items():
            await self._drop_unseen_members(mark, group_id, users)
        events = [
            ObjectsChanged(kind=kind, ids=tuple(part), reason="absent", occurred_at=services.clock(), cycle_id=mark.cycle_id)
            for part in chunks(unseen)
        ]
        await services.queues.send_all(events)

    async def _drop_unseen_members(self, mark: Watermark, group_id: str, unseen: list[str]) -> None:
        services = self._services
        events = [
            MembersChanged(
                group_id=group_id,
                generation=mark.generation,
                page=mark.page,
                chunk=number,
                cycle_id=mark.cycle_id,
                read_at=services.clock(),
                added=(),
                removed=tuple(part),
                absent=True,
            )
            for number, part in enumerate(chunks(unseen))
        ]
        await services.queues.send_all(events)

    def _select(self, chain: Chain) -> tuple[str, ...]:
        mapping = self._services.mapping(KINDS[chain])
        return mapping.select if mapping is not None else ("id",)

    def _selection(self, chain: Chain) -> str:
        """A hash of what the delta query asks for, and of the mapping: another one needs a full round."""
        text = "|".join((self._services.mappings.version, *sorted(self._select(chain))))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _was_there(join: Join, mark: Watermark) -> bool:
    """Whether the object was read by itself since the round began, and was there.

    Somebody who comes into scope after the round has passed him by is provisioned by another event, and is not absent.
    """
    return join.present_at is not None and mark.started_at is not None and join.present_at >= mark.started_at
