"""The package: the same bytes each time, and it runs alone, with nothing installed but its requirements."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections import defaultdict
from importlib.metadata import Distribution, distributions
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import httpx
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra.package import packaged_files, write
from sandbox.azurite import Azurite
from sandbox.host.process import READY_LINE
from sandbox.processes import ChildProcess
from tests.infra.conftest import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The platform brings it; in Azure it is part of the worker.
_PLATFORM = ("azure-functions-runtime",)


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for file in packaged_files(PROJECT):
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / file, copy / file)
    shutil.copyfile(PROJECT / ".funcignore", copy / ".funcignore")
    write(PROJECT, tmp_path / "one.zip")
    write(copy, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_the_command_prints_the_size(tmp_path: Path) -> None:
    target = tmp_path / "app.zip"
    command = [sys.executable, "-m", "infra.package", str(target)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)  # noqa: S603 - the project's own command
    assert f"{target.stat().st_size:,} bytes" in done.stdout


async def test_the_unpacked_package_runs_with_only_its_requirements(tmp_path: Path) -> None:
    app = tmp_path / "app"
    write(PROJECT, tmp_path / "app.zip")
    with zipfile.ZipFile(tmp_path / "app.zip") as archive:
        archive.extractall(app)
    python = _environment(tmp_path / "venv", [*_requirements(app / "requirements.txt"), *_PLATFORM])
    host = tmp_path / "host"
    shutil.copytree(PROJECT / "sandbox", host / "sandbox", ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    assert not list((tmp_path / "venv").glob("lib/*/site-packages/pytest*"))
    command = [str(python), "-m", "sandbox", "--end-with-parent", "host", "--app", str(app), "--port", "0", "--environment-only"]
    # A job that never ran: other tests leave theirs in the storage that they share.
    async with Azurite() as storage:
        settings = {
            "PYTHONPATH": str(host),
            "AzureWebJobsStorage": storage.connection_string,
            "GRAPH_BASE_URL": "http://127.0.0.1:9/v1.0",
            "GRAPH_ACCESS_TOKEN": "sample",
            "SERVICENOW_INSTANCE_URL": "http://127.0.0.1:9",
            "SERVICENOW_AUTH": "basic",
            "SERVICENOW_USERNAME": "sample",
            "SERVICENOW_PASSWORD": "sample",
            "CYCLE_SCHEDULE": "0 0 0 1 1 *",
            "SUBSCRIPTION_SCHEDULE": "0 0 0 1 1 *",
        }
        child = ChildProcess("packaged", [*command, "--no-auth"], environment=settings, directory=app)
        try:
            child.start(lambda: READY_LINE in child.logs(), timeout=90)
            url = re.findall(rf"^{READY_LINE}(\S+)$", child.logs(), re.MULTILINE)[-1]
            async with httpx.AsyncClient(base_url=url, timeout=30) as client:
                health = await client.get("/api/health")
                assert (health.status_code, health.json()["status"]) == (200, "healthy"), health.text
                job = await client.get("/api/job")
                assert job.json()["status"]["code"] == "NotRun"
            assert "users: " in child.logs()
        finally:
            if child.running:
                child.terminate()


def _requirements(file: Path) -> list[str]:
    lines = (line.split("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [Requirement(line).name for line in lines if line]


def _environment(directory: Path, roots: Iterable[str]) -> Path:
    """An interpreter that sees these packages and what they require, nothing else. Linked from this environment: no download."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True)  # noqa: S603 - fixed command
    here = Path(sysconfig.get_paths()["purelib"])
    there = directory / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    installed = {str(canonicalize_name(one.metadata["Name"])): one for one in distributions(path=[str(here)])}
    wanted = _closure(installed, roots)
    owners: dict[PurePosixPath, set[bool]] = defaultdict(set)
    for name, distribution in installed.items():
        for file in distribution.files or ():
            path = PurePosixPath(str(file))
            if ".." not in path.parts:
                for place in (path, *path.parents):
                    owners[place].add(name in wanted)
    _link(here, there, owners, PurePosixPath())
    return directory / "bin" / "python"


def _closure(installed: dict[str, Distribution], roots: Iterable[str]) -> set[str]:
    found: set[str] = set()
    open_names = [str(canonicalize_name(name)) for name in roots]
    while open_names:
        name = open_names.pop()
        if name in found:
            continue
        found.add(name)
        for line in installed[name].requires or ():
            requirement = Requirement(line)
            extra = requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})
            if not extra and canonicalize_name(requirement.name) in installed:
                open_names.append(str(canonicalize_name(requirement.name)))
    return found


def _link(here: Path, there: Path, owners: dict[PurePosixPath, set[bool]], place: PurePosixPath) -> None:
    """Link a directory as a whole if all of its files are wanted, else look into it."""
    for entry in (here / place).iterdir():
        inner = place / entry.name
        if owners.get(inner) == {True}:
            (there / inner).parent.mkdir(parents=True, exist_ok=True)
            (there / inner).symlink_to(entry)
        elif entry.is_dir() and True in owners.get(inner, ()):
            _link(here, there, owners, inner)
