"""The host: loads an app, listens for all of its triggers, and stops without losing anything."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import uuid
from typing import TYPE_CHECKING, Final, Self

from aiohttp import web

from sandbox.host.admin import AdminApi
from sandbox.host.bindings import BindingError, Function, HttpTrigger, QueueTrigger, TimerTrigger, bind
from sandbox.host.configuration import ConfigurationError, HostOptions, read_host_options
from sandbox.host.connections import ConnectionSettingsError, StorageConnections
from sandbox.host.invocations import Invoker
from sandbox.host.occurrences import TABLE, OccurrenceStore
from sandbox.host.outputs import QueueOutputs
from sandbox.host.queues import QueueListener
from sandbox.host.routing import Route, RouteError
from sandbox.host.runtime import index_app, stop_threads
from sandbox.host.timers import TimerListener
from sandbox.host.web import LARGEST_BODY, HttpTriggers

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from pathlib import Path

    from sandbox.host.keys import HostKeys
    from sandbox.host.runtime import IndexedFunction

_log = logging.getLogger(__name__)

_HOST_STORAGE: Final = "AzureWebJobsStorage"
_HOST_ID_SETTING: Final = "AzureFunctionsWebHost__hostid"
DEFAULT_LEASE: Final = 600
# Azure's host holds a timer's lock for a minute.
_LONGEST_TIMER_LEASE: Final = 60


class FunctionsHost:
    """Runs a function app: ``async with FunctionsHost(app_dir, settings) as host: ...``; one app per process.

    ``settings`` are added to the environment, where variables that are set already win. ``port`` 0 takes a free one. ``keys``
    None asks for no keys. ``queue_lease`` (seconds): how long a message that a killed host had taken stays hidden.
    ``grace`` (seconds): how long functions in flight may go on when the host stops.

    Entering raises ConfigurationError for an unusable host.json and IndexingError for an app that cannot be loaded; a function
    whose bindings cannot be resolved is only left out, and listed in ``faults``.
    """

    def __init__(
        self,
        app_dir: Path,
        settings: Mapping[str, str] | None = None,
        *,
        port: int = 0,
        address: str = "127.0.0.1",
        keys: HostKeys | None = None,
        queue_lease: int = DEFAULT_LEASE,
        grace: float = 30.0,
    ) -> None:
        self._app_dir = app_dir.resolve()
        self._settings = dict(settings or {})
        self._address = address
        self._port = port
        self._keys = keys
        self._lease = queue_lease
        self._grace = grace
        self._functions: dict[str, Function] = {}
        self.faults: dict[str, str] = {}
        self._queue_listeners: dict[str, tuple[QueueTrigger, QueueListener]] = {}
        self._timer_listeners: list[TimerListener] = []
        self._loops: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """``http://address:port``, known once the host has started."""
        return f"http://{self._address}:{self._port}"

    @property
    def functions(self) -> Mapping[str, Function]:
        """The functions that run, by name."""
        return self._functions

    async def __aenter__(self) -> Self:
        # As Core Tools do; what the app sees as its own name and that it runs on a developer's machine.
        local = {"AZURE_FUNCTIONS_ENVIRONMENT": "Development", "WEBSITE_HOSTNAME": f"localhost:{self._port}"}
        for name, value in (*self._settings.items(), *local.items()):
            os.environ.setdefault(name, value)
        options = read_host_options(self._app_dir)
        self._bind(await index_app(self._app_dir))
        self._connections = StorageConnections(os.environ)
        outputs = QueueOutputs(self._connections, base64_encoded=options.queues.base64, enqueued=self._wake)
        self._invoker = Invoker(outputs, options.function_timeout)
        self._listen_to_queues(options)
        self._listen_to_timers()
        for name, reason in self.faults.items():
            _log.error("The '%s' function is in error: %s", name, reason)
        await self._serve(options)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Take nothing new, let what runs end within the grace, give back the rest."""
        _log.info("Stopping: %d functions in flight", self._invoker.active)
        await self._site.stop()
        for _trigger, listener in self._queue_listeners.values():
            listener.stop()
        for timer in self._timer_listeners:
            timer.stop()
        try:
            async with asyncio.timeout(self._grace):
                await self._drain()
        except TimeoutError:
            _log.warning("%d functions did not end within %g s and are cancelled", self._invoker.active, self._grace)
        finally:
            await self._abandon()
            await self._runner.cleanup()
            await self._connections.close()
            stop_threads()
            _log.info("Stopped")

    def _bind(self, indexed: list[IndexedFunction]) -> None:
        for candidate in indexed:
            try:
                function = bind(candidate, os.environ)
                if isinstance(function.trigger, HttpTrigger):
                    Route.compile(function.trigger.route)
            except (BindingError, RouteError) as error:
                self.faults[candidate.name] = str(error)
            else:
                self._functions[candidate.name] = function

    def _listen_to_queues(self, options: HostOptions) -> None:
        for function in list(self._functions.values()):
            trigger = function.trigger
            if not isinstance(trigger, QueueTrigger):
                continue
            try:
                self._connections.queues(trigger.connection)
            except (ConnectionSettingsError, ValueError) as error:
                self._fail(function, f"connection {trigger.connection!r}: {error}")
                continue
            listener = QueueListener(function, trigger, self._connections, self._invoker, options.queues, lease=self._lease)
            self._queue_listeners[function.name] = (trigger, listener)
            self._start(listener.run(), f"queue {trigger.queue_name}")

    def _listen_to_timers(self) -> None:
        timers = [
            (function, function.trigger) for function in self._functions.values() if isinstance(function.trigger, TimerTrigger)
        ]
        if not timers:
            return
        try:
            table = self._connections.tables(_HOST_STORAGE).get_table_client(TABLE)
        except (ConnectionSettingsError, ValueError) as error:
            for function, _ in timers:
                self._fail(function, f"timers need the host's storage, {_HOST_STORAGE!r}: {error}")
            return
        store = OccurrenceStore(table, self.host_id)
        owner, lease = f"{os.getpid()}-{uuid.uuid4()}", min(self._lease, _LONGEST_TIMER_LEASE)
        for function, trigger in timers:
            listener = TimerListener(function, trigger, store, self._invoker, owner=owner, lease=lease)
            self._timer_listeners.append(listener)
            self._start(listener.run(), f"timer {function.name}")

    @property
    def host_id(self) -> str:
        """What hosts of the same app have in common: the setting ``AzureFunctionsWebHost__hostid``, else the app's directory."""
        named = os.environ.get(_HOST_ID_SETTING)
        return named or hashlib.sha256(str(self._app_dir).encode()).hexdigest()[:32]

    async def _serve(self, options: HostOptions) -> None:
        functions = self._functions.values()
        triggers = HttpTriggers(functions, self._invoker, route_prefix=options.route_prefix, keys=self._keys)
        self._admin = AdminApi(self._functions, self.faults, self._invoker, host_id=self.host_id, keys=self._keys)
        application = web.Application(client_max_size=LARGEST_BODY)
        application.add_routes(self._admin.routes())
        application.router.add_route("*", "/{path:.*}", triggers.handle)
        # The body belongs to the function, compressed if the client sent it so.
        self._runner = web.AppRunner(
            application, access_log=None, auto_decompress=False, shutdown_timeout=1.0, handler_cancellation=False
        )
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, self._address, self._port)
        try:
            await self._site.start()
        except OSError as error:
            await self._abandon()
            await self._runner.cleanup()
            await self._connections.close()
            raise ConfigurationError(f"cannot listen on {self.url}: {error.strerror}; choose another --port") from error
        self._port = self._runner.addresses[0][1]

    async def _drain(self) -> None:
        await asyncio.gather(*self._loops)
        for _, listener in self._queue_listeners.values():
            await listener.drain()
        await self._admin.drain()
        await self._invoker.idle.wait()

    async def _abandon(self) -> None:
        for task in self._loops:
            task.cancel()
        if self._loops:
            await asyncio.wait(self._loops)
        for _, listener in self._queue_listeners.values():
            await listener.abandon()
        if hasattr(self, "_admin"):
            await self._admin.abandon()

    def _start(self, loop: Coroutine[object, object, None], name: str) -> None:
        task = asyncio.create_task(loop, name=name)
        self._loops.add(task)
        task.add_done_callback(self._loops.discard)

    def _fail(self, function: Function, reason: str) -> None:
        del self._functions[function.name]
        self.faults[function.name] = reason

    def _wake(self, connection: str, queue_name: str) -> None:
        for trigger, listener in self._queue_listeners.values():
            if (trigger.connection, trigger.queue_name) == (connection, queue_name):
                listener.wake()
