"""What was asked of Graph, what came back, and which error that is. Pure.

A 2xx proves nothing by itself: it must be JSON, without an ``error`` key (design law 6). The same mapping serves a whole
answer and one part of a ``$batch``. Sources: Microsoft Graph docs, "error responses and resource types", "throttling
guidance", "delta query overview" (resets), "JSON batching".
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from shared.errors import (
    ConflictError,
    CredentialsError,
    NotFoundError,
    ProtocolError,
    ProvisioningError,
    RefusedError,
    ResyncRequiredError,
    SchemaMismatchError,
    ThrottledError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kiota_abstractions.request_information import RequestInformation

SIGN_IN_ADVICE: Final = "Check the identity that the app signs in with (managed identity, AZURE_CLIENT_ID) and its tenant."
_RESYNC_CODES: Final = frozenset(
    {"syncstatenotfound", "syncstateinvalid", "resyncrequired", "resyncapplydifferences", "resyncuploaddifferences"},
)
_UNKNOWN_PROPERTY: Final = re.compile(r"could not find a property named|parsing odata select and expand failed", re.IGNORECASE)
_EMAIL_LIKE: Final = re.compile(r"[^\s'\"<>]+@[^\s'\"<>]+")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f]+")
_MESSAGE_LENGTH: Final = 300
# Which limit was met, and whose (Microsoft Graph docs, "throttling guidance").
_THROTTLE_HEADERS: Final = ("x-ms-throttle-information", "x-ms-throttle-scope")
_RETRYABLE_4XX: Final = frozenset({408, 423, 425, 449})


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """One request to Graph, ready to be sent.

    ``route`` is the template without ids (``/users/{user-id}``), for logs and errors; ``permission`` the application
    permission that the docs ask for; ``link`` marks a url that Graph gave us; ``delta`` a delta query; ``writes`` a request
    that changes something, so that a lost answer leaves its fate unknown.
    """

    info: RequestInformation
    method: str
    route: str
    permission: str
    link: bool = False
    delta: bool = False
    writes: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """Graph's answer, or that of one part of a batch. ``headers`` have lower-case names; ``body`` is JSON or None."""

    status: int
    headers: Mapping[str, str]
    body: Any
    is_json: bool = True

    @property
    def request_id(self) -> str:
        """The id that Microsoft's support asks for; parts of a batch carry it in their error body only."""
        from_header = self.headers.get("request-id")
        if from_header:
            return from_header
        inner = _error_of(self.body).get("innerError") or _error_of(self.body).get("innererror")
        found = inner.get("request-id") if isinstance(inner, dict) else None
        return found if isinstance(found, str) and found else "none"

    @property
    def error_code(self) -> str:
        code = _error_of(self.body).get("code")
        return code if isinstance(code, str) else ""

    @property
    def error_message(self) -> str:
        """Graph's words for the operator, without what may be a person's address, on one line."""
        message = _error_of(self.body).get("message")
        if not isinstance(message, str):
            return ""
        return _EMAIL_LIKE.sub("(address)", _UNPRINTABLE.sub(" ", message))[:_MESSAGE_LENGTH]


class DeltaResetError(ResyncRequiredError):
    """Graph asks for a full synchronization. ``location`` is the url of the fresh round, where Graph gave one (410 Gone)."""

    def __init__(self, reason: str, *, location: str | None) -> None:
        super().__init__(reason, recommended_action="None: a full cycle starts by itself.")
        self.location = location


def read_answer(status: int, headers: Mapping[str, str], content: bytes) -> Answer:
    """An answer from its bytes; what is not JSON keeps no body, so that a proxy's page ends in no log."""
    lowered = {name.lower(): value for name, value in headers.items()}
    if not content:
        return Answer(status, lowered, None)
    try:
        return Answer(status, lowered, json.loads(content))
    except (ValueError, RecursionError):
        return Answer(status, lowered, None, is_json=False)


def fault_of(ask: Ask, answer: Answer, now: datetime) -> ProvisioningError | None:
    """The error that ``answer`` is, or None. ``now`` turns a Retry-After date into seconds."""
    reason = _reason(ask, answer)
    if 200 <= answer.status < 300:  # noqa: PLR2004 - the HTTP status classes have no better names than their numbers
        return _fault_in_success(answer, reason)
    if _asks_for_resync(ask, answer):
        return DeltaResetError(reason, location=answer.headers.get("location") or None)
    return _fault_of_status(ask, answer, reason, retry_after(answer, now))


def retry_after(answer: Answer, now: datetime) -> float | None:
    """The server's wish in seconds, from either form of Retry-After (RFC 9110, 10.2.3); None where it states none."""
    value = answer.headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value, now)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _seconds_until(http_date: str, now: datetime) -> float:
    try:
        moment = parsedate_to_datetime(http_date)
    except ValueError:
        return math.nan
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()


def _fault_in_success(answer: Answer, reason: str) -> ProvisioningError | None:
    if not answer.is_json:
        kind = answer.headers.get("content-type", "no content type").partition(";")[0]
        return UnavailableError(f"{reason}, and its body is not JSON ({kind})")
    if isinstance(answer.body, dict) and "error" in answer.body:
        return UnavailableError(f"{reason}, and its body carries an error")
    return None


def _asks_for_resync(ask: Ask, answer: Answer) -> bool:
    if not ask.delta or not 400 <= answer.status < 500:  # noqa: PLR2004 - as above
        return False
    if answer.status == 410 or answer.error_code.lower() in _RESYNC_CODES:  # noqa: PLR2004 - 410 Gone
        return True
    # All that a 400 can mean on a link that Graph made itself is that it no longer knows the state behind it.
    return ask.link and answer.status == 400  # noqa: PLR2004 - 400 Bad Request


def _fault_of_status(ask: Ask, answer: Answer, reason: str, wait: float | None) -> ProvisioningError:  # noqa: C901 - a table
    match answer.status:
        case 401:
            return CredentialsError(reason, recommended_action=SIGN_IN_ADVICE)
        case 403:
            return RefusedError(
                f"{reason}; the docs ask for the application permission {ask.permission}",
                recommended_action=f"Grant the app's identity {ask.permission} in Microsoft Graph, with admin consent.",
            )
        case 404 | 410:
            return NotFoundError(reason)
        case 409:
            return ConflictError(reason)
        case 429 | 509:
            return ThrottledError(reason, retry_after=wait)
        case 501:
            # A property outside the main store (skills, for one) answers so, and always will.
            return _unknown_property(reason)
        case 400 if _UNKNOWN_PROPERTY.search(answer.error_message):
            return _unknown_property(reason)
        case 400 if ask.link and "pagetoken" in answer.error_code.lower():
            return UnavailableError(f"{reason}; the list must be read again from its start")
        case status if status in _RETRYABLE_4XX or status >= 500:  # noqa: PLR2004 - as above
            return UnavailableError(reason, retry_after=wait)
        case 424:
            return UnavailableError(reason, retry_after=wait)
        case _:
            return ProtocolError(reason)


def _unknown_property(reason: str) -> SchemaMismatchError:
    return SchemaMismatchError(
        reason,
        recommended_action="Remove the source attribute that Graph cannot select from the synchronization schema.",
    )


def _reason(ask: Ask, answer: Answer) -> str:
    code = f" {answer.error_code}" if answer.error_code else ""
    message = f": {answer.error_message}" if answer.error_message else ""
    limits = [answer.headers[name] for name in _THROTTLE_HEADERS if answer.headers.get(name)]
    limit = f" [{', '.join(limits)}]" if limits else ""
    return f"Graph answered {answer.status}{code} to {ask.method} {ask.route} (request-id {answer.request_id}){message}{limit}"


def _error_of(body: Any) -> dict[str, Any]:
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}
