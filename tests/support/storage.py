"""The storage that all tests share, emptied of what an earlier test left."""

from __future__ import annotations

import asyncio
import contextlib

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue.aio import QueueServiceClient

from shared.events import QUEUES
from shared.settings import Storage
from shared.state.tables import TABLES, Operation, Tables


async def empty_tables(tables: Tables) -> None:
    """Delete every row of every table of the app."""

    async def empty(table: str) -> None:
        rows = await tables.query(table, select=["PartitionKey"])
        await tables.apply(table, [Operation("delete", row) for row in rows])

    await asyncio.gather(*(empty(table) for table in TABLES))


async def empty_queues(connection_string: str) -> None:
    """Delete every message of the app, visible or not."""
    async with QueueServiceClient.from_connection_string(connection_string) as service:
        for queue in (*QUEUES, *(f"{queue}-poison" for queue in QUEUES)):
            with contextlib.suppress(ResourceNotFoundError):
                await service.get_queue_client(queue).clear_messages()


async def empty_storage(connection_string: str) -> None:
    """Delete every row and every message of the app."""
    await empty_queues(connection_string)
    tables = Tables.open(Storage(connection_string))
    try:
        await empty_tables(tables)
    finally:
        await tables.aclose()
