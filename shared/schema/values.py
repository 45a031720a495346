"""The values that flow from Entra to ServiceNow, and the rules by which one form becomes another.

A value is text, a boolean, a number, a tuple of these (a multi-valued attribute) or NULL. Absent attribute, JSON null and an
empty collection are all NULL: Graph leaves out what is empty, and the expression language does not tell them apart
(source: "Reference for writing expressions for attribute mappings", Microsoft Entra docs). Dates are text.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Any

type Scalar = str | bool | int | float
type Value = Scalar | tuple[Scalar, ...] | None

_TRUE = frozenset({"true", "1"})
_FALSE = frozenset({"false", "0"})


class Flow(Enum):
    """What an expression says instead of a value: nothing flows for this attribute, or for the whole object."""

    IGNORE_ATTRIBUTE = "IgnoreAttributeFlow"
    IGNORE_OBJECT = "IgnoreObjectFlow"


IGNORE_FLOW = Flow.IGNORE_ATTRIBUTE
"""The attribute is dropped from the flow: neither written nor cleared."""


def value_of(raw: Any) -> Value:
    """Turn a JSON value into a :data:`Value`: nulls inside a list are dropped, an empty list is NULL.

    Raises :class:`TypeError` for a JSON object, which is no attribute value (flatten it first).
    """
    if raw is None or isinstance(raw, str | bool | int | float):
        return raw
    if isinstance(raw, datetime):
        return raw.isoformat()
    if isinstance(raw, list | tuple):
        items = tuple(item for entry in raw if (item := value_of(entry)) is not None and not isinstance(item, tuple))
        return items or None
    raise TypeError(f"{type(raw).__name__} is not an attribute value")


def items_of(value: Value) -> tuple[Scalar, ...]:
    """The value as a list: NULL is empty, a single value is a list of one."""
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


def is_empty(value: Value) -> bool:
    """True for NULL, for "" and for a list without items."""
    return value is None or value in {"", ()}


def text_of(value: Scalar) -> str:
    """The text of a scalar as .NET prints it: ``True``/``False``, numbers without a trailing ``.0``."""
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)


def boolean_of(value: Scalar) -> bool | None:
    """True or False for booleans, for "true"/"false" in any letter case and for 1/0; else None: no boolean."""
    if isinstance(value, bool):
        return value
    text = text_of(value).strip().lower()
    if text in _TRUE:
        return True
    return False if text in _FALSE else None


def number_of(value: Scalar) -> int | float | None:
    """The number that a scalar is or spells, else None. Booleans, blanks and "NaN" are no numbers."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    text = value.strip()
    if not text.isascii() or "_" in text or not any(character.isdigit() for character in text):
        return None
    for parse in (int, float):
        try:
            return parse(text)
        except ValueError:
            continue
    return None
