"""What goes wrong on the way: switches of both simulators, of the proxies, and signals to the hosts; each ends by itself."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import httpx

from sandbox.processes import ProcessError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from sandbox.chaos.history import Step
    from sandbox.chaos.proxy import Proxy
    from sandbox.host.process import HostProcess
    from sandbox.instance import Instance
    from sandbox.tenant import TenantServer

_FINE_TENANT: Final[dict[str, Any]] = {
    "lag_seconds": 0.0,
    "delta_replays": 0.0,
    "empty_pages": 0.0,
    "lost_notifications": 0.0,
    "duplicate_notifications": 0.0,
    "reordered_notifications": 0.0,
    "throttle_next": 0,
    "fail_next": [],
    "refuse_credentials": False,
    "notification_delay": 0.05,
}
_FINE_INSTANCE: Final[dict[str, Any]] = {
    "hibernating": False,
    "refuse_credentials": False,
    "lost_answer_probability": 0,
    "lose_answers_next": 0,
    "fail_next": 0,
    "throttle_next": 0,
    "slow_next": 0,
    "cancel_next": 0,
}


#: What an operator may ask to be forgotten; everything, in the end.
_RESET_SCOPES: Final = ("", "Watermark", "Escrows", "ConnectorDataStore", "QuarantineState,Watermark", "Full")

type Operator = Callable[[str, str, Any], Awaitable[Any]]
"""Asks one of the app's routes (method, path, body); None where it is not there or refuses."""


class Weather:
    """``strike`` begins a harm and says what it is; ``calm`` ends all of them. ``counts``: harms by name."""

    def __init__(
        self,
        tenant: TenantServer,
        instance: Instance,
        storage: Sequence[Proxy],
        hosts: Sequence[HostProcess],
        *,
        beyond_lease: float,
        operator: Operator,
    ) -> None:
        self._tenant = tenant
        self._instance = instance
        self._storage = storage
        self._hosts = hosts
        self._beyond_lease = beyond_lease
        self._operator = operator
        self._paused = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped: set[HostProcess] = set()
        self._kills: Counter[HostProcess] = Counter()
        self.counts: Counter[str] = Counter()
        self.tokens_lost = False

    def strike(self, step: Step) -> str:
        """Begin a harm."""
        self.counts[step.name] += 1
        seconds = 0.3 + step.a % 2500 / 1000
        amount = 1 + step.b % 6
        share = 0.2 + step.b % 60 / 100
        match step.name:
            case "kill":
                self._later(self._kill(self._hosts[step.a % len(self._hosts)], step.b % 3000 / 1000))
            case "stop":
                self._later(self._stop(self._hosts[step.a % len(self._hosts)]))
            case "lag":
                self._switch_tenant(seconds, lag_seconds=0.2 + step.b % 8 / 10)
            case "notifications":
                name = ("lost", "duplicate", "reordered")[step.b % 3]
                self._switch_tenant(seconds * 2, **{f"{name}_notifications": share, "notification_delay": [0.02, 0.6]})
            case "expire tokens" | "reset tokens":
                self.tokens_lost = True
                self._later(self._lose_tokens(step.name.partition(" ")[0]))
            case "replays":
                self._switch_tenant(seconds * 3, delta_replays=share, empty_pages=0.3)
            case "graph throttles":
                self._switch_tenant(0.0, throttle_next=amount * 2, throttle_retry_after=1)
            case "graph fails":
                self._switch_tenant(0.0, fail_next=[(500, 502, 503, 504)[(step.b + n) % 4] for n in range(amount)])
            case "graph refuses":
                self._switch_tenant(seconds, refuse_credentials=True)
            case _:
                self._strike_target(step.name, seconds, amount, share)
        return f"{step.name} ({seconds:.1f} s)"

    def _strike_target(self, name: str, seconds: float, amount: int, share: float) -> None:
        match name:
            case "throttled":
                self._switch_instance(0.0, throttle_next=amount)
            case "lost answers":
                self._switch_instance(seconds, lost_answer_probability=share)
            case "cut batches":
                self._switch_instance(0.0, slow_next=amount, slow_by=4.0)
            case "fails":
                self._switch_instance(0.0, fail_next=amount)
            case "hibernates":
                self._switch_instance(seconds, hibernating=True)
            case "refused":
                self._switch_instance(seconds, refuse_credentials=True)
            case _:
                self._strike_app(name, seconds, amount, share)

    def _strike_app(self, name: str, seconds: float, amount: int, share: float) -> None:
        match name:
            case "storage refuses":
                self._later(self._break_storage(seconds, "refused", share / 2))
            case "storage loses":
                self._later(self._break_storage(seconds, "lost", share / 4))
            case "pauses":
                self._later(self._pause(seconds * 2))
            case "restarts":
                self.tokens_lost = True  # a round from the beginning tells nobody's end either
                criteria = {"resetScope": _RESET_SCOPES[amount - 1]}
                self._later(self._command("/job/restart", {"criteria": criteria}))

    async def end(self) -> None:
        """Begin nothing more, and let stopped hosts go on."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for host in self._stopped:
            host.signal(signal.SIGCONT)
        self._stopped.clear()

    async def calm(self) -> None:
        """End everything that goes wrong, and bring every host back."""
        await self.end()
        self._switch_tenant(0.0, **_FINE_TENANT)
        self._switch_instance(0.0, **_FINE_INSTANCE)
        for proxy in self._storage:
            proxy.refused = proxy.lost = 0.0
        for host in self._hosts:
            if not host.running:
                await host.start()
        while self._paused:
            # An operator who gets no answer asks again.
            self._paused = await self._operator("POST", "/job/start", None) is None

    def serves(self, host: HostProcess) -> bool:
        """Whether a host runs and was not stopped."""
        return host.running and host not in self._stopped

    def _switch_tenant(self, seconds: float, **switches: Any) -> None:
        tenant = self._tenant.tenant
        tenant.faults = tenant.faults.merged(switches)
        if seconds:
            back = {name: _FINE_TENANT[name] for name in switches}

            async def end() -> None:
                await asyncio.sleep(seconds)
                self._switch_tenant(0.0, **back)

            self._later(end())

    def _switch_instance(self, seconds: float, **switches: Any) -> None:
        self._instance.configure(**switches)
        if seconds:

            async def end() -> None:
                await asyncio.sleep(seconds)
                self._instance.configure(**{name: _FINE_INSTANCE[name] for name in switches})

            self._later(end())

    async def _lose_tokens(self, how: str) -> None:
        async with httpx.AsyncClient() as http:
            await http.post(f"{self._tenant.control_url}/faults", json={f"{how}_delta_tokens": True})

    async def _kill(self, host: HostProcess, seconds: float) -> None:
        if not self.serves(host):
            return
        self._kills[host] += 1
        mine = self._kills[host]
        await host.kill()
        await asyncio.sleep(seconds)
        if self._kills[host] != mine:
            return  # killed twice at once: the last one starts it
        try:
            await host.start()
        except ProcessError:
            if self._kills[host] == mine:
                raise
            # Killed again while it started: whoever did it starts it.

    async def _stop(self, host: HostProcess) -> None:
        if not self.serves(host):
            return
        self._stopped.add(host)
        host.signal(signal.SIGSTOP)
        await asyncio.sleep(self._beyond_lease)
        host.signal(signal.SIGCONT)
        self._stopped.discard(host)

    async def _pause(self, seconds: float) -> None:
        self._paused = True
        await self._command("/job/pause", None)
        await asyncio.sleep(seconds)
        await self._command("/job/start", None)

    async def _command(self, path: str, body: Any) -> None:
        """What an operator asks, once; whether anything came of it, he may not be told."""
        if any(self.serves(host) for host in self._hosts):
            await self._operator("POST", path, body)

    async def _break_storage(self, seconds: float, how: str, share: float) -> None:
        for proxy in self._storage:
            setattr(proxy, how, share)
        await asyncio.sleep(seconds)
        for proxy in self._storage:
            setattr(proxy, how, 0.0)

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
