from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest

from shared.errors import BusyError, CredentialsError, FateUnknownError, ProtocolError, ThrottledError
from shared.servicenow.pace import MOST_ITEMS, Pace
from shared.servicenow.queries import everything
from shared.servicenow.writes import Delete, Deleted, Insert, NotProcessed, Refused, Unknown, Update, Written
from tests.servicenow.scripted import Clock, Script, batch, client_of, echo, failure, item, page, reply, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.servicenow.writes import Write

NOT_FOUND = {"error": {"message": "No Record found", "detail": "Record doesn't exist"}, "status": "failure"}
DUPLICATE = {"error": {"message": "Operation Failed", "detail": "Error during insert of sys_user (Ada)"}, "status": "failure"}


def inserts(count: int, *, size: int = 1) -> list[Insert]:
    return [Insert("sys_user", {"user_name": f"user{n}", "introduction": "x" * size}, sys_id=f"{n:032x}") for n in range(count)]


def updates(count: int) -> list[Update]:
    return [Update("sys_user", f"{n:032x}", {"title": f"t{n}"}) for n in range(count)]


async def test_several_writes_travel_as_one_batch_with_an_outcome_each() -> None:
    writes: list[Write] = [
        Insert("sys_user", {"user_name": "ada"}),
        Update("sys_user", "a2", {"title": "Dr"}),
        Delete("sys_user_grmember", "m3"),
        Update("sys_user", "a4", {"title": "x"}),
        Insert("sys_user", {"user_name": "bob"}),
    ]
    script = Script(
        batch(
            item(3, 204),
            item(1, 201, {"result": {"sys_id": "a1", "user_name": "ada"}}),
            item(4, 404, NOT_FOUND),
            item(2, 200, {"result": {"sys_id": "a2", "title": ""}}),
            item(5, 403, DUPLICATE),
        ),
    )
    async with client_of(script) as client:
        one, two, three, four, five = await client.write(writes)
    assert isinstance(one, Written)
    assert one.sys_id == "a1"
    assert isinstance(two, Written)
    assert two.dropped == ("title",)
    assert three == Deleted()
    assert isinstance(four, Refused)
    assert isinstance(five, Refused)
    assert five.error.code == "EntryConflict"
    assert [(i["id"], i["method"], i.get("body")) for i in script.batched(0)] == [
        ("1", "POST", {"user_name": "ada"}),
        ("2", "PATCH", {"title": "Dr"}),
        ("3", "DELETE", None),
        ("4", "PATCH", {"title": "x"}),
        ("5", "POST", {"user_name": "bob"}),
    ]
    assert script.batched(0)[1]["url"].startswith("/api/now/table/sys_user/a2?sysparm_fields=title%2Csys_id")


async def test_unserviced_writes_were_not_processed_but_the_first_of_them_may_have_been_under_way() -> None:
    script = Script(batch(item(1, 200, {"result": {"sys_id": f"{0:032x}", "title": "t0"}}), unserviced=[4, 2, 3]))
    async with client_of(script) as client:
        outcomes = await client.write(updates(4))
    assert [type(outcome) for outcome in outcomes] == [Written, Unknown, NotProcessed, NotProcessed]


async def test_a_write_that_the_answer_does_not_mention_has_an_unknown_fate() -> None:
    odd = {"id": "9", "status_code": 200, "body": ""}
    script = Script(batch(item(1, 200, {"result": {"sys_id": f"{0:032x}", "title": "t0"}}), odd, {"id": None}, {"id": "2"}))
    async with client_of(script) as client:
        outcomes = await client.write(updates(2))
    assert [type(outcome) for outcome in outcomes] == [Written, Unknown]


@pytest.mark.parametrize(
    ("serviced", "kind"),
    [
        (item(1, 429), NotProcessed),
        (item(1, 503), NotProcessed),
        (item(1, 500), Unknown),
        (item(1, 202), Unknown),
        (item(1, 200, {"error": {"message": "Transaction cancelled: maximum execution time exceeded"}}), Unknown),
        (item(1, 401, {"error": {"message": "User Not Authenticated"}}), Refused),
        ({**item(1, 200), "body": "not base64 and no JSON"}, Unknown),
        ({**item(1, 200, {"result": {"sys_id": f"{0:032x}", "title": "t0"}}), "status_code": "200"}, Written),
    ],
)
async def test_each_item_is_judged_by_its_own_status(serviced: dict[str, object], kind: type) -> None:
    script = Script(batch(serviced, item(2, 200, {"result": {"sys_id": f"{1:032x}", "title": "t1"}})))
    async with client_of(script) as client:
        first, second = await client.write(updates(2))
    assert isinstance(first, kind)
    assert isinstance(second, Written)


@pytest.mark.parametrize(
    "answer",
    [reply(500), reply(202), httpx.ReadError("lost"), reply(200, {"batch_request_id": "1"}), page("Log in")],
)
async def test_a_batch_without_a_believable_answer_leaves_the_fate_of_all_its_writes_unknown(answer: httpx.Response) -> None:
    script = Script(answer)
    async with client_of(script) as client:
        outcomes = await client.write(updates(3))
    assert [type(outcome) for outcome in outcomes] == [Unknown] * 3
    assert script.count == 1


async def test_after_a_lost_batch_the_others_are_not_tried() -> None:
    script = Script(httpx.ReadError("lost"))
    async with client_of(script) as client:
        outcomes = await client.write(updates(400))
    kinds = [type(outcome) for outcome in outcomes]
    assert set(kinds) == {Unknown, NotProcessed}
    assert script.count <= 4


async def test_a_throttled_batch_has_done_nothing() -> None:
    script = Script(reply(429, None, {"Retry-After": "60"}))
    async with client_of(script) as client:
        outcomes = await client.write(updates(3))
    assert all(isinstance(one, NotProcessed) and isinstance(one.error, ThrottledError) for one in outcomes)
    assert isinstance(outcomes[0], NotProcessed)
    assert outcomes[0].error.retry_after == 60


async def test_where_the_batch_api_is_closed_writes_go_one_by_one() -> None:
    def closed(request: httpx.Request) -> httpx.Response:
        return failure(403, "Operation Failed", "denied") if request.url.path.endswith("batch") else echo(request)

    script, clock = Script(closed), Clock()
    async with client_of(script, clock=clock) as client:
        outcomes = await client.write(updates(5))
        assert all(isinstance(outcome, Written) for outcome in outcomes)
        assert not client.batches
        await client.write(updates(2))
        assert [request.method for request in script.requests] == ["POST", *["PATCH"] * 7]
        clock.now += 901
        assert client.batches


async def test_batches_are_cut_by_count_time_and_bytes() -> None:
    script = Script(echo)
    async with client_of(script) as client:
        await client.write(updates(40))
        assert len(script.batched(0)) == 40
        # Each took 50 ms by the script's clock-less figures, so the next ones may be as long as allowed.
        await client.write(updates(MOST_ITEMS + 20))
        assert sorted(len(script.batched(n)) for n in (1, 2)) == [20, MOST_ITEMS]
        await client.write(inserts(8, size=1_000_000))
    sizes = [len(request.content) for request in script.requests[3:]]
    assert len(sizes) > 1
    assert max(sizes) < 5_000_000


async def test_slow_writes_make_smaller_batches() -> None:
    clock = Clock()

    def slow(request: httpx.Request) -> httpx.Response:
        answer = echo(request)
        clock.now += 0.6 * answer.content.count(b'"execution_time"')
        return answer

    script = Script(slow)
    async with client_of(script, clock=clock) as client:
        await client.write(updates(20))
        await client.write(updates(16))
        await client.write(updates(32))
    sizes = [len(script.batched(n)) for n in range(script.count)]
    assert sizes == [20, 16, 16, 16]


def test_the_pace_of_one_verb_does_not_change_that_of_another() -> None:
    pace = Pace()
    insert, update = ("sys_user", "POST"), ("sys_user", "PATCH")
    pace.took([(insert, 0.9), (update, 0.1)], elapsed=2.0)
    assert pace.expected(insert) == pytest.approx(1.8)
    assert pace.expected(update) == pytest.approx(0.2)
    pace.failed({insert})
    assert pace.expected(insert) == pytest.approx(3.6)


async def test_duplicates_of_own_sys_ids_in_a_batch_are_told_apart_by_one_query() -> None:
    script = Script(batch(item(1, 403, DUPLICATE), item(2, 403, DUPLICATE)), rows({"sys_id": f"{1:032x}"}))
    async with client_of(script) as client:
        outcomes = await client.write(inserts(2))
    marks = [getattr(one.error, "duplicate_sys_id", None) for one in outcomes if isinstance(one, Refused)]
    assert marks == [False, True]
    assert script.count == 2


async def test_an_expired_session_for_the_envelope_is_renewed_and_the_batch_sent_once_more() -> None:
    script = Script(rows(), failure(401, "User Not Authenticated"), echo)
    async with client_of(script) as client:
        await client.sample("sys_user", everything())
        outcomes = await client.write(updates(2))
    assert all(isinstance(outcome, Written) for outcome in outcomes)


async def test_what_the_hook_raises_later_becomes_the_outcome_of_what_was_not_sent() -> None:
    script = Script(echo)
    asked = 0

    def lost_later(_: Sequence[Write]) -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise BusyError("the lease is lost")

    async with client_of(script) as client:
        outcomes = await client.write(updates(100), on_send=lost_later)
    assert script.count == 1
    assert [type(one) for one in outcomes].count(Written) == 40
    assert all(isinstance(one.error, BusyError) for one in outcomes if isinstance(one, NotProcessed))
    assert len([one for one in outcomes if isinstance(one, NotProcessed)]) == 60


async def test_credentials_refused_on_the_way_leave_the_rest_refused_and_keep_what_was_done() -> None:
    script = Script(echo, failure(401, "User Not Authenticated"))
    async with client_of(script) as client:
        outcomes = await client.write(updates(100))
    done = [one for one in outcomes if isinstance(one, Written)]
    refused = [one for one in outcomes if isinstance(one, Refused)]
    assert len(done) == 40
    assert len(refused) == 60
    assert all(isinstance(one.error, CredentialsError) for one in refused)


async def test_batches_run_beside_each_other_within_the_gate() -> None:
    inside = most = 0

    async def busy(request: httpx.Request) -> httpx.Response:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        for _ in range(10):
            await asyncio.sleep(0)
        inside -= 1
        return echo(request)

    async with client_of(busy) as client:
        outcomes = await client.write(updates(400))
    assert most == 4
    assert all(isinstance(outcome, Written) for outcome in outcomes)


async def test_a_malformed_envelope_never_counts_as_a_refusal() -> None:
    script = Script(reply(200, {"serviced_requests": "none"}))
    async with client_of(script) as client:
        outcomes = await client.write(updates(2))
    assert all(isinstance(one, Unknown) and isinstance(one.error, FateUnknownError) for one in outcomes)
    assert not any(isinstance(one, Refused) and isinstance(one.error, ProtocolError) for one in outcomes)
    assert client.batches
