"""The second look at writes whose own answer does not settle them: silent successes, and inserts refused as duplicates."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.errors import FateUnknownError, NotFoundError, ProvisioningError, RetryableError
from shared.servicenow.queries import one_of
from shared.servicenow.refusals import RecordTakenError
from shared.servicenow.writes import Insert, NotProcessed, Outcome, Refused, Unknown, Update, Write, Written, verified

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shared.servicenow.reading import Reader
    from shared.servicenow.records import Record


@dataclass(frozen=True, slots=True)
class Unproven:
    """The server answered 2xx without a record; ``sys_id`` is where to look, None if it told none."""

    sys_id: str | None


class Proof:
    """Reads back through one :class:`Reader`: one query for each table, only where a write's own answer leaves doubt."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def settle(self, writes: Sequence[Write], outcomes: Mapping[int, Outcome | Unproven]) -> list[Outcome]:
        """The final outcome of each write, in order."""
        settled: dict[int, Outcome] = {}
        silent: dict[str, dict[int, str]] = defaultdict(dict)
        taken: dict[str, dict[int, str]] = defaultdict(dict)
        for position, write in enumerate(writes):
            outcome = outcomes[position]
            match outcome, write:
                case Unproven(sys_id=None), _:
                    settled[position] = Unknown(FateUnknownError(f"{write.table}: the answer names no record", retry_after=0.0))
                case Unproven(sys_id=str(sys_id)), _:
                    silent[write.table][position] = sys_id
                case Refused(error=RecordTakenError()), Insert(sys_id=str(sys_id)):
                    taken[write.table][position] = sys_id
                    settled[position] = outcome
                case _ if not isinstance(outcome, Unproven):
                    settled[position] = outcome
        for table, ids in silent.items():
            settled |= await self._read_back(table, ids, writes)
        for table, ids in taken.items():
            settled |= await self._told_apart(table, ids, settled)
        return [settled[position] for position in range(len(writes))]

    async def _read_back(self, table: str, ids: Mapping[int, str], writes: Sequence[Write]) -> dict[int, Outcome]:
        changes = {position: write for position in ids if isinstance(write := writes[position], Insert | Update)}
        columns = {column for write in changes.values() for column in write.values}
        try:
            records = await self._records(table, ids.values(), columns)
        except ProvisioningError as error:
            unproven = FateUnknownError(f"{table}: written, but reading it back failed: {error.reason}", retry_after=0.0)
            return dict.fromkeys(ids, Unknown(unproven))
        settled: dict[int, Outcome] = {}
        for position, write in changes.items():
            record = records.get(ids[position])
            if record is not None:
                settled[position] = verified(write, record)
            elif isinstance(write, Insert):
                # The server says that it made a record which we are not shown: nothing about its columns is proven.
                unread = tuple(write.values)
                settled[position] = Written({"sys_id": ids[position]}, dropped=unread, unreadable=unread)
            else:
                settled[position] = Refused(NotFoundError(f"PATCH {table}: the record does not exist, or is hidden from us"))
        return settled

    async def _told_apart(self, table: str, ids: Mapping[int, str], settled: Mapping[int, Outcome]) -> dict[int, Outcome]:
        try:
            records = await self._records(table, ids.values(), ())
        except RetryableError as error:
            # Refused inserts have changed nothing, and without the look they would be blamed on a name.
            return dict.fromkeys(ids, NotProcessed(error))
        except ProvisioningError:
            return {}
        return {position: _same_record(settled[position]) for position, sys_id in ids.items() if sys_id in records}

    async def _records(self, table: str, ids: Iterable[str], columns: Iterable[str]) -> dict[str, Record]:
        rows = await self._reader.select(table, one_of("sys_id", ids), ("sys_id", *columns), demand_fields=False)
        return {row["sys_id"]: row for row in rows}


def _same_record(outcome: Outcome) -> Outcome:
    if not isinstance(outcome, Refused):
        return outcome
    return Refused(
        RecordTakenError(
            f"{outcome.error.reason}; the record with this very sys_id is there already",
            duplicate_sys_id=True,
            recommended_action="Nothing to do: an earlier attempt made it, and it will be compared.",
        ),
    )
