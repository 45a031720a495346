"""The packaged schema with any change to its document, compiled: for tests of what ``schemas.variant`` does not reach."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shared.schema.defaults import DEFAULT_SCHEMA_PATH
from shared.schema.mapping import compile_mappings
from shared.schema.model import parse_schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.schema.mapping import Mappings

type Mapping = dict[str, Any]


def remapped(*changes: Callable[[Mapping], None], kind: str = "User") -> Mappings:
    """Compile the packaged schema after ``changes`` to the object mapping of a kind."""
    return compile_mappings(parse_schema(changed_document(*changes, kind=kind)))


def changed_document(*changes: Callable[[Mapping], None], kind: str = "User") -> dict[str, Any]:
    """The packaged schema's JSON after ``changes`` to the object mapping of a kind."""
    document: dict[str, Any] = json.loads(DEFAULT_SCHEMA_PATH.read_text(encoding="utf-8"))
    mapping = next(
        found
        for rule in document["synchronizationRules"]
        for found in rule["objectMappings"]
        if found["sourceObjectName"] == kind
    )
    for change in changes:
        change(mapping)
    _declare(document, mapping)
    return document


def _declare(document: dict[str, Any], mapping: Mapping) -> None:
    """Declare the target columns that the packaged schema does not know."""
    definition = next(
        found
        for directory in document["directories"]
        for found in directory["objects"]
        if found["name"] == mapping["targetObjectName"]
    )
    known = {attribute["name"] for attribute in definition["attributes"]}
    for entry in mapping["attributeMappings"]:
        if entry["targetAttributeName"] not in known:
            definition["attributes"].append({"name": entry["targetAttributeName"], "type": "String"})


def column(target: str, expression: str, **fields: Any) -> Callable[[Mapping], None]:
    """Map a column by an expression, in place of what it is mapped by; ``fields`` of the attribute mapping with it."""

    def change(mapping: Mapping) -> None:
        kept = [entry for entry in mapping["attributeMappings"] if entry["targetAttributeName"] != target]
        source = {"type": "Function", "name": "", "expression": expression, "parameters": []}
        mapping["attributeMappings"] = [*kept, {"targetAttributeName": target, "source": source, **fields}]

    return change


def fields(target: str, **values: Any) -> Callable[[Mapping], None]:
    """Change fields of a column's attribute mapping."""

    def change(mapping: Mapping) -> None:
        for entry in mapping["attributeMappings"]:
            if entry["targetAttributeName"] == target:
                entry.update(values)

    return change


def options(**values: str) -> Callable[[Mapping], None]:
    """Set options of the object mapping."""

    def change(mapping: Mapping) -> None:
        kept = [entry for entry in mapping.get("metadata", []) if entry["key"] not in values]
        mapping["metadata"] = [*kept, *({"key": key, "value": value} for key, value in values.items())]

    return change


def clauses(*found: tuple[str, str, str]) -> Callable[[Mapping], None]:
    """One scoping filter of clauses (attribute, operator, value)."""

    def change(mapping: Mapping) -> None:
        written = [
            {"sourceOperandName": attribute, "operatorName": operator, "targetOperand": {"values": [value] if value else []}}
            for attribute, operator, value in found
        ]
        mapping["scope"] = {"groups": [{"name": "People in scope", "clauses": written}]}

    return change
