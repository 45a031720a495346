"""The form of Terraform files, for machines without ``terraform fmt``: indentation, blanks and aligned equals signs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from infra.check.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ASSIGNMENT = re.compile(r"^( *)([\w.\-\"]+)( +)= (?!=)(.*)$")


def check(root: Path, directory: str) -> list[Finding]:
    """The faults of every file of a directory."""
    return [
        Finding(str(path.relative_to(root)), line, message)
        for path in sorted((root / directory).glob("*.tf"))
        for line, message in faults(path.read_text(encoding="utf-8"))
    ]


def faults(text: str) -> Iterator[tuple[int, str]]:
    """Line and message of whatever ``terraform fmt`` would change, as far as these rules see it."""
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "the last line has no end"
    depth = 0
    run: list[tuple[int, int]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if "\t" in line:
            yield number, "tab"
        if line != line.rstrip():
            yield number, "blank at the end of the line"
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', line).split("#")[0]
        closing = len(re.match(r"\s*([\]})]*)", bare)[1]) if bare.strip() else 0  # type: ignore[index] # always matches
        indent = len(line) - len(line.lstrip())
        if line.strip() and indent != 2 * max(depth - min(closing, 1), 0):
            yield number, f"indented by {indent}"
        opened = sum(bare.count(sign) for sign in "{[(")
        closed = sum(bare.count(sign) for sign in "}])")
        depth += (opened > closed) - (closed > opened)
        match = _ASSIGNMENT.match(line)
        if match is not None and opened == closed:
            run.append((number, len(match[1] + match[2] + match[3])))
        else:
            yield from _unaligned(run)
            run = []
    yield from _unaligned(run)


def _unaligned(run: list[tuple[int, int]]) -> Iterator[tuple[int, str]]:
    if run and len({column for _, column in run}) > 1:
        yield run[0][0], "the equals signs do not stand under each other"
