"""The demonstration as a newcomer runs it, smaller and without a terminal."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from sandbox.processes import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

_CHANGES = (
    "new hire",
    "rename",
    "department change",
    "disable",
    "re-enable",
    "group join",
    "group leave",
    "manager change",
    "delete",
    "permanent delete",
)


async def _start(directory: Path) -> asyncio.subprocess.Process:
    arguments = ("-m", "sandbox.demo", "--users", "60", "--groups", "6", "--directory", str(directory))
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=REPOSITORY,
    )


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_without_a_terminal_it_ends_with_zero_and_both_sides_agree(tmp_path: Path) -> None:
    process = await _start(tmp_path / "demo")
    output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode == 0, text
    assert text.rstrip().endswith("Both sides agree.")
    assert re.search(r"users +created \d+ +matched \d+ +skipped \d+", text), text
    assert re.search(r"\d+  department: '.+' was not found in cmn_department", text), text
    for change in _CHANGES:
        assert re.search(rf"^  {change} +\d+\.\d\d s   \S+@", text, re.MULTILINE), f"{change} is not told: {text}"
    assert re.search(r"all \d+ are linked after \d+\.\d\d s", text), text
    assert "Dead messages: 0." in text


@pytest.mark.e2e
@pytest.mark.timeout(120)
async def test_interrupted_it_ends_and_stops_what_it_started(tmp_path: Path) -> None:
    process = await _start(tmp_path / "demo")
    assert process.stdout is not None
    seen = b""
    while b"First cycle" not in seen:
        line = await process.stdout.readline()
        assert line, seen.decode()
        seen += line
    process.send_signal(signal.SIGINT)
    rest = await process.stdout.read()
    assert await process.wait() == 130, rest.decode()
    assert b"Traceback" not in rest, rest.decode()
    assert not await _alive(tmp_path)


async def _alive(directory: Path) -> str:
    """Processes whose command names the directory."""
    listing = await asyncio.create_subprocess_exec("ps", "-eo", "args", stdout=asyncio.subprocess.PIPE)
    output, _ = await listing.communicate()
    return "\n".join(line for line in output.decode().splitlines() if str(directory) in line)
