"""Starting a host: what stops it, and that it says why."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import aiohttp
import pytest

from sandbox.host.process import HostProcess
from sandbox.processes import REPOSITORY, ProcessError

from .conftest import APPS, EVERYTHING, until

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Story

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("app", "reason"),
    [
        ("missing_module", "No module named 'a_module_that_nobody_has'"),
        ("duplicate_names", "same"),
        ("two_apps", "More than one"),
    ],
)
async def test_an_app_that_cannot_be_loaded_ends_the_host_with_the_reason(story: Story, app: str, reason: str) -> None:
    host = HostProcess(APPS / app, story.settings)
    with pytest.raises(ProcessError, match="exit code 1") as raised:
        await host.start()
    assert reason in str(raised.value)
    assert "cannot be loaded" in str(raised.value)


async def test_a_directory_without_an_app_is_named(story: Story, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProcessError, match=r"host\.json is missing"):
        await HostProcess(tmp_path / "empty", story.settings).start()


async def test_settings_come_from_the_file_and_the_environment_wins(story: Story, tmp_path: Path) -> None:
    app = tmp_path / "app"
    shutil.copytree(EVERYTHING, app)
    values = '"SAMPLE_SETTING": "from the file", "NOT_SET": "0 0 0 1 1 *"'
    (app / "local.settings.json").write_text(f'{{"IsEncrypted": false, "Values": {{{values}}}}}')
    settings = {name: value for name, value in story.settings.items() if name != "TICK"}
    settings["SAMPLE_SETTING"] = "from the environment"
    async with HostProcess(app, settings, settings_file=app / "local.settings.json") as host:
        async with aiohttp.ClientSession(host.url) as client, client.get("/api/open") as response:
            assert (await response.json())["setting"] == "from the environment"
        assert "'unresolved' function is in error" not in host.logs()
        assert "'tick' function is in error" in host.logs()


async def test_without_auth_no_key_is_asked_for(story: Story) -> None:
    async with (
        story.host("--no-auth") as host,
        aiohttp.ClientSession(host.url) as client,
        client.get("/api/masters") as response,
    ):
        assert response.status == 200


async def test_a_taken_port_is_named(story: Story) -> None:
    async with story.host() as host:
        with pytest.raises(ProcessError, match=r"cannot listen on .*choose another --port"):
            await HostProcess(EVERYTHING, story.settings, port=int(host.url.rpartition(":")[2])).start()


async def test_http_works_while_there_is_no_storage(story: Story) -> None:
    settings = {name: value for name, value in story.settings.items() if name != "AzureWebJobsStorage"}
    async with (
        HostProcess(EVERYTHING, settings) as host,
        aiohttp.ClientSession(host.url) as client,
        client.get("/api/open") as response,
    ):
        assert response.status == 201
        assert "set AzureWebJobsStorage to a connection string" in host.logs()


async def test_a_host_ends_with_the_process_that_started_it(story: Story, tmp_path: Path) -> None:
    script = f"""
import asyncio, os, sys
from pathlib import Path
from sandbox.host.process import HostProcess
async def main():
    host = await HostProcess(Path({str(EVERYTHING)!r}), {story.settings!r}).start()
    Path({str(tmp_path / "pid")!r}).write_text(str(host.pid))
    os._exit(0)
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, check=True, timeout=60)  # noqa: ASYNC221, S603 - short, and ours
    pid = (tmp_path / "pid").read_text()
    await until(lambda: not _alive(int(pid)), seconds=15)


def _alive(pid: int) -> bool:
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607 - fixed words
    return done.returncode == 0 and not done.stdout.startswith("Z")


@pytest.mark.parametrize("part", [[], ["host"], ["azurite"], ["up"]])
def test_every_part_explains_itself(part: list[str]) -> None:
    command = [sys.executable, "-m", "sandbox", *part, "--help"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - ours
    assert "usage: python -m sandbox" in done.stdout
