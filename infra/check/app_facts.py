"""What the code of the app says about itself, read as text: functions, open routes, log lines. Nothing is imported or run."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_VALUE = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?[sdrfx]")
_LOG_METHODS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})


def function_names(root: Path) -> set[str]:
    """The names of the functions: what Application Insights calls an execution, and Flex a group of instances."""
    names = set()
    for call in _calls(root, "functions"):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "function_name" and call.args:
            names.add(_literal(call.args[0]))
    return names - {""}


def anonymous_routes(root: Path) -> set[str]:
    """Routes that the host lets anybody call whatever the settings say."""
    return {
        _literal(call.args[0])
        for call in _calls(root, "functions")
        if isinstance(call.func, ast.Attribute) and call.func.attr == "route" and call.args
        for keyword in call.keywords
        if keyword.arg == "auth_level" and ast.unparse(keyword.value).endswith("AuthLevel.ANONYMOUS")
    }


def log_lines(root: Path) -> list[tuple[str, ...]]:
    """The fixed parts of every log line of the app, split where its values stand."""
    lines = []
    for call in _calls(root, "functions", "shared", "function_app.py"):
        is_log = isinstance(call.func, ast.Attribute) and call.func.attr in _LOG_METHODS and bool(call.args)
        text = _literal(call.args[0]) if is_log else ""
        if text:
            lines.append(tuple(_VALUE.split(text)))
    return lines


def _calls(root: Path, *places: str) -> Iterator[ast.Call]:
    for place in places:
        start = root / place
        for path in sorted(start.rglob("*.py", recurse_symlinks=True)) if start.is_dir() else [start]:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield node


def _literal(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
