"""The rooms of the house: who may know whom, and what no file may name."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from sandbox.processes import REPOSITORY

APP = ("function_app.py", "functions", "shared")
#: What the modules of each room may import of ours, beside their own room. The longest matching name counts.
ROOMS: dict[str, frozenset[str]] = {
    "function_app": frozenset({"functions", "shared.errors", "shared.settings", "shared.provisioning"}),
    "functions": frozenset(
        {"shared.errors", "shared.events", "shared.settings", "shared.provisioning", "shared.graph.notifications"}
    ),
    "shared.errors": frozenset(),
    "shared.settings": frozenset(),
    "shared.events": frozenset({"shared.errors"}),
    "shared.schema": frozenset({"shared.errors"}),
    "shared.graph": frozenset({"shared.errors"}),
    "shared.servicenow": frozenset({"shared.errors"}),
    "shared.state": frozenset({"shared.errors", "shared.events", "shared.settings"}),
    "shared.provisioning": frozenset(
        {
            "shared.errors",
            "shared.events",
            "shared.settings",
            "shared.schema",
            "shared.graph",
            "shared.servicenow",
            "shared.state",
        }
    ),
}
#: Libraries that only the room that wraps them may know.
WRAPPED = {
    "azure.data": "shared.state",
    "azure.storage": "shared.state",
    "azure.functions": "functions",
    "msgraph": "shared.graph",
    "msgraph_core": "shared.graph",
    "kiota_abstractions": "shared.graph",
    "kiota_http": "shared.graph",
}
#: What no file may name: the machine that it was written on, a package index or mirror, notes beside the repository.
FORBIDDEN = {
    "a path of one machine": re.compile(r"(?<![\w.}])/(?:work|root|home/\w+|Users/\w+|mnt/\w+)/[\w.]"),
    "a package index": re.compile(
        r"--(?:extra-)?index-url|https?://[^\s/\"']*(?:artifactory|nexus|devpi|verdaccio|npmmirror|registry)[^\s/\"']*"
    ),
    "notes beside the repository": re.compile(r"\.\./shared/|\bfacts/[\w-]+\.md\b"),
}
_TEXT = frozenset(
    {"", ".py", ".md", ".json", ".toml", ".txt", ".yaml", ".yml", ".bicep", ".tf", ".cjs", ".npmrc", ".html", ".css"}
)
#: Public registries that infrastructure and lock files are resolved from by their own tools, not an index of ours.
_PUBLIC = ("https://registry.terraform.io", "https://registry.npmjs.org")


def modules(*roots: str) -> list[Path]:
    found: list[Path] = []
    for root in roots:
        path = REPOSITORY / root
        found += [path] if path.is_file() else sorted(path.rglob("*.py"))
    return found


def name_of(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports_of(path: Path) -> set[str]:
    """Full names of what a module imports, relative imports resolved; of ``from a import b`` both ``a`` and ``a.b``."""
    package = name_of(path).split(".") if path.name == "__init__.py" else name_of(path).split(".")[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found


def is_in(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def room_of(module: str) -> str:
    return max((room for room in ROOMS if is_in(module, room)), key=len, default="")


def test_every_module_of_the_app_has_a_room() -> None:
    homeless = [name_of(path) for path in modules(*APP) if not room_of(name_of(path)) and name_of(path) != "shared"]
    assert homeless == []


def test_arrows_point_one_way() -> None:
    wrong: list[str] = []
    for path in modules(*APP):
        module = name_of(path)
        room = room_of(module)
        for imported in sorted(imports_of(path)):
            ours = imported.partition(".")[0] in {"shared", "functions", "function_app", "sandbox", "tests", "infra"}
            # "from shared import x" is judged by the name with x.
            if not ours or imported in {"shared", "functions"} or is_in(imported, room):
                continue
            if not any(is_in(imported, allowed) for allowed in ROOMS.get(room, ())):
                wrong.append(f"{module} imports {imported}")
    assert wrong == []


def test_the_apps_rooms_are_found_and_read() -> None:
    known = imports_of(REPOSITORY / "shared" / "provisioning" / "services.py")
    assert {"shared.graph.client", "shared.servicenow.client", "shared.state.tables"} <= known
    assert "sandbox.instance.config" in imports_of(REPOSITORY / "sandbox" / "instance" / "__init__.py"), "relative ones too"
    assert len(modules(*APP)) > 50


@pytest.mark.parametrize("library", WRAPPED)
def test_a_library_is_known_to_the_room_that_wraps_it(library: str) -> None:
    allowed = {WRAPPED[library], "function_app"} if library == "azure.functions" else {WRAPPED[library]}
    knowing = {room_of(name_of(path)) for path in modules(*APP) if any(is_in(name, library) for name in imports_of(path))}
    assert knowing <= allowed


def test_nothing_patches_what_it_tests() -> None:
    patching = [
        name_of(path)
        for path in modules("tests")
        if any(is_in(name, "unittest.mock") or is_in(name, "mock") for name in imports_of(path))
    ]
    assert patching == []


def files() -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stdout  # noqa: S603 - a command of constants
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    names = [name for name in listed.decode().split("\0") if name]
    return [path for name in names if (path := REPOSITORY / name).is_file() and path.suffix in _TEXT]


def test_no_file_names_a_machine_a_package_index_or_notes_beside_the_repository() -> None:
    wrong: list[str] = []
    for path in files():
        if path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            for what, pattern in FORBIDDEN.items():
                found = pattern.search(line)
                if found and not found[0].startswith(_PUBLIC):
                    wrong.append(f"{path.relative_to(REPOSITORY)}:{number} names {what}: {found[0][:60]}")
    assert wrong == []


@pytest.mark.parametrize(
    "line",
    [
        "see /work/main/x.py",
        "cd /home/ann/project",
        "pip install --index-url https://x",
        "https://npm.registry.contoso.com/x",
        "read ../shared/facts/graph.md",
        "see facts/graph-sdk.md",
    ],
)
def test_what_is_forbidden_is_recognised(line: str) -> None:
    assert any(pattern.search(line) for pattern in FORBIDDEN.values())


@pytest.mark.parametrize("line", ["https://graph.microsoft.com/v1.0/users", "/api/home/x", "{base}/work/x", "a registry of apps"])
def test_what_is_harmless_is_let_through(line: str) -> None:
    assert not any(pattern.search(line) for pattern in FORBIDDEN.values())
