"""What an answer proves, and which failure it is otherwise.

A 2xx proves nothing by itself: hibernating instances, login pages and firewalls answer 200 with HTML, a cancelled transaction
answers 200 with an ``error`` after a partly written body, an overflowing session queue answers 202 and does nothing.
Sources: KB1297438, KB0866547 (timeouts), KB3047080 (202), KB0635977 (semaphores, 429), ServiceNow documentation
"REST API HTTP response codes" and "Inbound REST API rate limiting".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from shared.errors import FateUnknownError, ProtocolError, ProvisioningError, ThrottledError, UnavailableError
from shared.servicenow.refusals import is_transaction_cancelled, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

_HIBERNATING = b"Instance Hibernating page"
_MOST_PATIENCE = 24 * 3600.0
_WAIT_FOR_SERVER = 60.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request was about: the HTTP method, the table (or API), and whether it can have changed anything."""

    method: str
    table: str
    columns: tuple[str, ...] = ()

    @property
    def reads(self) -> bool:
        return self.method == "GET"

    def __str__(self) -> str:
        return f"{self.method} {self.table}"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, or one item of a batch answer. Header names are lower-case; ``seconds`` is the time that it took."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    seconds: float = 0.0

    @property
    def is_json(self) -> bool:
        return "json" in self.headers.get("content-type", "").lower()

    @property
    def total(self) -> int | None:
        """``X-Total-Count``: rows that match the query before access rules hide some, or None where it is not stated."""
        stated = self.headers.get("x-total-count", "").strip()
        return int(stated) if stated.isdecimal() else None


class TruncatedAnswerError(UnavailableError):
    """A read was cut short on the server (broken JSON, or cancelled after its time limit): a smaller page may succeed."""


def believe(answer: Answer, asked: Asked, *, now: float) -> dict[str, Any]:
    """The JSON object of a success, ``{}`` for an empty one (204, or a 201 whose record the caller may not read).

    ``now`` is Unix time, for a Retry-After given as a date. Raises the :class:`ProvisioningError` that the answer amounts to.
    """
    status = answer.status
    if status == HTTPStatus.ACCEPTED:
        raise unsure(asked, "202: the session's queue was full and the request was ignored", None)
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return _success(answer, asked)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise ThrottledError(
            f"ServiceNow answered 429 to {asked}",
            retry_after=retry_after(answer.headers, now),
            recommended_action="Lower SERVICENOW_MAX_CONCURRENCY, or look at the rate-limit rules (sys_rate_limit_rules).",
        )
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise UnavailableError(
            f"ServiceNow redirected {asked} with {status}: a login page, or an instance that hibernates",
            recommended_action="Wake the instance, and check SERVICENOW_INSTANCE_URL.",
        )
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        raise UnavailableError(f"ServiceNow answered 503 to {asked}", retry_after=retry_after(answer.headers, now))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _server_failure(answer, asked, now)
    raise refusal(asked.method, asked.table, status, _error_texts(answer), asked.columns)


def unsure(asked: Asked, why: str, wait: float | None) -> ProvisioningError:
    """A failure after which a read is simply repeated, but the fate of a write is not known."""
    if asked.reads:
        return UnavailableError(f"{asked}: {why}", retry_after=wait)
    return FateUnknownError(f"{asked}: {why}", retry_after=_WAIT_FOR_SERVER if wait is None else wait)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait: Retry-After as seconds or date (RFC 9110, 10.2.3), else X-RateLimit-Reset (Unix time); at most a day."""
    stated = headers.get("retry-after", "").strip()
    if stated.isdecimal():
        return min(float(stated), _MOST_PATIENCE)
    if stated:
        try:
            return min(max(0.0, parsedate_to_datetime(stated).timestamp() - now), _MOST_PATIENCE)
        except ValueError:
            pass
    reset = headers.get("x-ratelimit-reset", "").strip()
    if reset.isdecimal():
        return min(max(0.0, float(reset) - now), _MOST_PATIENCE)
    return None


def _success(answer: Answer, asked: Asked) -> dict[str, Any]:
    if not answer.content.strip():
        if asked.reads:
            raise UnavailableError(f"{asked}: {answer.status} with an empty body")
        return {}
    if not answer.is_json:
        raise _foreign_page(answer, asked)
    payload = parsed(answer)
    if payload is None:
        if asked.reads:
            raise TruncatedAnswerError(f"{asked}: {answer.status} with broken JSON of {len(answer.content)} bytes")
        raise unsure(asked, f"{answer.status} with broken JSON", None)
    if "error" in payload:
        texts = _error_texts(answer)
        if is_transaction_cancelled(texts):
            raise _cancelled(asked)
        raise refusal(asked.method, asked.table, answer.status, texts, asked.columns)
    return payload


def _foreign_page(answer: Answer, asked: Asked) -> ProvisioningError:
    if _HIBERNATING in answer.content:
        return UnavailableError(
            f"{asked}: the instance hibernates",
            code="ServiceNowInstanceInvalid",
            recommended_action="Wake the instance at developer.servicenow.com.",
        )
    kind = answer.headers.get("content-type", "no content type")
    failure = unsure(asked, f"{answer.status} with {kind} instead of JSON: a login, single sign-on or firewall page", None)
    failure.recommended_action = "Check SERVICENOW_INSTANCE_URL and what stands before the instance."
    return failure


def _server_failure(answer: Answer, asked: Asked, now: float) -> ProvisioningError:
    if is_transaction_cancelled(_error_texts(answer)):
        return _cancelled(asked)
    return unsure(asked, f"ServiceNow answered {answer.status}", retry_after(answer.headers, now))


def _cancelled(asked: Asked) -> ProvisioningError:
    why = "ServiceNow cancelled the transaction at its time limit"
    return TruncatedAnswerError(f"{asked}: {why}") if asked.reads else unsure(asked, why, None)


def _error_texts(answer: Answer) -> tuple[str, str]:
    """``message`` and ``detail`` of the error body, both empty if it has another shape."""
    payload = parsed(answer)
    error = payload.get("error") if payload is not None else None
    if isinstance(error, str):
        return error, str(payload.get("error_description") or "") if payload is not None else ""
    if not isinstance(error, dict):
        return "", ""
    return str(error.get("message") or ""), str(error.get("detail") or "")


def parsed(answer: Answer) -> dict[str, Any] | None:
    """The body as a JSON object, or None if it is none."""
    try:
        payload = json.loads(answer.content)
    except ValueError:
        return None
    return payload if isinstance(payload, dict) else None


def result_of(payload: dict[str, Any], asked: Asked) -> Any:
    """The value under ``result``. Raises ProtocolError without one."""
    if "result" not in payload:
        raise ProtocolError(f"{asked}: the answer has no result")
    return payload["result"]
