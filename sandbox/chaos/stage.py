"""Everything that a history is played on: storage behind proxies, both simulators, three hosts behind one address."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import httpx
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue.aio import QueueServiceClient

from sandbox.azurite import Azurite
from sandbox.chaos.fast import FastClock
from sandbox.chaos.proxy import Proxy
from sandbox.chaos.weather import Weather
from sandbox.chaos.witness import Witness
from sandbox.host.process import HostProcess
from sandbox.instance import InstanceConfig, InstanceServer, seed_references
from sandbox.people import COMPANIES, COST_CENTERS, DEPARTMENTS, LOCATIONS
from sandbox.tenant import TenantConfig, TenantServer
from sandbox.up import sandbox_settings

if TYPE_CHECKING:
    from sandbox.chaos.history import History

QUEUES: Final = ("user-events", "group-events", "cycle-events")
#: How much faster than everybody else's the app's clock runs: a lease of 150 s ends after 7.5 s.
RATE: Final = 20.0
_HOSTS: Final = 3
_LEASE: Final = 150.0
#: How long a message of a killed host stays hidden, in seconds: 10 minutes in Azure.
_QUEUE_LEASE: Final = 6
_NEVER: Final = "0 0 0 1 1 *"
_GRACE: Final = 25.0
_APP: Final = Path(__file__).parent / "app"
_ENDPOINTS: Final = re.compile(r"(Queue|Table)Endpoint=(http://127\.0\.0\.1:\d+)")


def tenant_config(history: History) -> TenantConfig:
    """The tenant in which a history begins; the same for the run without disturbance."""
    return TenantConfig(
        seed=history.seed, users=24, groups=5, throttling=False, user_delta_page=9, group_delta_page=3, member_slice=8
    )


def instance_config() -> InstanceConfig:
    """An instance whose limits are those of a real one in fast motion: 30 s for a batch, 60 s for a request."""
    return InstanceConfig(
        batch_time_limit=30 / RATE, table_time_limit=60 / RATE, lock_after_failed_logins=None, latency_write=0.005
    )


class Stage:
    """``async with Stage(history) as stage``: everything runs."""

    def __init__(self, history: History, log_level: str = "warning") -> None:
        self._history = history
        self._log_level = log_level
        self._stack = contextlib.AsyncExitStack()
        self._choice = random.Random(f"front/{history.seed}")
        self.hosts: list[HostProcess] = []
        self._ready: list[HostProcess] = []
        self.clock = FastClock(time.time(), RATE)
        self.requeued = 0

    async def __aenter__(self) -> Self:
        history = self._history
        async with contextlib.AsyncExitStack() as stack:
            storage = await stack.enter_async_context(Azurite())
            self._endpoints = dict(_ENDPOINTS.findall(storage.connection_string))
            proxies = [
                await stack.enter_async_context(Proxy(lambda url=url: url, name=name, seed=history.seed))  # type: ignore[misc]  # mypy cannot infer a lambda's default
                for name, url in self._endpoints.items()
            ]
            self.source = await stack.enter_async_context(TenantServer(tenant_config(history)))
            self.instance = Witness(instance_config())
            target = await stack.enter_async_context(InstanceServer(instance=self.instance))
            seed_references(
                self.instance, departments=DEPARTMENTS, locations=LOCATIONS, companies=COMPANIES, cost_centers=COST_CENTERS
            )
            front = await stack.enter_async_context(Proxy(self._some_host, name="front", seed=history.seed))
            through = storage.connection_string
            for proxy in proxies:
                through = through.replace(self._endpoints[proxy.name], proxy.url)
            settings = self._settings(through, self.source.url.removesuffix("/v1.0"), target.url, front.url)
            keys = Path(await asyncio.to_thread(_directory, stack)) / "keys.json"
            self.hosts = [
                HostProcess(
                    _APP, settings, keys_file=keys, queue_lease=_QUEUE_LEASE, name=f"host{number}", log_level=self._log_level
                )
                for number in range(_HOSTS)
            ]
            stack.push_async_callback(self._end_hosts)
            self.weather = Weather(
                self.source, self.instance, proxies, self.hosts, beyond_lease=_LEASE / RATE * 1.2, operator=self.ask
            )
            stack.push_async_callback(self.weather.end)
            self.proxies = [*proxies, front]
            self._queues = await stack.enter_async_context(QueueServiceClient.from_connection_string(storage.connection_string))
            self._http = await stack.enter_async_context(httpx.AsyncClient(timeout=20.0))
            await self.hosts[0].start()
            await asyncio.gather(*(host.start() for host in self.hosts[1:]))
            self._ready = self.hosts
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def cycle(self) -> None:
        """Let the cycle's timer fire, as an operator can."""
        host = next((one for one in self.hosts if self.weather.serves(one)), None)
        if host is not None:
            with contextlib.suppress(httpx.HTTPError):
                headers = {"x-functions-key": host.keys["master"]}
                await self._http.post(f"{host.url}/admin/functions/cycle", json={"input": ""}, headers=headers)

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One of the app's routes, as an operator; None where it is not there or refuses."""
        host = next((one for one in self.hosts if self.weather.serves(one)), None)
        if host is None:
            return None
        try:
            answer = await self._http.request(method, f"{host.url}/api{path}", json=body, headers=host.headers)
        except httpx.HTTPError:
            return None
        return (answer.json() if answer.content else {}) if answer.is_success else None

    async def waiting(self) -> int:
        """Messages in the queues, delayed and taken ones included."""
        return sum([await self._length(queue) for queue in QUEUES])

    async def requeue_dead(self) -> int:
        """Put messages that were given up back into their queues, as an operator does once the cause is gone."""
        moved = 0
        if (await self.ask("POST", "/poison/replay", {})) is not None:
            return 0
        for queue in QUEUES:
            dead, alive = (self._queues.get_queue_client(name) for name in (f"{queue}-poison", queue))
            with contextlib.suppress(ResourceNotFoundError):
                async for message in dead.receive_messages(visibility_timeout=30):
                    await alive.send_message(message.content, time_to_live=-1)
                    await dead.delete_message(message)
                    moved += 1
        self.requeued += moved
        return moved

    def logs(self) -> str:
        """What the hosts have written."""
        return "\n".join(f"--- host {number}\n{host.logs()}" for number, host in enumerate(self.hosts))

    def _settings(self, storage: str, tenant: str, instance: str, front: str) -> dict[str, str]:
        changes = {
            "CYCLE_SCHEDULE": "*/4 * * * * *",
            "SUBSCRIPTION_SCHEDULE": _NEVER,
            "VERIFY_SCHEDULE": _NEVER,
            "GRAPH_REPLICATION_GRACE": f"{_GRACE:g}",
            "PROVISIONING_SCOPE": self._history.scope,
            "ENTRA_SERVICE_PRINCIPAL_ID": self.source.tenant.config.service_principal_id,
        }
        if self._history.scope == "all":
            changes.pop("ENTRA_SERVICE_PRINCIPAL_ID")
        settings = sandbox_settings(storage=storage, tenant_url=tenant, instance_url=instance, host_url=front, changes=changes)
        return settings | self.clock.environment

    def _some_host(self) -> str | None:
        serving = [host for host in self._ready if host.running]
        return self._choice.choice(serving).url if serving else None

    async def _length(self, queue: str) -> int:
        try:
            properties = await self._queues.get_queue_client(queue).get_queue_properties()
        except ResourceNotFoundError:
            return 0
        return int(properties.approximate_message_count or 0)

    async def _end_hosts(self) -> None:
        """What they were doing no longer matters."""
        await asyncio.gather(*(host.kill() for host in self.hosts if host.running))


def _directory(stack: contextlib.AsyncExitStack) -> str:
    import tempfile

    return stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-"))
