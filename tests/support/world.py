"""A tenant, an instance and the engine in one process, with Azurite between: the queues are pumped by hand.

The pump does what the queue triggers do: take visible messages, hand them to the dispatcher, delete them. It ends when the
queues are empty, messages that are delayed included, or when a condition holds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import TextBase64DecodePolicy
from azure.storage.queue.aio import QueueServiceClient

from sandbox.instance import InstanceConfig, InstanceServer, seed_references
from sandbox.instance.access import SYSTEM
from sandbox.people import COMPANIES, COST_CENTERS, DEPARTMENTS, LOCATIONS
from sandbox.tenant import TenantConfig, TenantServer
from shared.events import CYCLE_EVENTS, GROUP_EVENTS, QUEUES, USER_EVENTS
from shared.provisioning.services import Services
from shared.settings import Settings, load_settings
from shared.state.tables import TABLES, Operation
from tests.support.clock import Clock
from tests.support.held_queues import HeldQueues

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import httpx

    from sandbox.tenant.delta import DeltaTokens
    from shared.schema.mapping import Mappings
    from shared.state.tables import Tables

STATE = "a-secret-of-the-tests"


def settings_for(storage: str, tenant: TenantServer, instance: InstanceServer, **extra: str) -> Settings:
    """The contract's settings for the local servers."""
    environment = {
        "AzureWebJobsStorage": storage,
        "GRAPH_BASE_URL": tenant.url,
        "GRAPH_ACCESS_TOKEN": "sandbox",
        "GRAPH_REPLICATION_GRACE": "0",
        "SERVICENOW_INSTANCE_URL": instance.url,
        "SERVICENOW_AUTH": "basic",
        "SERVICENOW_USERNAME": "entra.provisioning",
        "SERVICENOW_PASSWORD": "provisioning",
        **extra,
    }
    return load_settings(environment)


@dataclass(slots=True)
class World:
    """Both sides and the engine between them."""

    tenant: TenantServer
    instance: InstanceServer
    services: Services
    queues: QueueServiceClient
    held: HeldQueues
    clock: Clock
    #: How often each message is delivered.
    deliveries: int = 1

    async def pump(self, until: Callable[[], bool] | None = None, *, seconds: float = 60.0, patience: float = 20.0) -> int:
        """Process messages until the queues are empty (or ``until`` holds); returns how many. Fails after ``seconds``.

        When nothing else is left, the clock is put forward to the next message that is due within ``patience`` seconds;
        later ones are left in their queue.
        """
        handled = 0
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        running: dict[str, asyncio.Task[int]] = {}
        #: Queues in which nothing was found since anything was handled: asking them again and again would wait for the
        #: moment in which all answer at once.
        empty: set[str] = set()
        try:
            while until is None or not until():
                if await self.held.release():
                    empty.clear()
                for queue in set(QUEUES) - empty - running.keys():
                    running[queue] = loop.create_task(self._take(queue))
                if running:
                    done, _ = await asyncio.wait(running.values(), timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
                    for queue in [queue for queue, task in running.items() if task in done]:
                        taken = running.pop(queue).result()
                        handled += taken
                        empty = set() if taken else empty | {queue}
                assert loop.time() < deadline, f"the queues are not empty after {seconds} s: {self.held.held}"
                if running.keys() - {CYCLE_EVENTS} or not empty >= {USER_EVENTS, GROUP_EVENTS}:
                    continue
                if await self.held.visible((USER_EVENTS, GROUP_EVENTS)) or self._jump(patience):
                    empty.clear()
                elif not running and not await self.held.visible(QUEUES):
                    return handled
                elif not running:
                    empty.clear()
            return handled
        finally:
            await asyncio.gather(*running.values(), return_exceptions=True)

    def _jump(self, patience: float) -> bool:
        """Put the clock forward to the next message that is due soon; False when there is none."""
        due = self.held.next_due
        if due is None or (due - self.clock()).total_seconds() > patience:
            return False
        self.clock.advance_to(due)
        return True

    async def _take(self, queue: str) -> int:
        client = self.queues.get_queue_client(queue, message_decode_policy=TextBase64DecodePolicy())
        try:
            messages = [m async for m in client.receive_messages(max_messages=16, visibility_timeout=120)]
        except ResourceNotFoundError:
            return 0

        async def one(message: Any) -> None:
            for _ in range(self.deliveries):
                await self.services.dispatcher.handle(queue, message.content)
            await client.delete_message(message)

        await asyncio.gather(*(one(message) for message in messages))
        return len(messages)

    async def later(self, seconds: float) -> None:
        """Let time pass, and process what was due by then and what follows from it."""
        self.clock.advance(seconds)
        await self.pump(patience=seconds)

    async def cycle(self) -> None:
        """One tick of the timer and everything that follows from it."""
        await self.services.operations.tick()
        await self.pump()

    def rows(self, table: str) -> dict[str, dict[str, str]]:
        """A table's rows by sys_id, as stored."""
        return {row["sys_id"]: defaultdict(str, row) for row in self.instance.instance.table(table).rows()}

    def insert(self, table: str, **values: str) -> str:
        """A record made by hand in ServiceNow; returns its sys_id."""
        return str(self.instance.instance.insert(table, values, SYSTEM)["sys_id"])

    @property
    def api_tokens(self) -> DeltaTokens:
        """The tenant's delta tokens, to make them expire or be forgotten."""
        return self.tenant.api._services.delta_tokens

    def requests(self) -> int:
        """HTTP requests that ServiceNow has received."""
        return sum(self.instance.service.counters.http.values())

    async def log_of(self, object_id: str) -> list[dict[str, Any]]:
        """The provisioning log's entries of one object, newest first."""
        answer = await self.services.operations.logs(condition=f"sourceIdentity/id eq '{object_id}'", top="", token="")
        entries: list[dict[str, Any]] = answer["value"]
        return entries

    async def ended(self, object_id: str) -> tuple[str, str]:
        """How the newest entry of an object ended: its status and error code (empty without one)."""
        entries = await self.log_of(object_id)
        assert entries, f"the provisioning log says nothing about {object_id}"
        status = entries[0]["provisioningStatusInfo"]
        return status["status"], (status["errorInformation"] or {}).get("errorCode", "")

    def user(self, user_name: str) -> dict[str, str] | None:
        found = [row for row in self.rows("sys_user").values() if row.get("user_name", "").casefold() == user_name.casefold()]
        assert len(found) <= 1, f"{len(found)} users are called {user_name}"
        return found[0] if found else None


@contextlib.asynccontextmanager
async def world(
    storage: str,
    *,
    users: int = 0,
    groups: int = 0,
    tenant: TenantConfig | None = None,
    instance: InstanceConfig | None = None,
    mappings: Mappings | None = None,
    tables: Tables | None = None,
    servicenow_transport: httpx.AsyncBaseTransport | None = None,
    **extra: str,
) -> AsyncIterator[World]:
    """Start both servers on free ports and the engine on fresh storage, under a clock that a test can put forward."""
    config = replace(tenant or TenantConfig(), users=users, groups=groups)
    async with TenantServer(config, port=0) as source, InstanceServer(instance or InstanceConfig(), port=0) as target:
        seed_references(
            target.instance, departments=DEPARTMENTS, locations=LOCATIONS, companies=COMPANIES, cost_centers=COST_CENTERS
        )
        clock = Clock()
        held = HeldQueues(QueueServiceClient.from_connection_string(storage), clock)
        settings = settings_for(storage, source, target, **extra)
        services = Services(
            settings, tables=tables, queues=held, servicenow_transport=servicenow_transport, mappings=mappings, clock=clock
        )
        queues = QueueServiceClient.from_connection_string(storage)
        try:
            await _wipe(services, queues)
            yield World(source, target, services, queues, held, clock)
        finally:
            await services.aclose()
            await queues.close()


@contextlib.asynccontextmanager
async def another_worker(here: World, storage: str, **extra: str) -> AsyncIterator[World]:
    """A second worker with other settings on the same storage, tenant, instance and clock; nothing is wiped."""
    settings = settings_for(storage, here.tenant, here.instance, **extra)
    services = Services(settings, queues=here.held, mappings=here.services.mappings, clock=here.clock)
    try:
        yield replace(here, services=services)
    finally:
        await services.aclose()


async def _wipe(services: Services, queues: QueueServiceClient) -> None:
    """Empty the storage that an earlier test used."""
    for queue in QUEUES:
        with contextlib.suppress(ResourceNotFoundError):
            await queues.get_queue_client(queue).clear_messages()

    async def empty(table: str) -> None:
        rows = await services.tables.query(table, select=["PartitionKey"])
        await services.tables.apply(table, [Operation("delete", row) for row in rows])

    await asyncio.gather(*(empty(table) for table in TABLES))
