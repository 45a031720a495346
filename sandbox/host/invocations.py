"""One invocation from start to end: id, time limit, the app's code, its output bindings, one line in the log."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import TYPE_CHECKING

from sandbox.host.logs import forget_invocation, remember_invocation
from sandbox.host.runtime import Datum, Outcome, current_invocation_id, invoke

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.host.bindings import Function
    from sandbox.host.outputs import QueueOutputs

_log = logging.getLogger(__name__)


class Invoker:
    """Runs functions for every trigger. ``time_limit`` is host.json's functionTimeout in seconds, None is unbounded."""

    def __init__(self, outputs: QueueOutputs, time_limit: float | None) -> None:
        self._outputs = outputs
        self._time_limit = time_limit
        self.active = 0
        self.idle = asyncio.Event()
        self.idle.set()

    async def run(
        self,
        function: Function,
        value: Datum,
        trigger_metadata: Mapping[str, Datum],
        *,
        reason: str,
        retry_count: int = 0,
    ) -> Outcome:
        """Run a function on its trigger's value and write its output bindings; a failure of either is an ``error``."""
        invocation_id = str(uuid.uuid4())
        remember_invocation(invocation_id, function.name)
        # The library sets it for the function's own code; this way what is logged around it is marked too.
        token = current_invocation_id.set(invocation_id)
        started = time.perf_counter()
        self.active += 1
        self.idle.clear()
        _log.debug("Executing '%s' (Reason='%s', Id=%s)", function.name, reason, invocation_id)
        outcome = Outcome("cancelled")
        try:
            outcome = await self._complete(function, invocation_id, value, trigger_metadata, retry_count)
            return outcome
        finally:
            self.active -= 1
            if self.active == 0:
                self.idle.set()
            milliseconds = (time.perf_counter() - started) * 1000
            if outcome.error is None:
                _log.info("Executed '%s' (Succeeded, Id=%s, Duration=%.0fms)", function.name, invocation_id, milliseconds)
            else:
                message = "Executed '%s' (Failed, Id=%s, Duration=%.0fms): %s"
                _log.error(message, function.name, invocation_id, milliseconds, outcome.error)
            current_invocation_id.reset(token)
            forget_invocation(invocation_id)

    async def _complete(
        self,
        function: Function,
        invocation_id: str,
        value: Datum,
        trigger_metadata: Mapping[str, Datum],
        retry_count: int,
    ) -> Outcome:
        try:
            async with asyncio.timeout(self._time_limit):
                inputs = [(function.trigger.name, value)]
                outcome = await invoke(function.indexed, invocation_id, inputs, trigger_metadata, retry_count=retry_count)
        except TimeoutError:
            return Outcome(f"took longer than host.json's functionTimeout of {self._time_limit:g} s")
        if outcome.error is None and function.queue_outputs:
            try:
                await self._outputs.write(function, outcome)
            except Exception as error:  # noqa: BLE001 - any failure to write an output fails the invocation
                _log.exception("The output of '%s' could not be written", function.name)
                return Outcome(f"output binding: {error!r}")
        return outcome
