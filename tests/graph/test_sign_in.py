from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError

from shared.errors import (
    CredentialsError,
    ProtocolError,
    ProvisioningError,
    UnavailableError,
)
from shared.graph.client import GraphClient
from tests.graph.conftest import TOKEN, ScriptedGraph, ok, user_id

if TYPE_CHECKING:
    from shared.graph.answers import Ask

USER_PATH = f"/users/{user_id(1)}"


def user_ask(client: GraphClient) -> Ask:
    return client.read(lambda graph: graph.users.by_user_id(user_id(1)), permission="User.Read.All")


@pytest.mark.parametrize(
    "base_url",
    [
        "http://graph.microsoft.com/v1.0",
        "ftp://127.0.0.1/v1.0",
        "https://user:secret@graph.microsoft.com/v1.0",
        "https://graph.microsoft.com/v1.0?x=1",
        "graph.microsoft.com/v1.0",
        "https://graph.microsoft.com:port/v1.0",
        "",
    ],
)
def test_a_base_url_that_could_leak_a_token_is_refused(base_url: str) -> None:
    with pytest.raises(ValueError, match="GRAPH_BASE_URL"):
        GraphClient(base_url)


@pytest.mark.parametrize("base_url", ["https://graph.microsoft.com/v1.0", "https://127.0.0.1.contoso.com/v1.0"])
def test_a_fixed_token_is_for_a_loopback_address_only(base_url: str) -> None:
    with pytest.raises(ValueError, match="GRAPH_ACCESS_TOKEN"):
        GraphClient(base_url, access_token=TOKEN)


@pytest.mark.parametrize(
    "base_url", ["http://127.0.0.1:1/v1.0", "http://localhost:1/v1.0/", "http://[::1]:1/v1.0", "http://127.9.9.9/v1.0"]
)
async def test_a_loopback_address_may_be_written_in_any_way(graph: ScriptedGraph, base_url: str) -> None:
    client = GraphClient(base_url, access_token=TOKEN, transport=graph)
    graph.on(USER_PATH, ok({"id": user_id(1)}))
    await client.send(user_ask(client))
    assert graph.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"
    await client.aclose()


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.contoso.com/v1.0/users/delta?$deltatoken=x",
        "https://127.0.0.1:7072/v1.0/users/delta",
        "http://127.0.0.1:7073/v1.0/users/delta",
        "http://127.0.0.1/v1.0/users/delta",
        "http://127.0.0.1:7072@evil.contoso.com/v1.0/users/delta",
        "http://127.0.0.1:7072\\@evil.contoso.com/v1.0/users/delta",
        "http://127.0.0.1:7072.contoso.com/v1.0/users/delta",
        "//127.0.0.1:7072/v1.0/users/delta",
        "/v1.0/users/delta",
        "http://127.0.0.1:7072/v1.0/users/delta\r\nX: y",
        "",
    ],
)
async def test_a_link_to_another_origin_gets_no_request_and_no_token(
    client: GraphClient, graph: ScriptedGraph, link: str
) -> None:
    with pytest.raises(ProtocolError):
        client.follow(link, user_ask(client))
    assert graph.requests == []


class _Credential:
    """An azure-identity credential as far as the SDK uses it."""

    def __init__(self, outcome: str | Exception) -> None:
        self.outcome = outcome
        self.scopes: list[str] = []
        self.claims: list[str | None] = []
        self.closed = False

    async def get_token(self, *scopes: str, claims: str | None = None, **_: Any) -> AccessToken:
        self.scopes += scopes
        self.claims.append(claims)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return AccessToken(self.outcome, 4_000_000_000)

    async def close(self) -> None:
        self.closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


@pytest.mark.parametrize(
    ("base_url", "scope"),
    [
        ("https://graph.microsoft.com/v1.0", "https://graph.microsoft.com/.default"),
        ("https://graph.microsoft.us/v1.0", "https://graph.microsoft.us/.default"),
        ("https://dod-graph.microsoft.us/v1.0", "https://dod-graph.microsoft.us/.default"),
        ("https://microsoftgraph.chinacloudapi.cn/v1.0", "https://microsoftgraph.chinacloudapi.cn/.default"),
        ("http://127.0.0.1:7072/v1.0", "https://graph.microsoft.com/.default"),
    ],
)
async def test_a_token_is_asked_for_the_cloud_of_the_base_url(graph: ScriptedGraph, base_url: str, scope: str) -> None:
    credential = _Credential("real-token")
    graph.on(USER_PATH, ok({"id": user_id(1)}))
    client = GraphClient(base_url, credential=credential, transport=graph)
    await client.send(user_ask(client))
    await client.aclose()
    assert credential.scopes == [scope]
    assert graph.requests[0].headers["Authorization"] == "Bearer real-token"
    assert not credential.closed, "a credential that was passed in is its owner's"


@pytest.mark.parametrize(
    ("outcome", "expected", "said"),
    [
        (ClientAuthenticationError("AADSTS7000215: Invalid client secret 'hunter2'"), CredentialsError, "AADSTS7000215"),
        (ServiceRequestError("dns"), UnavailableError, "ServiceRequestError"),
        ("", CredentialsError, "empty"),
    ],
)
async def test_a_sign_in_that_fails_sends_nothing_and_tells_no_secret(
    graph: ScriptedGraph, outcome: str | Exception, expected: type[ProvisioningError], said: str
) -> None:
    client = GraphClient("https://graph.microsoft.com/v1.0", credential=_Credential(outcome), transport=graph)
    with pytest.raises(expected, match=said) as caught:
        await client.send(user_ask(client))
    assert "hunter2" not in caught.value.reason
    assert graph.requests == []
    await client.aclose()


@pytest.mark.parametrize(("challenge", "asked"), [("eyJ4IjoxfQ==", [None, '{"x":1}']), ("/w==", [None])])
async def test_a_claims_challenge_is_answered_once(graph: ScriptedGraph, challenge: str, asked: list[str | None]) -> None:
    credential = _Credential("token")
    header = f'Bearer realm="", error="insufficient_claims", claims="{challenge}"'
    graph.on(USER_PATH, httpx.Response(401, headers={"WWW-Authenticate": header}))
    client = GraphClient("https://graph.microsoft.com/v1.0", credential=credential, transport=graph)
    with pytest.raises(CredentialsError):
        await client.send(user_ask(client))
    assert credential.claims == asked
    await client.aclose()


async def test_a_request_that_is_sent_again_is_signed_again(graph: ScriptedGraph) -> None:
    credential = _Credential("first")
    graph.on(USER_PATH, ok({"id": user_id(1)}))
    client = GraphClient("https://graph.microsoft.com/v1.0", credential=credential, transport=graph)
    ask = user_ask(client)
    await client.send(ask)
    credential.outcome = "second"
    await client.send(ask)
    assert [request.headers["Authorization"] for request in graph.requests] == ["Bearer first", "Bearer second"]
    await client.aclose()
