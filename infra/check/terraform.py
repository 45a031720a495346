"""Terraform files as plain values, parsed by python-hcl2: blocks, locals, and where a word stands.

Expressions stay text in the form ``${...}``; literal strings lose their quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import hcl2
from hcl2 import SerializationOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OPTIONS = SerializationOptions(with_comments=False, explicit_blocks=False)


@dataclass(frozen=True, slots=True)
class Block:
    """A ``resource`` (or ``data``) block."""

    file: str
    kind: str
    name: str
    body: dict[str, Any]
    line: int


@dataclass(frozen=True, slots=True)
class TerraformFile:
    """One file: its text, and its content as python-hcl2 gives it."""

    name: str
    text: str
    content: dict[str, Any]

    def line_of(self, pattern: str, after: int = 1) -> int:
        """The first line from ``after`` on that the pattern matches; ``after`` itself where none does."""
        for number, line in enumerate(self.text.splitlines(), start=1):
            if number >= after and re.search(pattern, line):
                return number
        return after

    def blocks(self, word: str) -> Iterator[Block]:
        """The blocks of a word with two labels."""
        for entry in self.content.get(word, []):
            for kind, named in entry.items():
                for name, body in named.items():
                    header = rf'^{word} "{re.escape(kind)}" "{re.escape(name)}"'
                    yield Block(self.name, kind, name, body, self.line_of(header))

    @property
    def locals(self) -> dict[str, Any]:
        return {name: value for entry in self.content.get("locals", []) for name, value in entry.items()}

    @property
    def variables(self) -> dict[str, dict[str, Any]]:
        return {name: body for entry in self.content.get("variable", []) for name, body in entry.items()}


class SyntaxFault(Exception):
    """The file cannot be parsed."""


def parse(path: Path, root: Path) -> TerraformFile:
    """Read one file. Raises ``SyntaxFault``."""
    text = path.read_text(encoding="utf-8")
    try:
        content = hcl2.loads(text, serialization_options=_OPTIONS)
    except Exception as error:
        raise SyntaxFault(str(error).splitlines()[0]) from error
    return TerraformFile(str(path.relative_to(root)), text, _plain(content))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_plain(key): _plain(inner) for key, inner in value.items() if not str(key).startswith("__")}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, str) and len(value) > 1 and value.startswith('"') and value.endswith('"'):
        return value[1:-1].replace('\\"', '"')
    return value
