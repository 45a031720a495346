from __future__ import annotations

import argparse
import asyncio
import os
import signal
from typing import TYPE_CHECKING

import httpx
import pytest

from sandbox.tenant import Kind, TenantConfig, add_arguments, run

from .support import until

if TYPE_CHECKING:
    from .conftest import Serve


async def test_the_state_counts_everything(serve: Serve) -> None:
    server, client = await serve(TenantConfig(users=20, groups=4))
    server.tenant.delete(server.tenant.order[Kind.USER][3].id)
    state = (await client.get(f"{server.control_url}/state")).json()
    assert (state["users"], state["deletedUsers"], state["groups"], state["changes"]) == (19, 1, 4, 1)
    assert state["memberships"] > 50
    assert state["servicePrincipalId"] == server.tenant.config.service_principal_id


async def test_requests_are_counted_by_route_and_forgotten_on_demand(serve: Serve) -> None:
    server, client = await serve(TenantConfig(users=3))
    await client.get("/users/delta")
    batch = {"requests": [{"id": str(n), "method": "GET", "url": f"/users/{n}"} for n in range(3)]}
    await client.post("/$batch", json=batch)
    counts = (await client.get(f"{server.control_url}/requests")).json()
    assert counts == {"GET /users/delta": 1, "GET /users/{id}": 3, "POST /$batch": 1}
    await client.delete(f"{server.control_url}/requests")
    assert (await client.get(f"{server.control_url}/requests")).json() == {}


async def test_faults_are_merged_and_shown(serve: Serve) -> None:
    server, client = await serve()
    faults = f"{server.control_url}/faults"
    await client.post(faults, json={"lag_seconds": 2, "notification_delay": [1, 2]})
    shown = (await client.post(faults, json={"fail_next": [503, 500]})).json()
    assert (shown["lag_seconds"], shown["notification_delay"], shown["fail_next"]) == (2.0, [1.0, 2.0], [503, 500])
    answers = [(await client.get("/users")).status_code for _ in range(3)]
    assert answers == [503, 500, 200]


@pytest.mark.parametrize(
    "switches", [{"nonsense": 1}, {"lag_seconds": "2"}, {"refuse_credentials": 1}, {"fail_next": 503}, {"throttle_next": -1}]
)
async def test_a_switch_that_does_not_exist_or_fit_is_refused(serve: Serve, switches: dict[str, object]) -> None:
    server, client = await serve()
    before = server.tenant.faults
    response = await client.post(f"{server.control_url}/faults", json=switches)
    assert response.status_code == 400
    assert server.tenant.faults == before


async def test_refused_credentials_are_a_401_until_the_switch_is_turned_back(serve: Serve) -> None:
    server, client = await serve()
    await client.post(f"{server.control_url}/faults", json={"refuse_credentials": True})
    assert (await client.get("/users")).status_code == 401
    await client.post(f"{server.control_url}/faults", json={"refuse_credentials": False})
    assert (await client.get("/users")).status_code == 200


async def test_unknown_paths_and_broken_json_are_refused(serve: Serve) -> None:
    server, client = await serve()
    assert (await client.get("/nonsense/1")).status_code == 400
    headers = {"Content-Type": "application/json"}
    assert (await client.post("/users", content=b"{", headers=headers)).status_code == 400
    assert (await client.post("/subscriptions", content=b"[]", headers=headers)).status_code == 400
    assert (await client.get(server.url.replace("v1.0", "beta") + "/users")).status_code == 200
    assert (await client.get(server.url.replace("v1.0", "v3.0") + "/users")).status_code == 404


async def test_the_program_prints_its_url_serves_and_ends_on_a_signal(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = ["--port", "0", "--users", "5", "--groups", "1", "--token", "t", "--notification-delay", "1", "2"]
    serving = asyncio.create_task(run(parser.parse_args(arguments)))
    printed = ""

    def heard() -> bool:
        nonlocal printed
        printed += capsys.readouterr().out
        return "http://" in printed

    await until(heard, "the line with the URL")
    url = printed.strip().rpartition(" ")[2]
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{url}/users", headers={"Authorization": "Bearer t"})
        assert len(response.json()["value"]) == 5
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(5):
        await serving
