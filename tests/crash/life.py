"""Both sides and storage, which last, and the processes that live and die between them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Self

from sandbox.agreement import Agreement, compare
from sandbox.chaos.memory import MemoryQueues, MemoryTables, Message
from sandbox.instance import InstanceServer, seed_references
from sandbox.instance.access import SYSTEM
from sandbox.people import COMPANIES, COST_CENTERS, DEPARTMENTS, LOCATIONS
from sandbox.sides import REFERENCE_TABLES, Directory, Records
from sandbox.tenant import Kind, State, Tenant, TenantConfig, TenantServer
from shared.events import CYCLE_EVENTS, Event
from shared.provisioning.services import Services
from tests.crash.knife import Crash, CutQueues, CutTables, CutTransport, Knife
from tests.support.clock import Clock
from tests.support.world import settings_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from sandbox.tenant.objects import DirectoryObject

#: How far the clock is put forward after a crash, in seconds: beyond every lease.
_BEYOND_LEASES = 200.0
#: Messages that are due within this time are waited for, in seconds: the comparison a minute after a takeover is among them.
_PATIENCE = 400.0
_MOST_MESSAGES = 1000
#: How long a message of a chain may take before others go on beside it, in seconds.
_BESIDE = 0.3
_ACCOUNT = "entra.provisioning"


class Scene:
    """``async with Scene() as scene``: an empty tenant, an instance with reference records, empty storage, no process yet."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.tables = MemoryTables()
        self.queues = MemoryQueues(self.clock)
        self.enabled: set[str] = set()
        #: Object ids of the people and groups that the present case is about, by the names that it gives them.
        self.ids: dict[str, str] = {}
        self.case = 0
        self._commits = 0
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            config = TenantConfig(throttling=False)
            self.source = await stack.enter_async_context(TenantServer(config))
            self.target = await stack.enter_async_context(InstanceServer())
            seed_references(
                self.target.instance,
                departments=DEPARTMENTS,
                locations=LOCATIONS,
                companies=COMPANIES,
                cost_centers=COST_CENTERS,
            )
            self._before = self.records()
            assert await self.live(Knife(), lambda services: services.operations.tick())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def tenant(self) -> Tenant:
        """The directory, to change it."""
        return self.source.tenant

    def begin_case(self) -> None:
        """Another case with people of its own: what earlier ones left is no concern of its."""
        self.case += 1
        self.ids = {}
        self._commits = self.target.instance.commits.last

    def name(self, name: str) -> str:
        """A name that only this case uses."""
        return f"{name}{self.case}"

    def insert(self, table: str, **values: str) -> None:
        """A record made by hand in ServiceNow."""
        self.target.instance.insert(table, values, SYSTEM)

    async def hear(self, events: Iterable[Event]) -> None:
        """Messages that are in the queues before the next process starts."""
        await self.queues.send_all(events)

    async def live(self, knife: Knife, work: Callable[[Services], Awaitable[None]] | None = None) -> bool:
        """One process: ``work``, then messages until none is due; False if it was cut short."""
        self.directory()
        services = Services(
            settings_for("UseDevelopmentStorage=true", self.source, self.target, SERVICENOW_MAX_CONCURRENCY="2"),
            tables=CutTables(knife, self.tables),
            queues=CutQueues(knife, self.queues),
            graph_transport=CutTransport(knife, "graph"),
            servicenow_transport=CutTransport(knife, "servicenow"),
            clock=self.clock,
        )
        try:
            if work is not None:
                await work(services)
            await self._pump(services)
            await services.aclose()
        except Crash:
            return False
        else:
            return True
        finally:
            knife.dead = True
            await _bury(services)

    async def recover(self, work: Callable[[Services], Awaitable[None]] | None = None) -> None:
        """The next process, after every lease of the one that died has ended."""
        self.clock.advance(_BEYOND_LEASES)
        assert await self.live(Knife(), work)

    async def _pump(self, services: Services) -> None:
        """One message after another. A chain that waits for the messages that it has sent goes on beside them."""
        beside: set[asyncio.Task[None]] = set()
        for _ in range(_MOST_MESSAGES):
            message = self.queues.take(without={task.get_name() for task in beside})
            if message is not None:
                handling = asyncio.create_task(self._handle(services, message), name=message.queue)
                done, _ = await asyncio.wait({handling}, timeout=_BESIDE if message.queue == CYCLE_EVENTS else None)
                if handling not in done:
                    beside.add(handling)
                    continue
                await handling
            elif beside:
                done, beside = await asyncio.wait(beside, timeout=_BESIDE)
                for handled in done:
                    await handled
            else:
                due = self.queues.next_due
                if due is None or (due - self.clock()).total_seconds() > _PATIENCE:
                    return
                self.clock.advance_to(due)
        raise AssertionError(f"there is no end of messages: {self.queues.messages}")

    async def _handle(self, services: Services, message: Message) -> None:
        await services.dispatcher.handle(message.queue, message.text)
        self.queues.done(message)

    def directory(self) -> Directory:
        """The tenant as it is, without asking Graph."""
        self.enabled |= {one.id for one in self._objects(Kind.USER, State.LIVE) if one.properties["accountEnabled"]}
        live_users = frozenset(one.id for one in self._objects(Kind.USER, State.LIVE))
        return Directory(
            users=tuple(map(_as_json, self._objects(Kind.USER, State.LIVE))),
            deleted_users=tuple(map(_deleted_as_json, self._objects(Kind.USER, State.DELETED))),
            groups=tuple(map(_as_json, self._objects(Kind.GROUP, State.LIVE))),
            deleted_groups=tuple(map(_as_json, self._objects(Kind.GROUP, State.DELETED))),
            members={one.id: live_users & one.members.keys() for one in self._objects(Kind.GROUP, State.LIVE)},
        )

    def records(self) -> Records:
        """The instance as it is, without asking it."""
        instance = self.target.instance

        def rows(table: str) -> dict[str, dict[str, str]]:
            columns = dict.fromkeys(instance.table(table).columns, "")
            return {row["sys_id"]: columns | row for row in instance.table(table).rows()}

        return Records(
            users=rows("sys_user"),
            groups=rows("sys_user_group"),
            memberships=rows("sys_user_grmember"),
            names={table: {key: row["name"] for key, row in rows(table).items()} for table in REFERENCE_TABLES},
            lengths={},
        )

    def agreement(self) -> Agreement:
        return compare(self.directory(), self.records(), provisioned=self.enabled, before=self._before)

    def unsettled(self) -> list[str]:
        """What should not be left when everything is processed: messages, leases, intents, doubts, retries."""
        left = [f"message {message.text}" for message in self.queues.messages]
        for table in ("joins", "memberships"):
            for row in self.tables.rows_written(table):
                left += [f"{table} {row['RowKey']}: {name}" for name in ("lease_holder", "intent", "dirty") if row.get(name)]
        left += [f"escrow {row['RowKey']}: {row['reason']}" for row in self.tables.rows_written("escrows")]
        return left

    def unlogged(self) -> list[str]:
        """Records that the app wrote and that no entry of the provisioning log names."""
        text = "".join(str(row["document_0"]) for row in self.tables.rows_written("log"))
        written = {
            (commit.table, commit.sys_id)
            for commit in self.target.instance.commits.since(self._commits)
            if commit.by == _ACCOUNT and commit.table != "sys_user_grmember"
        }
        return [f"{table} {sys_id}" for table, sys_id in sorted(written) if sys_id not in text]

    def _objects(self, kind: Kind, state: State) -> list[DirectoryObject]:
        return [one for one in self.source.tenant.order[kind] if one.state is state]


async def _bury(services: Services) -> None:
    """Let go of what a dead process held in this one."""
    tasks = list(services._gate._tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await services.servicenow.aclose()
    await services.graph.aclose()


def _as_json(one: DirectoryObject) -> dict[str, Any]:
    manager = {"manager": {"id": one.manager_id}} if one.manager_id else {}
    return {"id": one.id, **one.properties, **manager}


def _deleted_as_json(one: DirectoryObject) -> dict[str, Any]:
    """Graph puts the object id before the name of a deleted user."""
    name = f"{one.id.replace('-', '')}{one.properties['userPrincipalName']}"
    return {**_as_json(one), "userPrincipalName": name}
