"""Queue output bindings: what a function returned or set is sent after it has ended well.

Source: Azure Functions docs, "Azure Queue storage output bindings": a list is one message per item; the Storage extension sends
an object as its JSON text and creates a queue that is missing.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from azure.core.exceptions import ResourceNotFoundError

from sandbox.host.connections import create_queue_if_absent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox.host.bindings import Function, QueueOutput
    from sandbox.host.connections import StorageConnections
    from sandbox.host.runtime import Datum, Outcome

_RETURN = "$return"


class QueueOutputs:
    """Sends messages; ``enqueued`` is told (connection, queue) after each, so that a listener here need not wait for its poll."""

    def __init__(self, connections: StorageConnections, *, base64_encoded: bool, enqueued: Callable[[str, str], None]) -> None:
        self._connections = connections
        self._base64 = base64_encoded
        self._enqueued = enqueued

    async def write(self, function: Function, outcome: Outcome) -> None:
        """Send every message that the outcome holds for a queue; a storage error is raised."""
        values = dict(outcome.outputs)
        if outcome.returned is not None:
            values[_RETURN] = outcome.returned
        for output in function.queue_outputs:
            datum = values.get(output.name)
            if datum is not None:
                for body in message_bodies(datum):
                    await self._send(output, body)

    async def _send(self, output: QueueOutput, body: bytes) -> None:
        queue = self._connections.queues(output.connection).get_queue_client(output.queue_name)
        text = base64.b64encode(body).decode("ascii") if self._base64 else body.decode("utf-8")
        try:
            await queue.send_message(text)
        except ResourceNotFoundError:
            await create_queue_if_absent(queue)
            await queue.send_message(text)
        self._enqueued(output.connection, output.queue_name)


def message_bodies(datum: Datum) -> Iterator[bytes]:
    """The bodies of the messages that an output value stands for: none, one, or one per item of a list."""
    match datum.type:
        case None:
            return
        case "bytes":
            yield datum.value
        case "string":
            yield str(datum.value).encode()
        case "json":
            document = json.loads(datum.value)
            for item in document if isinstance(document, list) else [document]:
                yield (item if isinstance(item, str) else json.dumps(item)).encode()
        case "list":
            for item in datum.value:
                yield (item if isinstance(item, str) else json.dumps(item)).encode()
        case "dict":
            yield json.dumps(datum.value).encode()
        case _:
            yield str(datum.value).encode()
