"""The synchronization schema of Microsoft Graph as value objects.

Source: resources synchronizationSchema, directoryDefinition, objectDefinition, attributeDefinition, synchronizationRule,
objectMapping, attributeMapping, attributeMappingSource, filter, filterGroup, filterClause, Microsoft Graph docs.

Extensions of ours, all in places that Graph's clients leave alone: ``metadata[]`` on an attributeMapping (as objectMapping has
it), and filter groups inside a filter group's clauses (``{"logicalOperator": "OR", "clauses": [...]}``).
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from .expressions.syntax import quoted
from .faults import Cursor, Fault, SchemaFaults

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AttributeDefinition",
    "AttributeMapping",
    "AttributeType",
    "DirectoryDefinition",
    "Fault",
    "Filter",
    "FilterClause",
    "FilterGroup",
    "FlowBehavior",
    "MappingSource",
    "Metadata",
    "ObjectDefinition",
    "ObjectMapping",
    "SchemaFaults",
    "SynchronizationRule",
    "SynchronizationSchema",
    "load_document",
    "parse_schema",
    "to_json",
]

type AttributeType = Literal["String", "Integer", "Reference", "Binary", "Boolean", "DateTime"]
type Mutability = Literal["ReadWrite", "ReadOnly", "Immutable", "WriteOnly"]
type SourceType = Literal["Attribute", "Constant", "Function"]
type FlowType = Literal["Always", "ObjectAddOnly", "MultiValueAddOnly"]
type FlowBehavior = Literal["FlowWhenChanged", "FlowAlways"]
type LogicalOperator = Literal["AND", "OR"]

ATTRIBUTE_TYPES: tuple[AttributeType, ...] = get_args(AttributeType.__value__)
_MUTABILITIES: tuple[Mutability, ...] = get_args(Mutability.__value__)
_SOURCE_TYPES: tuple[SourceType, ...] = get_args(SourceType.__value__)
_FLOW_TYPES: tuple[FlowType, ...] = get_args(FlowType.__value__)
_FLOW_BEHAVIORS: tuple[FlowBehavior, ...] = get_args(FlowBehavior.__value__)
_LOGICAL_OPERATORS: tuple[LogicalOperator, ...] = get_args(LogicalOperator.__value__)
_OBJECT_FLOWS = ("Add", "Update", "Delete")
_MAX_DEPTH = 20  # of filter groups inside one another


@dataclass(frozen=True, slots=True)
class Metadata:
    """One metadata entry: options are texts."""

    key: str
    value: str
    path: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class AttributeDefinition:
    name: str
    type: AttributeType
    anchor: bool
    case_exact: bool
    multivalued: bool
    mutability: Mutability
    required: bool
    default_value: str | None
    flow_null_values: bool
    referenced_objects: tuple[str, ...]
    path: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ObjectDefinition:
    name: str
    attributes: tuple[AttributeDefinition, ...]
    metadata: tuple[Metadata, ...] = ()
    path: str = field(default="", compare=False)

    def attribute(self, name: str) -> AttributeDefinition | None:
        return next((attribute for attribute in self.attributes if attribute.name == name), None)


@dataclass(frozen=True, slots=True)
class DirectoryDefinition:
    id: str
    name: str
    objects: tuple[ObjectDefinition, ...]
    path: str = field(default="", compare=False)

    def object(self, name: str) -> ObjectDefinition | None:
        return next((one for one in self.objects if one.name.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class FilterClause:
    attribute: str
    operator: str
    values: tuple[str, ...]
    path: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class FilterGroup:
    """Clauses that must all hold, or (our extension, ``logicalOperator: OR``) one of which must."""

    name: str
    clauses: tuple[FilterClause | FilterGroup, ...]
    operator: LogicalOperator = "AND"
    path: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Filter:
    """``groups``: one must hold, and leaving them deprovisions. ``input_groups``: one must hold, and leaving them does not."""

    groups: tuple[FilterGroup, ...]
    input_groups: tuple[FilterGroup, ...] = ()
    category_groups: tuple[FilterGroup, ...] = ()


@dataclass(frozen=True, slots=True)
class MappingSource:
    """Where a value comes from. ``expression`` is always filled: ``[name]`` and ``"constant"`` are made from the name."""

    type: SourceType
    name: str
    expression: str
    path: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class AttributeMapping:
    target: str
    source: MappingSource | None
    default_value: str | None
    flow_type: FlowType
    flow_behavior: FlowBehavior
    matching_priority: int
    metadata: tuple[Metadata, ...]
    path: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ObjectMapping:
    name: str
    enabled: bool
    flow_types: frozenset[str]
    source_object: str
    target_object: str
    scope: Filter | None
    metadata: tuple[Metadata, ...]
    attributes: tuple[AttributeMapping, ...]
    path: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class SynchronizationRule:
    id: str
    name: str
    priority: int
    source_directory: str
    target_directory: str
    mappings: tuple[ObjectMapping, ...]
    path: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class SynchronizationSchema:
    """A whole schema. ``document`` is the JSON that it was read from, unknown fields included: treat it as read-only."""

    id: str
    version: str
    directories: tuple[DirectoryDefinition, ...]
    rules: tuple[SynchronizationRule, ...]
    document: Mapping[str, Any] = field(repr=False, compare=False)

    def directory(self, name: str) -> DirectoryDefinition | None:
        return next((directory for directory in self.directories if directory.name == name), None)


def parse_schema(document: Mapping[str, Any] | str | bytes) -> SynchronizationSchema:
    """Read and validate a schema.

    Raises :class:`SchemaFaults` with every fault, each under its JSON path: shape, expressions, filters, options, matching.
    """
    from .validation import validate  # the rules read the model: the arrow points back only here

    cursor = Cursor(load_document(document), "$")
    schema = _schema(cursor)
    validate(schema, cursor.faults)
    if cursor.faults:
        raise SchemaFaults(tuple(dict.fromkeys(cursor.faults)))
    return schema


def load_document(document: Mapping[str, Any] | str | bytes) -> dict[str, Any]:
    """The JSON object of a schema, apart from what was given. Raises :class:`SchemaFaults` if it is none."""
    try:
        loaded = json.loads(document) if isinstance(document, str | bytes) else copy.deepcopy(dict(document))
    except (ValueError, RecursionError) as error:
        raise SchemaFaults((Fault("$", f"is not JSON: {error}"),)) from error
    if not isinstance(loaded, dict):
        raise SchemaFaults((Fault("$", "must be an object"),))
    return loaded


def to_json(schema: SynchronizationSchema) -> dict[str, Any]:
    """The schema as it was read: unknown fields, repeated parameter keys and the order of everything are kept."""
    return copy.deepcopy(dict(schema.document))


def _schema(cursor: Cursor) -> SynchronizationSchema:
    return SynchronizationSchema(
        id=cursor.text("id"),
        version=cursor.text("version"),
        directories=tuple(_directory(item) for item in cursor.items("directories")),
        rules=tuple(_rule(item) for item in cursor.items("synchronizationRules")),
        document=cursor.members,
    )


def _directory(cursor: Cursor) -> DirectoryDefinition:
    return DirectoryDefinition(
        id=cursor.text("id"),
        name=cursor.required_text("name"),
        objects=tuple(_object(item) for item in cursor.items("objects")),
        path=cursor.path,
    )


def _object(cursor: Cursor) -> ObjectDefinition:
    return ObjectDefinition(
        name=cursor.required_text("name"),
        attributes=tuple(_attribute(item) for item in cursor.items("attributes")),
        metadata=_metadata(cursor),
        path=cursor.path,
    )


def _attribute(cursor: Cursor) -> AttributeDefinition:
    return AttributeDefinition(
        name=cursor.required_text("name"),
        type=cursor.choice("type", ATTRIBUTE_TYPES, "String"),
        anchor=cursor.flag("anchor"),
        case_exact=cursor.flag("caseExact"),
        multivalued=cursor.flag("multivalued"),
        mutability=cursor.choice("mutability", _MUTABILITIES, "ReadWrite"),
        required=cursor.flag("required"),
        default_value=cursor.optional_text("defaultValue"),
        flow_null_values=cursor.flag("flowNullValues"),
        referenced_objects=tuple(item.text("referencedObjectName") for item in cursor.items("referencedObjects")),
        path=cursor.path,
    )


def _metadata(cursor: Cursor) -> tuple[Metadata, ...]:
    return tuple(Metadata(item.required_text("key"), item.text("value"), item.path) for item in cursor.items("metadata"))


def _rule(cursor: Cursor) -> SynchronizationRule:
    return SynchronizationRule(
        id=cursor.text("id"),
        name=cursor.text("name"),
        priority=cursor.integer("priority"),
        source_directory=cursor.required_text("sourceDirectoryName"),
        target_directory=cursor.required_text("targetDirectoryName"),
        mappings=tuple(_object_mapping(item) for item in cursor.items("objectMappings")),
        path=cursor.path,
    )


def _object_mapping(cursor: Cursor) -> ObjectMapping:
    scope = cursor.child("scope")
    return ObjectMapping(
        name=cursor.text("name"),
        enabled=cursor.flag("enabled", default=True),
        flow_types=_flow_types(cursor),
        source_object=cursor.required_text("sourceObjectName"),
        target_object=cursor.required_text("targetObjectName"),
        scope=None if scope is None else _filter(scope),
        metadata=_metadata(cursor),
        attributes=tuple(_attribute_mapping(item) for item in cursor.items("attributeMappings")),
        path=cursor.path,
    )


def _flow_types(cursor: Cursor) -> frozenset[str]:
    """The flow types of "Add, Update, Delete", with or without blanks; absent means all three."""
    if cursor.members.get("flowTypes") is None:
        return frozenset(_OBJECT_FLOWS)
    given = {flow.strip() for flow in cursor.text("flowTypes").split(",") if flow.strip()}
    known = {flow.lower(): flow for flow in _OBJECT_FLOWS}
    for flow in sorted(given):
        if flow.lower() not in known:
            cursor.fault(f'"{flow}" is not one of {", ".join(_OBJECT_FLOWS)}', "flowTypes")
    return frozenset(known[flow.lower()] for flow in given if flow.lower() in known)


def _filter(cursor: Cursor) -> Filter:
    return Filter(
        groups=tuple(_filter_group(item) for item in cursor.items("groups")),
        input_groups=tuple(_filter_group(item) for item in cursor.items("inputFilterGroups")),
        category_groups=tuple(_filter_group(item) for item in cursor.items("categoryFilterGroups")),
    )


def _filter_group(cursor: Cursor, depth: int = 1) -> FilterGroup:
    clauses: list[FilterClause | FilterGroup] = []
    for item in cursor.items("clauses"):
        if "clauses" not in item.members:
            clauses.append(_filter_clause(item))
        elif depth < _MAX_DEPTH:
            clauses.append(_filter_group(item, depth + 1))
        else:
            item.fault(f"filter groups are nested more than {_MAX_DEPTH} deep")
    if not clauses:
        cursor.fault("a filter group needs a clause: an empty one would let everything in", "clauses")
    return FilterGroup(
        cursor.text("name"), tuple(clauses), cursor.choice("logicalOperator", _LOGICAL_OPERATORS, "AND"), cursor.path
    )


def _filter_clause(cursor: Cursor) -> FilterClause:
    operand = cursor.child("targetOperand")
    return FilterClause(
        attribute=cursor.required_text("sourceOperandName"),
        operator=cursor.required_text("operatorName"),
        values=() if operand is None else operand.texts("values"),
        path=cursor.path,
    )


def _attribute_mapping(cursor: Cursor) -> AttributeMapping:
    source = cursor.child("source")
    return AttributeMapping(
        target=cursor.required_text("targetAttributeName"),
        source=None if source is None else _source(source),
        default_value=cursor.optional_text("defaultValue"),
        flow_type=cursor.choice("flowType", _FLOW_TYPES, "Always"),
        flow_behavior=cursor.choice("flowBehavior", _FLOW_BEHAVIORS, "FlowWhenChanged"),
        matching_priority=cursor.integer("matchingPriority"),
        metadata=_metadata(cursor),
        path=cursor.path,
    )


def _source(cursor: Cursor) -> MappingSource:
    kind = cursor.choice("type", _SOURCE_TYPES, "Attribute")
    name, expression = cursor.text("name"), cursor.text("expression")
    match kind:
        case "Attribute":
            if not name and not expression:
                cursor.fault("needs the attribute's name", "name")
            expression = expression or f"[{name}]"
        case "Constant":
            # Exports write the constant's text into the name; the expression may be quoted or not.
            if not expression.startswith('"'):
                expression = quoted(name or expression)
        case "Function" if not expression:
            cursor.fault("is missing", "expression")
    return MappingSource(kind, name, expression, cursor.path)
