"""Logins: basic, tokens, API keys, and who is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.instance import Account, Instance, InstanceConfig, OAuthClient
from sandbox.instance.authentication import Authentication
from sandbox.instance.config import DEFAULT_ACCOUNTS

from .conftest import ADMIN, INTEGRATION, Clock, Running, client, running

if TYPE_CHECKING:
    import httpx

FORM = "application/x-www-form-urlencoded"
APPLICATION = {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}
GENERIC = {"error_description": "access_denied", "error": "server_error"}


async def token(sn: Running, **form: str) -> httpx.Response:
    return await sn.control.post("/oauth_token.do", data=APPLICATION | form)


async def status(sn: Running, **headers: str) -> int:
    return (await sn.control.get("/api/now/table/sys_user", headers=headers)).status_code


async def test_client_credentials_give_an_access_token_only() -> None:
    async with running() as sn:
        body = (await token(sn, grant_type="client_credentials")).json()
        assert (body["token_type"], body["scope"], body["expires_in"]) == ("Bearer", "useraccount", 1799)
        assert "refresh_token" not in body
        assert await status(sn, Authorization=f"Bearer {body['access_token']}") == 200


async def test_the_same_token_comes_back_with_what_is_left_of_its_life() -> None:
    clock = Clock()
    authentication = Authentication(Instance(clock=clock))
    form = {**APPLICATION, "grant_type": "password", "username": INTEGRATION[0], "password": INTEGRATION[1]}

    def issue(**form: str) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(authentication.token(FORM, form).body)
        return body

    first = issue(**form)
    clock.now += 600
    again = issue(**form)
    assert (again["access_token"], again["expires_in"]) == (first["access_token"], 1199)
    bearer = {"authorization": f"Bearer {first['access_token']}"}
    assert authentication.caller(bearer) is not None
    clock.now += 1201
    assert authentication.caller(bearer) is None
    refreshed = issue(**APPLICATION, grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert refreshed["access_token"] != first["access_token"]
    assert refreshed["refresh_token"] == first["refresh_token"]


@pytest.mark.parametrize(
    "form",
    [
        {"grant_type": "client_credentials", "client_secret": "wrong"},
        {"grant_type": "password", "username": "admin", "password": "wrong"},
        {"grant_type": "refresh_token", "refresh_token": "unknown"},
        {"grant_type": "authorization_code"},
    ],
)
async def test_token_errors_are_all_the_same(form: dict[str, str]) -> None:
    async with running() as sn:
        answer = await token(sn, **form)
        assert (answer.status_code, answer.json()) == (401, GENERIC)


async def test_a_json_body_or_a_grant_that_is_off_gets_the_same_error() -> None:
    async with running() as sn:
        as_json = await sn.control.post("/oauth_token.do", json=APPLICATION | {"grant_type": "client_credentials"})
        assert (as_json.status_code, as_json.json()) == (401, GENERIC)
        await sn.faults(client_credentials_enabled=False)
        assert (await token(sn, grant_type="client_credentials")).json() == GENERIC
        await sn.faults(oauth_error="invalid_client")
        assert (await token(sn, client_secret="x")).json()["error"] == "invalid_client"


async def test_an_application_without_a_user_gets_no_client_credentials() -> None:
    async with running(oauth_clients=(OAuthClient("sandbox-client", "sandbox-secret"),)) as sn:
        assert (await token(sn, grant_type="client_credentials")).status_code == 401


async def test_api_keys_and_revoked_tokens() -> None:
    async with running() as sn:
        assert await status(sn, **{"x-sn-apikey": "sandbox-api-key"}) == 200
        assert await status(sn, **{"x-sn-apikey": "wrong"}) == 401
        bearer = f"Bearer {(await token(sn, grant_type='client_credentials')).json()['access_token']}"
        await sn.control.post("/control/revoke-tokens")
        assert await status(sn, Authorization=bearer) == 401


async def test_five_wrong_passwords_lock_the_account() -> None:
    async with running() as sn, client(sn.server.url, (INTEGRATION[0], "wrong")) as guesser:
        for _ in range(4):
            assert (await guesser.get("/api/now/table/sys_user")).status_code == 401
        assert (await sn.integration.get("/api/now/table/sys_user")).status_code == 200
        for _ in range(5):
            await guesser.get("/api/now/table/sys_user")
        assert (await sn.integration.get("/api/now/table/sys_user")).status_code == 401
        state = (await sn.control.get("/control/state")).json()
        assert state["failed_logins"] == {INTEGRATION[0]: 5}
        row = (await sn.rows("sys_user", sysparm_query=f"user_name={INTEGRATION[0]}"))[0]
        assert (row["locked_out"], row["failed_attempts"]) == ("true", "5")


async def test_locking_can_be_switched_off() -> None:
    async with running(lock_after_failed_logins=None) as sn, client(sn.server.url, (INTEGRATION[0], "wrong")) as guesser:
        for _ in range(8):
            await guesser.get("/api/now/table/sys_user")
        assert (await sn.integration.get("/api/now/table/sys_user")).status_code == 200


async def test_inactive_and_locked_users_are_refused_with_tokens_too() -> None:
    async with running() as sn:
        bearer = f"Bearer {(await token(sn, grant_type='client_credentials')).json()['access_token']}"
        edit = {"table": "sys_user", "patch": [{"where": f"user_name={INTEGRATION[0]}", "active": "false"}]}
        assert (await sn.control.post("/control/rows", json=edit)).status_code == 200
        assert await status(sn, Authorization=bearer) == 401
        assert (await token(sn, grant_type="client_credentials")).status_code == 401
        assert (await sn.integration.get("/api/now/table/sys_user")).status_code == 401


async def test_an_interactive_account_may_be_barred_from_basic() -> None:
    person = Account("person", "pw", ("itil",), basic_allowed=False)
    config = InstanceConfig(accounts=(*DEFAULT_ACCOUNTS, person))
    async with running(config) as sn, client(sn.server.url, ("person", "pw")) as barred:
        assert (await barred.get("/api/now/table/sys_user")).status_code == 401
        assert (await sn.admin.get("/api/now/table/sys_user")).status_code == 200


async def test_credentials_can_be_refused_for_everybody_without_locking_anybody() -> None:
    async with running(refuse_credentials=True) as sn:
        for _ in range(6):
            assert (await sn.admin.get("/api/now/table/sys_user")).status_code == 401
        assert (await token(sn, grant_type="client_credentials")).status_code == 401
        await sn.faults(refuse_credentials=False)
        assert (await sn.admin.get("/api/now/table/sys_user")).status_code == 200
        assert ADMIN[0] not in (await sn.control.get("/control/state")).json()["failed_logins"]
