"""The app as the host runs it: host processes on storage, with a tenant and an instance in this process."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import aiohttp

from sandbox.host.process import HostProcess
from sandbox.instance import InstanceConfig, InstanceServer, seed_references
from sandbox.people import COMPANIES, COST_CENTERS, DEPARTMENTS, LOCATIONS
from sandbox.processes import REPOSITORY, free_port
from sandbox.tenant import TenantConfig, TenantServer
from sandbox.up import sandbox_settings
from shared.events import QUEUES
from shared.settings import Storage
from shared.state.queues import Queues
from tests.support.storage import empty_storage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

NEVER = "0 0 0 1 1 *"
_LOG_TAIL = 3000
STATE = "a-secret-of-the-tests"


async def until[T](condition: Callable[[], Awaitable[T]], *, seconds: float = 30.0, what: str = "") -> T:
    """Wait until the condition gives something true, and give that; fails after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = await condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what or condition}"
        await asyncio.sleep(0.1)


@dataclass(slots=True)
class Hosted:
    """Both sides and the settings that wire the app to them. ``host`` is the first host; ``more`` makes others beside it."""

    storage: str
    tenant: TenantServer
    instance: InstanceServer
    settings: dict[str, str]
    keys_file: Path
    host: HostProcess
    queue_lease: int = 600
    session: aiohttp.ClientSession = field(default_factory=aiohttp.ClientSession)

    def another(self, **changes: str) -> HostProcess:
        """A further host on the same storage, not yet started; its own port, the same keys."""
        return _host({**self.settings, **changes}, self.keys_file, 0, self.queue_lease)

    async def restart(self, **changes: str) -> None:
        """Stop the host and start it with changed settings, on the port that subscriptions know."""
        await self.host.terminate()
        self.settings |= changes
        port = int(self.settings["NOTIFICATION_URL"].rpartition(":")[2])
        self.host = await _host(self.settings, self.keys_file, port, self.queue_lease).start()

    async def get(self, path: str, *, status: int = 200, **options: Any) -> Any:
        """GET a route with the key; the JSON of an answer that has this status."""
        async with self.session.get(f"{self.host.url}/api/{path}", headers=self.host.headers, **options) as response:
            assert response.status == status, await self._told(response)
            return await response.json()

    async def post(self, path: str, *, status: int = 204, **options: Any) -> Any:
        """POST to a route with the key; the JSON of the answer, if it has one."""
        async with self.session.post(f"{self.host.url}/api/{path}", headers=self.host.headers, **options) as response:
            text = await response.text()
            assert response.status == status, await self._told(response)
            return await response.json() if text else None

    async def _told(self, response: aiohttp.ClientResponse) -> str:
        """Why an answer is not the expected one, as far as it and the host's log tell."""
        return f"{response.status}: {await response.text()}\n{self.host.logs()[-_LOG_TAIL:]}"

    async def control(self, path: str, **body: Any) -> Any:
        """POST to a control route of the tenant."""
        async with self.session.post(f"{self.tenant.control_url}/{path}", json=body) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def subscriptions(self) -> list[dict[str, Any]]:
        """What the tenant holds, users before groups."""
        headers = {"Authorization": f"Bearer {self.settings['GRAPH_ACCESS_TOKEN']}"}
        async with self.session.get(f"{self.tenant.url}/subscriptions", headers=headers) as response:
            document = await response.json()
            return sorted(document["value"], key=lambda held: str(held["resource"]), reverse=True)

    async def cycled(self, *, seconds: float = 60.0) -> dict[str, Any]:
        """Wait until the first cycle is complete and the queues are empty; the job."""

        async def settled() -> dict[str, Any] | None:
            job: dict[str, Any] = await self.get("job")
            chains = job["app"]["chains"].values()
            quiet = all(chain["phase"] == "idle" and chain["completeGeneration"] for chain in chains)
            # The timer's own pokes come and go in the third queue.
            waiting = job["app"]["queues"]["user-events"] + job["app"]["queues"]["group-events"]
            return job if quiet and not waiting else None

        job = await until(settled, seconds=seconds, what="the first cycle is complete and nothing waits in the queues")
        assert job is not None
        return job

    async def queue_lengths(self) -> dict[str, int]:
        queues = Queues.open(Storage(self.storage))
        try:
            return await queues.lengths([*QUEUES, *(f"{queue}-poison" for queue in QUEUES)])
        finally:
            await queues.aclose()

    def rows(self, table: str) -> list[dict[str, str]]:
        return [dict(row) for row in self.instance.instance.table(table).rows()]

    def user(self, user_name: str) -> dict[str, str] | None:
        """The one record of a user name."""
        found = [row for row in self.rows("sys_user") if row.get("user_name", "").casefold() == user_name.casefold()]
        assert len(found) <= 1, f"{len(found)} users are called {user_name}"
        return found[0] if found else None


@contextlib.asynccontextmanager
async def hosted(
    storage: str,
    directory: Path,
    *,
    users: int = 0,
    groups: int = 0,
    tenant: TenantConfig | None = None,
    instance: InstanceConfig | None = None,
    queue_lease: int = 600,
    **changes: str,
) -> AsyncIterator[Hosted]:
    """A tenant, an instance with reference records, and a host on emptied storage. Timers are off unless settings say more."""
    config = replace(tenant or TenantConfig(), users=users, groups=groups)
    async with TenantServer(config, port=0) as source, InstanceServer(instance or InstanceConfig(), port=0) as target:
        seed_references(
            target.instance, departments=DEPARTMENTS, locations=LOCATIONS, companies=COMPANIES, cost_centers=COST_CENTERS
        )
        await empty_storage(storage)
        port = free_port()
        settings = sandbox_settings(
            storage=storage,
            tenant_url=source.url.removesuffix("/v1.0"),
            instance_url=target.url,
            host_url=f"http://127.0.0.1:{port}",
            changes={
                "AzureFunctionsWebHost__hostid": uuid.uuid4().hex[:12],
                "CYCLE_SCHEDULE": NEVER,
                "SUBSCRIPTION_SCHEDULE": NEVER,
                "VERIFY_SCHEDULE": NEVER,
                "NOTIFICATION_CLIENT_STATE": STATE,
                "GRAPH_REPLICATION_GRACE": "0",
                **changes,
            },
        )
        keys_file = directory / "keys.json"
        here = Hosted(storage, source, target, settings, keys_file, _host(settings, keys_file, port, queue_lease), queue_lease)
        try:
            await here.host.start()
            yield here
        finally:
            await here.session.close()
            if here.host.running:
                await here.host.terminate()


def _host(settings: dict[str, str], keys_file: Path, port: int, queue_lease: int) -> HostProcess:
    return HostProcess(REPOSITORY, settings, port=port, keys_file=keys_file, queue_lease=queue_lease)
