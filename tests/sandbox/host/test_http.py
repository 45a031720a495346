"""HTTP functions, asked as a client asks them."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import aiohttp
import pytest

from .conftest import Story, make_story, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sandbox.azurite import Azurite
    from sandbox.host.process import HostProcess

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def told(azurite: Azurite, tmp_path_factory: pytest.TempPathFactory) -> Story:
    return make_story(tmp_path_factory.mktemp("http"), azurite.connection_string)


@pytest.fixture(scope="module")
def host(told: Story) -> Iterator[HostProcess]:
    process = told.host()
    asyncio.run(process.start())
    yield process
    assert asyncio.run(process.terminate()) == 0


@pytest.fixture
async def client(host: HostProcess) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(host.url) as session:
        yield session


async def test_a_function_sees_the_request_and_its_answer_arrives_whole(client: aiohttp.ClientSession) -> None:
    async with client.post("/api/open?x=1&x=2&name=J%C3%B6rg", data=b"12345", headers={"X-Sample": "head"}) as response:
        assert response.status == 201
        assert response.headers["X-Answer"] == "yes"
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers.getall("Set-Cookie") == ["a=1; Path=/", "b=2; HttpOnly"]
        seen = await response.json()
    assert seen["method"] == "POST"
    assert seen["query"] == {"x": "1,2", "name": "Jörg"}
    assert seen["header"] == "head"
    assert seen["bytes"] == 5
    assert seen["setting"] == "sample"
    assert seen["cwd"].endswith("everything")


@pytest.mark.parametrize("key", [None, "wrong", "ünknown"])
async def test_a_function_asks_for_its_key(client: aiohttp.ClientSession, key: str | None) -> None:
    async with client.get("/api/guarded/abc", params={"code": key} if key else {}) as response:
        assert response.status == 401
        assert await response.text() == ""


async def test_a_key_is_taken_from_the_header_or_the_query(client: aiohttp.ClientSession, host: HostProcess) -> None:
    async with client.get("/api/guarded/abc", headers=host.headers) as response:
        assert response.status == 200
    async with client.get("/api/guarded/abc", params={"code": host.keys["default"]}) as response:
        assert response.status == 200


async def test_an_admin_function_takes_the_master_key_alone(client: aiohttp.ClientSession, host: HostProcess) -> None:
    async with client.get("/api/masters", headers=host.headers) as response:
        assert response.status == 401
    async with client.get("/api/masters", headers={"x-functions-key": host.keys["master"]}) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/api/guarded/abc/12", '{"kind": "abc", "number": "12"}'),
        ("/api/guarded/abc", '{"kind": "abc"}'),
        ("/api/GUARDED/abc", '{"kind": "abc"}'),
        ("/api/guarded/special", "special GET"),
        ("/api/guarded/abc/twelve", None),
        ("/api/guarded/a1", None),
        ("/guarded/abc", None),
        ("/api/nothing", None),
    ],
)
async def test_routes_lead_where_their_templates_say(
    client: aiohttp.ClientSession, host: HostProcess, path: str, answer: str | None
) -> None:
    async with client.get(path, headers=host.headers) as response:
        assert response.status == (404 if answer is None else 200)
        assert await response.text() == (answer or "")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD"])
async def test_a_method_that_is_not_declared_is_not_found(client: aiohttp.ClientSession, host: HostProcess, method: str) -> None:
    async with client.request(method, "/api/guarded/abc", headers=host.headers) as response:
        assert response.status == 404


async def test_head_of_a_function_for_every_method_has_no_body(client: aiohttp.ClientSession) -> None:
    async with client.head("/api/open") as response:
        assert response.status == 201
        assert await response.read() == b""


async def test_an_exception_is_a_bare_500(client: aiohttp.ClientSession, host: HostProcess) -> None:
    async with client.get("/api/fails") as response:
        assert response.status == 500
        assert await response.text() == ""
    await until(lambda: "secret detail of GET" in host.logs())
    async with client.get("/api/open") as response:
        assert response.status == 201


async def test_a_synchronous_function_runs_in_a_thread_and_its_log_names_it(
    client: aiohttp.ClientSession, host: HostProcess
) -> None:
    async with client.get("/api/threaded") as response:
        assert await response.text() == "thread GET"
    line = await until(lambda: next((line for line in host.logs().splitlines() if "in a thread" in line), None))
    assert " threaded[" in line


async def test_a_body_of_many_megabytes_arrives(client: aiohttp.ClientSession) -> None:
    async with client.post("/api/open", data=io.BytesIO(b"x" * 20_000_000)) as response:
        assert (await response.json())["bytes"] == 20_000_000


async def test_a_slow_function_does_not_hold_up_others(client: aiohttp.ClientSession) -> None:
    slow = asyncio.create_task(_get(client, "/api/slow?seconds=3"))
    for _ in range(20):
        assert await _get(client, "/api/threaded") == 200
    assert not slow.done()
    assert await slow == 200


async def test_a_function_whose_setting_is_missing_is_reported_and_the_others_run(
    client: aiohttp.ClientSession, host: HostProcess
) -> None:
    async with client.get("/admin/host/status", headers={"x-functions-key": host.keys["master"]}) as response:
        status = await response.json()
    assert status["state"] == "Running"
    assert len(status["errors"]) == 1
    assert "'unresolved' function is in error" in status["errors"][0]
    assert "set the app setting NOT_SET" in status["errors"][0]
    assert "'unresolved' function is in error" in host.logs()


async def test_a_timer_or_queue_function_runs_by_hand(client: aiohttp.ClientSession, host: HostProcess, told: Story) -> None:
    master = {"x-functions-key": host.keys["master"]}
    order = '{"do": "ok", "by": "hand"}'
    async with client.post("/admin/functions/tick", json={"input": ""}, headers=master) as response:
        assert response.status == 202
    async with client.post("/admin/functions/work", json={"input": order}, headers=master) as response:
        assert response.status == 202
    await until(lambda: told.records("tick", "ended"))
    ended = await until(lambda: told.records("work", "ended"))
    assert ended[0]["body"] == order


async def test_the_admin_api_takes_the_master_key_alone(client: aiohttp.ClientSession, host: HostProcess) -> None:
    async with client.post("/admin/functions/tick", json={}, headers=host.headers) as response:
        assert response.status == 401
    async with client.get("/admin/host/status") as response:
        assert response.status == 401
    async with client.post("/admin/functions/nobody", json={}, headers={"x-functions-key": host.keys["master"]}) as response:
        assert response.status == 404


async def _get(client: aiohttp.ClientSession, path: str) -> int:
    async with client.get(path) as response:
        return response.status
