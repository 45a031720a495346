"""Values as ServiceNow takes them: every field of the Table API is text (source: Table API, ServiceNow developer docs)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.errors import SchemaMismatchError

from .expressions.dotnet_dates import DateFormatError, Moment, parse_date, print_exact
from .values import Scalar, Value, boolean_of, items_of, number_of, text_of

if TYPE_CHECKING:
    from .model import AttributeType

_SINGLE_VALUE = "SchemaPropertyCanOnlyAcceptValue"
_DATE_TIME = "yyyy-MM-dd HH:mm:ss"


def to_target(value: Value, type: AttributeType = "String", *, multivalued: bool = False, target: str = "") -> str:  # noqa: A002 - the field's own term
    """The text of a value: "" clears; "true"/"false"; dates ``yyyy-MM-dd HH:mm:ss`` in UTC; lists joined by a comma.

    Raises :class:`SchemaMismatchError` for a value that is no such type, and for a list where one value fits. The reason names
    the column, never the value.
    """
    items = items_of(value)
    if len(items) > 1 and not multivalued:
        raise SchemaMismatchError(f"{_column(target)} takes one value, the mapping gives {len(items)}", code=_SINGLE_VALUE)
    return ",".join(_text(item, type, target) for item in items)


def _column(target: str) -> str:
    return f"the column {target}" if target else "the column"


def _text(item: Scalar, kind: AttributeType, target: str) -> str:
    text = text_of(item)
    if text == "":
        return ""
    match kind:
        case "Boolean":
            flag = boolean_of(item)
            if flag is None:
                raise SchemaMismatchError(f"{_column(target)} takes true or false, the mapping gives another text")
            return "true" if flag else "false"
        case "Integer":
            number = number_of(item)
            if not isinstance(number, int):
                raise SchemaMismatchError(f"{_column(target)} takes a whole number, the mapping gives another value")
            return str(number)
        case "DateTime":
            try:
                return print_exact(Moment(parse_date(text)), _DATE_TIME)
            except DateFormatError as error:
                raise SchemaMismatchError(f"{_column(target)} takes a date: {error}") from error
        case _:
            return ("true" if item else "false") if isinstance(item, bool) else text
