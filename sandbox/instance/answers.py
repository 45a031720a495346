"""Requests and answers as the instance's interfaces see them, and the documented shapes of its errors.

The same values serve a request of its own and an item of a batch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON_TYPE: Final = "application/json;charset=UTF-8"


class RefusalError(Exception):
    """The instance refuses a request with ServiceNow's error body."""

    def __init__(self, status: int, message: str, detail: str | None) -> None:
        super().__init__(f"{status} {message}: {detail}")
        self.status = status
        self.message = message
        self.detail = detail


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One call of a REST interface. Header names are lower case; ``origin`` is the scheme and host for links."""

    method: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    origin: str
    query_string: str = ""
    in_batch: bool = False

    def flag(self, name: str) -> bool:
        return self.params.get(name, "").casefold() == "true"


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """Status, body and headers of an answer; ``wrote`` says whether a record was changed for it."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    wrote: bool = False


def json_answer(status: int, value: Any, headers: Mapping[str, str] | None = None, *, wrote: bool = False) -> ApiAnswer:
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return ApiAnswer(status, body, {"Content-Type": JSON_TYPE, **(headers or {})}, wrote)


def refused(refusal: RefusalError, headers: Mapping[str, str] | None = None) -> ApiAnswer:
    error = {"error": {"message": refusal.message, "detail": refusal.detail}, "status": "failure"}
    return json_answer(refusal.status, error, headers)


def not_authenticated() -> ApiAnswer:
    refusal = RefusalError(401, "User Not Authenticated", "Required to provide Auth information")
    return refused(refusal, {"WWW-Authenticate": 'BASIC realm="Service-now"'})


def no_record() -> RefusalError:
    return RefusalError(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")


def invalid_table(name: str) -> RefusalError:
    return RefusalError(400, f"Invalid table {name}", None)


def no_resource(path: str) -> RefusalError:
    return RefusalError(400, "Requested URI does not represent any resource", path)


def operation_failed(detail: str) -> RefusalError:
    """403 for an access rule, a business rule, a data policy or a taken unique value alike."""
    return RefusalError(403, "Operation Failed", detail)


def query_forbidden() -> RefusalError:
    return RefusalError(
        403, "Insufficient rights to query records", "Field(s) present in the query do not have permission to be read"
    )


def unreadable_request(detail: str) -> RefusalError:
    return RefusalError(400, "Exception while reading request", detail)


CANCELLED_MESSAGE: Final = "Transaction cancelled: maximum execution time exceeded"
CANCELLED_DETAIL: Final = (
    f"{CANCELLED_MESSAGE} Check logs for error trace or enable glide.rest.debug property to verify REST request processing"
)


def cancelled(status: int, *, broken: bool, partial: bytes = b"") -> ApiAnswer:
    """The answer of a transaction that ran out of time (KB1297438).

    With 200 the error follows what had been written already: as a member beside the rows, or, ``broken``, behind half
    a row so that the body is no JSON. ``partial`` is the complete body that was cut short.
    """
    error = {"error": {"message": CANCELLED_MESSAGE, "detail": CANCELLED_DETAIL}, "status": "failure"}
    if status != 200:  # noqa: PLR2004 - the other documented status of this answer
        return json_answer(status, error)
    if broken:
        half = (partial or b'{"result":[{"sys_id":"')[: max(len(partial) // 2, 20)]
        return ApiAnswer(200, half + json.dumps(error).encode(), {"Content-Type": JSON_TYPE})
    rows = json.loads(partial).get("result", []) if partial else []
    shown = rows[: len(rows) // 2] if isinstance(rows, list) else []
    return json_answer(200, {"result": shown, **error})
