"""Table Storage with the few verbs that the stores need.

Every call is one request. ``Stale`` is the compare-and-set that failed (412), ``Exists`` the insert that came second (409).
A table that does not exist yet is created on first use (the infrastructure creates them beforehand; local storage does not).
Other storage failures are raised as ``UnavailableError`` (retryable), so that an event goes back to its queue.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import aiohttp
from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.core.pipeline.transport import AioHttpTransport
from azure.data.tables import TableTransactionError, UpdateMode
from azure.data.tables.aio import TableServiceClient

from shared.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from azure.core.credentials_async import AsyncTokenCredential
    from azure.data.tables.aio import TableClient

    from shared.settings import Storage

#: Every table that the app uses; the infrastructure creates exactly these.
TABLES: tuple[str, ...] = (
    "joins",
    "owners",
    "memberships",
    "memberindex",
    "escrows",
    "watermarks",
    "progress",
    "job",
    "references",
    "subscriptions",
    "assignments",
    "schemas",
    "guard",
    "staged",
    "poison",
    "plans",
    "log",
    "logindex",
)
#: Operations of one transaction, a limit of Table Storage.
TRANSACTION = 100
#: Bytes of one transaction. Table Storage takes 4 MiB; a smaller one does not hold up the event loop while it is sent.
_TRANSACTION_BYTES = 900_000
#: Bytes of one part of a transaction beside its texts: headers, and names and types of properties.
_PART_BYTES = 1_500
#: How long an idle connection is used again, in seconds: Node.js, under Azurite, hangs up after 5.
_KEEP_ALIVE = 4.0
_HTTP_NOT_FOUND, _HTTP_CONFLICT, _HTTP_PRECONDITION = 404, 409, 412
_REFUSED = frozenset({401, 403})
_KEY_LENGTH = 512
_NOT_IN_KEYS = frozenset("/\\#?")
#: Point reads in flight of one bulk read: enough to hide the latency, few enough to leave room for others.
_PARALLEL_READS = 16

type Row = dict[str, Any]
type Verb = Literal["insert", "replace", "merge", "upsert", "delete"]


class Stale(Exception):
    """The row is no longer what was read: somebody else wrote it in between, or it is gone."""


class Exists(Exception):
    """The row to be inserted is there already."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One part of a transaction. ``etag`` makes a replace, merge or delete conditional; without it they are not."""

    verb: Verb
    row: Mapping[str, Any]
    etag: str = ""


class Tables:
    """The app's tables in one storage account. Close with ``aclose``."""

    def __init__(self, service: TableServiceClient, credential: AsyncTokenCredential | None = None) -> None:
        self._service = service
        self._credential = credential
        self._clients: dict[str, TableClient] = {}
        #: Requests sent, by verb: benches and tests read it.
        self.requests: dict[str, int] = {}

    @classmethod
    def open(cls, storage: Storage) -> Tables:
        """Sign in by connection string, or with the app's identity (``DefaultAzureCredential``)."""
        options: dict[str, Any] = {"retry_total": 3, "retry_backoff_factor": 0.2, "transport": _transport()}
        if storage.connection_string:
            return cls(TableServiceClient.from_connection_string(storage.connection_string, **options))
        from azure.identity.aio import DefaultAzureCredential

        credential = DefaultAzureCredential(managed_identity_client_id=storage.client_id or None)
        return cls(TableServiceClient(storage.table_endpoint, credential=credential, **options), credential)

    async def aclose(self) -> None:
        for client in self._clients.values():
            await client.close()
        await self._service.close()
        if self._credential is not None:
            await self._credential.close()

    async def get(self, table: str, partition: str, key: str) -> Row | None:
        """One row, or None. The row carries its ETag under ``etag``. A key that no row can have is one that is not there."""
        if not (is_key(partition) and is_key(key)):
            return None
        async with self._request(table, "get") as client:
            try:
                entity = await client.get_entity(partition, key)
            except ResourceNotFoundError as error:
                if _table_is_missing(error):
                    await self._create(table)
                return None
            return _row(entity)

    async def get_many(self, table: str, keys: Sequence[tuple[str, str]]) -> list[Row | None]:
        """Point reads in parallel, in the order of the keys. An OR of many row keys would scan the whole partition."""
        room = asyncio.Semaphore(_PARALLEL_READS)

        async def one(partition: str, key: str) -> Row | None:
            async with room:
                return await self.get(table, partition, key)

        return list(await asyncio.gather(*(one(partition, key) for partition, key in keys)))

    async def query(
        self,
        table: str,
        condition: str = "",
        parameters: Mapping[str, Any] | None = None,
        *,
        select: Sequence[str] | None = None,
        limit: int = 0,
    ) -> list[Row]:
        """Rows that satisfy an OData filter with ``@parameters``, in key order; at most ``limit`` when given."""
        rows: list[Row] = []
        async with self._request(table, "query") as client:
            fields = None if select is None else [*select, "PartitionKey", "RowKey"]
            try:
                page_size = {"results_per_page": min(limit, 1000)} if limit else {}
                entities = client.query_entities(condition, parameters=dict(parameters or {}), select=fields, **page_size)
                async for entity in entities:
                    rows.append(_row(entity))
                    if limit and len(rows) >= limit:
                        break
            except ResourceNotFoundError:
                await self._create(table)
        return rows

    async def page(
        self, table: str, condition: str, parameters: Mapping[str, Any], *, size: int, token: dict[str, str] | None
    ) -> tuple[list[Row], dict[str, str] | None]:
        """One page of a query and the continuation token of the next one (None at the end)."""
        async with self._request(table, "query") as client:
            pages = client.query_entities(condition, parameters=dict(parameters), results_per_page=size).by_page(token)  # type: ignore[arg-type] # typed as text, is a dict
            try:
                rows = [_row(entity) async for entity in await anext(pages)]
            except StopAsyncIteration:
                return [], None
            except ResourceNotFoundError:
                await self._create(table)
                return [], None
            following: dict[str, str] | None = pages.continuation_token  # type: ignore[attr-defined] # typed as a plain iterator
            return rows, following or None

    async def insert(self, table: str, row: Mapping[str, Any]) -> str:
        """Insert and return the ETag. Raises ``Exists``."""
        return await self._write(table, "insert", row)

    async def upsert(self, table: str, row: Mapping[str, Any]) -> str:
        """Write the row whatever is there, and return its ETag."""
        return await self._write(table, "upsert", row)

    async def merge(self, table: str, row: Mapping[str, Any]) -> str:
        """Write the row's properties over those that are there, whatever they are; the row is made when absent."""
        return await self._write(table, "merge-upsert", row)

    async def replace(self, table: str, row: Mapping[str, Any], etag: str) -> str:
        """Compare and set: write the row if its ETag is still this one. Raises ``Stale``."""
        return await self._write(table, "replace", row, etag)

    async def delete(self, table: str, partition: str, key: str, etag: str = "") -> None:
        """Delete; a row that is gone already is fine. Raises ``Stale`` when an ETag was given and the row has changed."""
        async with self._request(table, "delete") as client:
            conditions: dict[str, Any] = {"etag": etag, "match_condition": MatchConditions.IfNotModified} if etag else {}
            try:
                await client.delete_entity(partition, key, **conditions)
            except ResourceModifiedError as error:
                raise Stale(f"{table}/{partition}/{key}") from error

    async def transact(self, table: str, operations: Sequence[Operation]) -> list[str]:
        """All or nothing, on rows of ONE partition, at most 100. Returns the new ETags ("" for deletes).

        Raises ``Stale`` or ``Exists`` when one of the rows was not as expected; then none was written.
        """
        if not operations:
            return []
        async with self._request(table, "transaction") as client:
            try:
                parts = [_transaction_part(part) for part in operations]
                try:
                    results = await client.submit_transaction(parts)
                except ServiceRequestError:
                    # The SDK repeats no POST. Repeated, one that was carried out meets its own ETags: Stale or Exists, which
                    # the callers take for somebody else's write and look again.
                    results = await client.submit_transaction(parts)
            except TableTransactionError as error:
                if error.status_code == _HTTP_CONFLICT:
                    raise Exists(table) from error
                if error.status_code == _HTTP_PRECONDITION:
                    raise Stale(table) from error
                if error.status_code == _HTTP_NOT_FOUND and _table_is_missing(error):
                    await self._create(table)
                    return await self.transact(table, operations)
                if error.status_code == _HTTP_NOT_FOUND:
                    raise Stale(table) from error
                raise
            return [str(result.get("etag", "")) for result in results]

    async def apply(self, table: str, operations: Sequence[Operation]) -> list[str | Stale | Exists]:
        """Each operation by itself, in as few requests as possible: rows of any partitions, each with its own result.

        A transaction that fails is repeated row by row, so that one row that was not as expected does not hold up the rest.
        The result is the new ETag ("" for a delete), or the ``Stale`` or ``Exists`` that this row met. Operations on the same
        row are carried out one after the other.
        """
        results: dict[int, str | Stale | Exists] = {}
        room, single = asyncio.Semaphore(_PARALLEL_READS), asyncio.Semaphore(_PARALLEL_READS)

        async def one(index: int) -> None:
            async with single:
                try:
                    results[index] = (await self.transact(table, [operations[index]]))[0]
                except (Stale, Exists) as error:
                    results[index] = error

        async def group(indexes: list[int]) -> None:
            async with room:
                try:
                    etags = await self.transact(table, [operations[index] for index in indexes])
                except (Stale, Exists) as error:
                    if len(indexes) == 1:
                        results[indexes[0]] = error
                        return
                    await asyncio.gather(*(one(index) for index in indexes))
                else:
                    results.update(zip(indexes, etags, strict=True))

        for groups in _transactions(operations):
            await asyncio.gather(*(group(indexes) for indexes in groups))
        return [results[index] for index in range(len(operations))]

    async def ensure(self) -> None:
        """Create all tables that are missing."""
        await asyncio.gather(*(self._create(table) for table in TABLES))

    async def _write(self, table: str, verb: str, row: Mapping[str, Any], etag: str = "") -> str:
        entity = _entity(row)
        async with self._request(table, verb) as client:
            while True:
                try:
                    if verb == "insert":
                        result = await client.create_entity(entity)
                    elif verb == "replace":
                        condition = MatchConditions.IfNotModified
                        result = await client.update_entity(entity, UpdateMode.REPLACE, etag=etag, match_condition=condition)
                    else:
                        mode = UpdateMode.MERGE if verb == "merge-upsert" else UpdateMode.REPLACE
                        result = await client.upsert_entity(entity, mode)
                    return str(result["etag"])
                except ResourceExistsError as error:
                    raise Exists(f"{table}/{row['PartitionKey']}/{row['RowKey']}") from error
                except ResourceModifiedError as error:
                    raise Stale(f"{table}/{row['PartitionKey']}/{row['RowKey']}") from error
                except ResourceNotFoundError as error:
                    if not _table_is_missing(error):
                        raise Stale(f"{table}/{row['PartitionKey']}/{row['RowKey']}") from error
                    await self._create(table)

    async def _create(self, table: str) -> None:
        async with self._request(table, "create") as client:
            try:
                await client.create_table()
            except ResourceExistsError:
                return

    @asynccontextmanager
    async def _request(self, table: str, verb: str) -> AsyncIterator[TableClient]:
        """Count the request and turn storage failures into the app's own."""
        self.requests[verb] = self.requests.get(verb, 0) + 1
        client = self._clients.get(table)
        if client is None:
            client = self._clients[table] = self._service.get_table_client(table)
        try:
            yield client
        except HttpResponseError as error:
            if error.status_code in _REFUSED:
                raise UnavailableError(
                    f"Table Storage refused the app ({verb} {table}: {error.status_code})",
                    recommended_action="Give the app's identity the role Storage Table Data Contributor, or check the key in "
                    "AzureWebJobsStorage.",
                ) from error
            if error.status_code is not None and error.status_code < 500 and error.status_code not in {408, 429}:  # noqa: PLR2004
                raise
            raise UnavailableError(f"Table Storage did not answer ({verb} {table}: {error.status_code})") from error
        except AzureError as error:
            raise UnavailableError(f"Table Storage did not answer ({verb} {table}: {type(error).__name__})") from error


def _transport() -> AioHttpTransport:
    """Connections that are hung up before the service does: a request on a dying one is lost, and a POST is not repeated."""
    connector = aiohttp.TCPConnector(keepalive_timeout=_KEEP_ALIVE)
    session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False)
    return AioHttpTransport(session=session, session_owner=True)


def row(partition: str, key: str, **properties: Any) -> Row:
    """A row to write; properties that are None are left out."""
    return {"PartitionKey": partition, "RowKey": key, **{name: value for name, value in properties.items() if value is not None}}


def is_key(text: str) -> bool:
    """Whether a text can be a key (Table service docs, "Characters disallowed in key fields"; 1 KiB of UTF-16)."""
    return len(text) <= _KEY_LENGTH and text.isprintable() and not set(text) & _NOT_IN_KEYS


def _row(entity: Mapping[str, Any]) -> Row:
    properties = dict(entity)
    metadata: Mapping[str, Any] = getattr(entity, "metadata", {})
    properties["etag"] = str(metadata.get("etag", ""))
    return properties


def _entity(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in properties.items() if name != "etag"}


def _transactions(operations: Sequence[Operation]) -> list[list[list[int]]]:
    """The operations' indexes as transactions of one partition each, in rounds: a row can appear only once in a transaction."""
    rounds: list[dict[str, list[int]]] = []
    occurrences: dict[tuple[str, str], int] = {}
    for index, part in enumerate(operations):
        partition, key = str(part.row["PartitionKey"]), str(part.row["RowKey"])
        number = occurrences.get((partition, key), 0)
        occurrences[partition, key] = number + 1
        if number == len(rounds):
            rounds.append({})
        rounds[number].setdefault(partition, []).append(index)
    return [[part for indexes in partitions.values() for part in _cut(operations, indexes)] for partitions in rounds]


def _cut(operations: Sequence[Operation], indexes: Sequence[int]) -> list[list[int]]:
    """The indexes in parts that one transaction can hold, by number and by size."""
    parts: list[list[int]] = []
    size = 0
    for index in indexes:
        weight = _weight(operations[index].row)
        if not parts or len(parts[-1]) == TRANSACTION or size + weight > _TRANSACTION_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(index)
        size += weight
    return parts


def _weight(properties: Mapping[str, Any]) -> int:
    """At most so many bytes on the wire, where a character that is not ASCII is written as an escape (a pair beyond the BMP)."""
    texts = [value for value in properties.values() if isinstance(value, str)]
    return _PART_BYTES + sum(len(text) if text.isascii() else 12 * len(text) for text in texts)


def _transaction_part(part: Operation) -> Any:
    entity = _entity(part.row)
    conditions = {"etag": part.etag, "match_condition": MatchConditions.IfNotModified} if part.etag else {}
    match part.verb:
        case "insert":
            return ("create", entity)
        case "replace":
            return ("update", entity, {"mode": UpdateMode.REPLACE, **conditions})
        case "merge":
            return ("update" if part.etag else "upsert", entity, {"mode": UpdateMode.MERGE, **conditions})
        case "upsert":
            return ("upsert", entity, {"mode": UpdateMode.REPLACE})
        case "delete":
            return ("delete", entity, conditions)


def _table_is_missing(error: HttpResponseError) -> bool:
    # The SDK decodes the code for some verbs only; the answer's text always holds it.
    return "TableNotFound" in f"{getattr(error, 'error_code', '')} {error}"
