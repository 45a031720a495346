"""What operators ask, through the host: keys, the job and its verbs, the log, health."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp
import pytest

from functions.answers import OPERATOR_ROLE
from tests.support.hosted import until

if TYPE_CHECKING:
    from tests.support.hosted import Hosted

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

OPERATORS_ROUTES = (
    ("GET", "job"),
    ("POST", "job/start"),
    ("POST", "job/pause"),
    ("POST", "job/restart"),
    ("POST", "job/validateCredentials"),
    ("GET", "logs"),
)


async def status_of(here: Hosted, method: str, path: str, **headers: str) -> int:
    async with here.session.request(method, f"{here.host.url}/api/{path}", headers=headers) as response:
        return response.status


@pytest.mark.parametrize(("method", "path"), OPERATORS_ROUTES)
async def test_an_operators_route_asks_for_a_key(here: Hosted, method: str, path: str) -> None:
    before = await here.get("job")
    assert await status_of(here, method, path) == 401
    assert await status_of(here, method, path, **{"x-functions-key": "wrong"}) == 401
    assert await status_of(here, method, f"{path}?code={here.host.keys['default'][:-1]}") == 401
    assert (await here.get("job"))["app"]["chains"] == before["app"]["chains"], "what was refused did nothing"


async def test_the_identity_header_opens_nothing_where_keys_are_asked_for(here: Hosted) -> None:
    claims = {"claims": [{"typ": "roles", "val": OPERATOR_ROLE}]}
    forged = base64.b64encode(json.dumps(claims).encode()).decode()
    assert await status_of(here, "GET", "job", **{"X-MS-CLIENT-PRINCIPAL": forged}) == 401


async def test_a_key_may_come_in_the_query(here: Hosted) -> None:
    assert await status_of(here, "GET", f"job?code={here.host.keys['default']}") == 200


async def test_a_method_that_is_not_served_is_not_found(here: Hosted) -> None:
    for method, path in (("DELETE", "job"), ("GET", "notifications"), ("GET", "job/start")):
        assert await status_of(here, method, path, **here.host.headers) == 404


async def test_the_job_is_shown_as_graph_shows_it(here: Hosted) -> None:
    job = await here.get("job")

    assert job["id"].startswith("ServiceNowOutDelta.")
    assert job["schedule"]["state"] == "Active"
    status = job["status"]
    assert status["code"] == "Active"
    assert status["quarantine"] is None
    provisioned = {"Group": 2, "User": len([row for row in here.rows("sys_user") if row["user_name"].endswith("@contoso.com")])}

    async def counted() -> bool:
        shown = (await here.get("job"))["status"]["synchronizedEntryCountByType"]
        return {entry["key"]: entry["value"] for entry in shown} == provisioned

    await until(counted, seconds=40, what="the linked objects are counted again")
    assert status["lastExecution"]["state"] in {"Succeeded", "EntryLevelErrors"}
    assert all(progress["completedUnits"] == progress["totalUnits"] > 0 for progress in status["progress"])
    assert {held["resource"] for held in job["app"]["subscriptions"]} == {"users", "groups"}
    assert not any(job["app"]["queues"].values())


async def test_health_is_open_to_all_and_says_healthy(here: Hosted) -> None:
    async with here.session.get(f"{here.host.url}/api/health") as response:
        assert response.status == 200
        assert await response.json() == {"status": "healthy", "faults": []}


async def test_the_log_has_an_entry_for_every_object_newest_first(here: Hosted) -> None:
    page = await here.get("logs?$top=500")
    entries = page["value"]
    assert "@odata.nextLink" not in page
    times = [entry["activityDateTime"] for entry in entries]
    assert times == sorted(times, reverse=True)
    logged = {entry["sourceIdentity"]["id"] for entry in entries}
    assert logged >= {one.id for one in here.tenant.tenant.objects.values() if one.kind in {"user", "group"}}
    created = next(entry for entry in entries if entry["provisioningAction"] == "create")
    assert [step["provisioningStepType"] for step in created["provisioningSteps"]][-1] == "export"
    assert created["modifiedProperties"]


async def test_the_log_is_paged_by_its_next_links(here: Hosted) -> None:
    whole = [entry["id"] for entry in (await here.get("logs?$top=500"))["value"]]
    seen: list[str] = []
    path = "logs?$top=5"
    while path:
        page = await here.get(path)
        assert len(page["value"]) <= 5
        seen += [entry["id"] for entry in page["value"]]
        path = page.get("@odata.nextLink", "")
    assert seen == whole


async def test_next_links_keep_their_filter(here: Hosted) -> None:
    condition = quote("provisioningAction eq 'create' and sourceIdentity/displayName ne ''".partition(" and")[0])
    whole = (await here.get(f"logs?$top=500&$filter={condition}"))["value"]
    assert {entry["provisioningAction"] for entry in whole} == {"create"}
    seen: list[str] = []
    path = f"logs?$top=4&$filter={condition}"
    while path:
        page = await here.get(path)
        seen += [entry["id"] for entry in page["value"]]
        path = page.get("@odata.nextLink", "")
    assert seen == [entry["id"] for entry in whole]


async def test_the_log_of_one_object(here: Hosted) -> None:
    whole = (await here.get("logs?$top=500"))["value"]
    wanted = whole[len(whole) // 2]["sourceIdentity"]["id"]
    found = (await here.get("logs?$filter=" + quote(f"sourceIdentity/id eq '{wanted}'")))["value"]
    assert [entry["id"] for entry in found] == [entry["id"] for entry in whole if entry["sourceIdentity"]["id"] == wanted]


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("activityDateTime gt 2020-01-01T00:00:00Z", True),
        ("activityDateTime lt 2020-01-01T00:00:00Z", False),
        ("durationInMilliseconds ge 0 and provisioningStatusInfo/status ne", None),
        ("contains(sourceIdentity/displayName, 'no such person')", False),
        ("sourceIdentity/displayName eq 'O''Brien'", False),
        ("no/such/path eq 'x'", False),
        ("durationInMilliseconds ge 0", True),
        ("durationInMilliseconds ge many", None),
        ("displayName", None),
        ("x eq 'unfinished", None),
        ("provisioningAction eq 'create' or provisioningAction eq 'update'", None),
        ("provisioningAction eq 'create' and", None),
        ("1 eq 1", None),
    ],
)
async def test_a_filter_holds_or_not_or_is_a_bad_request(here: Hosted, condition: str, holds: bool | None) -> None:
    path = f"logs?$filter={quote(condition)}"
    if holds is None:
        problem = await here.get(path, status=400)
        assert problem["error"]["code"] == "BadRequest"
        return
    assert bool((await here.get(path))["value"]) is holds


@pytest.mark.parametrize(
    "query",
    [
        "$top=0",
        "$top=501",
        "$top=-1",
        "$top=ten",
        "$top=1.5",
        "$top=%C2%B2",
        "$top=" + "9" * 5000,
        "$skiptoken=garbage",
        "$skiptoken=" + base64.urlsafe_b64encode(b'{"PartitionKey": "x"}').decode(),
        "$skiptoken=" + base64.urlsafe_b64encode(b"[]").decode(),
        "$skiptoken=" + base64.urlsafe_b64encode(b"[" * 5000).decode(),
        "$skiptoken=%C3%A9",
    ],
    ids=lambda query: query[:24],
)
async def test_bad_paging_is_a_bad_request(here: Hosted, query: str) -> None:
    assert (await here.get(f"logs?{query}", status=400))["error"]["code"] == "BadRequest"


async def test_a_made_up_place_in_the_log_is_answered_without_an_error(here: Hosted) -> None:
    token = base64.urlsafe_b64encode(json.dumps({"PartitionKey": "0", "RowKey": "' or 1 eq 1"}).encode()).decode()
    page = await here.get(f"logs?$skiptoken={token}")
    assert isinstance(page["value"], list)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"Full"',
        b'{"criteria": "Full"}',
        b'{"criteria": ["Full"]}',
        b'{"criteria": {"resetScope": "Everything"}}',
        b'{"criteria": {"resetScope": "Watermark, Deletes"}}',
        b'{"criteria": {"resetScope": ["Full"]}}',
        b"[" * 100_000,
    ],
    ids=lambda body: body[:40].decode(),
)
async def test_a_restart_that_cannot_be_understood_restarts_nothing(here: Hosted, body: bytes) -> None:
    before = (await here.get("job"))["app"]["chains"]
    problem = await here.post("job/restart", status=400, data=body)
    assert problem["error"]["code"] == "BadRequest"
    assert (await here.get("job"))["app"]["chains"] == before


async def test_a_restart_runs_a_full_cycle_that_finds_nothing_to_do(here: Hosted) -> None:
    before = (await here.get("job"))["app"]["chains"]
    await here.post("job/restart", json={"criteria": {"resetScope": "Watermark"}})

    async def through() -> dict[str, Any] | None:
        job: dict[str, Any] = await here.get("job")
        chains = job["app"]["chains"]
        return job if all(chains[name]["completeGeneration"] > before[name]["completeGeneration"] for name in chains) else None

    job = await until(through, seconds=60, what="both chains complete another generation")
    assert job is not None
    assert set(job["app"]["outcomes"]["users"]) <= {"unchanged", "skipped"}


async def test_credentials_are_validated_on_both_sides(here: Hosted) -> None:
    await here.post("job/validateCredentials")

    here.instance.instance.configure(refuse_credentials=True)
    try:
        problem = await here.post("job/validateCredentials", status=422)
        assert problem["error"]["code"] == "Unauthorized"
        assert "sandbox-secret" not in json.dumps(problem)
    finally:
        here.instance.instance.configure(refuse_credentials=False)

    await here.control("faults", refuse_credentials=True)
    try:
        problem = await here.post("job/validateCredentials", status=422)
        assert problem["error"]["code"] == "Unauthorized"
    finally:
        await here.control("faults", refuse_credentials=False)
    await here.post("job/validateCredentials")
    assert (await here.get("job"))["status"]["code"] == "Active", "asking does not put the job into quarantine"


async def test_a_paused_job_writes_nothing_and_start_makes_up_for_it(here: Hosted) -> None:
    await here.post("job/pause")
    assert (await here.get("job"))["status"]["code"] == "Paused"
    here.tenant.tenant.create_user(
        userPrincipalName="late@contoso.com", displayName="Late", givenName="Late", surname="One", mail="late@contoso.com"
    )

    async def parked() -> bool:
        return any(row["waitsFor"] == "job" for row in (await here.get("escrows"))["value"])

    await until(parked, what="the notification waits for the job")
    assert here.user("late@contoso.com") is None
    async with here.session.get(f"{here.host.url}/api/health") as response:
        assert response.status == 200, "a wish of the operator is no fault"

    await here.post("job/start")

    async def there() -> bool:
        return here.user("late@contoso.com") is not None

    await until(there, seconds=30, what="the cycle that start began brings the user")
    assert (await here.get("job"))["status"]["code"] == "Active"


async def test_with_entra_the_platform_tells_who_calls(here: Hosted) -> None:
    entra = here.another(OPERATOR_AUTH="entra", WEBSITE_AUTH_ENABLED="true")

    def header(*claims: dict[str, str]) -> dict[str, str]:
        return {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(json.dumps({"claims": claims}).encode()).decode()}

    operator = header({"typ": "roles", "val": OPERATOR_ROLE})
    async with entra, aiohttp.ClientSession(entra.url) as http:
        for headers in ({}, entra.headers, {"X-MS-CLIENT-PRINCIPAL": "forged"}, header({"typ": "roles", "val": "Reader"})):
            for method, path in OPERATORS_ROUTES:
                async with http.request(method, f"/api/{path}", headers=headers) as response:
                    assert response.status == 403
                    assert (await response.json())["error"]["code"] == "Forbidden"
        async with http.get("/api/job", headers=operator) as response:
            assert response.status == 200
            assert (await response.json())["status"]["code"] == "Active", "none of the refused requests paused it"
        async with http.get("/api/health") as response:
            assert response.status == 200
        async with http.post("/api/notifications?validationToken=abc") as response:
            assert await response.text() == "abc"
