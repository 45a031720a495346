"""How a record is written in an answer: fields, display values, reference links, columns hidden from the caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .columns import ColumnPath, Labels, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .access import Access
    from .answers import ApiRequest
    from .dictionary import Column, Row
    from .instance import Instance
    from .table import Table


@dataclass(frozen=True, slots=True)
class Field:
    """A member of the answer's objects: its key, the column behind it and the table that the column belongs to."""

    key: str
    path: ColumnPath
    table: str


@dataclass(frozen=True, slots=True)
class Presentation:
    """Writes records as the request's sysparm parameters ask."""

    fields: Sequence[Field]
    labels: Labels
    display: str
    link_base: str
    with_links: bool

    @classmethod
    def asked_for(cls, request: ApiRequest, instance: Instance, table: Table, access: Access) -> Presentation:
        """Read sysparm_fields, sysparm_display_value and sysparm_exclude_reference_link.

        Names that are no columns are left out without a word, and so are columns that the caller may not read.
        """
        wanted = [name.strip() for name in request.params.get("sysparm_fields", "").split(",") if name.strip()]
        fields: list[Field] = []
        for name in wanted or table.columns:
            path = resolve(instance.tables, table, name)
            if path is None:
                continue
            owner = path.hops[-1][1].name if path.hops else table.name
            if path.column.name not in access.hidden_columns(owner):
                fields.append(Field(name, path, owner))
        display = request.params.get("sysparm_display_value", "false").casefold()
        with_links = not request.flag("sysparm_exclude_reference_link")
        return cls(fields, instance.labels, display, f"{request.origin}/api/now/table", with_links)

    def written(self, row: Row) -> dict[str, Any]:
        """Return the record's JSON object; every value in it is text."""
        return {field.key: self._value(field, field.path.read(row)) for field in self.fields}

    def _value(self, field: Field, value: str) -> Any:
        column = field.path.column
        if column.type == "password":
            value = ""
        if column.reference:
            return self._reference(field.table, column, value)
        if self.display == "false":
            return value
        shown = self.labels.of(field.table, column, value)
        return {"display_value": shown, "value": value} if self.display == "all" else shown

    def _reference(self, table: str, column: Column, value: str) -> Any:
        if not value:
            return {"display_value": "", "value": ""} if self.display == "all" else ""
        link = {"link": f"{self.link_base}/{column.reference}/{value}"} if self.with_links else {}
        if self.display == "false":
            return {**link, "value": value} if link else value
        shown = self.labels.of(table, column, value)
        if self.display == "all":
            return {"display_value": shown, **link, "value": value}
        return {"display_value": shown, **link} if link else shown
