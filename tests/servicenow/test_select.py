from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

import httpx
import pytest

from shared.errors import (
    FateUnknownError,
    NotFoundError,
    ProtocolError,
    ProvisioningError,
    RefusedError,
    ThrottledError,
    UnavailableError,
)
from shared.servicenow.answers import TruncatedAnswerError
from shared.servicenow.queries import all_of, equals, everything, one_of, widened
from shared.servicenow.records import UnreadableColumns
from tests.servicenow.scripted import JSON, NOW, Clock, Script, batch, client_of, failure, item, page, reply, rows

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet


def sys_id(number: int) -> str:
    return f"{number:032x}"


class Table:
    """Rows numbered from 0, paged by keyset like the platform does: the limit is applied before hidden rows are taken out."""

    def __init__(self, count: int, hidden: AbstractSet[int] = frozenset(), *, state_total: bool = True) -> None:
        self.count = count
        self.hidden = hidden
        self.state_total = state_total
        self.pages: list[int] = []
        self.counted = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        asked = dict(parse_qsl(request.url.query.decode(), keep_blank_values=True))
        query = asked.get("sysparm_query", "")
        last = query.partition("sys_id>")[2].partition("^")[0]
        matching = [n for n in range(self.count) if not last or sys_id(n) > last]
        if request.url.path.startswith("/api/now/stats/"):
            self.counted += 1
            return reply(200, {"result": {"stats": {"count": str(len(matching))}}})
        assert query.endswith("ORDERBYsys_id")
        offset, limit = int(asked["sysparm_offset"]), int(asked["sysparm_limit"])
        shown = [n for n in matching[offset : offset + limit] if n not in self.hidden]
        self.pages.append(len(shown))
        found = [{"sys_id": sys_id(n), "user_name": f"user{n}"} for n in shown]
        return reply(200, {"result": found}, {"X-Total-Count": str(len(matching))} if self.state_total else None)


@pytest.mark.parametrize(
    ("count", "hidden"),
    [
        (0, set()),
        (1, set()),
        (10, set()),
        (25, set()),
        (30, set(range(8))),
        (50, set(range(5, 38))),
        (40, set(range(40))),
        (31, {30}),
    ],
)
@pytest.mark.parametrize("state_total", [True, False])
async def test_a_short_or_an_empty_page_is_not_the_end(count: int, hidden: set[int], state_total: bool) -> None:
    table = Table(count, hidden, state_total=state_total)
    async with client_of(table) as client:
        found = await client.select("sys_user", everything(), ["user_name"], page_size=10)
    assert [row["user_name"] for row in found] == [f"user{n}" for n in range(count) if n not in hidden]


async def test_a_page_that_covers_the_total_ends_without_another_request() -> None:
    table = Table(10)
    async with client_of(table) as client:
        await client.select("sys_user", everything(), ["user_name"], page_size=10)
    assert table.pages == [10]


async def test_stored_values_without_links_are_asked_for_with_the_columns_of_the_condition() -> None:
    script = Script(rows({"sys_id": "1", "email": "ada@contoso.com", "user_name": "Ada"}))
    async with client_of(script) as client:
        found = await client.select("sys_user", equals("user_name", "ada"), ["email"])
    assert found == [{"sys_id": "1", "email": "ada@contoso.com", "user_name": "Ada"}]
    assert script.parameters(0) == {
        "sysparm_query": "user_name=ada^ORDERBYsys_id",
        "sysparm_fields": "email,sys_id,user_name",
        "sysparm_display_value": "false",
        "sysparm_exclude_reference_link": "true",
        "sysparm_limit": "1000",
        "sysparm_offset": "0",
    }
    assert script.requests[0].headers["accept"] == "application/json"


async def test_special_characters_of_a_value_reach_the_query_unchanged() -> None:
    value = 'O\'Neil & Söhne #1 + 50% = 😀 "x"'
    script = Script(rows())
    async with client_of(script) as client:
        await client.select("core_company", equals("name", value), ["name"])
    assert script.parameters(0)["sysparm_query"] == f"name={value}^ORDERBYsys_id"


async def test_a_row_that_was_not_asked_for_voids_the_whole_answer() -> None:
    script = Script(rows({"sys_id": "1", "u_entra_id": "abc"}, {"sys_id": "2", "u_entra_id": "other"}))
    async with client_of(script) as client:
        with pytest.raises(ProtocolError, match=r"sys_user.*u_entra_id"):
            await client.select("sys_user", equals("u_entra_id", "abc"), ["sys_id"])


async def test_a_query_on_a_column_that_does_not_exist_is_found_out() -> None:
    script = Script(rows({"sys_id": "1", "user_name": "ada"}, {"sys_id": "2", "user_name": "bob"}))
    async with client_of(script) as client:
        with pytest.raises(UnreadableColumns) as caught:
            await client.select("sys_user", equals("u_entra_id", "abc"), ["user_name"])
    assert caught.value.columns == ("u_entra_id",)


async def test_columns_that_are_silently_left_out_are_found_out() -> None:
    script = Script(rows({"sys_id": "1", "user_name": "ada"}))
    async with client_of(script) as client:
        with pytest.raises(UnreadableColumns) as caught:
            await client.select("sys_user", everything(), ["user_name", "email", "phone"])
    assert caught.value.columns == ("email", "phone")


async def test_a_walk_through_an_empty_reference_is_empty_and_no_missing_column() -> None:
    script = Script(rows({"sys_id": "1", "manager": ""}))
    async with client_of(script) as client:
        (found,) = await client.select("sys_user", everything(), ["manager", "manager.user_name"])
    assert found["manager.user_name"] == ""


async def test_references_null_and_scalars_become_strings() -> None:
    odd = {"sys_id": "1", "manager": {"link": "https://x/y", "value": "m1"}, "email": None, "active": True, "sys_mod_count": 4}
    script = Script(reply(200, {"result": [odd]}, {"X-Total-Count": "1"}))
    async with client_of(script) as client:
        (found,) = await client.select("sys_user", everything(), ["manager", "email", "active", "sys_mod_count"])
    assert found == {"sys_id": "1", "manager": "m1", "email": "", "active": "true", "sys_mod_count": "4"}


async def test_rows_out_of_order_stop_the_paging() -> None:
    script = Script(rows({"sys_id": sys_id(2)}, {"sys_id": sys_id(1)}, total=5))
    async with client_of(script) as client:
        with pytest.raises(ProtocolError, match="order"):
            await client.select("sys_user", everything(), ["sys_id"], page_size=2)


async def test_an_instance_that_ignores_the_cursor_is_found_out_instead_of_read_for_ever() -> None:
    script = Script(rows({"sys_id": sys_id(1)}, {"sys_id": sys_id(2)}, total=5))
    async with client_of(script) as client:
        with pytest.raises(ProtocolError, match="sys_id"):
            await client.select("sys_user", everything(), ["sys_id"], page_size=2)


async def test_a_sys_id_that_could_carry_a_query_stops_the_paging() -> None:
    script = Script(rows({"sys_id": "x^ORactive=true"}, total=5))
    async with client_of(script) as client:
        with pytest.raises(ProtocolError, match="no sys_id has"):
            await client.select("sys_user", everything(), ["sys_id"], page_size=2)


async def test_broken_json_is_read_again_in_smaller_pages() -> None:
    table = Table(30)
    asked: list[int] = []

    def damaged(request: httpx.Request) -> httpx.Response:
        limit = int(dict(parse_qsl(request.url.query.decode()))["sysparm_limit"])
        asked.append(limit)
        whole = table(request)
        return whole if limit <= 10 else httpx.Response(200, headers=whole.headers, content=whole.content[:-20])

    async with client_of(damaged) as client:
        found = await client.select("sys_user", everything(), ["user_name"], page_size=100)
    assert len(found) == 30
    assert asked == [100, 25, 6, 6, 6, 6, 6]


@pytest.mark.parametrize("status", [200, 500])
async def test_a_transaction_cancelled_for_one_row_is_an_unavailable_instance(status: int) -> None:
    cancelled = {"result": [{}], "error": {"message": "Transaction cancelled: maximum execution time exceeded", "detail": ""}}
    script = Script(reply(status, cancelled))
    async with client_of(script) as client:
        with pytest.raises(TruncatedAnswerError):
            await client.select("sys_user", everything(), ["user_name"], page_size=4)
    assert [script.parameters(n)["sysparm_limit"] for n in range(script.count)] == ["4", "1"]


async def test_long_lists_are_split_and_read_as_one_batch() -> None:
    names = [f"user{n}@contoso.com" for n in range(250)]

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/api/now/v1/batch"
        items = json.loads(request.content)["rest_requests"]
        found = []
        for number, one in enumerate(items, start=1):
            assert one["url"].startswith("/api/now/table/sys_user?")
            query = unquote(one["url"].partition("sysparm_query=")[2].partition("&")[0])
            values = query.partition("IN")[2].partition("^")[0].split(",")
            assert len(values) <= 100
            serviced = item(
                number, 200, {"result": [{"sys_id": v.partition("@")[0], "user_name": v.upper()} for v in values[:2]]}
            )
            found.append({**serviced, "headers": [{"name": "X-Total-Count", "value": "2"}]})
        return batch(*found)

    script = Script(answer)
    async with client_of(script) as client:
        found = await client.select("sys_user", one_of("user_name", names), ["user_name"])
    assert script.count == 1
    assert [row["sys_id"] for row in found] == ["user0", "user1", "user100", "user101", "user200", "user201"]


async def test_a_read_that_a_batch_did_not_get_to_is_asked_for_again() -> None:
    first = {**item(1, 200, {"result": [{"sys_id": "1", "name": "n0"}]}), "headers": [{"name": "x-total-count", "value": "1"}]}
    script = Script(batch(first, unserviced=[2]), rows({"sys_id": "2", "name": "n149"}))
    async with client_of(script) as client:
        found = await client.select("cmn_department", one_of("name", [f"n{n}" for n in range(150)]), ["name"])
    assert [row["sys_id"] for row in found] == ["1", "2"]
    assert script.count == 2


async def test_a_batch_that_services_nothing_is_an_unavailable_instance() -> None:
    script = Script(batch(unserviced=[1, 2]))
    async with client_of(script) as client:
        with pytest.raises(UnavailableError):
            await client.select("cmn_department", one_of("name", [f"n{n}" for n in range(150)]), ["name"])


async def test_where_the_batch_api_is_closed_reads_go_one_by_one() -> None:
    table = Table(0)

    def closed(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("batch"):
            return failure(400, "Requested URI does not represent any resource")
        return table(request)

    script = Script(closed)
    async with client_of(script) as client:
        assert await client.select("sys_user", one_of("user_name", [f"u{n}" for n in range(201)]), ["user_name"]) == []
        assert not client.batches
    assert [request.method for request in script.requests] == ["POST", "GET", "GET", "GET"]


async def test_a_widened_query_returns_the_row_that_was_meant_only() -> None:
    script = Script(rows({"sys_id": "1", "name": "Sales^EMEA"}, {"sys_id": "2", "name": "Sales North"}))
    condition = widened("name", "Sales^EMEA")
    assert condition is not None
    async with client_of(script) as client:
        found = await client.select("cmn_department", condition, ["name"])
    assert [row["sys_id"] for row in found] == ["1"]


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (
            failure(403, "Insufficient rights to query records", "Field(s) present in the query do not have permission"),
            RefusedError,
            "name",
        ),
        (failure(403, "Insufficient rights to query records"), RefusedError, "query_range"),
        (failure(400, "Invalid table cmn_department"), ProvisioningError, "does not exist"),
        (failure(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval"), NotFoundError, "hides"),
        (page("Instance Hibernating page"), UnavailableError, "hibernates"),
        (page("Log in | ServiceNow"), UnavailableError, "text/html"),
        (page(status=404), ProtocolError, "proves nothing"),
        (httpx.Response(302, headers={"Location": "https://developer.servicenow.com"}), UnavailableError, "redirected"),
        (reply(202), UnavailableError, "202"),
        (reply(200), UnavailableError, "empty body"),
        (reply(502, None), UnavailableError, "502"),
        (reply(503, None, {"Retry-After": "12"}), UnavailableError, "503"),
        (reply(429, None), ThrottledError, "429"),
        (reply(406, None), ProtocolError, "406"),
        (reply(200, {"no_result": []}), ProtocolError, "no result"),
        (reply(200, {"result": {"sys_id": "1"}}), ProtocolError, "no list"),
        (reply(200, {"result": ["row"]}), ProtocolError, "no JSON object"),
        (httpx.Response(200, headers={"Content-Type": JSON}, content=b"[]"), UnavailableError, "broken JSON"),
    ],
)
async def test_each_answer_amounts_to_its_failure(answer: httpx.Response, error: type[ProvisioningError], told: str) -> None:
    async with client_of(Script(answer)) as client:
        with pytest.raises(error) as caught:
            await client.select("cmn_department", equals("name", "Sales"), ["name"])
    assert told in caught.value.reason + (caught.value.recommended_action or "")
    assert not isinstance(caught.value, FateUnknownError)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "1800"}, 1800.0),
        ({"Retry-After": "Fri, 15 Jan 2027 08:01:00 GMT"}, 60.0),
        ({"Retry-After": "Fri, 15 Jan 2021 08:01:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "99999999"}, 86400.0),
        ({"X-RateLimit-Reset": str(int(NOW) + 90)}, 90.0),
        ({}, None),
    ],
)
async def test_the_servers_wish_to_be_left_alone_is_read_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    async with client_of(Script(failure(429, "Rate limit exceeded", headers=headers))) as client:
        with pytest.raises(ThrottledError) as caught:
            await client.sample("sys_user", everything())
    assert caught.value.retry_after == seconds


async def test_after_a_429_the_next_request_is_not_even_sent_until_the_time_has_come() -> None:
    clock = Clock()
    script = Script(failure(429, "Rate limit exceeded", headers={"Retry-After": "30"}), rows())
    async with client_of(script, clock=clock) as client:
        for _ in range(3):
            with pytest.raises(ThrottledError):
                await client.sample("sys_user", everything())
        assert script.count == 1
        clock.now += 30
        assert await client.sample("sys_user", everything()) == []


async def test_a_lost_connection_is_tried_once_more_and_soon() -> None:
    clock = Clock()
    script = Script(httpx.ReadError("reset"), rows())
    async with client_of(script, clock=clock) as client:
        assert await client.sample("sys_user", everything()) == []
    assert sum(clock.slept) <= 1


async def test_a_connection_that_stays_lost_is_an_unavailable_instance() -> None:
    script = Script(httpx.ConnectError("refused"))
    async with client_of(script) as client:
        with pytest.raises(UnavailableError, match="cannot be reached"):
            await client.sample("sys_user", everything())
    assert script.count == 2


async def test_cookies_are_neither_kept_nor_sent() -> None:
    script = Script(reply(200, {"result": []}, {"X-Total-Count": "0", "Set-Cookie": "JSESSIONID=abc; Path=/"}))
    async with client_of(script) as client:
        for _ in range(3):
            await client.sample("sys_user", everything())
    assert not [request for request in script.requests if "cookie" in request.headers]


async def test_a_record_is_got_by_its_id_and_none_if_it_is_not_there_or_hidden() -> None:
    script = Script(
        reply(200, {"result": {"sys_id": "a1", "email": "ada@contoso.com"}}),
        failure(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval"),
    )
    async with client_of(script) as client:
        assert await client.get("sys_user", "a1", ["email"]) == {"sys_id": "a1", "email": "ada@contoso.com"}
        assert await client.get("sys_user", "a2", ["email"]) is None
    assert script.requests[0].url.path == "/api/now/table/sys_user/a1"


@pytest.mark.parametrize("answer", [page(status=404), failure(404, "Requested URI does not represent any resource")])
async def test_a_404_of_something_else_does_not_prove_that_a_record_is_gone(answer: httpx.Response) -> None:
    async with client_of(Script(answer)) as client:
        with pytest.raises(ProtocolError):
            await client.get("sys_user", "a1", ["email"])


async def test_another_record_than_asked_for_and_a_missing_column_are_found_out() -> None:
    script = Script(reply(200, {"result": {"sys_id": "b2", "email": ""}}), reply(200, {"result": {"sys_id": "a1"}}))
    async with client_of(script) as client:
        with pytest.raises(ProtocolError, match="another record"):
            await client.get("sys_user", "a1", ["email"])
        with pytest.raises(UnreadableColumns):
            await client.get("sys_user", "a1", ["email"])


@pytest.mark.parametrize("sys_id", ["..", "a/b", "", "a?b", "x" * 33])
async def test_an_id_that_is_none_never_becomes_a_path(sys_id: str) -> None:
    script = Script(rows())
    async with client_of(script) as client:
        with pytest.raises(ValueError, match="not a sys_id"):
            await client.get("sys_user", sys_id, ["email"])
    assert script.count == 0


async def test_rows_are_counted_by_the_aggregate_api() -> None:
    script = Script(reply(200, {"result": {"stats": {"count": "123"}}}))
    async with client_of(script) as client:
        assert await client.count("sys_user", all_of(equals("active", "false"), equals("vip", "true"))) == 123
    assert script.requests[0].url.path == "/api/now/stats/sys_user"
    assert script.parameters(0) == {"sysparm_query": "active=false^vip=true", "sysparm_count": "true"}


async def test_an_answer_without_a_count_is_none() -> None:
    async with client_of(Script(reply(200, {"result": []}))) as client:
        with pytest.raises(ProtocolError, match="count"):
            await client.count("sys_user", everything())


async def test_logs_hold_tables_and_figures_and_nothing_of_the_query(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with client_of(Script(rows({"sys_id": "1", "user_name": "ada@contoso.com"}))) as client:
        await client.select("sys_user", equals("user_name", "ada@contoso.com"), ["user_name"])
    assert "GET sys_user: 200" in caplog.text
    assert "contoso" not in "".join(record.getMessage() for record in caplog.records if record.name != "asyncio")
