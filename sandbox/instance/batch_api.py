"""The Batch API: ``POST /api/now[/v1|/v2]/batch`` (ServiceNow docs, "Batch API").

Items run one after the other in one transaction, without rollback. When its time is over, the rest is named as
unserviced. The envelope answers 200 whatever became of the items.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote

from .answers import ApiAnswer, ApiRequest, RefusalError, json_answer, refused, unreadable_request
from .capacity import Pace, service_time

if TYPE_CHECKING:
    import random

    from .instance import Instance

OUTPUT_HEADER: Final = "x-batchrequest-max-output-size"
type Dispatch = Callable[[ApiRequest], ApiAnswer]


@dataclass(frozen=True, slots=True)
class BatchApi:
    """Runs batches; ``dispatch`` answers one item, ``note`` hears of each item that is serviced."""

    instance: Instance
    chance: random.Random
    note: Callable[[ApiRequest, ApiAnswer], None]

    async def handle(self, request: ApiRequest, dispatch: Dispatch, pace: Pace) -> ApiAnswer:
        """Answer the envelope; raise RefusalError 400 for one that cannot be read."""
        envelope, items = _envelope(request)
        serviced: list[dict[str, Any]] = []
        unserviced: list[str] = []
        wrote = False
        for position, item in enumerate(items):
            config = self.instance.config
            inner = _inner(request, item)
            seconds = service_time(config, inner.method, self.chance)
            over = pace.planned + seconds > config.batch_time_limit
            if over or (config.batch_item_limit is not None and position >= config.batch_item_limit):
                if over:
                    await pace.spend(max(config.batch_time_limit - pace.planned, 0))
                if config.batch_cut_commits:
                    wrote |= self._answer(inner, item, dispatch).wrote
                unserviced = [str(left.get("id", "")) for left in items[position:]]
                break
            await pace.spend(seconds)
            answer = self._answer(inner, item, dispatch)
            self.note(inner, answer)
            wrote |= answer.wrote
            serviced.append(self._serviced(request, item, answer, seconds))
        batch_id = str(envelope.get("batch_request_id", ""))
        body = {"batch_request_id": batch_id, "serviced_requests": serviced, "unserviced_requests": unserviced}
        return json_answer(200, body, wrote=wrote)

    def _answer(self, inner: ApiRequest, item: Mapping[str, Any], dispatch: Dispatch) -> ApiAnswer:
        if self.instance.count_down("fail_items_next"):
            return refused(RefusalError(self.instance.config.fail_status, "Internal error", None))
        if len(str(item.get("body") or "")) > self.instance.config.batch_item_input:
            return refused(unreadable_request(f"Batch item exceeds {self.instance.config.batch_item_input} bytes"))
        if "/batch" in inner.path:
            return refused(RefusalError(400, "Batch requests cannot be nested", inner.path))
        try:
            return dispatch(inner)
        except RefusalError as refusal:
            return refused(refusal)

    def _serviced(self, request: ApiRequest, item: Mapping[str, Any], answer: ApiAnswer, seconds: float) -> dict[str, Any]:
        limit = self.instance.config.batch_item_output
        lowered = request.headers.get(OUTPUT_HEADER, "")
        limit = min(limit, int(lowered)) if lowered.isascii() and lowered.isdigit() else limit
        error: dict[str, str] = {}
        if len(answer.body) > limit:
            error = {"error_message": f"Response body exceeds the maximum of {limit} bytes"}
            answer = ApiAnswer(500, b"", {}, answer.wrote)
        headers = [] if item.get("exclude_response_headers") is True else answer.headers.items()
        return {
            "id": str(item.get("id", "")),
            "body": base64.b64encode(answer.body).decode(),
            "status_code": answer.status,
            "status_text": HTTPStatus(answer.status).phrase,
            "headers": [{"name": name, "value": value} for name, value in headers],
            "execution_time": round(seconds * 1000),
            **error,
        }


def batch_size(body: bytes) -> int:
    """Return how many items a batch has, 0 if it cannot be read."""
    try:
        items = json.loads(body).get("rest_requests")
    except (ValueError, AttributeError):
        return 0
    return len(items) if isinstance(items, list) else 0


def _envelope(request: ApiRequest) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        envelope = json.loads(request.body)
    except ValueError as error:
        raise unreadable_request(str(error)) from None
    items = envelope.get("rest_requests") if isinstance(envelope, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise unreadable_request("rest_requests must be a list of requests")
    return envelope, items


def _inner(request: ApiRequest, item: Mapping[str, Any]) -> ApiRequest:
    path, _, query = str(item.get("url", "")).partition("?")
    headers = item.get("headers")
    named = {
        str(header.get("name", "")).casefold(): str(header.get("value", ""))
        for header in (headers if isinstance(headers, list) else [])
        if isinstance(header, dict)
    }
    try:
        body = base64.b64decode(str(item.get("body") or ""), validate=True)
    except (binascii.Error, ValueError):
        body = b"\x00"  # no JSON: the item answers 400 like any body that cannot be read
    return ApiRequest(
        method=str(item.get("method", "GET")).upper(),
        path=unquote(path),
        params=dict(parse_qsl(query, keep_blank_values=True)),
        headers=named,
        body=body,
        origin=request.origin,
        query_string=query,
        in_batch=True,
    )
