"""Writes: one by the Table API, several by the Batch API, each with its own proven outcome."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from shared.errors import (
    CredentialsError,
    FateUnknownError,
    ProtocolError,
    ProvisioningError,
    RetryableError,
    TerminalError,
    UnavailableError,
)
from shared.servicenow.answers import Answer, Asked, believe, result_of, unsure
from shared.servicenow.batch import BATCH_URL, Item, Serviced, read_batch, write_batch
from shared.servicenow.pace import Cut, Kind, Pace
from shared.servicenow.proof import Proof, Unproven
from shared.servicenow.reading import Reader, note_batch_refusal
from shared.servicenow.records import read_record
from shared.servicenow.sys_ids import is_sys_id
from shared.servicenow.wire import Request, Wire
from shared.servicenow.writes import (
    Delete,
    Deleted,
    NotProcessed,
    Outcome,
    Refused,
    Unknown,
    Update,
    Write,
    method_of,
    request_of,
    verified,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_log = logging.getLogger("provisioning.servicenow")
_BATCHES_AT_ONCE: Final = 4
_SERVER_LIMIT_OF_A_BATCH: Final = 30.0
_UNPROCESSED: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})

type OnSend = Callable[[Sequence[Write]], None]
"""Called with the writes of a request right before it is put on the wire; raising keeps it off."""


@dataclass(slots=True)
class _Call:
    """One call of :meth:`Writer.write` under way. ``todo`` holds positions in ``writes``."""

    writes: Sequence[Write]
    items: list[Item]
    deadline: float | None
    on_send: OnSend | None
    outcomes: dict[int, Outcome | Unproven] = field(default_factory=dict)
    todo: deque[int] = field(default_factory=deque)
    stopped_by: Exception | None = None

    def kind(self, position: int) -> Kind:
        write = self.writes[position]
        return write.table, method_of(write)


class Writer:
    """Writes through one :class:`Wire`. Timeouts are in seconds and lie above the server's own limits."""

    def __init__(self, wire: Wire, reader: Reader, *, timeout: float, batch_timeout: float) -> None:
        self._wire = wire
        self._proof = Proof(reader)
        self._timeout = timeout
        self._batch_timeout = batch_timeout
        self._pace = Pace()

    async def write(self, writes: Sequence[Write], *, deadline: float | None, on_send: OnSend | None) -> list[Outcome]:
        """One outcome for each write, in their order; the writes themselves may be carried out in any order.

        ``deadline`` is Unix time: no request is sent whose timeout would outlast it. What ``on_send`` raises, and refused
        credentials, are raised from here if nothing has been sent yet; later they become outcomes of what is left.
        """
        call = _Call(writes, [request_of(write) for write in writes], deadline, on_send)
        call.todo.extend(range(len(writes)))
        at_once = min(_BATCHES_AT_ONCE, len(writes))
        await asyncio.gather(*(self._work(call) for _ in range(at_once)))
        if call.stopped_by is not None:
            if not call.outcomes and isinstance(call.stopped_by, CredentialsError | _HookError):
                raise call.stopped_by.cause if isinstance(call.stopped_by, _HookError) else call.stopped_by
            for position in range(len(writes)):
                call.outcomes.setdefault(position, _not_tried(call.stopped_by))
        return await self._proof.settle(writes, call.outcomes)

    async def _work(self, call: _Call) -> None:
        while call.todo and call.stopped_by is None:
            positions = self._cut(call)
            try:
                if len(positions) == 1:
                    await self._send_alone(call, positions[0])
                else:
                    await self._send_batch(call, positions)
            except (CredentialsError, _HookError) as failure:
                call.stopped_by = failure
            except ProvisioningError as failure:
                # A failure of the whole request tells of its own writes; the rest is not tried.
                for position in positions:
                    call.outcomes[position] = _outcome_of(failure)
                call.stopped_by = failure

    def _cut(self, call: _Call) -> list[int]:
        cut = Cut()
        positions: list[int] = []
        most = 1 if self._wire.batch_refused else len(call.todo)
        while call.todo and len(positions) < most:
            position = call.todo[0]
            if not cut.takes(self._pace.expected(call.kind(position)), call.items[position].size):
                break
            positions.append(call.todo.popleft())
        return positions

    async def _send_alone(self, call: _Call, position: int) -> None:
        write, item = call.writes[position], call.items[position]
        asked = Asked(item.method, write.table)
        request = Request(item.method, item.url, asked, self._timeout, item.body)
        try:
            answer = await self._wire.send(request, self._before(call, [position], self._timeout))
        except FateUnknownError as error:
            # Its own fate alone is unknown; whether others are worth trying, the next request shows.
            call.outcomes[position] = Unknown(error)
            return
        self._pace.took([(call.kind(position), 0.0)], answer.seconds)
        call.outcomes[position] = self._outcome(write, answer)

    async def _send_batch(self, call: _Call, positions: list[int]) -> None:
        envelope = Asked("POST", "batch")
        body = write_batch([call.items[position] for position in positions])
        request = Request("POST", BATCH_URL, envelope, self._batch_timeout, body)
        try:
            answer = await self._wire.send(request, self._before(call, positions, self._batch_timeout))
            serviced = self._read_envelope(answer, envelope, len(positions))
        except FateUnknownError:
            self._pace.failed({call.kind(position) for position in positions})
            raise
        except TerminalError as refused:
            # An envelope refused with 4xx has done nothing, so its writes may go one by one.
            note_batch_refusal(self._wire, refused)
            call.todo.extendleft(reversed(positions))
            return
        times = [(call.kind(p), a.seconds) for p, a in zip(positions, serviced.answers, strict=True) if a is not None]
        if times:
            self._pace.took(times, answer.seconds)
        _log.info("batch: %d of %d serviced in %.0f ms", len(times), len(positions), answer.seconds * 1000)
        self._account(call, positions, serviced)

    def _read_envelope(self, answer: Answer, envelope: Asked, count: int) -> Serviced:
        payload = believe(answer, envelope, now=self._wire.clock())
        try:
            return read_batch(payload, count)
        except ProtocolError as error:
            raise unsure(envelope, error.reason, None) from None

    def _account(self, call: _Call, positions: list[int], serviced: Serviced) -> None:
        # Items run in order: the first that was not serviced may have been under way when the batch was cut off.
        cut_off = min(serviced.unserviced, default=-1)
        for number, (position, answer) in enumerate(zip(positions, serviced.answers, strict=True)):
            asked = Asked(call.items[position].method, call.writes[position].table)
            if answer is not None:
                if answer.status in _UNPROCESSED:
                    self._wire.complained(asked, answer)
                call.outcomes[position] = self._outcome(call.writes[position], answer)
            elif number in serviced.unserviced and number != cut_off:
                call.outcomes[position] = NotProcessed(UnavailableError(f"{asked}: the batch ended before it", retry_after=0.0))
            else:
                why = "the batch was cut off at it" if number == cut_off else "the batch's answer does not mention it"
                call.outcomes[position] = Unknown(FateUnknownError(f"{asked}: {why}", retry_after=_SERVER_LIMIT_OF_A_BATCH))

    def _outcome(self, write: Write, answer: Answer) -> Outcome | Unproven:
        asked = Asked(method_of(write), write.table)
        try:
            payload = believe(answer, asked, now=self._wire.clock())
            if isinstance(write, Delete):
                return Deleted()
            if not payload:
                return Unproven(_created_id(answer) or write.sys_id)
            record = read_record(result_of(payload, asked), write.table)
        except ProtocolError as error:
            return _after_success(answer, error)
        except ProvisioningError as error:
            if answer.status == HTTPStatus.UNAUTHORIZED:
                return Refused(CredentialsError(f"{asked}: 401 for an item of an accepted batch"))
            return _outcome_of(error)
        if isinstance(write, Update) and record.get("sys_id", write.sys_id).lower() != write.sys_id.lower():
            return Unknown(FateUnknownError(f"{asked}: another record came back than was written"))
        return verified(write, record)

    def _before(self, call: _Call, positions: list[int], timeout: float) -> Callable[[], None]:
        def check() -> None:
            if call.deadline is not None and self._wire.clock() + timeout > call.deadline:
                raise UnavailableError("not sent: the request could outlast the deadline", retry_after=0.0)
            if call.on_send is not None:
                try:
                    call.on_send([call.writes[position] for position in positions])
                except Exception as cause:
                    raise _HookError(cause) from cause

        return check


class _HookError(Exception):
    """What the caller's own check raised, kept apart from what the wire raises."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(type(cause).__name__)
        self.cause = cause


def _outcome_of(failure: ProvisioningError) -> Outcome:
    match failure:
        case FateUnknownError():
            return Unknown(failure)
        case RetryableError():
            return NotProcessed(failure)
        case _:
            return Refused(failure)


def _not_tried(stopped_by: Exception) -> Outcome:
    """The outcome of a write that was never sent, because of what happened to an earlier one or in the caller's check."""
    cause = stopped_by.cause if isinstance(stopped_by, _HookError) else stopped_by
    if isinstance(cause, ProvisioningError) and not isinstance(cause, FateUnknownError):
        return _outcome_of(cause)
    return NotProcessed(UnavailableError(f"not sent, after {type(cause).__name__} of another write"))


def _after_success(answer: Answer, error: ProtocolError) -> Outcome:
    """An answer that makes no sense: a 2xx may have written, anything else has refused."""
    if HTTPStatus(answer.status).is_success:
        return Unknown(FateUnknownError(error.reason, retry_after=0.0))
    return Refused(error)


def _created_id(answer: Answer) -> str | None:
    """The record's id from ``Location: .../api/now/table/TABLE/SYS_ID``."""
    last = answer.headers.get("location", "").rstrip("/").rpartition("/")[2]
    return last if is_sys_id(last) else None
