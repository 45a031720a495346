"""The Batch API's envelope: POST /api/now/v1/batch, bodies in base64, one status per item.

The envelope's 200 says nothing about its items, items run one after the other on one thread, and what does not fit into 30 s
comes back under ``unserviced_requests``. Source: ServiceNow documentation, "Batch API".
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shared.errors import ProtocolError
from shared.servicenow.answers import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH_URL: Final = "/api/now/v1/batch"
_HEADERS: Final = [
    {"name": "Content-Type", "value": "application/json"},
    {"name": "Accept", "value": "application/json"},
]
_ENVELOPE_PER_ITEM: Final = 300


@dataclass(frozen=True, slots=True)
class Item:
    """One request inside a batch; ``url`` is relative to the instance, query string included."""

    method: str
    url: str
    body: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes that the item adds to the envelope, at the most."""
        return _ENVELOPE_PER_ITEM + len(self.url) + (0 if self.body is None else len(self.body) * 4 // 3 + 4)


@dataclass(frozen=True, slots=True)
class Serviced:
    """What became of the items, by position: an answer each, None for those that the answer does not account for.

    ``unserviced`` are the positions that the instance says it did not get to.
    """

    answers: tuple[Answer | None, ...]
    unserviced: frozenset[int]


def write_batch(items: Sequence[Item]) -> bytes:
    """The request body for these items, numbered from 1."""
    requests = []
    for number, item in enumerate(items, start=1):
        request: dict[str, Any] = {"id": str(number), "method": item.method, "url": item.url, "headers": _HEADERS}
        if item.body is not None:
            request["body"] = base64.b64encode(item.body).decode()
        request["exclude_response_headers"] = False
        requests.append(request)
    return json.dumps({"batch_request_id": "1", "rest_requests": requests}).encode()


def read_batch(payload: dict[str, Any], count: int) -> Serviced:
    """The answers to ``count`` items. Raises ProtocolError if the envelope has not the documented shape."""
    serviced, unserviced = payload.get("serviced_requests"), payload.get("unserviced_requests", [])
    if not isinstance(serviced, list) or not isinstance(unserviced, list):
        raise ProtocolError("the answer of the Batch API has no serviced_requests")
    answers: list[Answer | None] = [None] * count
    for item in serviced:
        position = _position(item.get("id") if isinstance(item, dict) else None, count)
        if position is not None and answers[position] is None:
            answers[position] = _answer(item)
    left = {position for position in (_position(number, count) for number in unserviced) if position is not None}
    return Serviced(tuple(answers), frozenset(p for p in left if answers[p] is None))


def _position(number: Any, count: int) -> int | None:
    text = str(number)
    return int(text) - 1 if text.isdecimal() and 1 <= int(text) <= count else None


def _answer(item: dict[str, Any]) -> Answer | None:
    status = str(item.get("status_code"))
    if not status.isdecimal():
        return None
    content = _decoded(item.get("body"))
    headers = {str(h.get("name", "")).lower(): str(h.get("value", "")) for h in item.get("headers") or [] if isinstance(h, dict)}
    # An item's headers may be left out; its own body then says whether it is JSON.
    if "content-type" not in headers and content.lstrip()[:1] in {b"{", b"["}:
        headers["content-type"] = "application/json"
    milliseconds = str(item.get("execution_time", "0"))
    return Answer(int(status), headers, content, int(milliseconds) / 1000 if milliseconds.isdecimal() else 0.0)


def _decoded(body: Any) -> bytes:
    if not isinstance(body, str):
        return b""
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        return body.encode()
