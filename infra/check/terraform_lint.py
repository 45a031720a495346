"""Terraform: syntax, symbols, and names against the provider's published bindings (``azurerm.json``)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.check.findings import Finding
from infra.check.terraform import Block, SyntaxFault, TerraformFile, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTORY = "infra/terraform"
#: Words of the language itself that may stand in any resource.
_META = frozenset({"count", "for_each", "depends_on", "lifecycle", "provider", "timeouts"})
#: Attributes of azapi that are used (source: Azure/azapi provider docs, resources azapi_resource and azapi_update_resource).
_AZAPI = {
    "azapi_resource": frozenset({"type", "name", "parent_id", "body"}),
    "azapi_update_resource": frozenset({"type", "name", "parent_id", "resource_id", "body"}),
}


def files(root: Path) -> list[TerraformFile]:
    """Every file that parses; ``check_syntax`` tells of the others."""
    parsed = []
    for path in sorted((root / DIRECTORY).glob("*.tf")):
        try:
            parsed.append(parse(path, root))
        except SyntaxFault:
            continue
    return parsed


def check_syntax(root: Path) -> list[Finding]:
    found = []
    for path in sorted((root / DIRECTORY).glob("*.tf")):
        try:
            parse(path, root)
        except SyntaxFault as fault:
            found.append(Finding(str(path.relative_to(root)), 0, str(fault)))
    return found


def check_symbols(root: Path) -> list[Finding]:
    """Variables, locals and resources: none undefined, none unused, every variable described."""
    parsed = files(root)
    code = {file.name: _without_comments(file.text) for file in parsed}
    declared = {
        "variable": {name for file in parsed for name in file.variables},
        "local": {name for file in parsed for name in file.locals},
        "resource": {f"{block.kind}.{block.name}" for file in parsed for block in file.blocks("resource")},
    }
    found = [
        Finding(name, number, f"undefined {what} {used}")
        for name, text in code.items()
        for number, line in enumerate(text.splitlines(), start=1)
        for what, used in _uses(line)
        if used not in declared[what]
    ]
    used = {use for text in code.values() for line in _without_validations(text).splitlines() for use in _uses(line)}
    for file in parsed:
        found += [Finding(file.name, line, message) for line, message in _idle(file, used)]
    return found


def _uses(line: str) -> Iterator[tuple[str, str]]:
    for name in re.findall(r"\bvar\.(\w+)", line):
        yield "variable", name
    for name in re.findall(r"\blocal\.(\w+)", line):
        yield "local", name
    for name in re.findall(r"(?<![\w.\"])((?:azurerm|azapi)_\w+\.\w+)", line):
        yield "resource", name


def _idle(file: TerraformFile, used: set[tuple[str, str]]) -> Iterator[tuple[int, str]]:
    for name, body in file.variables.items():
        line = file.line_of(rf'^variable "{name}"')
        if ("variable", name) not in used:
            yield line, f"variable {name} is not used"
        if not body.get("description"):
            yield line, f"variable {name} has no description"
    for name in file.locals:
        if ("local", name) not in used:
            yield file.line_of(rf"^  {name}\s+="), f"local {name} is not used"


def check_names(root: Path) -> list[Finding]:
    """Attributes and blocks: none that the provider does not have, none missing that it demands."""
    here = Path(__file__).parent
    kept = json.loads((here / "azurerm.json").read_text(encoding="utf-8"))
    arm = json.loads((here / "arm.json").read_text(encoding="utf-8"))
    found = []
    for file in files(root):
        for block in file.blocks("resource"):
            if block.kind in _AZAPI:
                faults = list(_wrong_azapi(block, arm))
            elif block.kind in kept:
                faults = list(_wrong_names(block.body, kept[block.kind], ""))
            else:
                faults = [("", f"{block.kind} is not a resource of the kept list")]
            for word, message in faults:
                line = file.line_of(rf'^\s*(dynamic )?"?{re.escape(word)}"?\s*[={{]', block.line) if word else block.line
                found.append(Finding(file.name, line, f"{block.kind}.{block.name}: {message}"))
    return found


def _wrong_names(body: dict[str, Any], names: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Word and message of whatever the provider does not have, or does not get."""
    dynamic = {
        name: [content for one in _many(inner) for content in _many(one.get("content", []))]
        for entry in _many(body.get("dynamic", []))
        for name, inner in entry.items()
    }
    present = {key: value for key, value in body.items() if key != "dynamic" and (path or key not in _META)} | dynamic
    yield from (("", f"{path}{required} is missing") for required in names["required"] if required not in present)
    for key, value in present.items():
        if key in names["blocks"]:
            for inner in (one for one in _many(value) if isinstance(one, dict)):
                yield from _wrong_names(inner, names["blocks"][key], f"{path}{key}.")
        elif key in dynamic or key not in names["attributes"]:
            yield key, f"no attribute or block {path}{key}"


def _wrong_azapi(block: Block, arm: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key in block.body:
        if key not in _AZAPI[block.kind] | _META:
            yield key, f"no attribute {key}"
    entry = arm.get(str(block.body.get("type")))
    if entry is None:
        yield "type", f"{block.body.get('type')} is not a type and version of the kept list"
        return
    yield from _wrong_body(block.body.get("body", {}), entry["names"], "body.")


def _wrong_body(body: Any, names: Any, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(body, dict) or not isinstance(names, dict):
        return
    for key, value in body.items():
        if key not in names:
            yield "body", f"no property {path}{key}"
        else:
            yield from _wrong_body(value, names[key], f"{path}{key}.")


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _without_comments(text: str) -> str:
    return "\n".join("" if line.lstrip().startswith("#") else line for line in text.splitlines())


def _without_validations(text: str) -> str:
    """A variable that only its own validation reads is not used."""
    return re.sub(r"(?s)\n  validation \{.*?\n  \}", "", text)
