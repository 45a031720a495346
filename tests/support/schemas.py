"""The packaged schema with changes, compiled."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from shared.schema.defaults import DEFAULT_SCHEMA_PATH
from shared.schema.mapping import compile_mappings
from shared.schema.model import parse_schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.schema.mapping import Mappings

type Kind = Literal["User", "Group"]


def variant(
    kind: Kind = "User",
    *,
    options: Mapping[str, str] | None = None,
    columns: Mapping[str, Mapping[str, str]] | None = None,
    scope: Sequence[tuple[str, str, str]] = (),
    added: Sequence[tuple[str, str]] = (),
    matching: str = "",
) -> Mappings:
    """The packaged schema, changed in one object mapping.

    ``options``: its metadata. ``columns``: metadata of attribute mappings by target column. ``scope``: clauses (attribute,
    operator, value) of one scoping filter. ``added``: direct mappings (target column, source attribute). ``matching``: the
    target column to match by instead.
    """
    document: dict[str, Any] = json.loads(DEFAULT_SCHEMA_PATH.read_text(encoding="utf-8"))
    rules = document["synchronizationRules"]
    mapping = next(found for rule in rules for found in rule["objectMappings"] if found["sourceObjectName"] == kind)
    _set_options(mapping, options or {})
    attributes = mapping["attributeMappings"]
    for target, source in added:
        attributes.append(_direct(target, source))
        _declare(document, mapping["targetObjectName"], target)
    for attribute in attributes:
        _set_options(attribute, (columns or {}).get(attribute["targetAttributeName"], {}))
        if matching:
            attribute["matchingPriority"] = 1 if attribute["targetAttributeName"] == matching else 0
    if scope:
        mapping["scope"] = _filter(scope)
    return compile_mappings(parse_schema(document))


def _set_options(holder: dict[str, Any], options: Mapping[str, str]) -> None:
    kept = [entry for entry in holder.get("metadata", []) if entry["key"] not in options]
    holder["metadata"] = [*kept, *({"key": key, "value": value} for key, value in options.items())]


def _declare(document: dict[str, Any], object_name: str, column: str) -> None:
    objects = (found for directory in document["directories"] for found in directory["objects"])
    attributes = next(found for found in objects if found["name"] == object_name)["attributes"]
    attributes.append({**next(known for known in attributes if known["name"] in {"city", "email"}), "name": column})


def _direct(target: str, source: str) -> dict[str, Any]:
    return {
        "targetAttributeName": target,
        "defaultValue": None,
        "flowType": "Always",
        "flowBehavior": "FlowWhenChanged",
        "matchingPriority": 0,
        "exportMissingReferences": False,
        "source": {"expression": f"[{source}]", "name": source, "type": "Attribute", "parameters": []},
    }


def _filter(clauses: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    written = [
        {
            "operatorName": operator,
            "sourceOperandName": attribute,
            "targetOperand": {"values": [value]},
        }
        for attribute, operator, value in clauses
    ]
    return {"groups": [{"name": "People in scope", "clauses": written}], "inputFilterGroups": [], "categoryFilterGroups": []}
