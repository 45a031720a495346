"""Every operator's route, with hostile values wherever it takes one: a clear refusal, and nothing changes."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from yarl import URL

from tests.security.hostile import HOSTILE_IN_REQUESTS

if TYPE_CHECKING:
    from tests.support.hosted import Hosted

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]


def _requests(value: str) -> list[tuple[str, str, Any]]:
    """Method, path (already quoted) and body of each place that takes a text from outside."""
    there = quote(value, safe="")
    rule = {"parameters": [{"ruleId": value, "subjects": [{"objectId": value, "objectTypeName": "User"}]}]}
    return [
        ("GET", f"links/{there}", None),
        ("PUT", f"links/{there}", {"targetAnchor": "0" * 32}),
        ("PUT", "links/00000000-0000-0000-0000-00000000beef", {"targetAnchor": value}),
        ("DELETE", f"links/{there}", None),
        ("POST", f"escrows/{there}/retry", None),
        ("POST", "job/provisionOnDemand", rule),
        ("POST", "job/restart", {"criteria": {"resetScope": value}}),
        ("POST", "staged/approve", {"ids": [value]}),
        ("POST", "staged/reject", {"ids": [value]}),
        ("POST", "poison/replay", {"ids": [value]}),
        ("POST", "poison/drop", {"ids": [value]}),
        ("GET", f"schema?version={there}", None),
        ("PUT", "schema", {"id": value, "synchronizationRules": value}),
        ("POST", "schema/parseExpression", {"expression": value}),
        *(
            ("GET", f"{path}?{name}={there}", None)
            for path in ("logs", "staged", "escrows", "poison", "plan", "discover")
            for name in ("$top", "$skiptoken")
        ),
    ]


@pytest.mark.parametrize("value", HOSTILE_IN_REQUESTS)
async def test_a_hostile_value_in_a_request_is_refused_and_changes_nothing(here: Hosted, value: str) -> None:
    tables = ("sys_user", "sys_user_group", "sys_user_grmember")
    before = [here.rows(table) for table in tables]
    schema = await here.get("schema")
    chains = (await here.get("job"))["app"]["chains"]

    async def ask(method: str, path: str, body: Any) -> tuple[str, int, str]:
        url = URL(f"{here.host.url}/api/{path}", encoded=True)
        async with here.session.request(method, url, headers=here.host.headers, json=body) as answer:
            # What the host refuses before any function sees it is plain text.
            ours = answer.content_type == "application/json"
            return f"{method} {path}", answer.status, await answer.text() if ours else ""

    for told, status, text in await asyncio.gather(*(ask(*one) for one in _requests(value))):
        assert 200 <= status < 500, f"{told}: {status} {text}"
        if "parseExpression" in told:
            assert status == 200, "an expression that cannot be read is an answer, as in Graph"
            continue
        assert status in {400, 404, 409, 422}, f"{told}: {status} {text}"
        if text:
            assert json.loads(text)["error"]["code"], told
    assert [here.rows(table) for table in tables] == before
    assert here.instance.instance.scripts_evaluated == 0
    assert await here.get("schema") == schema
    assert (await here.get("job"))["app"]["chains"] == chains


@pytest.mark.parametrize("value", HOSTILE_IN_REQUESTS)
async def test_a_hostile_value_in_a_filter_of_the_log_finds_nothing(here: Hosted, value: str) -> None:
    quoted = "'" + value.replace("'", "''") + "'"
    for path in ("sourceIdentity/id", "targetIdentity/id", "changeId", "initiatedBy/displayName"):
        for literal, statuses in ((quoted, {200}), (value, {200, 400})):
            url = URL(f"{here.host.url}/api/logs?$filter={quote(f'{path} eq {literal}', safe='')}", encoded=True)
            async with here.session.get(url, headers=here.host.headers) as answer:
                assert answer.status in statuses
                assert answer.status == 400 or (await answer.json())["value"] == []
