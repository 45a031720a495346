"""The Batch API: item by item, base64, one after the other, cut off at its time limit."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from .conftest import Running, batch, item_body, running

USERS = "/api/now/table/sys_user"


async def post(sn: Running, envelope: dict[str, Any], path: str = "/api/now/v1/batch", **headers: str) -> dict[str, Any]:
    answer = await sn.admin.post(path, json=envelope, headers=headers)
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


@pytest.mark.parametrize("path", ["/api/now/v1/batch", "/api/now/batch", "/api/now/v2/batch"])
async def test_items_succeed_and_fail_alone(path: str) -> None:
    async with running() as sn:
        created = await sn.create("sys_user", user_name="old")
        envelope = batch(
            ("POST", USERS, {"user_name": "ada"}),
            ("POST", USERS, {"user_name": "ada"}),
            ("GET", f"{USERS}?sysparm_query=user_name=ada%5EORDERBYsys_id&sysparm_fields=user_name", None),
            ("DELETE", f"{USERS}/{created['sys_id']}", None),
            ("PATCH", f"{USERS}/missing", {"title": "x"}),
        )
        body = await post(sn, envelope, path)
        assert body["batch_request_id"] == "7"
        assert body["unserviced_requests"] == []
        items = {item["id"]: item for item in body["serviced_requests"]}
        assert [items[str(number)]["status_code"] for number in range(1, 6)] == [201, 403, 200, 204, 404]
        assert item_body(items["3"]) == {"result": [{"user_name": "ada"}]}
        assert items["4"]["body"] == ""
        assert items["5"]["status_text"] == "Not Found"
        assert {"name": "X-Total-Count", "value": "1"} in items["3"]["headers"]
        assert isinstance(items["1"]["execution_time"], int)


async def test_headers_can_be_left_out() -> None:
    async with running() as sn:
        body = await post(sn, batch(("GET", USERS, None), exclude_response_headers=True))
        assert body["serviced_requests"][0]["headers"] == []


async def test_the_time_limit_leaves_the_rest_unserviced() -> None:
    async with running(latency_write=0.02, batch_time_limit=0.07) as sn:
        body = await post(sn, batch(*(("POST", USERS, {"user_name": f"u{number}"}) for number in range(6))))
        assert len(body["serviced_requests"]) == 3
        assert body["unserviced_requests"] == ["4", "5", "6"]
        assert sorted(await sn.names("user_nameSTARTSWITHu")) == ["u0", "u1", "u2"]


async def test_an_unserviced_item_may_have_been_committed_all_the_same() -> None:
    async with running(batch_item_limit=1, batch_cut_commits=True) as sn:
        body = await post(sn, batch(*(("POST", USERS, {"user_name": f"u{number}"}) for number in range(3))))
        assert body["unserviced_requests"] == ["2", "3"]
        assert sorted(await sn.names("user_nameSTARTSWITHu")) == ["u0", "u1"]


async def test_a_batch_holds_one_slot_for_the_sum_of_its_items() -> None:
    async with running(latency_query=0.01, latency_write=0.03, concurrency=1) as sn:
        envelope = batch(("POST", USERS, {"user_name": "a"}), ("GET", USERS, None), ("POST", USERS, {"user_name": "b"}))
        started = time.perf_counter()
        await asyncio.gather(post(sn, envelope), post(sn, envelope))
        assert time.perf_counter() - started >= 0.14
        requests = (await sn.control.get("/control/requests")).json()
        assert requests["busy_seconds"] == pytest.approx(0.14)
        assert requests["batch_items"] == {"GET": 2, "POST": 4}
        assert requests["batch_item_statuses"] == {"200": 2, "201": 2, "403": 2}


async def test_commits_of_a_batch_are_spread_over_its_time() -> None:
    async with running(latency_write=0.03) as sn:
        await post(sn, batch(*(("POST", USERS, {"user_name": f"u{number}"}) for number in range(3))))
        times = [commit["time"] for commit in (await sn.control.get("/control/commits")).json()]
        assert times[2] - times[0] == pytest.approx(0.06, abs=0.03)


async def test_item_sizes_are_limited_both_ways() -> None:
    async with running(batch_item_input=200) as sn:
        too_big = await post(sn, batch(("POST", USERS, {"title": "x" * 300})))
        assert too_big["serviced_requests"][0]["status_code"] == 400
        envelope = batch(("GET", USERS, None))
        too_long = await post(sn, envelope, **{"X-BATCHREQUEST-MAX-OUTPUT-SIZE": "100"})
        assert too_long["serviced_requests"][0]["status_code"] == 500
        assert "error_message" in too_long["serviced_requests"][0]


async def test_single_items_can_be_made_to_fail() -> None:
    async with running(fail_items_next=1) as sn:
        body = await post(sn, batch(("POST", USERS, {"user_name": "a"}), ("POST", USERS, {"user_name": "b"})))
        assert [item["status_code"] for item in body["serviced_requests"]] == [500, 201]


async def test_batches_do_not_nest_and_broken_items_answer_for_themselves() -> None:
    async with running() as sn:
        envelope = batch(("POST", "/api/now/v1/batch", {"rest_requests": []}), ("POST", USERS, {}), ("GET", "/elsewhere", None))
        envelope["rest_requests"][1]["body"] = "not base64!"
        body = await post(sn, envelope)
        assert [item["status_code"] for item in body["serviced_requests"]] == [400, 400, 400]
        broken = await sn.admin.post("/api/now/v1/batch", json={"rest_requests": "x"})
        assert broken.status_code == 400
