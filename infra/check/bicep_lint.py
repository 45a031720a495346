"""Bicep: syntax, symbols, modules, and names against what Microsoft publishes (``arm.json``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pycep import BicepParser

from infra.check.bicep import BicepFile, parse, properties, text_of, walk
from infra.check.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree_sitter import Node

DIRECTORY = "infra/bicep"
#: Functions of the Bicep language that these files use (source: Bicep docs, "Bicep functions").
_FUNCTIONS = frozenset(
    {
        "cidrSubnet",
        "contains",
        "empty",
        "environment",
        "guid",
        "join",
        "loadJsonContent",
        "loadTextContent",
        "resourceGroup",
        "string",
        "subscription",
        "subscriptionResourceId",
        "toLower",
        "union",
        "uniqueString",
    }
)
_DECORATORS = frozenset({"description", "minLength", "maxLength", "minValue", "maxValue", "allowed", "secure", "batchSize"})
#: What Bicep itself understands on any resource, whatever its type.
_RESOURCE_WORDS = frozenset({"name", "parent", "scope", "dependsOn"})
_MODULE_WORDS = frozenset({"name", "scope", "params", "dependsOn"})

#: How many of a node's children are names that it gives, and not uses of others.
_NAMES = {
    "parameter_declaration": 1,
    "variable_declaration": 1,
    "resource_declaration": 1,
    "module_declaration": 1,
    "output_declaration": 2,
    "call_expression": 1,
    "for_statement": 1,
}


def files(root: Path) -> list[BicepFile]:
    return [parse(path) for path in sorted((root / DIRECTORY).glob("*.bicep"))]


def check_syntax(root: Path) -> list[Finding]:
    """Both parsers must accept every file: one tells where the fault is, the other is what checkov reads with."""
    found = []
    for file in files(root):
        found += [Finding(_name(root, file), line, message) for line, message in file.errors]
        try:
            BicepParser().parse(text=file.path.read_text(encoding="utf-8"))
        except Exception as error:  # noqa: BLE001 - the parser raises what its grammar library raises
            found.append(Finding(_name(root, file), getattr(error, "line", 0), f"pycep: {str(error).splitlines()[0]}"))
    return found


def check_symbols(root: Path) -> list[Finding]:
    """Every name that is used is declared, every name that is declared is used, every parameter says what it is."""
    found = []
    for file in files(root):
        name = _name(root, file)
        used: set[str] = set()
        for identifier, line, what in _uses(file.root, frozenset()):
            if what == "function" and identifier not in _FUNCTIONS | _DECORATORS:
                found.append(Finding(name, line, f"unknown function {identifier}"))
            elif what == "symbol":
                used.add(identifier)
                if identifier not in file.symbols:
                    found.append(Finding(name, line, f"undefined symbol {identifier}"))
        for declaration in file.declarations:
            if declaration.kind in {"param", "var"} and declaration.name not in used:
                found.append(Finding(name, declaration.line, f"{declaration.kind} {declaration.name} is not used"))
            if declaration.kind == "param" and not declaration.decorators.get("description"):
                found.append(Finding(name, declaration.line, f"param {declaration.name} has no description"))
        found += [Finding(name, line, f"{symbol} is declared twice") for symbol, line in _twice(file)]
    return found


def check_modules(root: Path) -> list[Finding]:
    """A module gets exactly the parameters it has, and is asked only for outputs it has."""
    found = []
    by_path = {file.path.name: file for file in files(root)}
    for file in by_path.values():
        name = _name(root, file)
        for module in file.of("module").values():
            target = by_path.get(module.target)
            if target is None:
                found.append(Finding(name, module.line, f"module {module.target} does not exist"))
                continue
            given = {}
            for body in file.objects(module.body):
                for key, value, line in properties(body):
                    if key not in _MODULE_WORDS:
                        found.append(Finding(name, line, f"{key} is not a property of a module"))
                    if key == "params":
                        given = {param: at for param, _, at in properties(value)}
            accepted = target.of("param")
            found += [
                Finding(name, line, f"{module.target} has no param {param}")
                for param, line in given.items()
                if param not in accepted
            ]
            found += [
                Finding(name, module.line, f"{module.target} needs param {param}")
                for param, declared in accepted.items()
                if not declared.has_default and param not in given
            ]
        found += [
            Finding(name, line, f"module {module} has no output {output}")
            for module, output, line in _outputs_asked(file)
            if (target := by_path.get(file.of("module")[module].target)) is not None and output not in target.of("output")
        ]
    return found


def check_names(root: Path) -> list[Finding]:
    """Types, API versions and property names, against the kept list."""
    kept = json.loads((Path(__file__).parent / "arm.json").read_text(encoding="utf-8"))
    found = []
    for file in files(root):
        name = _name(root, file)
        for resource in file.of("resource").values():
            kind, _, version = resource.target.partition("@")
            bodies = list(file.objects(resource.body))
            literal = next((file.value(value) for body in bodies for key, value, _ in properties(body) if key == "name"), None)
            entry = kept.get(resource.target) or kept.get(f"{kind}/{literal}@{version}")
            if entry is None:
                found.append(Finding(name, resource.line, f"{resource.target} is not a type and version of the kept list"))
                continue
            for body in bodies:
                allowed = {**entry["names"], **dict.fromkeys(_RESOURCE_WORDS, "*")}
                found += [Finding(name, line, f"{kind}: {message}") for line, message in wrong_names(file, body, allowed, "")]
    return found


def wrong_names(file: BicepFile, body: Node, allowed: dict[str, Any], path: str) -> Iterator[tuple[int, str]]:
    """Line and message of every property that the list does not have."""
    for key, value, line in properties(body):
        place = f"{path}.{key}".lstrip(".")
        names = allowed.get(key)
        if names is None:
            yield line, f"no property {place}"
        elif isinstance(names, dict):
            for inner in file.objects(value):
                yield from wrong_names(file, inner, names, place)
        elif names == "" and any(True for _ in file.objects(value)):
            yield line, f"{place} is a value, not an object"


def _uses(node: Node, local: frozenset[str]) -> Iterator[tuple[str, int, str]]:
    """(name, line, "symbol" or "function") of every identifier that refers to something outside its loop."""
    line = node.start_point.row + 1
    if node.type == "identifier":
        if text_of(node) not in local:
            yield text_of(node), line, "symbol"
        return
    skipped = _NAMES.get(node.type, 0)
    if node.type == "call_expression":
        yield text_of(node.named_children[0]), line, "function"
    elif node.type == "object_property":
        skipped = int(node.named_children[0].type == "identifier")
    elif node.type == "for_statement":
        parameters = node.named_children[0]
        local |= {text_of(name) for name in parameters.named_children or [parameters]}
    for child in node.named_children[skipped:]:
        yield from _uses(child, local)


def _outputs_asked(file: BicepFile) -> Iterator[tuple[str, str, int]]:
    modules = file.of("module")
    for node in walk(file.root):
        if node.type != "member_expression" or len(node.named_children) < 2:  # noqa: PLR2004 - owner and property
            continue
        inner, asked = node.named_children[0], node.named_children[-1]
        if inner.type == "member_expression" and text_of(inner.named_children[-1]) == "outputs":
            module = text_of(inner.named_children[0]).rstrip("!")
            if module in modules:
                yield module, text_of(asked), node.start_point.row + 1


def _twice(file: BicepFile) -> Iterator[tuple[str, int]]:
    seen: set[str] = set()
    for declaration in file.declarations:
        if declaration.kind == "output":
            continue
        if declaration.name in seen:
            yield declaration.name, declaration.line
        seen.add(declaration.name)


def _name(root: Path, file: BicepFile) -> str:
    return str(file.path.relative_to(root))
