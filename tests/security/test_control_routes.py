"""The routes by which an operator controls the job: who may ask, and what hostile values do to them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from shared.events import ObjectsChanged, encode, now
from shared.settings import Storage
from shared.state.queues import Queues
from tests.support.hosted import until

if TYPE_CHECKING:
    from tests.support.hosted import Hosted

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTES = [
    ("GET", "escrows"),
    ("POST", "escrows/cmV0cnkvdXNlcjox/retry"),
    ("GET", "staged"),
    ("POST", "staged/approve"),
    ("POST", "staged/reject"),
    ("GET", "poison"),
    ("POST", "poison/replay"),
    ("POST", "poison/drop"),
    ("GET", "plan"),
    ("POST", "plan"),
    ("GET", "verification"),
    ("GET", "portal"),
]
#: Texts that mean something to OData, to encoded queries, to HTML, to a path, or to a log.
HOSTILE = [
    "' or PartitionKey ne '",
    "'; drop table staged; --",
    "x^NQsys_idISNOTEMPTY",
    "javascript:gs.getUserID()",
    "<script>alert(1)</script>",
    "../../job/pause",
    "a,b;c",
    "\u202e\u0000\r\nforged: line",
    "ä" * 300,
]
PRINCIPAL = base64.b64encode(json.dumps({"claims": [{"typ": "roles", "val": "Provisioning.Operate"}]}).encode()).decode()


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_nobody_is_let_in_without_the_key(here: Hosted, method: str, path: str) -> None:
    forged = {"X-MS-CLIENT-PRINCIPAL": PRINCIPAL, "X-MS-CLIENT-PRINCIPAL-NAME": "admin@contoso.com"}
    for headers in ({}, {"x-functions-key": "wrong"}, forged):
        async with here.session.request(method, f"{here.host.url}/api/{path}", headers=headers, json={"all": True}) as answer:
            assert answer.status == 401


@pytest.mark.parametrize("value", HOSTILE)
async def test_a_hostile_id_names_nothing_and_changes_nothing(here: Hosted, value: str) -> None:
    before = here.rows("sys_user")
    for path in ("staged/approve", "staged/reject", "poison/replay", "poison/drop"):
        problem = await here.post(path, status=404, json={"ids": [value]})
        assert problem["error"]["code"] == "NotFound"
    for name in ("$top", "$skiptoken"):
        for path in ("staged", "escrows", "poison", "plan"):
            problem = await here.get(f"{path}?{name}={quote(value)}", status=400)
            assert problem["error"]["code"] == "BadRequest"
    token = base64.urlsafe_b64encode(json.dumps({"PartitionKey": value[:40], "RowKey": value[:40]}).encode()).decode()
    async with here.session.get(f"{here.host.url}/api/staged?$skiptoken={token}", headers=here.host.headers) as answer:
        assert answer.status in {200, 400, 503}
    assert here.rows("sys_user") == before


@pytest.mark.parametrize(
    "body",
    ["[]", "{}", '{"ids": []}', '{"ids": "all"}', '{"all": "true"}', '{"ids": [1]}', '{"all": true, "ids": ["x"]}', "{" * 900],
)
async def test_a_body_that_is_not_clear_decides_nothing(here: Hosted, body: str) -> None:
    for path in ("staged/approve", "poison/replay", "poison/drop"):
        assert (await here.post(path, status=400, data=body))["error"]["code"] == "BadRequest"


async def test_the_status_page_loads_nothing_and_runs_nothing(here: Hosted) -> None:
    async with here.session.get(f"{here.host.url}/api/portal", headers=here.host.headers) as answer:
        assert answer.status == 200
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        page = await answer.text()
        assert "<script" not in page
        assert " src=" not in page


async def test_a_plan_is_made_and_shown_as_json_and_as_text(here: Hosted) -> None:
    begun = await here.post("plan", status=202)
    assert begun["status"] == "running"

    async def completed() -> bool:
        status: str = (await here.get("plan"))["status"]
        return status == "completed"

    await until(completed, what="the plan is complete")
    headers = {**here.host.headers, "Accept": "text/plain"}
    async with here.session.get(f"{here.host.url}/api/plan", headers=headers) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert "completed" in await answer.text()


async def test_a_dead_message_is_moved_listed_and_replayed_by_the_triggers(here: Hosted) -> None:
    queues = Queues.open(Storage(here.storage))
    try:
        event = ObjectsChanged(kind="user", ids=("nobody",), reason="delta", occurred_at=now())
        await queues.send_text("user-events-poison", encode(event))
        await queues.send_text("user-events-poison", "garbage of ann@contoso.com")
    finally:
        await queues.aclose()

    async def moved() -> bool:
        return len((await here.get("poison"))["value"]) == 2

    await until(moved, what="both messages are in the table")
    rows = (await here.get("poison"))["value"]
    assert "ann@contoso.com" not in json.dumps(rows)
    assert await here.post("poison/replay", status=200, json={"all": True}) == {"count": 1}
    assert await here.post("poison/drop", status=200, json={"all": True}) == {"count": 1}
    assert (await here.get("poison"))["value"] == []
