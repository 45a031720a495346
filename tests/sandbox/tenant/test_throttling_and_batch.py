from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sandbox.tenant import Faults, TenantConfig

if TYPE_CHECKING:
    import httpx

    from .conftest import Serve
    from .support import Clock


@pytest.mark.parametrize(
    ("path", "units"),
    [
        ("/users", "2"),
        ("/users?$select=id", "1"),
        ("/users?$expand=manager", "3"),
        ("/users?$top=5&$select=id", "1"),
        ("/groups/{group}/members", "3"),
        ("/groups/{group}/transitiveMembers", "5"),
        ("/users/{user}/memberOf", "2"),
        ("/users/{user}", "1"),
        ("/users/delta", "1"),
    ],
)
async def test_requests_cost_what_the_documentation_says(serve: Serve, path: str, units: str) -> None:
    server, client = await serve()
    user = server.tenant.create_user(userPrincipalName="ann@contoso.com")
    group = server.tenant.create_group("G")
    response = await client.get(path.format(user=user, group=group))
    assert response.status_code == 200
    assert response.headers["x-ms-resource-unit"] == units


async def test_a_small_tenant_gives_3500_units_and_more_after_a_while(serve: Serve, clock: Clock) -> None:
    server, client = await serve(clock=clock)
    group = server.tenant.create_group("G")
    link = f"/groups/{group}/transitiveMembers"
    answers: list[dict[str, Any]] = []
    for _ in range(35):
        answers += (await batch(client, *[get(str(n), link) for n in range(20)])).values()
    assert [answer["status"] for answer in answers] == [200] * 700
    assert "x-ms-throttle-limit-percentage" not in answers[500]["headers"]
    assert answers[-1]["headers"]["x-ms-throttle-limit-percentage"] == "1.0"
    refused = await client.get(link)
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "TooManyRequests"
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.headers["x-ms-throttle-information"] == "ResourceUnitLimitExceeded"
    config = server.tenant.config
    scope = f"Tenant_Application/ReadWrite/{config.application_id}/{config.tenant_id}"
    assert refused.headers["x-ms-throttle-scope"] == scope
    clock.now += 5
    assert (await client.get(link)).status_code == 200


async def test_refused_requests_count_too(serve: Serve, clock: Clock) -> None:
    server, client = await serve(clock=clock)
    group = server.tenant.create_group("G")
    for _ in range(50):
        await batch(client, *[get(str(n), f"/groups/{group}/transitiveMembers") for n in range(20)])
    clock.now += 1
    refused = await client.get(f"/groups/{group}")
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 1


async def test_throttling_can_be_switched_off(serve: Serve, clock: Clock) -> None:
    server, client = await serve(TenantConfig(throttling=False), clock=clock)
    group = server.tenant.create_group("G")
    for _ in range(40):
        answers = await batch(client, *[get(str(n), f"/groups/{group}/transitiveMembers") for n in range(20)])
        assert {answer["status"] for answer in answers.values()} == {200}


async def test_the_next_requests_can_be_throttled_on_demand(serve: Serve) -> None:
    _, client = await serve(TenantConfig(faults=Faults(throttle_next=2, throttle_retry_after=7)))
    answers = [await client.get("/users") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "7"


def get(key: str, url: str, **more: Any) -> dict[str, Any]:
    return {"id": key, "method": "GET", "url": url} | more


async def batch(client: httpx.AsyncClient, *requests: dict[str, Any]) -> dict[str, Any]:
    response = await client.post("/$batch", json={"requests": list(requests)})
    assert response.status_code == 200, response.text
    return {answer["id"]: answer for answer in response.json()["responses"]}


async def test_each_part_of_a_batch_is_judged_alone(serve: Serve) -> None:
    server, client = await serve()
    ann = server.tenant.create_user(userPrincipalName="ann@contoso.com")
    server.tenant.faults = Faults(throttle_next=1)
    change = {"id": "3", "method": "PATCH", "url": f"/users/{ann}", "headers": {"Content-Type": "application/json"}}
    answers = await batch(
        client,
        get("1", f"/users/{ann}"),
        get("2", f"/users/{ann}?$select=id"),
        change | {"body": {"jobTitle": "x"}},
        get("4", "/users/nobody"),
    )
    assert {key: answer["status"] for key, answer in answers.items()} == {"1": 429, "2": 200, "3": 204, "4": 404}
    assert answers["1"]["headers"]["Retry-After"] == "1"
    assert answers["2"]["body"]["id"] == ann
    assert answers["2"]["headers"]["x-ms-resource-unit"] == "1"
    assert "body" not in answers["3"]
    assert answers["4"]["body"]["error"]["code"] == "Request_ResourceNotFound"


async def test_answers_come_in_any_order(serve: Serve) -> None:
    _, client = await serve()
    orders = set()
    for _ in range(5):
        response = await client.post("/$batch", json={"requests": [get(str(n), "/users") for n in range(10)]})
        orders.add(tuple(answer["id"] for answer in response.json()["responses"]))
    assert len(orders) > 1


async def test_a_part_waits_for_what_it_depends_on_and_fails_with_it(serve: Serve) -> None:
    server, client = await serve()
    ann = server.tenant.create_user(userPrincipalName="ann@contoso.com", jobTitle="old")
    change = {"id": "write", "method": "PATCH", "url": f"/users/{ann}", "body": {"jobTitle": "new"}}
    answers = await batch(
        client,
        get("read", f"/users/{ann}?$select=jobTitle", dependsOn=["WRITE"]),
        change | {"headers": {"Content-Type": "application/json"}},
        get("bad", "/users/nobody"),
        get("after", "/users", dependsOn=["bad"]),
    )
    assert answers["read"]["body"]["jobTitle"] == "new"
    assert answers["after"]["status"] == 424
    assert answers["after"]["body"]["error"]["code"] == "FailedDependency"


@pytest.mark.parametrize(
    "requests",
    [
        [],
        [get(str(n), "/users") for n in range(21)],
        [get("a", "/users"), get("A", "/users")],
        [get("1", "https://graph.microsoft.com/v1.0/users")],
        [get("1", "/users", dependsOn=["2"])],
        [get("1", "/users", dependsOn=["2"]), get("2", "/users", dependsOn=["1"])],
        [{"id": "1", "method": "POST", "url": "/users", "body": {}}],
        [{"method": "GET", "url": "/users"}],
        [get("1", "/$batch")],
        [get("1", "/users", headers=["Accept"])],
        [get("1", "/users", dependsOn="2")],
        "nonsense",
    ],
)
async def test_a_malformed_batch_is_refused_as_a_whole(serve: Serve, requests: Any) -> None:
    _, client = await serve()
    response = await client.post("/$batch", json={"requests": requests})
    assert response.status_code == 400
    assert "message" in response.json()["error"]


async def test_a_url_without_a_slash_is_relative_too(serve: Serve) -> None:
    _, client = await serve()
    assert (await batch(client, get("1", "users?$select=id")))["1"]["status"] == 200
