"""The mapping room stays pure."""

from __future__ import annotations

import ast
from pathlib import Path

import shared.schema

ROOM = Path(shared.schema.__file__).parent


def test_the_schema_package_knows_nobody_but_the_errors() -> None:
    imported = {
        name
        for path in ROOM.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else _plain(node))
    }
    ours = {name for name in imported if name.split(".")[0] in {"shared", "functions", "sandbox", "tests"}}
    assert {name for name in ours if not name.startswith("shared.schema")} == {"shared.errors"}
    assert not imported & {"os", "socket", "asyncio", "httpx", "subprocess"}


def _plain(node: ast.AST) -> list[str]:
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
