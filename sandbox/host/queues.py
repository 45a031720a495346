"""Queue triggers, as the Storage extension's QueueListener and QueueProcessor handle them.

Source: Azure/azure-sdk-for-net, Microsoft.Azure.WebJobs.Extensions.Storage.Queues, QueueListener.cs and QueueProcessor.cs;
Azure Functions docs, "Azure Queue storage trigger", poison messages and host.json properties.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from azure.core.exceptions import AzureError, ResourceNotFoundError

from sandbox.host.connections import create_queue_if_absent
from sandbox.host.leased_message import LeasedMessage
from sandbox.host.runtime import Datum
from sandbox.host.supervision import Backoff, supervise

if TYPE_CHECKING:
    from azure.storage.queue import QueueMessage
    from azure.storage.queue.aio import QueueClient

    from sandbox.host.bindings import Function, QueueTrigger
    from sandbox.host.configuration import QueueOptions
    from sandbox.host.connections import StorageConnections
    from sandbox.host.invocations import Invoker

_log = logging.getLogger(__name__)

POISON_SUFFIX = "-poison"
_LONGEST_QUEUE_NAME = 63
_SHORTEST_POLLING_INTERVAL = 0.1


class QueueListener:
    """Feeds one function from its queue until the host stops.

    ``lease`` is how long a message stays invisible to other hosts without a renewal, in seconds: 600 in Azure.
    """

    def __init__(
        self,
        function: Function,
        trigger: QueueTrigger,
        connections: StorageConnections,
        invoker: Invoker,
        options: QueueOptions,
        *,
        lease: int,
    ) -> None:
        self._function = function
        self._trigger = trigger
        self._connections = connections
        self._invoker = invoker
        self._options = options
        self._lease = lease
        self._backoff = Backoff(_SHORTEST_POLLING_INTERVAL, options.max_polling_interval)
        self._in_flight: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._woken = asyncio.Event()
        self._queue_exists = False
        self._poison_name = poison_queue_name(trigger.queue_name)

    async def run(self) -> None:
        """Poll until ``stop``; a storage error is logged and waited out."""
        await supervise(f"Queue '{self._trigger.queue_name}' of '{self._function.name}'", self._poll, self._stopping)

    def stop(self) -> None:
        """Take no more messages. What is in flight goes on: see ``drain``."""
        self._stopping.set()
        self._woken.set()

    def wake(self) -> None:
        """A message was just enqueued by this host: poll now."""
        self._woken.set()

    async def drain(self) -> None:
        """Wait for the messages in flight."""
        while self._in_flight:
            await asyncio.wait(self._in_flight)

    async def abandon(self) -> None:
        """Cancel what is in flight and make its messages visible to other hosts at once."""
        for task in self._in_flight:
            task.cancel()
        await self.drain()

    async def _poll(self) -> None:
        if not self._queue_exists:
            await create_queue_if_absent(self._queue)
            self._queue_exists = True
        messages = await self._receive()
        for message in messages:
            leased = LeasedMessage(self._queue, message, self._lease)
            task = asyncio.create_task(self._release(leased) if self._stopping.is_set() else self._process(leased, message))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)
        if messages:
            self._backoff.hit()
            while len(self._in_flight) > self._options.new_batch_threshold and not self._stopping.is_set():
                await asyncio.wait(self._in_flight, return_when=asyncio.FIRST_COMPLETED)
        elif not self._stopping.is_set():
            await self._wait_for_next_poll()

    async def _wait_for_next_poll(self) -> None:
        try:
            async with asyncio.timeout(self._backoff.next_delay()):
                await self._woken.wait()
        except TimeoutError:
            return
        self._woken.clear()
        self._backoff.hit()

    async def _receive(self) -> list[QueueMessage]:
        try:
            pages = self._queue.receive_messages(
                messages_per_page=self._options.batch_size,
                visibility_timeout=self._lease,
            ).by_page()
            page = await anext(pages, None)
            return [] if page is None else [message async for message in page]
        except ResourceNotFoundError:
            self._queue_exists = False
            raise

    async def _process(self, leased: LeasedMessage, message: QueueMessage) -> None:
        try:
            await self._handle(leased, message)
        except asyncio.CancelledError:
            await self._release(leased)
        except Exception:  # noqa: BLE001 - whatever it was, the other messages go on
            # The lease runs out and the message comes again: nothing is lost.
            _log.exception("Message %s of '%s' could not be completed", message.id, self._trigger.queue_name)

    async def _handle(self, leased: LeasedMessage, message: QueueMessage) -> None:
        count = message.dequeue_count or 1
        try:
            body = decode_body(message.content, base64_encoded=self._options.base64)
        except ValueError:
            _log.warning("Message decoding has failed! Check messageEncoding in host.json. MessageId=%s", message.id)
            await self._poison(leased, message)
            return
        # Counted above the limit before it ran: the hosts that took it died of it.
        if count > self._options.max_dequeue_count and self._poison_name is not None:
            await self._poison(leased, message)
            return
        async with leased.renewed():
            outcome = await self._invoker.run(
                self._function,
                Datum(body, "string"),
                _trigger_metadata(message, body),
                reason=f"New queue message detected on '{self._trigger.queue_name}'.",
            )
        if outcome.error is None:
            await leased.delete()
        elif self._poison_name is None:
            _log.warning("Message %s failed; '%s' has no poison queue: it comes again", message.id, self._trigger.queue_name)
        elif count >= self._options.max_dequeue_count:
            await self._poison(leased, message)
        else:
            await leased.update(self._options.visibility_timeout)

    async def _poison(self, leased: LeasedMessage, message: QueueMessage) -> None:
        if self._poison_name is None:
            return
        _log.error(
            "Message %s has reached MaxDequeueCount of %d or is unreadable: moved to '%s'",
            message.id,
            self._options.max_dequeue_count,
            self._poison_name,
        )
        poison = self._connections.queues(self._trigger.connection).get_queue_client(self._poison_name)
        try:
            await poison.send_message(message.content)
        except ResourceNotFoundError:
            await create_queue_if_absent(poison)
            await poison.send_message(message.content)
        await leased.delete()

    @staticmethod
    async def _release(leased: LeasedMessage) -> None:
        try:
            await leased.update(0)
        except AzureError as error:
            _log.warning("A message could not be released; it comes again when its lease ends: %s", error)

    @cached_property
    def _queue(self) -> QueueClient:
        return self._connections.queues(self._trigger.connection).get_queue_client(self._trigger.queue_name)


def poison_queue_name(queue_name: str) -> str | None:
    """Where messages go that keep failing; None for a poison queue itself and where the name would be too long."""
    name = queue_name + POISON_SUFFIX
    return None if queue_name.endswith(POISON_SUFFIX) or len(name) > _LONGEST_QUEUE_NAME else name


def decode_body(content: str, *, base64_encoded: bool) -> str:
    """The message's text; ValueError if it should be base64 and is not. Bytes that are no UTF-8 are replaced, as .NET does."""
    if not base64_encoded:
        return content
    try:
        return base64.b64decode(content, validate=True).decode("utf-8", errors="replace")
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"not base64: {error}") from error


def _trigger_metadata(message: QueueMessage, body: str) -> dict[str, Datum]:
    return {
        "QueueTrigger": Datum(body, "string"),
        "Id": Datum(message.id, "string"),
        "DequeueCount": Datum(json.dumps(message.dequeue_count or 1), "json"),
        "PopReceipt": Datum(message.pop_receipt, "string"),
        "InsertionTime": _moment(message.inserted_on),
        "ExpirationTime": _moment(message.expires_on),
        "NextVisibleTime": _moment(message.next_visible_on),
    }


def _moment(value: object) -> Datum:
    """A time as the host writes it in JSON; the end of time for a message without expiry."""
    moment = value if isinstance(value, datetime) else datetime.max.replace(tzinfo=UTC)
    return Datum(json.dumps(moment.astimezone(UTC).isoformat(timespec="seconds")), "json")
