"""The compiled view of a synchronization schema that the engine works with."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from shared.errors import TerminalError

from .expressions import EvaluationContext, Expression, compile_expression
from .faults import Fault, SchemaFaults
from .model import (
    AttributeDefinition,
    AttributeMapping as AttributeMappingModel,
    AttributeType,
    Filter,
    FlowBehavior,
    ObjectDefinition,
    ObjectMapping as ObjectMappingModel,
    SynchronizationRule,
    SynchronizationSchema,
    to_json,
)
from .options import (
    AttributeOptions,
    Drift,
    MatchPrefer,
    ObjectOptions,
    Overflow,
    ReferencePolicy,
    read_attribute_options,
    read_object_options,
)
from .scoping import filter_attributes
from .source import ObjectKind, graph_select
from .target import to_target
from .values import Flow, Value, is_empty

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AttributeMapping", "Mappings", "MatchingRule", "ObjectMapping", "Reference", "compile_mappings", "to_target"]

type AttributeFlow = Literal["always", "create_only", "add_only", "none"]

_REFERENCE_TABLES = {
    "manager": "sys_user",
    "department": "cmn_department",
    "location": "cmn_location",
    "company": "core_company",
    "cost_center": "cmn_cost_center",
    "building": "cmn_building",
    "parent": "sys_user_group",
    "members": "sys_user",
}
_LOOKUP_COLUMNS = {
    "cmn_department": ("name", "id"),
    "cmn_location": ("name", "full_name"),
    "core_company": ("name",),
    "cmn_cost_center": ("name", "code"),
    "cmn_building": ("name",),
    "sys_user": ("user_name",),
    "sys_user_group": ("name",),
}
_BOOLEAN_COLUMNS = frozenset({
    "active", "locked_out", "vip", "password_needs_reset", "web_service_access_only", "internal_integration_user",
    "exclude_manager", "include_members",
})  # fmt: skip
_OBJECT_REFERENCES = frozenset({"manager", "members", "owners"})
_TABLES = {"user": "sys_user", "group": "sys_user_group"}


class ObjectFlowIgnoredError(TerminalError):
    """An expression answered IgnoreObjectFlow: the whole object is skipped, on purpose."""

    code = "EntrySynchronizationSkipped"


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an attribute's value is looked up.

    ``objects``: the value is the object id of an Entra user or group, resolved through its link; otherwise it is a text that
    one of ``columns``, asked in this order, must hold in exactly one row of ``table``.
    """

    table: str
    columns: tuple[str, ...]
    policy: ReferencePolicy
    objects: bool


@dataclass(frozen=True, slots=True, eq=False)
class AttributeMapping:
    """One target column and how its value comes about. ``type`` and ``multivalued`` describe the target column.

    ``flow``: always, only on creation, only adding values (to a column of several, or members), or none (the target is left
    alone; ``default`` fills it while it is empty).
    ``clear`` and the options after it: see :mod:`.options`.
    """

    target: str
    expression: Expression | None
    flow: AttributeFlow
    flow_behavior: FlowBehavior
    default: str | None
    type: AttributeType
    required: bool
    multivalued: bool
    case_exact: bool
    reference: Reference | None
    clear: bool
    clear_never_provisioned: bool
    drift: Drift
    on_overflow: Overflow
    redact: bool

    @property
    def source_attributes(self) -> frozenset[str]:
        return self.expression.attributes if self.expression else frozenset()

    @property
    def volatile(self) -> bool:
        """Whether two evaluations of one object may differ: that alone is no reason to write."""
        return self.expression is not None and self.expression.volatile

    @property
    def unique(self) -> bool:
        """Whether the value is chosen once, on creation, from candidates that nobody in the target has."""
        return self.expression is not None and self.expression.unique

    def evaluate(self, source: Mapping[str, Value], context: EvaluationContext | None = None) -> Value | Flow:
        """The value for a full source object, or IGNORE_FLOW. NULL where the mapping has no source.

        Raises :class:`ExpressionError`, and :class:`ObjectFlowIgnoredError` when the expression skips the whole object.
        """
        if self.expression is None:
            return None
        outcome = self.expression.evaluate(source, context)
        if outcome is Flow.IGNORE_OBJECT:
            raise ObjectFlowIgnoredError(f"the mapping of {self.target} answered IgnoreObjectFlow")
        return outcome

    def to_target(self, value: Value) -> str:
        """The text that the column takes. Raises :class:`SchemaMismatchError` for a value that does not fit it."""
        return to_target(value, self.type, multivalued=self.multivalued, target=self.target)


@dataclass(frozen=True, slots=True, eq=False)
class MatchingRule:
    """One step of matching: the record must agree in every pair. Attributes with the same matchingPriority form one rule."""

    priority: int
    attributes: tuple[AttributeMapping, ...]
    prefer: MatchPrefer

    @property
    def pairs(self) -> tuple[tuple[str, AttributeMapping], ...]:
        return tuple((attribute.target, attribute) for attribute in self.attributes)

    def values(self, source: Mapping[str, Value], context: EvaluationContext | None = None) -> dict[str, str] | None:
        """Column -> text to match; None if any of them has no value: the rule does not apply to this object."""
        values: dict[str, str] = {}
        for column, attribute in self.pairs:
            value = attribute.evaluate(source, context)
            if isinstance(value, Flow) or is_empty(value):
                return None
            values[column] = attribute.to_target(value)
        return values


@dataclass(frozen=True, slots=True, eq=False)
class ObjectMapping:
    """Everything about one kind of object. ``source_attributes`` holds what mappings, matching and scope read."""

    kind: ObjectKind
    table: str
    enabled: bool
    creates: bool
    updates: bool
    deletes: bool
    scope: Filter | None
    matching: tuple[MatchingRule, ...]
    attributes: tuple[AttributeMapping, ...]
    options: ObjectOptions
    source_attributes: frozenset[str]
    select: tuple[str, ...]
    _by_target: Mapping[str, AttributeMapping] = field(repr=False)
    #: The version of the schema that it is part of.
    version: str = ""

    def attribute(self, target: str) -> AttributeMapping | None:
        """The mapping of a target column."""
        return self._by_target.get(target)


@dataclass(frozen=True, slots=True, eq=False)
class Mappings:
    """A compiled schema. ``version`` is a hash of its content: equal content, equal version."""

    users: ObjectMapping
    groups: ObjectMapping | None
    version: str


def compile_mappings(schema: SynchronizationSchema) -> Mappings:
    """Compile a parsed schema. Raises :class:`SchemaFaults` if it maps no users or maps a kind of object twice."""
    found: dict[ObjectKind, ObjectMapping] = {}
    faults: list[Fault] = []
    version = schema_version(schema)
    for rule in sorted(schema.rules, key=lambda rule: rule.priority):
        for mapping in rule.mappings:
            kind = object_kind(mapping)
            if kind is None or (not mapping.enabled and kind in found):
                continue
            if kind in found and found[kind].enabled:
                faults.append(Fault(mapping.path, f"a second enabled mapping of {kind}s: only one can be run"))
                continue
            found[kind] = _compile_object(mapping, kind, rule, schema, version)
    if "user" not in found:
        faults.append(Fault("$.synchronizationRules", 'no object mapping has the source object "User"'))
    if faults:
        raise SchemaFaults(tuple(faults))
    return Mappings(found["user"], found.get("group"), version)


def schema_version(schema: SynchronizationSchema) -> str:
    """16 hexadecimal digits of a hash over the schema, without the version and id that a store gives it."""
    document = {key: value for key, value in to_json(schema).items() if key not in {"id", "version"} and "@odata" not in key}
    text = json.dumps(document, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def object_kind(mapping: ObjectMappingModel) -> ObjectKind | None:
    """Which kind of Graph object a mapping is about; None for one that this app does not provision."""
    match mapping.source_object.lower():
        case "user":
            return "user"
        case "group":
            return "group"
        case _:
            return None


def table_of(mapping: ObjectMappingModel, options: ObjectOptions) -> str:
    """The ServiceNow table: the option, or the target object's name, where "User" and "Group" are the usual tables."""
    return options.table or _TABLES.get(mapping.target_object.lower(), mapping.target_object)


def target_object(
    schema: SynchronizationSchema, rule: SynchronizationRule, mapping: ObjectMappingModel
) -> ObjectDefinition | None:
    """The definition of the target object, if the schema has one."""
    directory = schema.directory(rule.target_directory)
    return directory.object(mapping.target_object) if directory else None


def _compile_object(
    mapping: ObjectMappingModel, kind: ObjectKind, rule: SynchronizationRule, schema: SynchronizationSchema, version: str
) -> ObjectMapping:
    options, _ = read_object_options(mapping.metadata)
    definition = target_object(schema, rule, mapping)
    attributes = tuple(_compile_attribute(entry, definition) for entry in mapping.attributes)
    source_attributes = filter_attributes(mapping.scope).union(*(attribute.source_attributes for attribute in attributes))
    return ObjectMapping(
        kind=kind,
        table=table_of(mapping, options),
        enabled=mapping.enabled,
        creates="Add" in mapping.flow_types,
        updates="Update" in mapping.flow_types,
        deletes="Delete" in mapping.flow_types,
        scope=mapping.scope,
        matching=_matching(mapping, attributes, options.match_prefer),
        attributes=attributes,
        options=options,
        source_attributes=source_attributes,
        select=graph_select(source_attributes, kind),
        _by_target={attribute.target: attribute for attribute in attributes},
        version=version,
    )


def _matching(
    mapping: ObjectMappingModel, attributes: tuple[AttributeMapping, ...], prefer: MatchPrefer
) -> tuple[MatchingRule, ...]:
    rules: dict[int, list[AttributeMapping]] = {}
    for entry, attribute in zip(mapping.attributes, attributes, strict=True):
        if entry.matching_priority > 0:
            rules.setdefault(entry.matching_priority, []).append(attribute)
    return tuple(MatchingRule(priority, tuple(rules[priority]), prefer) for priority in sorted(rules))


def _compile_attribute(entry: AttributeMappingModel, target: ObjectDefinition | None) -> AttributeMapping:
    options, _ = read_attribute_options(entry.metadata)
    definition = target.attribute(entry.target) if target else None
    expression = compile_expression(entry.source.expression) if entry.source else None
    reference = _reference(entry.target, expression, definition, options)
    multivalued = definition.multivalued if definition else entry.target == "members"
    return AttributeMapping(
        target=entry.target,
        expression=expression,
        flow=_flow(entry),
        flow_behavior=entry.flow_behavior,
        default=entry.default_value,
        type=_type(entry.target, definition, reference),
        required=definition.required if definition else False,
        multivalued=multivalued,
        case_exact=options.match_case == "exact" if options.match_case else bool(definition and definition.case_exact),
        reference=reference,
        clear=options.clear,
        clear_never_provisioned=options.clear_never_provisioned,
        drift=options.drift,
        on_overflow=options.on_overflow,
        redact=options.redact or bool(expression and expression.redacts),
    )


def _type(target: str, definition: AttributeDefinition | None, reference: Reference | None) -> AttributeType:
    """The declared type; exports declare columns as String that ServiceNow holds as references and booleans."""
    if definition is not None and definition.type != "String":
        return definition.type
    if reference is not None:
        return "Reference"
    return "Boolean" if target in _BOOLEAN_COLUMNS else "String"


def _flow(entry: AttributeMappingModel) -> AttributeFlow:
    if entry.source is None:
        return "none"
    flows: dict[str, AttributeFlow] = {"ObjectAddOnly": "create_only", "MultiValueAddOnly": "add_only"}
    return flows.get(entry.flow_type, "always")


def _reference(
    target: str, expression: Expression | None, definition: AttributeDefinition | None, options: AttributeOptions
) -> Reference | None:
    """A reference is what the schema declares, what an option says, or what the platform's own columns are known to be."""
    declared = definition.referenced_objects[0] if definition and definition.referenced_objects else None
    table = options.reference_table or declared or _REFERENCE_TABLES.get(target)
    if table is None:
        return None
    table = _TABLES.get(table.lower(), table)
    objects = bool(expression and expression.attributes and expression.attributes <= _OBJECT_REFERENCES)
    return Reference(table, options.reference_columns or _LOOKUP_COLUMNS.get(table, ("name",)), options.reference_policy, objects)
