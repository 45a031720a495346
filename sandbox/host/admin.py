"""The host's own API: its status, its functions, and running one by hand.

Source: Azure Functions docs, "Manually run a non HTTP-triggered function": ``POST /admin/functions/{name}`` with
``{"input": "..."}`` and the master key answers 202.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sandbox.host.bindings import Function, QueueTrigger, TimerTrigger
from sandbox.host.runtime import Datum
from sandbox.host.timers import timer_datum
from sandbox.host.web import permitted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.host.invocations import Invoker
    from sandbox.host.keys import HostKeys

_TIME_TO_LIVE = timedelta(days=7)


class AdminApi:
    """``faults`` maps the name of each function in error to its reason."""

    def __init__(
        self,
        functions: Mapping[str, Function],
        faults: Mapping[str, str],
        invoker: Invoker,
        *,
        host_id: str,
        keys: HostKeys | None,
    ) -> None:
        self._functions = functions
        self._faults = faults
        self._invoker = invoker
        self._host_id = host_id
        self._keys = keys
        self._started = time.monotonic()
        self._running: set[asyncio.Task[object]] = set()

    def routes(self) -> list[web.RouteDef]:
        """The routes of the API."""
        return [
            web.get("/admin/host/status", self._status),
            web.get("/admin/functions", self._list),
            web.post("/admin/functions/{name}", self._run),
        ]

    async def drain(self) -> None:
        """Wait for functions that were started by hand."""
        if self._running:
            await asyncio.wait(self._running)

    async def abandon(self) -> None:
        """Cancel functions that were started by hand."""
        for task in self._running:
            task.cancel()
        await self.drain()

    async def _status(self, request: web.Request) -> web.Response:
        self._check_key(request)
        document: dict[str, Any] = {
            "id": self._host_id,
            "state": "Running",
            "version": version("azure-functions-runtime"),
            "instanceId": str(os.getpid()),
            "processUptime": round((time.monotonic() - self._started) * 1000),
            "activeInvocations": self._invoker.active,
        }
        if self._faults:
            document["errors"] = [f"The '{name}' function is in error: {reason}" for name, reason in self._faults.items()]
        return web.json_response(document)

    async def _list(self, request: web.Request) -> web.Response:
        self._check_key(request)
        listed = [
            {"name": function.name, "config": {"bindings": function.indexed.bindings}} for function in self._functions.values()
        ]
        return web.json_response(listed + [{"name": name, "error": reason} for name, reason in self._faults.items()])

    async def _run(self, request: web.Request) -> web.Response:
        self._check_key(request)
        function = self._functions.get(request.match_info["name"])
        if function is None:
            return web.Response(status=404)
        try:
            document = json.loads(await request.read() or b"{}")
        except ValueError:
            return web.Response(status=400, text='the body must be JSON: {"input": "..."}')
        given = document.get("input", "") if isinstance(document, dict) else ""
        value, metadata = _by_hand(function, given if isinstance(given, str) else json.dumps(given))
        if value is None:
            return web.Response(status=400, text="an HTTP function is run through its own route")
        reason = "This function was programmatically called via the host APIs."
        task: asyncio.Task[object] = asyncio.create_task(self._invoker.run(function, value, metadata, reason=reason))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return web.Response(status=202)

    def _check_key(self, request: web.Request) -> None:
        if not permitted(self._keys, request, "admin", ""):
            raise web.HTTPUnauthorized(text="")


def _by_hand(function: Function, given: str) -> tuple[Datum | None, dict[str, Datum]]:
    """The trigger's value and metadata of a run without a message or an occurrence."""
    match function.trigger:
        case TimerTrigger() as trigger:
            return timer_datum(trigger, None, past_due=False), {}
        case QueueTrigger():
            now = datetime.now(UTC)
            moments = {"InsertionTime": now, "NextVisibleTime": now, "ExpirationTime": now + _TIME_TO_LIVE}
            metadata = {name: Datum(json.dumps(moment.isoformat(timespec="seconds")), "json") for name, moment in moments.items()}
            metadata |= {name: Datum(str(uuid.uuid4()), "string") for name in ("Id", "PopReceipt")}
            return Datum(given, "string"), metadata | {"DequeueCount": Datum("1", "json"), "QueueTrigger": Datum(given, "string")}
        case _:
            return None, {}
