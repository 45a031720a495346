"""The storage emulator as the sandbox starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from azure.storage.queue import QueueServiceClient

from sandbox.azurite import Azurite
from sandbox.processes import REPOSITORY, ProcessError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e


def _queues(storage: Azurite) -> list[str]:
    with QueueServiceClient.from_connection_string(storage.connection_string) as service:
        return [str(queue.name) for queue in service.list_queues()]


def test_what_is_on_disk_is_there_after_a_restart_on_the_same_ports(tmp_path: Path) -> None:
    storage = Azurite(tmp_path).start()
    with QueueServiceClient.from_connection_string(storage.connection_string) as service:
        service.create_queue("kept")
    before = storage.connection_string
    storage.stop()
    storage.start()
    try:
        assert storage.connection_string == before
        assert _queues(storage) == ["kept"]
    finally:
        storage.stop()


def test_a_taken_port_is_named(azurite: Azurite) -> None:
    ports = azurite._ports
    with pytest.raises(ProcessError, match="in use"):
        Azurite(ports=ports).start()


def test_a_machine_without_node_is_told_what_to_install(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from sandbox.azurite import Azurite; Azurite().start()"]
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    assert done.returncode == 1
    assert "install node and npm, then run 'make setup'" in done.stderr
