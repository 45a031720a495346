from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import httpx
import pytest

from shared.errors import CredentialsError, ProtocolError, ThrottledError, UnavailableError
from shared.servicenow.queries import everything
from tests.servicenow.scripted import Clock, Script, auth_of, client_of, failure, page, reply, rows

if TYPE_CHECKING:
    from shared.servicenow.client import ServiceNowClient

TOKEN = {"access_token": "token-1", "scope": "useraccount", "token_type": "Bearer", "expires_in": 1799}
UNAUTHENTICATED = failure(401, "User Not Authenticated", "Required to provide Auth information")
SECRETS = ("s3cr3t", "p4ssw0rd", "token-1", "refresh-1")


class TokenServer:
    """An instance that hands out tokens as told and accepts those in ``valid``."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.answers = list(answers)
        self.forms: list[dict[str, list[str]]] = []
        self.seen: list[str] = []
        self.valid: set[str] = set()
        self.queries = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth_token.do":
            assert request.headers["content-type"] == "application/x-www-form-urlencoded"
            assert not request.url.query
            self.forms.append(parse_qs(request.content.decode()))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        self.queries += 1
        self.seen.append(request.headers["authorization"])
        return rows({"sys_id": "1"}) if not self.valid or self.seen[-1] in self.valid else UNAUTHENTICATED


def connected(server: TokenServer, clock: Clock | None = None, kind: str = "oauth_client_credentials") -> ServiceNowClient:
    clock = clock or Clock()
    secrets = {"username": "entra", "password": "p4ssw0rd", "client_id": "app", "client_secret": "s3cr3t"}
    return client_of(server, auth=auth_of(kind, secrets, clock), clock=clock)


def token(name: str = "token-1", lifetime: int | str | None = 1799, refresh: str | None = None) -> httpx.Response:
    body: dict[str, object] = {**TOKEN, "access_token": name, "expires_in": lifetime}
    return reply(200, body if refresh is None else {**body, "refresh_token": refresh})


@pytest.mark.parametrize(
    ("kind", "given", "header", "value"),
    [
        ("basic", {"username": "entra", "password": "pässwörd"}, "authorization", "Basic ZW50cmE6cMOkc3N3w7ZyZA=="),
        ("api_key", {"api_key": "key-1"}, "x-sn-apikey", "key-1"),
    ],
)
async def test_fixed_secrets_travel_in_their_header(kind: str, given: dict[str, str], header: str, value: str) -> None:
    script = Script(rows())
    async with client_of(script, auth=auth_of(kind, given)) as client:
        await client.select("sys_user", everything(), ["user_name"])
    assert script.requests[0].headers[header] == value


@pytest.mark.parametrize(
    ("kind", "given", "named"),
    [
        ("basic", {"username": "entra"}, "SERVICENOW_PASSWORD"),
        ("api_key", {}, "SERVICENOW_API_KEY"),
        ("oauth_client_credentials", {"client_secret": "s3cr3t"}, "SERVICENOW_CLIENT_ID"),
        ("oauth_password", {"client_id": "a", "client_secret": "s3cr3t"}, "SERVICENOW_USERNAME, SERVICENOW_PASSWORD"),
        ("kerberos", {}, "SERVICENOW_AUTH"),
        ("api_key", {"api_key": "s3cr3t\r\nX-Evil: 1"}, "SERVICENOW_API_KEY"),
        ("basic", {"username": "a:b", "password": "s3cr3t"}, "SERVICENOW_USERNAME"),
    ],
)
def test_missing_or_unusable_credentials_are_named_and_not_shown(kind: str, given: dict[str, str], named: str) -> None:
    with pytest.raises(CredentialsError) as caught:
        auth_of(kind, given)
    assert named in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


async def test_many_waiting_requests_cause_one_token_request() -> None:
    server = TokenServer(token())
    async with connected(server) as client:
        await asyncio.gather(*(client.sample("sys_user", everything()) for _ in range(20)))
    assert len(server.forms) == 1
    assert server.forms[0]["grant_type"] == ["client_credentials"]
    assert server.seen == ["Bearer token-1"] * 20


async def test_a_failed_token_request_fails_all_who_wait_for_it_once() -> None:
    server = TokenServer(page("Instance Hibernating page"))
    async with connected(server) as client:
        results = await asyncio.gather(*(client.sample("sys_user", everything()) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(result, UnavailableError) for result in results)
    assert len(server.forms) == 1


async def test_a_token_is_renewed_a_minute_before_its_end() -> None:
    clock = Clock()
    server = TokenServer(token(lifetime=100), token("token-2"))
    async with connected(server, clock) as client:
        await client.sample("sys_user", everything())
        clock.now += 39
        await client.sample("sys_user", everything())
        clock.now += 2
        await client.sample("sys_user", everything())
    assert server.seen == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


async def test_a_token_that_comes_back_in_its_last_minute_is_used_up_and_not_asked_for_every_time() -> None:
    clock = Clock()
    server = TokenServer(token(lifetime=40), token("token-2"))
    async with connected(server, clock) as client:
        for _ in range(5):
            await client.sample("sys_user", everything())
            clock.now += 5
        assert len(server.forms) == 1
        clock.now += 20
        await client.sample("sys_user", everything())
    assert server.seen[-1] == "Bearer token-2"


@pytest.mark.parametrize("lifetime", [None, "soon", -5, "120"])
async def test_a_strange_lifetime_is_no_failure(lifetime: int | str | None) -> None:
    server = TokenServer(token(lifetime=lifetime))
    async with connected(server) as client:
        await client.sample("sys_user", everything())
    assert server.seen == ["Bearer token-1"]


async def test_the_refresh_token_comes_first_and_the_password_when_it_is_refused() -> None:
    clock = Clock()
    refused = reply(401, {"error": "server_error", "error_description": "access_denied"})
    server = TokenServer(token(refresh="refresh-1", lifetime=100), token("token-2", lifetime=100), refused, token("token-3"))
    async with connected(server, clock, "oauth_password") as client:
        for _ in range(3):
            await client.sample("sys_user", everything())
            clock.now += 200
    assert [form["grant_type"][0] for form in server.forms] == ["password", "refresh_token", "refresh_token", "password"]
    assert server.seen == ["Bearer token-1", "Bearer token-2", "Bearer token-3"]


async def test_an_expired_token_is_renewed_and_the_request_repeated_once() -> None:
    server = TokenServer(token(), token("token-2"))
    server.valid = {"Bearer token-2"}
    async with connected(server) as client:
        assert await client.sample("sys_user", everything()) == [{"sys_id": "1"}]
    assert server.seen == ["Bearer token-1", "Bearer token-2"]


async def test_many_requests_with_an_expired_token_share_one_renewal() -> None:
    server = TokenServer(token(), token("token-2"))
    server.valid = {"Bearer token-2"}
    async with connected(server) as client:
        await asyncio.gather(*(client.sample("sys_user", everything()) for _ in range(4)))
    assert len(server.forms) == 2


async def test_a_token_that_stays_refused_stops_everything_until_reset() -> None:
    server = TokenServer(token(), token("token-2"))
    server.valid = {"Bearer token-3"}
    async with connected(server) as client:
        for _ in range(3):
            with pytest.raises(CredentialsError):
                await client.sample("sys_user", everything())
        assert (server.queries, len(server.forms)) == (2, 2)
        server.answers = [token("token-3")]
        client.auth.reset()
        assert await client.sample("sys_user", everything())


@pytest.mark.parametrize(
    "refused",
    [
        reply(401, {"error": "server_error", "error_description": "access_denied"}),
        reply(401, {"error": "invalid_client", "error_description": "Invalid client_id or client_secret."}),
        reply(400, {"error": "invalid_grant"}),
        reply(200, {"error": "invalid_client"}),
    ],
)
async def test_refused_token_requests_are_not_repeated(refused: httpx.Response) -> None:
    server = TokenServer(refused)
    async with connected(server) as client:
        for _ in range(3):
            with pytest.raises(CredentialsError, match="refused the token request"):
                await client.sample("sys_user", everything())
    assert (len(server.forms), server.queries) == (1, 0)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (page("Instance Hibernating page"), UnavailableError),
        (page(status=503), UnavailableError),
        (reply(202), UnavailableError),
        (reply(500, {}), UnavailableError),
        (reply(429, {}, {"Retry-After": "7"}), ThrottledError),
        (reply(200, {"token_type": "Bearer"}), ProtocolError),
        (reply(200, {"access_token": "line\nbreak"}), ProtocolError),
    ],
)
async def test_a_token_endpoint_in_trouble_is_no_matter_of_credentials(answer: httpx.Response, error: type[Exception]) -> None:
    server = TokenServer(answer, token())
    clock = Clock()
    async with connected(server, clock) as client:
        with pytest.raises(error):
            await client.sample("sys_user", everything())
        clock.now += 10
        assert await client.sample("sys_user", everything())


async def test_a_wrong_password_is_tried_once_and_never_again() -> None:
    script = Script(UNAUTHENTICATED)
    async with client_of(script) as client:
        results = [await asyncio.gather(client.sample("sys_user", everything()), return_exceptions=True) for _ in range(5)]
    assert all(isinstance(result, CredentialsError) for (result,) in results)
    assert script.count == 1


async def test_a_password_that_has_worked_is_given_one_more_try() -> None:
    script = Script(rows({"sys_id": "1"}), UNAUTHENTICATED, rows({"sys_id": "1"}), UNAUTHENTICATED)
    async with client_of(script) as client:
        assert await client.sample("sys_user", everything())
        assert await client.sample("sys_user", everything())
        with pytest.raises(CredentialsError):
            await client.sample("sys_user", everything())
        with pytest.raises(CredentialsError):
            await client.sample("sys_user", everything())
    assert script.count == 5


@pytest.mark.parametrize("kind", ["oauth_client_credentials", "oauth_password", "basic"])
async def test_no_secret_is_in_a_message_a_repr_or_a_log(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = TokenServer(token(refresh="refresh-1"))
    server.valid = {"nothing"}
    async with connected(server, kind=kind) as client:
        with pytest.raises(CredentialsError) as caught:
            await client.sample("sys_user", everything())
    told = caplog.text + str(caught.value) + repr(caught.value) + repr(client.auth) + (caught.value.recommended_action or "")
    assert not [secret for secret in (*SECRETS, "ZW50cmE6") if secret in told]
