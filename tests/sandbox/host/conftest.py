"""A storage emulator for all tests of the host, and the record of what the sample app did."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueServiceClient

from sandbox.azurite import Azurite
from sandbox.host.process import HostProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from azure.storage.queue import QueueMessage

APPS = Path(__file__).parent / "apps"
EVERYTHING = APPS / "everything"
NEVER = "0 0 0 1 1 *"


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """An empty storage account in memory."""
    storage = Azurite().start()
    yield storage
    storage.stop()


async def until(condition: Callable[[], Any], *, seconds: float = 30.0) -> Any:
    """Wait until the condition gives something true, and give that; fails after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        await asyncio.sleep(0.05)


@dataclass(frozen=True)
class Story:
    """One test's app: its settings, its queue and what it recorded."""

    settings: dict[str, str]
    record_file: Path
    connection_string: str
    work_queue: str

    def host(
        self, *arguments: str, app: Path = EVERYTHING, lease: int = 600, settings: dict[str, str] | None = None
    ) -> HostProcess:
        """A host for the app, not yet started."""
        keys = self.record_file.with_name("keys.json")
        return HostProcess(app, self.settings | (settings or {}), keys_file=keys, queue_lease=lease, arguments=arguments)

    def records(self, function: str, state: str | None = None) -> list[dict[str, Any]]:
        """What a function recorded, in order."""
        if not self.record_file.exists():
            return []
        lines = [json.loads(line) for line in self.record_file.read_text(encoding="utf-8").splitlines()]
        return [line for line in lines if line["function"] == function and state in {None, line.get("state")}]

    def send(self, order: dict[str, Any], queue: str | None = None) -> str:
        """Queue an order as a producer does, base64 JSON; the message's text."""
        text = json.dumps(order)
        self.send_raw(base64.b64encode(text.encode()).decode(), queue)
        return text

    def send_raw(self, content: str, queue: str | None = None) -> None:
        """Queue a message whose content is taken as it is; the queue is created if it is missing."""
        with QueueServiceClient.from_connection_string(self.connection_string) as service:
            client = service.get_queue_client(queue or self.work_queue)
            try:
                client.send_message(content)
            except ResourceNotFoundError:
                client.create_queue()
                client.send_message(content)

    def length(self, queue: str) -> int | None:
        """How many messages a queue holds, visible or not; None if there is no such queue."""
        with QueueServiceClient.from_connection_string(self.connection_string) as service:
            try:
                return service.get_queue_client(queue).get_queue_properties().approximate_message_count
            except ResourceNotFoundError:
                return None

    def take(self, queue: str, *, hidden: int = 1) -> QueueMessage | None:
        """Take a message, if one is visible, as any other host would, for ``hidden`` seconds."""
        with QueueServiceClient.from_connection_string(self.connection_string) as service:
            return service.get_queue_client(queue).receive_message(visibility_timeout=hidden)

    def peek(self, queue: str) -> list[str]:
        """The contents of the visible messages of a queue; empty if there is no such queue."""
        with QueueServiceClient.from_connection_string(self.connection_string) as service:
            try:
                return [message.content for message in service.get_queue_client(queue).peek_messages(max_messages=32)]
            except ResourceNotFoundError:
                return []


def make_story(directory: Path, connection_string: str) -> Story:
    """A story of its own on a storage account that others use too."""
    name = uuid.uuid4().hex[:12]
    record_file = directory / "record.jsonl"
    settings = {
        "AzureWebJobsStorage": connection_string,
        "AzureFunctionsWebHost__hostid": name,
        "RECORD_FILE": str(record_file),
        "WORK_QUEUE": f"work-{name}",
        "LATER_QUEUE": f"later-{name}-poison",
        "DONE_QUEUE": f"done-{name}",
        "TICK": NEVER,
        "SAMPLE_SETTING": "sample",
    }
    return Story(settings, record_file, connection_string, settings["WORK_QUEUE"])


@pytest.fixture
def story(azurite: Azurite, tmp_path: Path) -> Story:
    """An app with its own queues, timers and record."""
    return make_story(tmp_path, azurite.connection_string)
