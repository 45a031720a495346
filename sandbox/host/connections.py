"""Storage clients for the ``connection`` of a binding: a connection string, or a prefix of identity settings.

Source: Azure Functions docs, "Configure an identity-based connection"; Azure Storage docs, "Configure Azure Storage connection
strings" (``UseDevelopmentStorage=true``, which the Python SDKs do not know).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

from azure.core.exceptions import ResourceExistsError
from azure.data.tables.aio import TableServiceClient
from azure.storage.queue.aio import QueueServiceClient

from sandbox.azurite import DEFAULT_PORTS, connection_string

if TYPE_CHECKING:
    from collections.abc import Mapping

    from azure.identity.aio import DefaultAzureCredential
    from azure.storage.queue.aio import QueueClient

Service = Literal["queue", "table"]


class _Closable(Protocol):
    async def close(self) -> None: ...


class ConnectionSettingsError(Exception):
    """No settings name a storage account under this connection."""


class StorageConnections:
    """Clients of every storage account that the app's bindings name, opened once each and closed together."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._settings = settings
        self._queues: dict[str, QueueServiceClient] = {}
        self._tables: dict[str, TableServiceClient] = {}
        self._credentials: dict[str, DefaultAzureCredential] = {}

    def queues(self, connection: str) -> QueueServiceClient:
        """The account's queues; ConnectionSettingsError if no setting names the account."""
        if connection not in self._queues:
            # The SDK's own first retry comes after 15 s, later than a listener's next poll.
            options: dict[str, Any] = {"retry_total": 2, "initial_backoff": 1, "increment_base": 2, "random_jitter_range": 0}
            text = self._connection_string(connection)
            self._queues[connection] = (
                QueueServiceClient.from_connection_string(text, **options)
                if text
                else QueueServiceClient(self._endpoint(connection, "queue"), credential=self._credential(connection), **options)
            )
        return self._queues[connection]

    def tables(self, connection: str) -> TableServiceClient:
        """The account's tables; ConnectionSettingsError if no setting names the account."""
        if connection not in self._tables:
            text = self._connection_string(connection)
            self._tables[connection] = (
                TableServiceClient.from_connection_string(text, retry_total=2)
                if text
                else TableServiceClient(
                    self._endpoint(connection, "table"), credential=self._credential(connection), retry_total=2
                )
            )
        return self._tables[connection]

    async def close(self) -> None:
        """Close every client."""
        closable: list[_Closable] = [*self._queues.values(), *self._tables.values(), *self._credentials.values()]
        for client in closable:
            await client.close()

    def _connection_string(self, connection: str) -> str | None:
        text = self._settings.get(f"AzureWebJobs{connection}") or self._settings.get(connection)
        if text and "usedevelopmentstorage=true" in text.replace(" ", "").lower():
            return connection_string(*DEFAULT_PORTS)
        return text

    def _endpoint(self, connection: str, service: Service) -> str:
        uri = self._settings.get(f"{connection}__{service}ServiceUri")
        account = self._settings.get(f"{connection}__accountName")
        if not uri and not account:
            raise ConnectionSettingsError(
                f"no storage account: set {connection} to a connection string, or {connection}__accountName, "
                f"or {connection}__{service}ServiceUri"
            )
        return uri or f"https://{account}.{service}.core.windows.net"

    def _credential(self, connection: str) -> DefaultAzureCredential:
        if connection not in self._credentials:
            from azure.identity.aio import DefaultAzureCredential

            client_id = self._settings.get(f"{connection}__clientId")
            options = {"managed_identity_client_id": client_id} if client_id else {}
            self._credentials[connection] = DefaultAzureCredential(**options)
        return self._credentials[connection]


async def create_queue_if_absent(queue: QueueClient) -> None:
    """Create a queue; that somebody else was first is fine."""
    try:
        await queue.create_queue()
    except ResourceExistsError:
        return
