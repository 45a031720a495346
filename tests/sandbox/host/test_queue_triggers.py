"""Queue functions on a real queue: retries, poison, leases, crashes and shutdowns."""

from __future__ import annotations

import base64
import json
import shutil
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from sandbox.azurite import Azurite

from .conftest import EVERYTHING, Story, make_story, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e


async def test_a_message_that_succeeds_is_deleted_and_its_output_is_sent(story: Story) -> None:
    text = story.send({"do": "ok", "name": "Zoë 🎉"})
    async with story.host():
        await until(lambda: story.length(story.work_queue) == 0)
        outputs = await until(lambda: story.peek(story.settings["DONE_QUEUE"]))
    assert base64.b64decode(outputs[0]).decode() == text
    started = story.records("work", "started")
    assert [record["dequeue_count"] for record in started] == [1]
    assert started[0]["body"] == text
    assert started[0]["inserted"] < started[0]["expires"]


async def test_a_message_that_fails_comes_five_times_and_then_lies_in_the_poison_queue(story: Story) -> None:
    text = story.send({"do": "fail"})
    async with story.host():
        poisoned = await until(lambda: story.peek(f"{story.work_queue}-poison"))
        await until(lambda: story.length(story.work_queue) == 0)
    assert [record["dequeue_count"] for record in story.records("work")] == [1, 2, 3, 4, 5]
    assert base64.b64decode(poisoned[0]).decode() == text


async def test_a_failed_message_waits_for_the_visibility_timeout(story: Story, tmp_path: Path) -> None:
    app = tmp_path / "app"
    shutil.copytree(EVERYTHING, app)
    options = json.loads((app / "host.json").read_text())
    options["extensions"]["queues"] |= {"visibilityTimeout": "00:00:02", "maxDequeueCount": 2}
    (app / "host.json").write_text(json.dumps(options))
    story.send({"do": "fail"})
    async with story.host(app=app):
        await until(lambda: story.peek(f"{story.work_queue}-poison"))
    first, second = story.records("work")
    assert second["at"] - first["at"] > 1.5


@pytest.mark.parametrize("content", ['<not & base64> "quoted" ä', "e30", "{}"])
async def test_a_message_that_is_not_base64_is_poisoned_as_it_is_and_never_run(story: Story, content: str) -> None:
    story.send_raw(content)
    async with story.host():
        poisoned = await until(lambda: story.peek(f"{story.work_queue}-poison"))
        await until(lambda: story.length(story.work_queue) == 0)
    assert poisoned == [content]
    assert story.records("work") == []


async def test_a_message_that_has_killed_hosts_too_often_is_poisoned_without_running(story: Story) -> None:
    story.send({"do": "ok"})
    for _ in range(5):
        await until(lambda: story.take(story.work_queue))
    async with story.host():
        await until(lambda: story.peek(f"{story.work_queue}-poison"))
    assert story.records("work") == []


async def test_a_poison_queue_has_no_poison_queue(story: Story) -> None:
    queue = story.settings["LATER_QUEUE"]
    story.send({"do": "anything"}, queue)
    async with story.host(lease=2):
        # It stays hidden until its lease ends and comes again, beyond the number of attempts of other queues.
        await until(lambda: len(story.records("from_poison")) >= 2)
    assert story.length(queue) == 1
    assert story.length(f"{queue}-poison") is None


async def test_a_function_may_take_longer_than_the_lease(story: Story) -> None:
    story.send({"do": "sleep", "seconds": 4})
    async with story.host(lease=2), story.host(lease=2):
        await until(lambda: story.length(story.work_queue) == 0)
    assert len(story.records("work", "started")) == 1


async def test_no_more_messages_are_in_flight_than_host_json_allows(story: Story) -> None:
    for _ in range(30):
        story.send({"do": "sleep", "seconds": 0.3})
    async with story.host():
        await until(lambda: len(story.records("work", "ended")) == 30)
    running = most = 0
    for record in story.records("work"):
        running += 1 if record["state"] == "started" else -1
        most = max(most, running)
    assert 8 <= most <= 12


async def test_a_killed_hosts_message_comes_back_when_its_lease_ends(story: Story) -> None:
    story.send({"do": "sleep", "seconds": 60})
    victim = await story.host(lease=3).start()
    await until(lambda: story.records("work", "started"))
    assert await victim.kill() == -9
    async with story.host("--grace", "0", lease=3):
        again = await until(lambda: story.records("work", "started")[1:])
    assert again[0]["dequeue_count"] == 2


async def test_a_host_that_dies_of_a_message_leaves_it_to_the_next_one(story: Story) -> None:
    story.send({"do": "exit"})
    victim = await story.host(lease=2).start()
    await until(lambda: not victim.running)
    assert victim.returncode == 3
    async with victim:
        await until(lambda: story.records("work", "ended"))
        await until(lambda: story.length(story.work_queue) == 0)


async def test_a_stopping_host_lets_its_functions_end(story: Story) -> None:
    story.send({"do": "sleep", "seconds": 1.5})
    host = await story.host().start()
    await until(lambda: story.records("work", "started"))
    assert await host.terminate() == 0
    assert len(story.records("work", "ended")) == 1
    assert story.length(story.work_queue) == 0


async def test_what_does_not_end_in_time_is_given_back_at_once(story: Story) -> None:
    text = story.send({"do": "sleep", "seconds": 60})
    host = await story.host("--grace", "0.2").start()
    await until(lambda: story.records("work", "started"))
    assert await host.terminate() == 0
    message = story.take(story.work_queue)
    assert message is not None
    assert base64.b64decode(message.content).decode() == text
    assert story.peek(f"{story.work_queue}-poison") == []


async def test_two_hosts_share_a_queue(story: Story) -> None:
    async with story.host(), story.host():
        for _ in range(40):
            story.send({"do": "sleep", "seconds": 0.2})
        await until(lambda: story.length(story.work_queue) == 0)
    started = story.records("work", "started")
    assert len(started) == len({record["id"] for record in started}) == 40
    assert len({record["pid"] for record in started}) == 2


async def test_listeners_outlive_their_storage(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    storage = Azurite(tmp_path / "data").start()
    try:
        story = make_story(tmp_path, storage.connection_string)
        async with story.host() as host:
            story.send({"do": "ok", "turn": 1})
            await until(lambda: len(story.records("work", "ended")) == 1)
            storage.kill()
            await until(lambda: "trying again in" in host.logs())
            storage.start()
            story.send({"do": "ok", "turn": 2})
            await until(lambda: len(story.records("work", "ended")) >= 2)
            assert host.running
    finally:
        storage.stop()


async def test_retries_follow_each_other_in_order(story: Story) -> None:
    story.send({"do": "fail"})
    async with story.host():
        await until(lambda: story.peek(f"{story.work_queue}-poison"))
    receipts = [record["receipt"] for record in story.records("work")]
    assert all(earlier != later for earlier, later in pairwise(receipts))
