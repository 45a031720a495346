"""Reads of tables whose every row is proven: complete pages, readable columns, and the condition tested on our side."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.errors import (
    CredentialsError,
    NotFoundError,
    ProtocolError,
    ProvisioningError,
    TerminalError,
    UnavailableError,
)
from shared.servicenow.answers import Answer, Asked, TruncatedAnswerError, believe, result_of
from shared.servicenow.batch import BATCH_URL, Item, read_batch, write_batch
from shared.servicenow.paging import Window, out_of_order, split, stored_values
from shared.servicenow.queries import checked_column, checked_table
from shared.servicenow.records import Record, UnreadableColumns, missing_columns, read_record
from shared.servicenow.sys_ids import is_sys_id
from shared.servicenow.wire import Request, Wire, table_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shared.servicenow.queries import Condition

_log = logging.getLogger("provisioning.servicenow")
_LONGEST_URL: Final = 2000
_READS_PER_BATCH: Final = 10
_FEWEST_SAMPLED: Final = 20


@dataclass(frozen=True, slots=True)
class Selection:
    """What a select is after: the table, the columns to ask for, and those that must be in every row."""

    table: str
    fields: tuple[str, ...]
    demanded: tuple[str, ...]
    asked: Asked


class Reader:
    """Reads through one :class:`Wire`. Timeouts are in seconds, for a single request and for a batch."""

    def __init__(self, wire: Wire, *, timeout: float, batch_timeout: float) -> None:
        self._wire = wire
        self._timeout = timeout
        self._batch_timeout = batch_timeout

    async def select(
        self,
        table: str,
        condition: Condition,
        fields: Iterable[str],
        *,
        page_size: int = 1000,
        demand_fields: bool = True,
    ) -> list[Record]:
        """Every visible row that matches, once, ordered by sys_id within each part of a long value list.

        Rows hold the fields, ``sys_id`` and the condition's columns. Raises UnreadableColumns if one of them is missing,
        ProtocolError if a row is returned that the query did not ask for (nothing is returned then).
        """
        selection = _selection(table, condition, fields, demand_fields=demand_fields)
        pending = [Window(part, page_size) for part in split(condition)]
        found: dict[str, Record] = {}
        while pending:
            several = pending[:_READS_PER_BATCH]
            following: list[Window] = []
            for window, answer in zip(several, await self._fetch(selection, several), strict=True):
                following.extend(await self._take(selection, window, answer, found))
            pending = following + pending[len(several) :]
        _log.debug("GET %s: %d rows", table, len(found))
        return [row for row in found.values() if condition.matches(row)]

    async def sample(
        self, table: str, condition: Condition, fields: Iterable[str] = (), *, limit: int = _FEWEST_SAMPLED
    ) -> list[Record]:
        """One page of rows that match, proven like :meth:`select`; without ``fields`` with every readable column.

        An empty list proves nothing: access rules may hide the rows of this page alone.
        """
        selection = _selection(table, condition, fields, demand_fields=True)
        window = Window(condition, limit)
        (answer,) = await self._fetch(selection, [window])
        if answer is None:
            raise UnavailableError(f"GET {table}: the batch ended before it")
        rows = _rows(selection, window, answer, self._wire.clock())
        return [row for row in rows if condition.matches(row)]

    async def get(self, table: str, sys_id: str, fields: Iterable[str]) -> Record | None:
        """The record, or None if it does not exist or an access rule hides it: the answer is the same for both."""
        if not is_sys_id(sys_id):
            raise ValueError("not a sys_id")
        wanted = tuple(dict.fromkeys((*map(checked_column, fields), "sys_id")))
        asked = Asked("GET", checked_table(table))
        request = Request("GET", table_url(table, sys_id, stored_values(wanted)), asked, self._timeout)
        try:
            payload = believe(await self._wire.send(request), asked, now=self._wire.clock())
        except NotFoundError:
            return None
        record = read_record(result_of(payload, asked), table)
        if missing := missing_columns(record, wanted):
            raise UnreadableColumns(table, missing)
        if record["sys_id"].lower() != sys_id.lower():
            raise ProtocolError(f"GET {table}: another record came back than was asked for")
        return record

    async def count(self, table: str, condition: Condition) -> int:
        """Rows that match, by the Aggregate API; true only if the condition's columns are known to exist."""
        checked_table(table)
        return sum([await self._count(table, part) for part in split(condition)])

    async def try_batch(self) -> None:
        """Whether the Batch API is open to us: one read in a batch, noted if it is refused as a whole."""
        self._wire.allow_batches()
        try:
            await self._batch(Asked("GET", "sys_user"), [table_url("sys_user", parameters=[("sysparm_limit", "1")])])
        except CredentialsError:
            raise
        except TerminalError as refused:
            note_batch_refusal(self._wire, refused)

    async def _count(self, table: str, condition: Condition) -> int:
        query = condition.encode()
        asked = Asked("GET", table, tuple(sorted(condition.columns)))
        parameters = [*([("sysparm_query", query)] if query else []), ("sysparm_count", "true")]
        (answer,) = await self._answers(asked, [table_url(table, parameters=parameters, api="stats")])
        if answer is None:
            raise UnavailableError(f"GET {table}: the batch ended before it")
        result = result_of(believe(answer, asked, now=self._wire.clock()), asked)
        stats = result.get("stats") if isinstance(result, dict) else None
        number = str(stats.get("count", "")) if isinstance(stats, dict) else ""
        if not number.isdecimal():
            raise ProtocolError(f"GET {table}: the Aggregate API answered without a count")
        return int(number)

    async def _take(self, selection: Selection, window: Window, answer: Answer | None, found: dict[str, Record]) -> list[Window]:
        """Put the page's rows into ``found``; the windows still to be read for this part of the condition."""
        if answer is None:
            return [window]
        try:
            rows = _rows(selection, window, answer, self._wire.clock())
        except TruncatedAnswerError:
            smaller = window.smaller()
            if smaller is None:
                raise
            return [smaller]
        if out_of_order(rows):
            raise ProtocolError(f"GET {selection.table}: the rows are not in order of sys_id, so paging could lose some")
        total = answer.total
        if total is None:
            total = await self._count(selection.table, window.rest) if len(rows) < window.size else 2**62
        found.update((row["sys_id"], row) for row in rows)
        following = window.following(rows, total)
        return [] if following is None else [following]

    async def _fetch(self, selection: Selection, windows: Sequence[Window]) -> list[Answer | None]:
        urls = [table_url(selection.table, parameters=window.parameters(selection.fields)) for window in windows]
        return await self._answers(selection.asked, urls)

    async def _answers(self, asked: Asked, urls: Sequence[str]) -> list[Answer | None]:
        """An answer for each URL: by itself if it is alone and short, else as items of a batch; None if that ended before it."""
        if (len(urls) == 1 and len(urls[0]) <= _LONGEST_URL) or self._wire.batch_refused:
            return [await self._wire.send(Request("GET", url, asked, self._timeout)) for url in urls]
        try:
            return await self._batch(asked, urls)
        except CredentialsError:
            raise
        except TerminalError as refused:
            note_batch_refusal(self._wire, refused)
            return await self._answers(asked, urls)

    async def _batch(self, asked: Asked, urls: Sequence[str]) -> list[Answer | None]:
        body = write_batch([Item("GET", url) for url in urls])
        envelope = Asked("GET", "batch")
        answer = await self._wire.send(Request("POST", BATCH_URL, envelope, self._batch_timeout, body))
        serviced = read_batch(believe(answer, envelope, now=self._wire.clock()), len(urls))
        if not any(serviced.answers):
            raise UnavailableError(f"{asked}: the Batch API serviced none of {len(urls)} reads")
        return list(serviced.answers)


def note_batch_refusal(wire: Wire, refused: ProvisioningError) -> None:
    """Remember that the Batch API is closed, and say so."""
    wire.refuse_batches()
    _log.warning("the Batch API is refused (%s); every request goes by itself for a while", refused.code)


def _selection(table: str, condition: Condition, fields: Iterable[str], *, demand_fields: bool) -> Selection:
    wanted = tuple(map(checked_column, fields))
    needed = ("sys_id", *sorted(condition.columns))
    asked = Asked("GET", checked_table(table), tuple(sorted(condition.columns)))
    asked_for = tuple(dict.fromkeys((*wanted, *needed))) if wanted else ()
    return Selection(table, asked_for, tuple(dict.fromkeys((*wanted, *needed))) if demand_fields else needed, asked)


def _rows(selection: Selection, window: Window, answer: Answer, now: float) -> list[Record]:
    """The page's rows, each with its columns and each one that was asked for."""
    table = selection.table
    result = result_of(believe(answer, selection.asked, now=now), selection.asked)
    if not isinstance(result, list):
        raise ProtocolError(f"GET {table}: the result is no list")
    if len(result) > window.size:
        raise ProtocolError(f"GET {table}: {len(result)} rows came back where at most {window.size} were asked for")
    rows = [read_record(row, table) for row in result]
    missing = set().union(*(missing_columns(row, selection.demanded) for row in rows))
    if missing:
        raise UnreadableColumns(table, missing)
    condition = window.rest
    wrong = sum(not condition.admits(row) for row in rows)
    if wrong:
        columns = ", ".join(sorted(condition.columns))
        raise ProtocolError(
            f"GET {table}: {wrong} of {len(rows)} rows do not satisfy the query on {columns}; nothing of it is used",
            recommended_action=f"Check that {columns} exist in {table}: the platform ignores a condition on an unknown column.",
        )
    return rows
