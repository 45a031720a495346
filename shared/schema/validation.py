"""What a schema must satisfy beyond its shape, so that no fault is found only when the first person is provisioned."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from .expressions import Expression, ExpressionError, compile_expression
from .faults import Fault
from .mapping import object_kind, table_of, target_object
from .model import (
    AttributeMapping,
    AttributeType,
    DirectoryDefinition,
    FilterClause,
    FilterGroup,
    ObjectDefinition,
    ObjectMapping,
    SynchronizationRule,
    SynchronizationSchema,
)
from .operators import find_operator
from .options import read_attribute_options, read_object_options
from .source import ObjectKind, is_known_attribute

if TYPE_CHECKING:
    from collections.abc import Iterator

_TABLE = re.compile(r"[a-z][a-z0-9_]*")


def validate(schema: SynchronizationSchema, faults: list[Fault]) -> None:
    """Add every fault of the schema to ``faults``."""
    for directory in schema.directories:
        faults.extend(_directory_faults(directory))
    if not schema.rules:
        faults.append(Fault("$.synchronizationRules", "a schema needs a synchronization rule"))
    enabled: Counter[ObjectKind] = Counter()
    for rule in schema.rules:
        for mapping in rule.mappings:
            kind = object_kind(mapping)
            if kind is None:
                if mapping.enabled and mapping.source_object:
                    faults.append(
                        Fault(f"{mapping.path}.sourceObjectName", f'"{mapping.source_object}" is neither User nor Group')
                    )
                continue
            enabled[kind] += mapping.enabled
            if mapping.enabled and enabled[kind] > 1:
                faults.append(Fault(mapping.path, f"a second enabled mapping of {kind}s: only one can be run"))
            faults.extend(_MappingCheck(schema, rule, mapping, kind).faults())
    if schema.rules and not any(object_kind(mapping) == "user" for rule in schema.rules for mapping in rule.mappings):
        faults.append(Fault("$.synchronizationRules", 'no object mapping has the source object "User"'))


def _directory_faults(directory: DirectoryDefinition) -> Iterator[Fault]:
    for definition in directory.objects:
        anchors = [attribute for attribute in definition.attributes if attribute.anchor]
        if len(anchors) > 1:
            names = ", ".join(attribute.name for attribute in anchors)
            yield Fault(
                f"{definition.path}.attributes", f"an object has one anchor, {definition.name} has {len(anchors)}: {names}"
            )
        seen: set[str] = set()
        for attribute in definition.attributes:
            if attribute.name and attribute.name in seen:
                yield Fault(f"{attribute.path}.name", f'the attribute "{attribute.name}" is defined twice')
            seen.add(attribute.name)


class _MappingCheck:
    """The checks of one object mapping."""

    def __init__(
        self, schema: SynchronizationSchema, rule: SynchronizationRule, mapping: ObjectMapping, kind: ObjectKind
    ) -> None:
        self._mapping = mapping
        self._kind: ObjectKind = kind
        self._target = target_object(schema, rule, mapping)
        directory = schema.directory(rule.source_directory)
        self._source: ObjectDefinition | None = directory.object(mapping.source_object) if directory else None

    def faults(self) -> Iterator[Fault]:
        options, faults = read_object_options(self._mapping.metadata)
        yield from faults
        table = table_of(self._mapping, options)
        if table and _TABLE.fullmatch(table) is None:
            yield Fault(f"{self._mapping.path}.targetObjectName", f'"{table}" is no table name: name it, or set the option Table')
        for attribute in self._mapping.attributes:
            yield from self._attribute(attribute)
        yield from self._duplicates()
        if not any(attribute.matching_priority > 0 for attribute in self._mapping.attributes):
            yield Fault(
                f"{self._mapping.path}.attributeMappings", "no attribute has a matchingPriority above 0: nothing can be matched"
            )
        scope = self._mapping.scope
        if scope is not None:
            for group in (*scope.groups, *scope.input_groups, *scope.category_groups):
                yield from self._group(group)
            if scope.category_groups:
                yield Fault(f"{self._mapping.path}.scope.categoryFilterGroups", "category filters are not supported: remove them")

    def _duplicates(self) -> Iterator[Fault]:
        first: dict[str, str] = {}
        for attribute in self._mapping.attributes:
            if attribute.target in first and attribute.target:
                yield Fault(
                    f"{attribute.path}.targetAttributeName",
                    f'"{attribute.target}" is mapped twice, first at {first[attribute.target]}',
                )
            first.setdefault(attribute.target, attribute.path)

    def _attribute(self, attribute: AttributeMapping) -> Iterator[Fault]:
        _, faults = read_attribute_options(attribute.metadata)
        yield from faults
        if attribute.matching_priority < 0:
            yield Fault(f"{attribute.path}.matchingPriority", "must be 0 (no matching attribute) or more")
        yield from self._target_faults(attribute)
        source = attribute.source
        if source is None:
            if attribute.matching_priority > 0:
                yield Fault(f"{attribute.path}.source", "a matching attribute needs a source")
            return
        if not source.expression:
            return
        try:
            expression = compile_expression(source.expression)
        except ExpressionError as error:
            yield Fault(f"{source.path}.expression", error.reason)
            return
        yield from self._expression(attribute, expression, f"{source.path}.expression")

    def _target_faults(self, attribute: AttributeMapping) -> Iterator[Fault]:
        if self._target is None or not self._target.attributes or not attribute.target:
            return
        path = f"{attribute.path}.targetAttributeName"
        definition = self._target.attribute(attribute.target)
        if definition is None:
            yield Fault(path, f'"{attribute.target}" is not among the attributes of {self._target.name}')
        elif definition.mutability == "ReadOnly" and attribute.matching_priority == 0:
            yield Fault(path, f'"{attribute.target}" of {self._target.name} is read-only')

    def _expression(self, attribute: AttributeMapping, expression: Expression, path: str) -> Iterator[Fault]:
        if attribute.matching_priority > 0 and expression.unique:
            yield Fault(path, "SelectUniqueValue cannot be used on a matching attribute")
        elif attribute.matching_priority > 0 and expression.volatile:
            yield Fault(path, "the value of a matching attribute must not change by itself (Now, Guid, RandomString)")
        for name in sorted(expression.attributes):
            if not self._is_known(name):
                yield Fault(path, f'the source object {self._mapping.source_object} has no attribute "{name}"')

    def _is_known(self, name: str) -> bool:
        declared = self._source is not None and self._source.attribute(name) is not None
        return declared or is_known_attribute(name, self._kind)

    def _group(self, group: FilterGroup) -> Iterator[Fault]:
        for entry in group.clauses:
            if isinstance(entry, FilterGroup):
                yield from self._group(entry)
            else:
                yield from self._clause(entry)

    def _clause(self, clause: FilterClause) -> Iterator[Fault]:
        if clause.attribute and not self._is_known(clause.attribute):
            message = f'the source object {self._mapping.source_object} has no attribute "{clause.attribute}"'
            yield Fault(f"{clause.path}.sourceOperandName", message)
        found = find_operator(clause.operator)
        if found is None:
            if clause.operator:
                yield Fault(f"{clause.path}.operatorName", f'unknown operator "{clause.operator}"')
            return
        operator, _ = found
        fault = operator.operand_fault(clause.values)
        if fault is not None:
            yield Fault(f"{clause.path}.targetOperand.values", fault)
        kind = self._declared_type(clause.attribute)
        if kind is not None and kind not in operator.types:
            message = f'{operator.name} fits {", ".join(operator.types)}; the attribute "{clause.attribute}" is {kind}'
            yield Fault(f"{clause.path}.operatorName", message)

    def _declared_type(self, name: str) -> AttributeType | None:
        definition = self._source.attribute(name) if self._source else None
        return definition.type if definition else None
