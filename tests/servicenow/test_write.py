from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import httpx
import pytest

from shared.errors import (
    BusyError,
    ConflictError,
    CredentialsError,
    FateUnknownError,
    NotFoundError,
    ProvisioningError,
    RefusedError,
    SchemaMismatchError,
    ThrottledError,
    UnavailableError,
)
from shared.servicenow.refusals import RecordTakenError
from shared.servicenow.writes import Delete, Deleted, Insert, NotProcessed, Refused, Unknown, Update, Written
from tests.servicenow.scripted import JSON, NOW, Clock, Script, client_of, echo, failure, page, reply, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.servicenow.writes import Outcome, Write

ADA = Insert("sys_user", {"user_name": "ada@contoso.com", "first_name": "Ada"})
RENAME = Update("sys_user", "a1", {"first_name": "Ada"})


async def outcome(write: Write, *answers: httpx.Response | Exception) -> Outcome:
    async with client_of(Script(*answers)) as client:
        (result,) = await client.write([write])
    return result


async def test_an_insert_is_posted_and_its_answer_is_the_proof() -> None:
    script = Script(reply(201, {"result": {"sys_id": "a1", "user_name": "ada@contoso.com", "first_name": "Ada"}}))
    async with client_of(script) as client:
        (written,) = await client.write([ADA])
    assert isinstance(written, Written)
    assert (written.sys_id, written.dropped, written.altered) == ("a1", (), {})
    request = script.requests[0]
    assert (script.count, request.method, request.url.path) == (1, "POST", "/api/now/table/sys_user")
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.content) == {"user_name": "ada@contoso.com", "first_name": "Ada"}
    assert script.parameters(0)["sysparm_fields"] == "user_name,first_name,sys_id,sys_mod_count,sys_updated_on"
    assert script.parameters(0)["sysparm_exclude_reference_link"] == "true"
    assert "sysparm_input_display_value" not in script.parameters(0)


async def test_an_insert_with_an_own_sys_id_shows_whether_the_instance_honours_it() -> None:
    own = Insert("sys_user", {"user_name": "ada"}, sys_id="0f" * 16)
    honoured = await outcome(own, reply(201, {"result": {"sys_id": "0f" * 16, "user_name": "ada"}}))
    ignored = await outcome(own, reply(201, {"result": {"sys_id": "a1", "user_name": "ada"}}))
    assert isinstance(honoured, Written)
    assert honoured.altered == {}
    assert isinstance(ignored, Written)
    assert ignored.altered == {"sys_id": "a1"}


async def test_an_update_is_a_patch_and_a_delete_a_delete() -> None:
    script = Script(echo)
    async with client_of(script) as client:
        assert isinstance((await client.write([RENAME]))[0], Written)
        assert (await client.write([Delete("sys_user_grmember", "m1")])) == [Deleted()]
    assert [(r.method, r.url.path) for r in script.requests] == [
        ("PATCH", "/api/now/table/sys_user/a1"),
        ("DELETE", "/api/now/table/sys_user_grmember/m1"),
    ]


async def test_values_that_were_dropped_or_altered_are_told() -> None:
    update = Update(
        "sys_user",
        "a1",
        {"u_none": "x", "title": "Engineer", "email": "new", "zip": "", "active": "True", "phone": "1" * 50, "city": "Bonn"},
        before={"email": "old", "zip": "53111"},
    )
    held = {"title": "", "email": "old", "zip": "00000", "active": "true", "phone": "1" * 40, "city": "Bonn"}
    written = await outcome(update, reply(200, {"result": {"sys_id": "a1", **held}}))
    assert isinstance(written, Written)
    assert set(written.dropped) == {"u_none", "title", "email"}
    assert written.unreadable == ("u_none",)
    assert written.altered == {"zip": "00000", "phone": "1" * 40}


@pytest.mark.parametrize("bad", [{"first_name": None}, {"first name": "x"}, {"a^b": "x"}, {"active": True}])
async def test_values_that_are_no_strings_and_names_that_are_none_are_refused_before_anything_is_sent(
    bad: dict[str, str],
) -> None:
    script = Script(echo)
    async with client_of(script) as client:
        with pytest.raises(ValueError, match="column"):
            await client.write([ADA, Update("sys_user", "a1", bad)])
        with pytest.raises(ValueError, match="sys_id"):
            await client.write([Delete("sys_user", "../sys_user_group/x")])
    assert script.count == 0


@pytest.mark.parametrize(
    ("write", "answer", "error", "told"),
    [
        (ADA, failure(403, "Operation Failed", "Error during insert of sys_user (Ada Lovelace)"), ConflictError, "unique"),
        (ADA, failure(403, "Operation Failed", "ACL Exception Insert Failed due to security constraints"), RefusedError, "ACL"),
        (
            ADA,
            failure(
                403,
                "Operation Failed",
                "Operation against file 'sys_user' was aborted by Business Rule 'Don't touch^0123456789abcdef0123456789abcdef'. "
                "Business Rule Stack:Don't touch",
            ),
            RefusedError,
            "'Don't touch'",
        ),
        (
            ADA,
            failure(403, "Operation Failed", "Data Policy Exception: The following fields are mandatory: Email"),
            RefusedError,
            "mandatory: Email",
        ),
        (
            Insert("sys_user_grmember", {"user": "u", "group": "g"}),
            failure(
                403,
                "Operation Failed",
                "User Ada without admin/security_admin role is not allowed to grant "
                "admin/security_admin-containing roles or groups.",
            ),
            RefusedError,
            "KB0758037",
        ),
        (
            RENAME,
            failure(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval"),
            NotFoundError,
            "hides",
        ),
        (ADA, failure(400, "Invalid table sys_user"), SchemaMismatchError, "sys_user"),
        (ADA, failure(400, "Exception while reading request", "Rejected large REST payload"), ProvisioningError, "large"),
        (ADA, reply(200, {"error": {"message": "Operation Failed", "detail": "ACL Exception"}}), RefusedError, "ACL"),
    ],
)
async def test_refusals_say_what_refused(write: Write, answer: httpx.Response, error: type[ProvisioningError], told: str) -> None:
    refused = await outcome(write, answer)
    assert isinstance(refused, Refused)
    assert isinstance(refused.error, error)
    assert told in refused.error.reason + (refused.error.recommended_action or "")
    assert "Lovelace" not in refused.error.reason
    assert "User Ada" not in refused.error.reason


async def test_a_duplicate_of_the_own_sys_id_is_told_from_a_taken_name_by_looking() -> None:
    own = Insert("sys_user", {"user_name": "ada"}, sys_id="0f" * 16)
    duplicate = failure(403, "Operation Failed", "Error during insert of sys_user (Ada)")
    same = await outcome(own, duplicate, rows({"sys_id": "0f" * 16}))
    other = await outcome(own, duplicate, rows())
    unclear = await outcome(own, duplicate, page("Instance Hibernating page"))
    assert isinstance(same, Refused)
    assert isinstance(same.error, RecordTakenError)
    assert same.error.duplicate_sys_id
    assert isinstance(other, Refused)
    assert isinstance(other.error, RecordTakenError)
    assert not other.error.duplicate_sys_id
    assert isinstance(unclear, NotProcessed)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ReadTimeout("lost"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("Server disconnected"),
        reply(202),
        reply(500, {"error": {"message": "Transaction cancelled: maximum execution time exceeded", "detail": ""}}),
        reply(200, {"result": {}, "error": {"message": "Transaction cancelled: maximum execution time exceeded"}}),
        reply(502),
        reply(504),
        httpx.Response(201, headers={"Content-Type": JSON}, content=b'{"result": {"sys_id": "a'),
        page("Log in"),
        reply(201, {"unexpected": 1}),
        reply(201, {"result": ["no record"]}),
    ],
)
async def test_a_write_without_a_believable_answer_has_an_unknown_fate_and_is_never_sent_twice(answer: httpx.Response) -> None:
    script = Script(answer)
    async with client_of(script) as client:
        (result,) = await client.write([ADA])
    assert isinstance(result, Unknown)
    assert isinstance(result.error, FateUnknownError)
    assert script.count == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.ConnectError("refused"), UnavailableError),
        (httpx.ConnectTimeout("slow"), UnavailableError),
        (reply(429, None, {"Retry-After": "5"}), ThrottledError),
        (reply(503), UnavailableError),
        (page("Instance Hibernating page"), UnavailableError),
        (httpx.Response(302, headers={"Location": "/login"}), UnavailableError),
    ],
)
async def test_a_write_that_certainly_did_nothing_may_be_sent_again(answer: httpx.Response, error: type[Exception]) -> None:
    result = await outcome(ADA, answer)
    assert isinstance(result, NotProcessed)
    assert isinstance(result.error, error)


async def test_no_answer_in_time_is_an_unknown_fate() -> None:
    async def silent(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        return echo(request)

    async with client_of(silent, timeout=0.05) as client:
        (result,) = await client.write([ADA])
    assert isinstance(result, Unknown)


async def test_a_silent_success_is_read_back() -> None:
    location = {"Location": "https://contoso.service-now.com/api/now/table/sys_user/a1"}
    script = Script(reply(201, None, location), rows({"sys_id": "a1", "user_name": "ada@contoso.com", "first_name": "A."}))
    async with client_of(script) as client:
        (written,) = await client.write([ADA])
    assert isinstance(written, Written)
    assert (written.sys_id, written.altered) == ("a1", {"first_name": "A."})
    assert script.parameters(1)["sysparm_query"] == "sys_idINa1^ORDERBYsys_id"


async def test_a_record_that_was_made_but_is_not_shown_proves_none_of_its_columns() -> None:
    location = {"Location": "https://contoso.service-now.com/api/now/table/sys_user/a1"}
    written = await outcome(ADA, reply(201, None, location), rows())
    assert isinstance(written, Written)
    assert written.sys_id == "a1"
    assert written.dropped == written.unreadable == ("user_name", "first_name")


async def test_a_silent_success_that_cannot_be_read_back_or_names_no_record_is_unknown() -> None:
    assert isinstance(await outcome(RENAME, reply(200), reply(500)), Unknown)
    assert isinstance(await outcome(ADA, reply(201)), Unknown)


async def test_another_record_in_the_answer_is_not_believed() -> None:
    assert isinstance(await outcome(RENAME, reply(200, {"result": {"sys_id": "b2", "first_name": "Ada"}})), Unknown)


async def test_the_hook_sees_the_writes_right_before_they_go_and_can_keep_them_off() -> None:
    script = Script(echo)
    seen: list[Sequence[Write]] = []

    def lost(_: Sequence[Write]) -> None:
        raise BusyError("the lease is lost")

    async with client_of(script) as client:
        await client.write([RENAME], on_send=seen.append)
        assert seen == [[RENAME]]
        with pytest.raises(BusyError):
            await client.write([RENAME], on_send=lost)
        with pytest.raises(BusyError):
            await client.write([RENAME, ADA], on_send=lost)
    assert script.count == 1


async def test_nothing_is_sent_that_could_outlast_the_deadline() -> None:
    script, clock = Script(echo), Clock()
    async with client_of(script, clock=clock, timeout=65, batch_timeout=35) as client:
        (single,) = await client.write([RENAME], deadline=NOW + 64)
        several = await client.write([RENAME, ADA], deadline=NOW + 34)
        assert script.count == 0
        assert isinstance(single, NotProcessed)
        assert all(isinstance(one, NotProcessed) for one in several)
        (single,) = await client.write([RENAME], deadline=NOW + 66)
        assert isinstance(single, Written)


async def test_refused_credentials_are_raised_while_nothing_has_an_outcome() -> None:
    script = Script(failure(401, "User Not Authenticated"))
    async with client_of(script) as client:
        with pytest.raises(CredentialsError):
            await client.write([ADA])
        with pytest.raises(CredentialsError):
            await client.write([ADA, RENAME])
    assert script.count == 1


async def test_nothing_to_write_sends_nothing() -> None:
    script = Script(echo)
    async with client_of(script) as client:
        assert await client.write([]) == []
    assert script.count == 0
