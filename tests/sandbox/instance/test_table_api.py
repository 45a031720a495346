"""The Table API's documented shapes: paths, parameters, headers, errors."""

from __future__ import annotations

import httpx
import pytest

from sandbox.instance import AccessRule, Account, InstanceConfig
from sandbox.instance.config import DEFAULT_ACCOUNTS

from .conftest import client, running


async def test_a_created_user_comes_back_as_text_and_with_its_location() -> None:
    async with running() as sn:
        answer = await sn.admin.post("/api/now/table/sys_user", json={"user_name": "ada@contoso.com", "notification": 1})
        result = answer.json()["result"]
        assert answer.status_code == 201
        assert answer.headers["Location"].endswith(f"/api/now/table/sys_user/{result['sys_id']}")
        assert answer.headers["Content-Type"] == "application/json;charset=UTF-8"
        assert (result["active"], result["notification"], result["sys_mod_count"]) == ("true", "1", "0")
        assert result["manager"] == ""
        assert all(isinstance(value, (str, dict)) for value in result.values())


async def test_display_value_modes_follow_the_documented_table() -> None:
    async with running() as sn:
        boss = await sn.create("sys_user", user_name="boss", first_name="Bob", last_name="Boss")
        user = await sn.create("sys_user", user_name="ada", manager=boss["sys_id"])
        url = f"/api/now/table/sys_user/{user['sys_id']}"
        link = f"{sn.server.url}/api/now/table/sys_user/{boss['sys_id']}"

        async def manager(**params: str) -> object:
            answer = await sn.admin.get(url, params=params | {"sysparm_fields": "manager,department"})
            return answer.json()["result"]

        assert await manager() == {"manager": {"link": link, "value": boss["sys_id"]}, "department": ""}
        assert await manager(sysparm_exclude_reference_link="true") == {"manager": boss["sys_id"], "department": ""}
        assert await manager(sysparm_display_value="true") == {
            "manager": {"display_value": "Bob Boss", "link": link},
            "department": "",
        }
        assert await manager(sysparm_display_value="all", sysparm_exclude_reference_link="true") == {
            "manager": {"display_value": "Bob Boss", "value": boss["sys_id"]},
            "department": {"display_value": "", "value": ""},
        }


async def test_invalid_field_names_are_ignored_and_dot_walks_followed() -> None:
    async with running() as sn:
        boss = await sn.create("sys_user", user_name="boss")
        await sn.create("sys_user", user_name="ada", manager=boss["sys_id"])
        rows = await sn.rows("sys_user", sysparm_query="user_name=ada", sysparm_fields="user_name,nonsense,manager.user_name")
        assert rows == [{"user_name": "ada", "manager.user_name": "boss"}]


async def test_only_v1_answers_404_when_nothing_matches() -> None:
    async with running() as sn:
        answers = {
            version: await sn.admin.get(f"/api/now{version}/table/sys_user", params={"sysparm_query": "user_name=nobody"})
            for version in ("", "/v1", "/v2")
        }
        assert {version: answer.status_code for version, answer in answers.items()} == {"": 200, "/v1": 404, "/v2": 200}
        assert answers["/v2"].json() == {"result": []}


async def test_pages_carry_the_total_and_links() -> None:
    async with running() as sn:
        for number in range(5):
            await sn.create("cmn_department", name=f"Department {number}")
        params = {"sysparm_query": "ORDERBYname", "sysparm_limit": "2", "sysparm_offset": "2", "sysparm_fields": "name"}
        answer = await sn.admin.get("/api/now/table/cmn_department", params=params)
        assert [row["name"] for row in answer.json()["result"]] == ["Department 2", "Department 3"]
        assert answer.headers["X-Total-Count"] == "5"
        relations = [part.rsplit('rel="', 1)[1].rstrip('"') for part in answer.headers["Link"].split(",<")]
        assert relations == ["first", "prev", "next", "last"]
        assert "sysparm_offset=4&sysparm_limit=2" in answer.headers["Link"]
        single = await sn.admin.get("/api/now/table/cmn_department", params={"sysparm_no_count": "true"})
        assert "Link" not in single.headers
        assert "X-Total-Count" not in single.headers


async def test_a_short_page_is_not_the_end_because_the_limit_comes_before_access_rules() -> None:
    rule = AccessRule("reader", hidden_rows=(("sys_user", "user_nameSTARTSWITHsecret"),))
    config = InstanceConfig(access_rules=(rule,), accounts=(*DEFAULT_ACCOUNTS, Account("reader", "pw", ("reader",))))
    async with running(config) as sn, client(sn.server.url, ("reader", "pw")) as reader:
        for number in range(4):
            await sn.create("sys_user", sys_id=f"{number:032}", user_name=f"secret{number}")
        visible = await sn.create("sys_user", sys_id="4" * 32, user_name="visible")
        params = {"sysparm_query": "user_nameSTARTSWITHsecret^ORuser_name=visible^ORDERBYsys_id", "sysparm_limit": "4"}
        first = await reader.get("/api/now/table/sys_user", params=params)
        assert first.json()["result"] == []
        assert first.headers["X-Total-Count"] == "5"
        second = await reader.get("/api/now/table/sys_user", params=params | {"sysparm_offset": "4"})
        assert [row["sys_id"] for row in second.json()["result"]] == [visible["sys_id"]]
        assert (await reader.get(f"/api/now/table/sys_user/{0:032}")).status_code == 404


async def test_name_value_parameters_filter_by_stored_and_displayed_value() -> None:
    async with running() as sn:
        department = await sn.create("cmn_department", name="Research")
        await sn.create("sys_user", user_name="ada", department=department["sys_id"])
        for value in ("Research", department["sys_id"]):
            assert [row["user_name"] for row in await sn.rows("sys_user", department=value)] == ["ada"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "message"),
    [
        ("GET", "/api/now/table/sys_nonexistent", {}, 400, "Invalid table sys_nonexistent"),
        ("GET", "/api/now/tables", {}, 400, "Requested URI does not represent any resource"),
        ("GET", "/api/now/table/sys_user/missing", {}, 404, "No Record found"),
        ("POST", "/api/now/table/sys_user", {"Content-Type": ""}, 400, "Missing Content-Type header"),
        ("POST", "/api/now/table/sys_user", {"Content-Type": "text/csv"}, 415, "Unsupported media type"),
        ("GET", "/api/now/table/sys_user", {"Accept": "text/csv"}, 406, "Media type not acceptable"),
        ("POST", "/api/now/table/sys_user/1", {"Content-Type": "application/json"}, 405, "Method not supported"),
        ("POST", "/api/now/table/sys_user", {"Content-Type": "application/json"}, 400, "Exception while reading request"),
    ],
)
async def test_errors_have_servicenows_shape(method: str, path: str, headers: dict[str, str], status: int, message: str) -> None:
    async with running() as sn:
        answer = await sn.admin.request(method, path, headers=headers, content=b"{bad" if method == "POST" else None)
        assert answer.status_code == status
        assert answer.json()["error"]["message"] == message
        assert answer.json()["status"] == "failure"


async def test_put_is_partial_and_methods_can_be_overridden() -> None:
    async with running() as sn:
        user = await sn.create("sys_user", user_name="ada", title="Analyst", first_name="Ada")
        url = f"/api/now/table/sys_user/{user['sys_id']}"
        put = await sn.admin.put(url, json={"title": "Engineer"})
        assert (put.json()["result"]["title"], put.json()["result"]["first_name"]) == ("Engineer", "Ada")
        patched = await sn.admin.post(url, json={"title": "Countess"}, headers={"X-HTTP-Method-Override": "PATCH"})
        assert patched.json()["result"]["title"] == "Countess"
        assert (await sn.admin.head(url)).content == b""
        deleted = await sn.admin.delete(url)
        assert (deleted.status_code, deleted.content) == (204, b"")


async def test_a_body_can_be_suppressed() -> None:
    async with running() as sn:
        headers = {"X-no-response-body": "true"}
        answer = await sn.admin.post("/api/now/table/sys_user", json={"user_name": "ada"}, headers=headers)
        assert (answer.status_code, answer.content) == (201, b"")


async def test_the_dictionary_describes_every_column() -> None:
    async with running() as sn:
        rows = await sn.rows("sys_dictionary", sysparm_query="name=sys_user^elementINuser_name,manager,country")
        described = {row["element"]: row for row in rows}
        assert described["user_name"]["unique"] == "true"
        assert described["user_name"]["max_length"] == "40"
        assert described["manager"]["reference"] == "sys_user"
        assert described["country"]["max_length"] == "3"
        assert {row["name"] for row in await sn.rows("sys_db_object")} >= {"sys_user", "sys_user_grmember", "core_company"}


async def test_display_times_are_in_the_users_zone() -> None:
    async with running(display_utc_offset=-5) as sn:
        user = await sn.create("sys_user", user_name="ada")
        answer = await sn.admin.get(f"/api/now/table/sys_user/{user['sys_id']}", params={"sysparm_display_value": "true"})
        assert answer.json()["result"]["sys_created_on"] != user["sys_created_on"]


async def test_aggregates_count_and_find_duplicates() -> None:
    async with running() as sn:
        for name, email in (("a", "x@contoso.com"), ("b", "x@contoso.com"), ("c", "y@contoso.com")):
            await sn.create("sys_user", user_name=name, email=email)
        total = await sn.admin.get(
            "/api/now/stats/sys_user", params={"sysparm_count": "true", "sysparm_query": "emailISNOTEMPTY"}
        )
        assert total.json() == {"result": {"stats": {"count": "3"}}}
        params = {"sysparm_count": "true", "sysparm_group_by": "email", "sysparm_having": "count^email^>^1"}
        grouped = await sn.admin.get("/api/now/stats/sys_user", params=params)
        fields = [{"value": "x@contoso.com", "field": "email"}]
        shown = [group for group in grouped.json()["result"] if group["groupby_fields"][0]["value"]]
        assert shown == [{"stats": {"count": "2"}, "groupby_fields": fields}]


async def test_a_large_body_is_rejected() -> None:
    async with running(payload_limit=100) as sn:
        answer = await sn.admin.post("/api/now/table/sys_user", json={"title": "x" * 200})
        assert answer.status_code == 400
        assert "Rejected large REST payload" in answer.json()["error"]["detail"]


async def test_columns_that_may_not_be_read_are_absent_and_those_that_may_not_be_written_are_dropped() -> None:
    rule = AccessRule(
        "reader",
        insert=frozenset({"sys_user"}),
        update=frozenset({"sys_user"}),
        hidden_columns=frozenset({"sys_user.email"}),
        frozen_columns=frozenset({"sys_user.title"}),
    )
    config = InstanceConfig(access_rules=(rule,), accounts=(*DEFAULT_ACCOUNTS, Account("reader", "pw", ("reader",))))
    async with running(config) as sn, client(sn.server.url, ("reader", "pw")) as reader:
        values = {"user_name": "ada", "email": "ada@contoso.com", "title": "Analyst", "city": "Oslo"}
        created = (await reader.post("/api/now/table/sys_user", json=values)).json()["result"]
        assert "email" not in created
        assert (created["title"], created["city"]) == ("", "Oslo")
        refused = await reader.delete(f"/api/now/table/sys_user/{created['sys_id']}")
        assert (refused.status_code, refused.json()["error"]["detail"][:20]) == (403, "ACL Exception Delete")
        group = await reader.post("/api/now/table/sys_user_group", json={"name": "g"})
        assert group.json()["error"]["detail"] == "ACL Exception Insert Failed due to security constraints"


async def test_every_answer_sets_a_session_cookie() -> None:
    async with running() as sn, httpx.AsyncClient(base_url=sn.server.url) as anonymous:
        answer = await anonymous.get("/api/now/table/sys_user")
        assert answer.status_code == 401
        assert answer.json() == {
            "error": {"message": "User Not Authenticated", "detail": "Required to provide Auth information"},
            "status": "failure",
        }
        assert "JSESSIONID" in answer.cookies
