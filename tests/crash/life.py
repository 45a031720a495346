"""Both sides and storage, which last, and the processes that live and die between them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Self, override

from sandbox.agreement import Agreement, compare
from sandbox.chaos.looking import directory_of, records_of
from sandbox.chaos.memory import MemoryQueues, MemoryTables
from sandbox.chaos.oneprocess import JumpingClock, Pauses, pump
from sandbox.chaos.witness import Witness
from sandbox.instance import InstanceServer, seed_references
from sandbox.instance.access import SYSTEM
from sandbox.people import COMPANIES, COST_CENTERS, DEPARTMENTS, LOCATIONS
from sandbox.tenant import Kind, State, Tenant, TenantConfig, TenantServer
from shared.errors import RetryableError
from shared.provisioning.services import Services
from tests.crash.knife import Crash, CutQueues, CutTables, CutTransport, Knife
from tests.support.world import settings_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from sandbox.chaos.witness import Deed
    from sandbox.sides import Directory
    from shared.events import Event
    from tests.crash.knife import Stop

#: How far the clock is put forward after a crash, in seconds: beyond every lease.
_BEYOND_LEASES = 200.0


class _Tables(MemoryTables):
    """Storage that knows how much the app had written to ServiceNow at each entry of the provisioning log."""

    def __init__(self, deeds: Sequence[Deed]) -> None:
        super().__init__()
        self._deeds = deeds
        self.entries: list[tuple[int, str]] = []

    @override
    async def _put(self, table: str, verb: str, row: Mapping[str, Any], etag: str) -> str:
        version = await super()._put(table, verb, row, etag)
        if table == "log":
            self.entries.append((len(self._deeds), str(row["document_0"])))
        return version


class Scene:
    """``async with Scene() as scene``: an empty tenant, an instance with reference records, empty storage, no process yet."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self._settings = {"SERVICENOW_MAX_CONCURRENCY": "2", **(settings or {})}
        self.clock = JumpingClock()
        self.witness = Witness()
        self.tables = _Tables(self.witness.deeds)
        self.queues = MemoryQueues(self.clock)
        self.enabled: set[str] = set()
        #: Object ids of the people and groups that the present case is about, by the names that it gives them.
        self.ids: dict[str, str] = {}
        self.case = 0
        self._deeds = 0
        self._overlooked: set[str] = set()
        self._recorded: set[str] = set()
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            config = TenantConfig(throttling=False)
            self.source = await stack.enter_async_context(TenantServer(config))
            self.target = await stack.enter_async_context(InstanceServer(instance=self.witness))
            seed_references(
                self.target.instance,
                departments=DEPARTMENTS,
                locations=LOCATIONS,
                companies=COMPANIES,
                cost_centers=COST_CENTERS,
            )
            # No instance is without groups, and a table without any row proves nothing.
            self.insert("sys_user_group", name="Network")
            self._before = records_of(self.target.instance)
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
        self._overlooked = set()
        self.ids = {}
        self._deeds = len(self.witness.deeds)

    def name(self, name: str) -> str:
        """A name that only this case uses."""
        return f"{name}{self.case}"

    def insert(self, table: str, **values: str) -> None:
        """A record made by hand in ServiceNow."""
        self.target.instance.insert(table, values, SYSTEM)

    def remove(self, user_name: str) -> None:
        """A record deleted by hand in ServiceNow, and with it what refers to it."""
        (sys_id,) = self.target.instance.table("sys_user").matches("user_name", user_name)
        self.target.instance.delete("sys_user", sys_id, SYSTEM)

    def overwrite(self, user_name: str, **values: str) -> None:
        """A record edited by hand in ServiceNow."""
        (sys_id,) = self.target.instance.table("sys_user").matches("user_name", user_name)
        self.target.instance.update("sys_user", sys_id, values, SYSTEM)

    async def hear(self, events: Iterable[Event]) -> None:
        """Messages that are in the queues before the next process starts."""
        await self.queues.send_all(events)

    async def live(self, knife: Knife, work: Callable[[Services], Awaitable[object]] | None = None) -> bool:
        """One process: ``work``, then messages until none is due; False if it was cut short."""
        self.directory()
        pauses = Pauses(self.clock)
        services = Services(
            settings_for("UseDevelopmentStorage=true", self.source, self.target, **self._settings),
            tables=CutTables(knife, self.tables),
            queues=CutQueues(knife, self.queues),
            graph_transport=CutTransport(knife, "graph"),
            servicenow_transport=CutTransport(knife, "servicenow"),
            clock=self.clock,
            sleep=pauses,
        )
        try:
            if work is not None:
                try:
                    await work(services)
                except RetryableError:
                    # The timer fires again, the operator asks again.
                    await work(services)
            await pump(services, self.queues, self.clock, pauses)
            await services.aclose()
            self._with_record()
        except Crash:
            return False
        else:
            return True
        finally:
            knife.dead = True
            await _bury(services)

    async def recover(self, knife: Knife, work: Callable[[Services], Awaitable[object]] | None = None) -> None:
        """The next process, after every lease of the one that died has ended."""
        self.clock.advance(_BEYOND_LEASES)
        assert await self.live(knife, work)

    async def stop(self, knife: Stop, work: Callable[[Services], Awaitable[object]] | None = None) -> asyncio.Task[bool]:
        """A process that is stopped where the knife says, beyond every lease; its life goes on when the knife does."""
        life = asyncio.create_task(self.live(knife, work))
        stopped = asyncio.create_task(knife.stopped.wait())
        await asyncio.wait({life, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        return life

    def directory(self) -> Directory:
        """The tenant as it is, without asking Graph."""
        scope = self._in_scope()
        self.enabled |= {
            one.id
            for one in self.tenant.order[Kind.USER]
            if one.state is State.LIVE and one.properties["accountEnabled"] and (scope is None or one.id in scope)
        }
        return directory_of(self.tenant, in_scope=scope)

    def _in_scope(self) -> set[str] | None:
        """Who is assigned, directly or through a group; None if everybody is in scope."""
        if self._settings.get("PROVISIONING_SCOPE") != "assigned":
            return None
        assigned = self.tenant.assignments.to_resource(self.tenant.config.service_principal_id)
        direct = {made["principalId"] for made in assigned}
        groups = [one for one in self.tenant.order[Kind.GROUP] if one.id in direct]
        return direct.union(*(one.members for one in groups))

    def overlook(self) -> None:
        """Whoever has no record by now need not have been seen, if he changes before the app looks again."""
        self._overlooked = {one.id for one in self.tenant.order[Kind.USER]} - self._with_record()

    def look_again(self) -> None:
        """Whoever was created too late, by a process that knew no better, is there all the same, and is to end as what he is."""
        self._overlooked -= self._with_record()

    def _with_record(self) -> set[str]:
        """Whoever has a record now, or had one at the end of an earlier life."""
        names = {row["user_name"].casefold() for row in records_of(self.target.instance).users.values()}
        users = self.tenant.order[Kind.USER]
        self._recorded |= {one.id for one in users if str(one.properties["userPrincipalName"]).casefold() in names}
        return self._recorded

    def agreement(self) -> Agreement:
        return compare(
            self.directory(), records_of(self.target.instance), provisioned=self.enabled - self._overlooked, before=self._before
        )

    def unsettled(self) -> list[str]:
        """What should not be left when everything is processed: messages, intents, doubts, retries."""
        left = [f"message {message.text}" for message in self.queues.messages]
        for table in ("joins", "memberships"):
            for row in self.tables.rows_written(table):
                # A doubt about a record that is gone has nothing to be compared with; a lease without an intent merely ends.
                names = ("intent", *(["dirty"] if row.get("sys_id") else []))
                left += [f"{table} {row['RowKey']}: {name}" for name in names if row.get(name)]
        left += [f"escrow {row['RowKey']}: {row['reason']}" for row in self.tables.rows_written("escrows")]
        return left

    def unlogged(self) -> list[str]:
        """Records of which no entry of the provisioning log speaks that was written after the app's last write to them."""
        last: dict[tuple[str, str], int] = {}
        for number, deed in enumerate(self.witness.deeds[self._deeds :], self._deeds + 1):
            # Memberships are told of with their group.
            record = (deed.after or deed.before)["group"] if deed.table == "sys_user_grmember" else deed.sys_id
            last[deed.table, record] = number
        return [
            f"the last write of {table} {record} is in no log"
            for (table, record), number in sorted(last.items())
            if not any(number <= written and record in text for written, text in self.tables.entries)
        ]


async def _bury(services: Services) -> None:
    """Let go of what a dead process held in this one."""
    tasks = list(services._gate._tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await services.servicenow.aclose()
    await services.graph.aclose()
