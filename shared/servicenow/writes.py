"""What can be written to a table, and what can become of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.servicenow.batch import Item
from shared.servicenow.paging import stored_values
from shared.servicenow.queries import checked_column, checked_table
from shared.servicenow.sys_ids import is_sys_id
from shared.servicenow.wire import table_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.errors import FateUnknownError, ProvisioningError, RetryableError
    from shared.servicenow.records import Record

_TRUE = frozenset({"true", "1"})
_FALSE = frozenset({"false", "0"})
# Beside the columns written: they tell whether a later read still sees the same version of the record.
_VERSION = ("sys_id", "sys_mod_count", "sys_updated_on")


@dataclass(frozen=True, slots=True)
class Insert:
    """A new record. ``values`` are stored values (references as sys_ids); ``sys_id`` is the caller's own, where honoured."""

    table: str
    values: Mapping[str, str]
    sys_id: str | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """New values for some columns; ``""`` clears one. ``before``, where known, tells a dropped value from an altered one."""

    table: str
    sys_id: str
    values: Mapping[str, str]
    before: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delete:
    table: str
    sys_id: str


type Write = Insert | Update | Delete


@dataclass(frozen=True, slots=True)
class Written:
    """The write was processed; ``record`` is what the server holds now, as far as it shows it.

    ``dropped``: columns that did not take the value (unknown, not writable, or not shown: ``unreadable`` are those).
    ``altered``: columns that hold another value than the one sent, with that value (a business rule, a length limit).
    """

    record: Record
    dropped: tuple[str, ...] = ()
    altered: Mapping[str, str] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()

    @property
    def sys_id(self) -> str:
        """The record's id; empty if the server told none."""
        return self.record.get("sys_id", "")


@dataclass(frozen=True, slots=True)
class Deleted:
    """The record is gone."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The server looked at the write and said no; nothing was changed."""

    error: ProvisioningError


@dataclass(frozen=True, slots=True)
class NotProcessed:
    """Nothing was changed: never sent, or the server says that it did not get to it. It may be sent again as it is."""

    error: RetryableError


@dataclass(frozen=True, slots=True)
class Unknown:
    """Sent, and no answer proves what became of it: read before writing again."""

    error: FateUnknownError


type Outcome = Written | Deleted | Refused | NotProcessed | Unknown


def method_of(write: Write) -> str:
    match write:
        case Insert():
            return "POST"
        case Update():
            return "PATCH"
        case Delete():
            return "DELETE"


def request_of(write: Write) -> Item:
    """The Table API request. Raises ValueError for a name, an id or a value that is none; null does not clear, ``""`` does."""
    checked_table(write.table)
    if write.sys_id is not None and not is_sys_id(write.sys_id):
        raise ValueError("not a sys_id")
    if isinstance(write, Delete):
        return Item("DELETE", table_url(write.table, write.sys_id))
    values = dict(write.values)
    for column, value in values.items():
        checked_column(column)
        if not isinstance(value, str):
            raise ValueError(f"the value of column {column} is no string")  # noqa: TRY004  names and values are checked alike
    fields = stored_values(tuple(dict.fromkeys((*values, *_VERSION))))
    if isinstance(write, Update):
        return Item("PATCH", table_url(write.table, write.sys_id, fields), json.dumps(values).encode())
    if write.sys_id is not None:
        values["sys_id"] = write.sys_id
    return Item("POST", table_url(write.table, parameters=fields), json.dumps(values).encode())


def verified(write: Insert | Update, record: Record) -> Written:
    """The outcome of a write whose record was read back: each value sent is compared with the one that is there."""
    expected = dict(write.values)
    if isinstance(write, Insert) and write.sys_id is not None:
        expected["sys_id"] = write.sys_id
    before = write.before if isinstance(write, Update) else {}
    unreadable = tuple(column for column in expected if column not in record)
    dropped, altered = list(unreadable), {}
    for column, sent in expected.items():
        held = record.get(column)
        if held is None or _same(sent, held):
            continue
        if held == before.get(column, ""):
            dropped.append(column)
        else:
            altered[column] = held
    return Written(record, tuple(dropped), altered, unreadable)


def _same(sent: str, held: str) -> bool:
    if sent == held:
        return True
    left, right = sent.lower(), held.lower()
    return (left in _TRUE and right in _TRUE) or (left in _FALSE and right in _FALSE)
