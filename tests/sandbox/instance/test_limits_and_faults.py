"""Limits of a real instance and faults on demand."""

from __future__ import annotations

import asyncio
import json
import time

import httpx
import pytest

from sandbox.instance import Instance, InstanceConfig, RateLimitRule
from sandbox.instance.access import Caller
from sandbox.instance.capacity import QueueFullError, RateLimits, Semaphores

from .conftest import ADMIN, Clock, batch, running

USERS = "/api/now/table/sys_user"


async def test_the_fifty_fifth_transaction_at_once_is_refused() -> None:
    semaphores = Semaphores(Instance())
    finish = asyncio.Event()

    async def transaction() -> None:
        async with semaphores.slot():
            await finish.wait()

    tasks = [asyncio.create_task(transaction()) for _ in range(54)]
    await asyncio.sleep(0)
    assert (semaphores.active, semaphores.waiting) == (4, 50)
    with pytest.raises(QueueFullError):
        await transaction()
    finish.set()
    await asyncio.gather(*tasks)
    assert (semaphores.active, semaphores.waiting) == (0, 0)


async def test_a_full_queue_answers_429_without_json_or_retry_after() -> None:
    async with running(concurrency=1, queue_length=2, slow_next=1, slow_by=0.4) as sn:
        answers = await asyncio.gather(*(sn.admin.get(USERS) for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 429, 429]
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert "Retry-After" not in refused.headers
        with pytest.raises(json.JSONDecodeError):
            refused.json()
        assert (await sn.admin.get(USERS)).status_code == 200


async def test_four_are_served_at_a_time() -> None:
    async with running(latency_query=0.1) as sn:
        asking = [asyncio.create_task(sn.admin.get(USERS)) for _ in range(8)]
        served = set()
        while not all(task.done() for task in asking):
            served.add(sn.server.service.semaphores.active)
            await asyncio.sleep(0)
        assert max(served) == 4


async def test_a_shared_session_is_served_one_by_one_and_overflows_into_202() -> None:
    async with running(slow_by=0.4, concurrency=20) as sn, httpx.AsyncClient(base_url=sn.server.url, auth=ADMIN) as own:
        await own.get(USERS)
        assert own.cookies["JSESSIONID"]
        await sn.faults(slow_next=1)
        answers = await asyncio.gather(*(own.get(USERS) for _ in range(15)))
        ignored = [answer for answer in answers if answer.status_code == 202]
        assert len(ignored) == 4
        assert all(answer.content == b"" for answer in ignored)


async def test_rate_limit_rules_refuse_with_headers_and_the_next_hour_allows_again() -> None:
    rule = RateLimitRule("Table reads", 2, api="Table API")
    async with running(rate_limits=(rule,)) as sn:
        first = await sn.admin.get(USERS)
        assert first.headers["X-RateLimit-Limit"] == "2"
        assert int(first.headers["X-RateLimit-Reset"]) > time.time()
        await sn.admin.get(USERS)
        refused = await sn.admin.get(USERS)
        assert refused.status_code == 429
        assert 0 < int(refused.headers["Retry-After"]) <= 3600
        error = {"message": "Rate limit exceeded", "detail": "Rate limit of 2 requests per hour for Table API exceeded"}
        assert refused.json()["error"] == error
        assert (await sn.admin.post("/api/now/v1/batch", json=batch())).status_code == 200


def test_the_most_specific_rate_limit_applies_within_its_hour() -> None:
    clock = Clock()
    rules = (RateLimitRule("all", 1), RateLimitRule("role", 2, role="itil"), RateLimitRule("user", 3, user_name="ada"))
    limits = RateLimits(Instance(InstanceConfig(rate_limits=rules), clock=clock))

    def allowed(caller: Caller) -> int:
        return sum(limits.check(caller, "Table API", "sys_user")[1] is None for _ in range(5))

    ada, agent, other = (
        Caller("ada", "1", frozenset({"itil"})),
        Caller("b", "2", frozenset({"itil"})),
        Caller("c", "3", frozenset()),
    )
    assert [allowed(caller) for caller in (ada, agent, other)] == [3, 2, 1]
    clock.now += 3600
    assert allowed(other) == 1


async def test_batch_items_count_against_the_rate_limit_only_if_switched_on() -> None:
    rule = RateLimitRule("all", 3)
    items = tuple(("GET", USERS, None) for _ in range(4))
    for counted, status in ((False, 200), (True, 429)):
        async with running(rate_limits=(rule,), rate_limit_batch_items=counted) as sn:
            assert (await sn.admin.post("/api/now/v1/batch", json=batch(*items))).status_code == status


async def test_pages_of_html_come_with_200_and_maintenance_with_503() -> None:
    async with running(hibernating=True) as sn:
        for path in (USERS, "/oauth_token.do", "/anything"):
            answer = await sn.admin.get(path)
            assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html;charset=UTF-8")
            assert "<title>Instance Hibernating page</title>" in answer.text
        await sn.faults(hibernating=False, login_page=True)
        assert "login.do" in (await sn.admin.get(USERS)).text
        await sn.faults(login_page=False, maintenance=True)
        assert (await sn.admin.get(USERS)).status_code == 503


async def test_a_lost_answer_has_been_committed() -> None:
    async with running(lose_answers_next=1) as sn:
        with pytest.raises(httpx.RemoteProtocolError):
            await sn.admin.post(USERS, json={"user_name": "ada"})
        assert await sn.names("user_name=ada") == ["ada"]
        await sn.faults(lost_answer_probability=1)
        with pytest.raises(httpx.RemoteProtocolError):
            await sn.admin.post("/api/now/v1/batch", json=batch(("POST", USERS, {"user_name": "eve"})))
        assert await sn.names("user_name=eve") == ["eve"]
        assert (await sn.control.get("/control/requests")).json()["lost_answers"] == 2


async def test_a_dropped_request_has_done_nothing() -> None:
    async with running(drop_next=1) as sn:
        with pytest.raises(httpx.RemoteProtocolError):
            await sn.admin.post(USERS, json={"user_name": "ada"})
        assert await sn.names("user_name=ada") == []


async def test_the_next_requests_fail_are_throttled_or_ignored() -> None:
    async with running(fail_next=1, fail_status=502) as sn:
        assert [(await sn.admin.get(USERS)).status_code for _ in range(2)] == [502, 200]
        await sn.faults(throttle_next=1)
        assert [(await sn.admin.get(USERS)).status_code for _ in range(2)] == [429, 200]
        await sn.faults(ignore_next=1)
        answers = [await sn.admin.post(USERS, json={"user_name": "ada"}) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [202, 201]


async def test_a_client_that_gives_up_does_not_stop_the_write() -> None:
    async with running(slow_next=1, slow_by=0.3) as sn:
        with pytest.raises(httpx.ReadTimeout):
            await sn.admin.post(USERS, json={"user_name": "ada"}, timeout=0.1)
        assert await sn.names("user_name=ada") == []
        commits = await sn.control.get("/control/commits", params={"since": "0", "wait": "5"})
        assert [commit["verb"] for commit in commits.json()] == ["insert"]
        assert await sn.names("user_name=ada") == ["ada"]


async def test_a_cancelled_transaction_is_a_200_with_an_error_or_a_500() -> None:
    async with running(cancel_next=1) as sn:
        answer = await sn.admin.get(USERS)
        assert answer.status_code == 200
        assert answer.json()["error"]["message"] == "Transaction cancelled: maximum execution time exceeded"
        assert len(answer.json()["result"]) == 1
        await sn.faults(cancel_next=1, cancel_body="broken_json")
        with pytest.raises(json.JSONDecodeError):
            (await sn.admin.get(USERS)).json()
        await sn.faults(cancel_next=1, cancel_status=500)
        assert (await sn.admin.post(USERS, json={"user_name": "ada"})).status_code == 500
        assert await sn.names("user_name=ada") == []


async def test_a_transaction_over_its_time_is_cancelled_in_service_or_in_the_queue() -> None:
    async with running(table_time_limit=0.1, slow_next=1, slow_by=0.3, concurrency=1) as sn:
        slow = asyncio.create_task(sn.admin.get(USERS))
        async with asyncio.timeout(5):
            while not sn.server.service.semaphores.active:
                await sn.control.get("/control/state")
        queued = await sn.admin.get(USERS)
        assert queued.status_code == 500
        assert (await slow).json()["error"]["message"].startswith("Transaction cancelled")
        assert (await sn.admin.get(USERS)).status_code == 200


async def test_jitter_is_reproducible() -> None:
    busy: list[float] = []
    for _ in range(2):
        async with running(latency_query=0.005, latency_jitter=0.5, seed=3) as sn:
            for _ in range(4):
                await sn.admin.get(USERS)
            busy.append(sn.server.service.semaphores.busy_seconds)
    assert busy[0] == busy[1] != pytest.approx(0.02)
