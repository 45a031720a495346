"""What becomes of the values in a write: which are taken, and as what text they are stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .conditions import stored_boolean

if TYPE_CHECKING:
    from .columns import Labels, Tables
    from .config import InstanceConfig
    from .dictionary import Column
    from .table import Table

type Creator = Callable[[str, dict[str, str]], str]


@dataclass(frozen=True, slots=True)
class Incoming:
    """Turns a JSON object into column texts as the Table API does.

    Unknown columns, columns that are read only and those that the caller may not write are dropped without a word; so
    are passwords. Long values are cut without a word. ``create`` makes a record in a referenced table (dynamic
    creation, KB0655991) and returns its sys_id.
    """

    config: InstanceConfig
    tables: Tables
    labels: Labels
    create: Creator

    def stored(self, table: Table, values: Mapping[str, Any], frozen: frozenset[str], *, display: bool) -> dict[str, str]:
        """Return the texts to store by column; an empty text clears."""
        taken: dict[str, str] = {}
        for name, value in values.items():
            column = table.column(name)
            if column is None or column.read_only or name == "sys_id" or name in frozen:
                continue
            if column.type == "password" and self.config.ignore_password_writes:
                continue
            text = as_text(value)
            if display and text:
                text = self._from_display(table.name, column, text)
            taken[name] = self._fitted(column, text)
        return taken

    def _fitted(self, column: Column, text: str) -> str:
        if column.type == "boolean":
            return stored_boolean(text) if text else ""
        if column.type == "integer":
            return _integer(text)
        if column.type == "reference" or self.config.long_values == "keep":
            return text
        return text[: column.max_length]

    def _from_display(self, table: str, column: Column, text: str) -> str:
        if column.type != "reference":
            return self.labels.choice_value(table, column.name, text) or text
        target = self.tables.get(column.reference)
        if target is None or text in target:
            return text if target else ""
        display = target.definition.display
        if found := target.matches(display, text):
            return found[0]
        if f"{table}.{column.name}" in self.config.dynamic_creation:
            return self.create(column.reference, {display: text})
        return ""


def as_text(value: Any) -> str:
    """Return how a JSON value is kept: everything is text, null is empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _integer(text: str) -> str:
    try:
        return str(int(float(text))) if text else ""
    except (ValueError, OverflowError):
        return ""
