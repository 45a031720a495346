"""Who may ask, and how answers look, without a host."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import azure.functions as func
import pytest
from hypothesis import given, settings, strategies as st

from functions.answers import OPERATOR_ROLE, auth_level, body_of, has_role, operator, reply
from shared.errors import CredentialsError, RefusedError, ThrottledError, UnavailableError
from shared.provisioning.requests import BadRequest
from shared.settings import DEVELOPMENT_STORAGE, load_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.settings import Settings

PRINCIPAL = "X-MS-CLIENT-PRINCIPAL"
ROLE_URI = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"


def principal(*claims: dict[str, Any], **changes: Any) -> str:
    document = {"auth_typ": "aad", "claims": list(claims), "name_typ": "name", "role_typ": "roles"} | changes
    return base64.b64encode(json.dumps(document).encode()).decode()


def of_role(value: object, typ: object = "roles") -> dict[str, Any]:
    return {"typ": typ, "val": value}


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def app_settings(auth: str) -> Settings:
    environment = {
        "AzureWebJobsStorage": DEVELOPMENT_STORAGE,
        "SERVICENOW_INSTANCE_URL": "https://contoso.service-now.com",
        "SERVICENOW_AUTH": "api_key",
        "SERVICENOW_API_KEY": "key",
        "OPERATOR_AUTH": auth,
        "WEBSITE_AUTH_ENABLED": "true",
    }
    return load_settings(environment)


def request(body: bytes = b"", headers: dict[str, str] | None = None) -> func.HttpRequest:
    return func.HttpRequest("GET", "/api/job", headers=headers or {}, body=body)


def document_of(response: func.HttpResponse) -> Any:
    return json.loads(response.get_body())


@pytest.mark.parametrize("typ", ["roles", ROLE_URI])
def test_the_operators_role_opens(typ: str) -> None:
    assert has_role(principal({"typ": "name", "val": "Ann"}, of_role("Another.Role"), of_role(OPERATOR_ROLE, typ)))


@pytest.mark.parametrize(
    "header",
    [
        "",
        principal(),
        principal(of_role("Another.Role")),
        principal(of_role(OPERATOR_ROLE.lower())),
        principal(of_role(f"{OPERATOR_ROLE} ")),
        principal(of_role([OPERATOR_ROLE])),
        principal({"typ": "name", "val": OPERATOR_ROLE}),
        principal({"typ": "groups", "val": OPERATOR_ROLE}),
        principal(of_role(OPERATOR_ROLE, ["roles"])),
        principal({"val": OPERATOR_ROLE}),
        principal({"typ": "roles"}),
        principal(claims={"typ": "roles", "val": OPERATOR_ROLE}),
        principal(claims=OPERATOR_ROLE),
        principal(claims=None),
        principal(claims=[None]),
        principal(claims=[["roles", OPERATOR_ROLE]]),
        OPERATOR_ROLE,
        "%%%",
        "é" * 40,
        encoded("not json"),
        encoded(b"\xff\xfe"),
        encoded("[]"),
        encoded("null"),
        encoded("7"),
        encoded("[" * 40_000),
        json.dumps({"claims": [of_role(OPERATOR_ROLE)]}),
        f" {principal(of_role(OPERATOR_ROLE))}",
        principal(of_role(OPERATOR_ROLE), padding="x" * 70_000),
    ],
    ids=lambda header: header[:24],
)
def test_anything_else_opens_nothing(header: str) -> None:
    assert not has_role(header)


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda data: base64.b64encode(data).decode()))
@settings(max_examples=200, deadline=None)
def test_no_garbage_opens(header: str) -> None:
    assert not has_role(header)


async def answered() -> func.HttpResponse:
    return reply({"value": []})


async def test_with_keys_the_host_has_asked_already() -> None:
    response = await operator(request(), app_settings("keys"), answered)
    assert response.status_code == 200
    assert auth_level(app_settings("keys")) is func.AuthLevel.FUNCTION


async def test_with_entra_the_role_decides_and_nothing_is_run_without_it() -> None:
    ran = False

    async def run() -> func.HttpResponse:
        nonlocal ran
        ran = True
        return reply({})

    entra = app_settings("entra")
    assert auth_level(entra) is func.AuthLevel.ANONYMOUS
    for header in ("", "forged", principal(of_role("Another.Role"))):
        response = await operator(request(headers={PRINCIPAL: header} if header else None), entra, run)
        assert response.status_code == 403
        assert document_of(response)["error"]["code"] == "Forbidden"
    assert not ran
    response = await operator(request(headers={PRINCIPAL: principal(of_role(OPERATOR_ROLE))}), entra, run)
    assert (response.status_code, ran) == (200, True)


def failing(error: Exception) -> Callable[[], Awaitable[func.HttpResponse]]:
    async def fail() -> func.HttpResponse:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (BadRequest("$top must be a number"), 400, "BadRequest"),
        (UnavailableError("Table Storage did not answer"), 503, "InternalServerError"),
        (ThrottledError("later"), 503, "TooManyRequests"),
        (CredentialsError("refused"), 422, "Unauthorized"),
        (RefusedError("no role"), 422, "InsufficientRights"),
    ],
)
async def test_failures_are_answered_as_graph_does(error: Exception, status: int, code: str) -> None:
    response = await operator(request(), app_settings("keys"), failing(error))
    assert response.status_code == status
    assert document_of(response) == {"error": {"code": code, "message": str(error)}}
    assert response.mimetype == "application/json"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_defect_is_not_dressed_up_as_an_answer() -> None:
    with pytest.raises(ZeroDivisionError):
        await operator(request(), app_settings("keys"), failing(ZeroDivisionError()))


def test_a_body_is_an_object_or_nothing() -> None:
    assert body_of(request(b"")) == {}
    assert body_of(request(b"  \n")) == {}
    assert body_of(request('{"a": "é"}'.encode())) == {"a": "é"}
    for body in (b"[]", b"null", b"1", b'"x"', b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(BadRequest):
            body_of(request(body))
