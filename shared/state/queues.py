"""The queues that carry events between the functions.

Messages are base64 text (what the Functions host's queue trigger decodes) and never expire: a queue that is not drained for a
week must not forget. A queue that does not exist yet is created on first use.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.queue import TextBase64EncodePolicy
from azure.storage.queue.aio import QueueServiceClient

from shared.errors import UnavailableError
from shared.events import (
    CYCLE_EVENTS,
    GROUP_EVENTS,
    USER_EVENTS,
    ChainAdvance,
    ChainPoke,
    DecisionDue,
    Event,
    ObjectsChanged,
    ObjectsSnapshot,
    SubscriptionsDue,
    WalkDue,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from azure.core.credentials_async import AsyncTokenCredential
    from azure.storage.queue.aio import QueueClient

    from shared.settings import Storage

#: The longest delay that a queue accepts, in seconds (7 days).
MAX_DELAY = 7 * 24 * 3600
_NEVER_EXPIRES = -1
_PARALLEL_SENDS = 8


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in a queue: an approximate number, and the age of the first visible message in seconds."""

    messages: int = 0
    oldest_seconds: float = 0.0


def queue_of(event: Event) -> str:
    """The queue that an event travels in."""
    if isinstance(event, (ChainAdvance, ChainPoke, SubscriptionsDue, WalkDue, DecisionDue)):
        return CYCLE_EVENTS
    if isinstance(event, (ObjectsChanged, ObjectsSnapshot)):
        return USER_EVENTS if event.kind == "user" else GROUP_EVENTS
    return GROUP_EVENTS


class Queues:
    """The app's queues in one storage account. Close with ``aclose``."""

    def __init__(self, service: QueueServiceClient, credential: AsyncTokenCredential | None = None) -> None:
        self._service = service
        self._credential = credential
        self._clients: dict[str, QueueClient] = {}

    @classmethod
    def open(cls, storage: Storage) -> Queues:
        """Sign in by connection string, or with the app's identity (``DefaultAzureCredential``)."""
        # The SDK's own first retry waits 15 s: longer than an event should.
        options: dict[str, Any] = {"retry_total": 2, "initial_backoff": 1, "increment_base": 2, "random_jitter_range": 0}
        if storage.connection_string:
            return cls(QueueServiceClient.from_connection_string(storage.connection_string, **options))
        from azure.identity.aio import DefaultAzureCredential

        credential = DefaultAzureCredential(managed_identity_client_id=storage.client_id or None)
        return cls(QueueServiceClient(storage.queue_endpoint, credential=credential, **options), credential)

    async def aclose(self) -> None:
        for client in self._clients.values():
            await client.close()
        await self._service.close()
        if self._credential is not None:
            await self._credential.close()

    async def send(self, event: Event, *, delay: float = 0.0) -> None:
        """Queue an event; it becomes visible after ``delay`` seconds. Returning means that it is durable."""
        await self.send_text(queue_of(event), encode(event), delay=delay)

    async def send_all(self, events: Iterable[Event], *, delay: float = 0.0) -> None:
        """Queue several events; returning means that all are durable, raising that some may be."""
        room = asyncio.Semaphore(_PARALLEL_SENDS)

        async def one(event: Event) -> None:
            async with room:
                await self.send(event, delay=delay)

        await asyncio.gather(*(one(event) for event in events))

    async def send_text(self, queue: str, text: str, *, delay: float = 0.0) -> None:
        """Queue a message as it is."""
        client = self._client(queue)
        seconds = max(0, min(MAX_DELAY - 1, round(delay)))
        try:
            try:
                await client.send_message(text, visibility_timeout=seconds, time_to_live=_NEVER_EXPIRES)
            except ResourceNotFoundError:
                await self._create(client)
                await client.send_message(text, visibility_timeout=seconds, time_to_live=_NEVER_EXPIRES)
        except AzureError as error:
            raise UnavailableError(f"Queue Storage did not answer (send to {queue}: {type(error).__name__})") from error

    async def lengths(self, queues: Iterable[str]) -> dict[str, int]:
        """The approximate number of messages of each queue; a queue that does not exist has none."""

        async def one(queue: str) -> int:
            try:
                properties = await self._client(queue).get_queue_properties()
            except ResourceNotFoundError:
                return 0
            except AzureError as error:
                raise UnavailableError(f"Queue Storage did not answer ({queue}: {type(error).__name__})") from error
            return int(properties.approximate_message_count or 0)

        names = list(queues)
        return dict(zip(names, await asyncio.gather(*(one(name) for name in names)), strict=True))

    async def backlog(self, queue: str) -> Backlog:
        """How much waits in a queue, and how long the first visible message has waited."""
        messages = (await self.lengths([queue]))[queue]
        if not messages:
            return Backlog()
        try:
            peeked = await self._client(queue).peek_messages(max_messages=1)
        except ResourceNotFoundError:
            return Backlog()
        except AzureError as error:
            raise UnavailableError(f"Queue Storage did not answer ({queue}: {type(error).__name__})") from error
        inserted = peeked[0].inserted_on if peeked else None
        return Backlog(messages, (datetime.now(UTC) - inserted).total_seconds() if inserted else 0.0)

    def _client(self, queue: str) -> QueueClient:
        client = self._clients.get(queue)
        if client is None:
            client = self._clients[queue] = self._service.get_queue_client(queue, message_encode_policy=TextBase64EncodePolicy())
        return client

    @staticmethod
    async def _create(client: QueueClient) -> None:
        from azure.core.exceptions import ResourceExistsError

        try:
            await client.create_queue()
        except ResourceExistsError:
            return
