"""A queue message that this host has taken, and the pop receipt that proves it.

Source: Azure Storage REST API, Update Message and Delete Message; QueueListener.cs of the Storage extension for the renewal.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from azure.storage.queue import QueueMessage
    from azure.storage.queue.aio import QueueClient

_log = logging.getLogger(__name__)

# A lease is renewed at half its life, and after a failed renewal at a tenth.
_RENEWAL = 0.5
_RENEWAL_AFTER_FAILURE = 0.1


class LeasedMessage:
    """Every update changes the pop receipt that the next call must show; ``lease`` in seconds."""

    def __init__(self, queue: QueueClient, message: QueueMessage, lease: int) -> None:
        self._queue = queue
        self._id = message.id
        self._receipt = message.pop_receipt
        self._lease = lease

    @asynccontextmanager
    async def renewed(self) -> AsyncIterator[None]:
        """Keep the message invisible to others while the block runs."""
        done = asyncio.Event()
        renewal = asyncio.create_task(self._renew_until(done))
        try:
            yield
        finally:
            # A renewal under way is waited for, not cancelled: its receipt is the one that counts.
            done.set()
            await renewal

    async def update(self, visible_in: float) -> None:
        """Set the time in seconds after which anyone may take the message."""
        with self._unless_taken_over():
            updated = await self._queue.update_message(self._id, self._receipt, visibility_timeout=round(visible_in))
            self._receipt = updated.pop_receipt

    async def delete(self) -> None:
        """Delete the message: it is done. If another host has taken it meanwhile it stays, and runs again."""
        with self._unless_taken_over():
            await self._queue.delete_message(self._id, self._receipt)

    async def _renew_until(self, done: asyncio.Event) -> None:
        delay = self._lease * _RENEWAL
        while True:
            try:
                async with asyncio.timeout(delay):
                    await done.wait()
            except TimeoutError:
                delay = self._lease * await self._renew()
            else:
                return

    async def _renew(self) -> float:
        """Renew once; the share of the lease after which to renew again."""
        try:
            await self.update(self._lease)
        except AzureError as error:
            _log.warning("The lease of message %s could not be renewed: %s", self._id, error)
            return _RENEWAL_AFTER_FAILURE
        return _RENEWAL

    @contextmanager
    def _unless_taken_over(self) -> Iterator[None]:
        """Not an error if another host owns the message by now, or has finished it: delivery is at least once."""
        try:
            yield
        except HttpResponseError as error:
            mismatch = getattr(error, "error_code", None) == "PopReceiptMismatch"
            if not mismatch and not isinstance(error, ResourceNotFoundError):
                raise
            _log.warning("Message %s is no longer this host's: its lease ran out and another one took it", self._id)
