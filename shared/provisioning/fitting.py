"""Fit values into the columns of the target's table: what cannot be held is cut, left out or refused before it is sent.

ServiceNow itself cuts a long text and empties a wrong number or date without a word, so lengths and types of sys_dictionary are
checked here. Source: ServiceNow documentation, "Field types" and "System dictionary".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from shared.errors import SchemaMismatchError
from shared.provisioning.deciding import matching_columns
from shared.provisioning.work import Outcome
from shared.servicenow.sys_ids import is_sys_id

if TYPE_CHECKING:
    from shared.provisioning.work import Work
    from shared.schema.mapping import ObjectMapping
    from shared.servicenow.dictionary import Column, TableDictionary

_CODE = "SchemaPropertyCanOnlyAcceptValue"
_INTEGERS = frozenset({"integer", "longint"})
_DECIMALS = frozenset({"decimal", "float", "currency", "currency2", "price"})
_FORMATS = {"glide_date_time": "%Y-%m-%d %H:%M:%S", "due_date": "%Y-%m-%d %H:%M:%S", "glide_date": "%Y-%m-%d"}
_BOOLEANS = frozenset({"true", "false", "1", "0"})


@dataclass(frozen=True, slots=True)
class Columns:
    """What the target's table allows: its dictionary, and the mapped columns that it does not have."""

    dictionary: TableDictionary
    missing: frozenset[str] = frozenset()


def fitted(work: Work, mapping: ObjectMapping, columns: Columns, values: dict[str, str]) -> dict[str, str]:
    """Leave out what the table cannot take, cut what may be cut, and say so; a matching or mandatory column ends the work."""
    kept: dict[str, str] = {}
    for column, value in values.items():
        work.left_out.add(column)
        if column in columns.missing:
            work.warnings.append(f"column {mapping.table}.{column} does not exist or cannot be written, and was left out")
            continue
        known = columns.dictionary.columns.get(column)
        attribute = mapping.attribute(column)
        text = _date_only(value, known)
        problem = misfit(text, known)
        limit = known.max_length if known is not None and not known.reference else None
        if not problem and limit and len(text) > limit:
            if attribute is not None and attribute.on_overflow == "truncate":
                text = text[:limit]
                work.warnings.append(f"the value of {column} was cut to the column's {limit} characters")
            else:
                problem = f"has {len(text)} characters, {limit} fit"
        if (
            not problem
            and not text
            and known is not None
            and known.mandatory
            and not (work.record and not work.record.get(column))
        ):
            _refuse(work, mapping, column, "is mandatory in ServiceNow and would be blanked")
            return {}
        if not problem:
            kept[column] = text
            work.left_out.discard(column)
        elif column in matching_columns(mapping):
            _refuse(work, mapping, column, f"is a matching attribute, and its value {problem}")
            return {}
        else:
            work.warnings.append(f"the value of {column} {problem}: it was left out")
    return kept


def misfit(text: str, column: Column | None) -> str:
    """What is wrong with a text for a column's type, as the end of a sentence; empty if nothing is, or the type is unknown."""
    if column is None or not text:
        return ""
    kind = column.internal_type
    if kind in _INTEGERS and not re.fullmatch(r"-?\d{1,18}", text):
        return "is no whole number"
    if kind in _DECIMALS and not re.fullmatch(r"-?\d+(\.\d+)?", text):
        return "is no number"
    if kind == "boolean" and text.lower() not in _BOOLEANS:
        return "is neither true nor false"
    if kind in _FORMATS and not _is_date(text, _FORMATS[kind]):
        return "is no date as ServiceNow writes it"
    if kind == "reference" and not is_sys_id(text):
        return f"is no sys_id of {column.reference}"
    return ""


def _date_only(text: str, column: Column | None) -> str:
    """A point in time for a column that holds days: its day."""
    if column is not None and column.internal_type == "glide_date" and _is_date(text, _FORMATS["glide_date_time"]):
        return text[:10]
    return text


def _is_date(text: str, shape: str) -> bool:
    try:
        datetime.strptime(text, shape)  # noqa: DTZ007 - only the shape is looked at; ServiceNow's times are UTC
    except ValueError:
        return False
    return True


def _refuse(work: Work, mapping: ObjectMapping, column: str, problem: str) -> None:
    error = SchemaMismatchError(
        f"the column {mapping.table}.{column} {problem}",
        code=_CODE,
        recommended_action=f"Correct the value in Entra ID or the mapping of {column}, or the column in ServiceNow.",
    )
    work.note("EntryExport", "export", "failure", error.reason, errorCode=error.code)
    work.end(Outcome("escrowed", "other", "failure", error))
