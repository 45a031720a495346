"""Bringing a schema along: an export of Microsoft's service, with its older attribute names turned into Microsoft Graph's.

Evaluation understands both sets of names (:mod:`.source`), so nothing needs an import to run. It is done so that what an
operator reads and edits from then on has one set of names, and every change is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .expressions import ExpressionError, compile_expression
from .expressions.parser import parse
from .expressions.syntax import Attribute, walk
from .model import SynchronizationSchema, load_document, parse_schema
from .source import RENAMED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that an import changed. ``path`` is the JSON path of the changed text."""

    path: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.path}: {self.old} -> {self.new}"


def import_schema(document: Mapping[str, Any] | str | bytes) -> tuple[SynchronizationSchema, tuple[Change, ...]]:
    """Parse an exported schema after renaming its source attributes; the changes in the order of the document.

    Raises :class:`SchemaFaults` as :func:`parse_schema` does; the paths are those of the given document.
    """
    renaming = _Renaming()
    loaded = load_document(document)
    renaming.schema(loaded)
    return parse_schema(loaded), tuple(renaming.changes)


class _Renaming:
    """Walks a loaded document and renames in place. What has not the expected shape is left for the parser to report."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def schema(self, document: dict[str, Any]) -> None:
        sources: set[tuple[str, str]] = set()
        for path, rule in _objects(document, "synchronizationRules", "$"):
            for mapping_path, mapping in _objects(rule, "objectMappings", path):
                sources.add((str(rule.get("sourceDirectoryName")), str(mapping.get("sourceObjectName")).lower()))
                self._mapping(mapping, mapping_path)
        for path, directory in _objects(document, "directories", "$"):
            for object_path, definition in _objects(directory, "objects", path):
                if (str(directory.get("name")), str(definition.get("name")).lower()) in sources:
                    self._definition(definition, object_path)

    def _rename(self, owner: dict[str, Any], key: str, path: str, renamed: Callable[[str], str]) -> None:
        old = owner.get(key)
        if not isinstance(old, str):
            return
        new = renamed(old)
        if new != old:
            owner[key] = new
            self.changes.append(Change(f"{path}.{key}", old, new))

    def _definition(self, definition: dict[str, Any], path: str) -> None:
        present = {attribute.get("name") for _, attribute in _objects(definition, "attributes", path)}
        for attribute_path, attribute in _objects(definition, "attributes", path):
            if RENAMED.get(str(attribute.get("name"))) not in present:
                self._rename(attribute, "name", attribute_path, _attribute_name)

    def _mapping(self, mapping: dict[str, Any], path: str) -> None:
        for attribute_path, attribute in _objects(mapping, "attributeMappings", path):
            source = attribute.get("source")
            if isinstance(source, dict):
                self._source(source, f"{attribute_path}.source")
        scope = mapping.get("scope")
        if isinstance(scope, dict):
            for key in ("groups", "inputFilterGroups", "categoryFilterGroups"):
                for group_path, group in _objects(scope, key, f"{path}.scope"):
                    self._clauses(group, group_path)

    def _clauses(self, group: dict[str, Any], path: str) -> None:
        for clause_path, clause in _objects(group, "clauses", path):
            self._rename(clause, "sourceOperandName", clause_path, _attribute_name)
            self._clauses(clause, clause_path)

    def _source(self, source: dict[str, Any], path: str) -> None:
        kind = str(source.get("type") or "Attribute").lower()
        if kind == "constant":
            return
        before = len(self.changes)
        if kind == "attribute":
            self._rename(source, "name", path, _attribute_name)
        self._rename(source, "expression", path, _expression)
        if len(self.changes) > before and source.get("parameters"):
            # The parameters repeat the expression: they are made anew from it rather than patched.
            self._parameters(source)

    @staticmethod
    def _parameters(source: dict[str, Any]) -> None:
        try:
            source["parameters"] = compile_expression(str(source.get("expression"))).parsed["parameters"]
        except ExpressionError:
            return  # the parser reports it with its path


def _objects(owner: dict[str, Any], key: str, path: str) -> list[tuple[str, dict[str, Any]]]:
    items = owner.get(key)
    if not isinstance(items, list):
        return []
    return [(f"{path}.{key}[{index}]", item) for index, item in enumerate(items) if isinstance(item, dict)]


def _attribute_name(name: str) -> str:
    return RENAMED.get(name, name)


def _expression(text: str) -> str:
    """The expression with its attributes renamed; blanks, letter case and everything else stay."""
    try:
        tree = parse(text)
    except ExpressionError:
        return text
    found = [node for node in walk(tree) if isinstance(node, Attribute) and node.name in RENAMED]
    for node in sorted(found, key=lambda node: node.span.start, reverse=True):
        text = f"{text[: node.span.start]}[{RENAMED[node.name]}]{text[node.span.end :]}"
    return text
