"""HTTP answers: JSON, errors in the shape of Microsoft Graph, and who may ask.

With ``OPERATOR_AUTH=keys`` the host itself demands a function key. With ``entra`` App Service authentication stands before the
app and tells who called in ``X-MS-CLIENT-PRINCIPAL``, which it strips from what comes from outside; the caller needs the
app role below.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import math
from typing import TYPE_CHECKING, Any

import azure.functions as func

from shared.errors import ProvisioningError, RetryableError
from shared.provisioning.operations import BadRequest
from shared.provisioning.requests import Faulty, NotNow, Unknown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.settings import Settings

log = logging.getLogger("provisioning.http")

OPERATOR_ROLE = "Provisioning.Operate"
_ROLE_CLAIMS = frozenset({"roles", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"})
_LARGEST_PRINCIPAL = 64 * 1024
_LONGEST_NAME = 256
_MOST_IDS = 500


def reply(document: Any, status: int = 200) -> func.HttpResponse:
    body = json.dumps(document, ensure_ascii=False)
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return func.HttpResponse(body, status_code=status, mimetype="application/json", charset="utf-8", headers=headers)


def problem(status: int, code: str, message: str, *, retry_after: float | None = None) -> func.HttpResponse:
    """An error as Graph answers it; ``retry_after`` in seconds."""
    answer = reply({"error": {"code": code, "message": message}}, status)
    if retry_after is not None:
        answer.headers["Retry-After"] = str(math.ceil(retry_after))
    return answer


def _details(faults: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"code": "InvalidSchema", "target": path, "message": message} for path, message in faults]


def auth_level(settings: Settings) -> func.AuthLevel:
    """What the host demands of an operator's request."""
    return func.AuthLevel.FUNCTION if settings.operator_auth == "keys" else func.AuthLevel.ANONYMOUS


async def operator(
    request: func.HttpRequest, settings: Settings, answer: Callable[[], Awaitable[func.HttpResponse]]
) -> func.HttpResponse:
    """Answer an operator, or say why not.

    403 without the role, 400 for a bad request, 404 for what is not there, 409 for what the present state does not allow, 422
    for what a service refused, 503 while a service cannot answer.
    """
    if settings.operator_auth == "entra" and not has_role(request.headers.get("X-MS-CLIENT-PRINCIPAL", "")):
        return problem(403, "Forbidden", f"the caller needs the app role {OPERATOR_ROLE}")
    try:
        return await answer()
    except BadRequest as error:
        return problem(400, "BadRequest", str(error))
    except Faulty as error:
        return reply({"error": {"code": error.code, "message": str(error), "details": _details(error.faults)}}, 400)
    except Unknown as error:
        return problem(404, "NotFound", str(error))
    except NotNow as error:
        return problem(409, error.code, str(error), retry_after=error.retry_after)
    except RetryableError as error:
        return problem(503, error.code, error.reason, retry_after=error.retry_after)
    except ProvisioningError as error:
        return problem(422, error.code, error.reason)


def has_role(principal: str) -> bool:
    """Whether the platform's principal header carries the operator's role. Anything malformed carries nothing."""
    if not principal or len(principal) > _LARGEST_PRINCIPAL:
        return False
    try:
        document = json.loads(base64.b64decode(principal, validate=True))
        claims = document["claims"]
        return any(claim["typ"] in _ROLE_CLAIMS and claim["val"] == OPERATOR_ROLE for claim in claims)
    except (ValueError, binascii.Error, KeyError, TypeError, RecursionError):
        return False


def operator_name(request: func.HttpRequest, settings: Settings) -> str:
    """Who asks, where the platform vouches for it: a header of that name that came from outside says nothing."""
    return request.headers.get("X-MS-CLIENT-PRINCIPAL-NAME", "")[:_LONGEST_NAME] if settings.operator_auth == "entra" else ""


def chosen(body: dict[str, Any]) -> list[str] | None:
    """``{"ids": [...]}`` as a list, ``{"all": true}`` as None. Raises ``BadRequest`` for anything else."""
    ids = body.get("ids")
    if body == {"all": True}:
        return None
    if (
        "all" in body
        or not isinstance(ids, list)
        or not 1 <= len(ids) <= _MOST_IDS
        or not all(isinstance(one, str) for one in ids)
    ):
        raise BadRequest(f'the body must be {{"ids": [...]}} with 1 to {_MOST_IDS} texts, or {{"all": true}}')
    return ids


def body_of(request: func.HttpRequest) -> dict[str, Any]:
    """The JSON object of a request; empty without a body. Raises ``BadRequest``."""
    raw = request.get_body()
    if not raw.strip():
        return {}
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadRequest("the body is not JSON") from error
    if not isinstance(document, dict):
        raise BadRequest("the body is not a JSON object")
    return document
