"""One request through the whole instance: faults, login, limits, service time, interface, lost answers."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from .answers import (
    ApiAnswer,
    ApiRequest,
    RefusalError,
    cancelled,
    no_resource,
    not_authenticated,
    refused,
)
from .authentication import Authentication
from .batch_api import BatchApi, batch_size
from .capacity import Pace, QueueFullError, RateLimits, Semaphores, SessionBusyError, Sessions, service_time
from .rest_api import Resource, RestApi, check_headers, resource_of

if TYPE_CHECKING:
    from .access import Caller
    from .instance import Instance

_HTML: Final = {"Content-Type": "text/html;charset=UTF-8"}
_HIBERNATING: Final = (
    b"<html><head><title>Instance Hibernating page</title></head><body>Your instance is hibernating.</body></html>"
)
_LOGIN: Final = b"<html><head><title>Log in | ServiceNow</title></head><body><form action='login.do'></form></body></html>"
_MAINTENANCE: Final = b"<html><head><title>Maintenance</title></head><body>The instance is being upgraded.</body></html>"
_TOO_MANY: Final = b"<html><head><title>429</title></head><body>Too many requests</body></html>"
TOKEN_PATH: Final = "/oauth_token.do"


class LostAnswerError(Exception):
    """The connection is cut instead of an answer being sent."""


@dataclass(slots=True)
class Counters:
    """What was asked since ``since`` (unix time): requests by method and path pattern, statuses, batch items."""

    since: float
    http: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    batch_items: Counter[str] = field(default_factory=Counter)
    batch_item_paths: Counter[str] = field(default_factory=Counter)
    batch_item_statuses: Counter[int] = field(default_factory=Counter)
    lost_answers: int = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "since": round(self.since, 3),
            "http_total": self.http.total(),
            "http": dict(sorted(self.http.items())),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "batch_items_total": self.batch_items.total(),
            "batch_items": dict(sorted(self.batch_items.items())),
            "batch_item_paths": dict(sorted(self.batch_item_paths.items())),
            "batch_item_statuses": {str(status): count for status, count in sorted(self.batch_item_statuses.items())},
            "lost_answers": self.lost_answers,
        }


class Service:
    """Answers HTTP requests for an instance, without knowing the web server in front of it."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.authentication = Authentication(instance)
        self.semaphores = Semaphores(instance)
        self.counters = Counters(instance.clock())
        self._sessions = Sessions(instance)
        self._rate_limits = RateLimits(instance)
        self._chance = random.Random(instance.config.seed)
        self._rest = RestApi(instance, self._chance)
        self._batch = BatchApi(instance, self._chance, self._note_item)

    def forget_counts(self) -> None:
        self.counters = Counters(self.instance.clock())
        self.instance.commits.counts.clear()
        self.semaphores.busy_seconds = 0.0

    async def serve(self, request: ApiRequest, session: str) -> ApiAnswer:
        """Return the answer; raise LostAnswerError where the connection is to be cut."""
        request = _overridden(request)
        resource = resource_of(request.path)
        pattern = resource.pattern if resource else TOKEN_PATH if request.path == TOKEN_PATH else "other"
        self.counters.http[f"{request.method} {pattern}"] += 1
        try:
            answer = await self._answer(request, resource, session)
            self._perhaps_lose(answer)
        except LostAnswerError:
            self.counters.lost_answers += 1
            raise
        self.counters.statuses[answer.status] += 1
        return answer

    async def _answer(self, request: ApiRequest, resource: Resource | None, session: str) -> ApiAnswer:
        config = self.instance.config
        if config.hibernating:
            return ApiAnswer(200, _HIBERNATING, _HTML)
        if config.maintenance:
            return ApiAnswer(503, _MAINTENANCE, _HTML)
        if self.instance.count_down("drop_next"):
            raise LostAnswerError
        if request.path == TOKEN_PATH:
            return self._token(request)
        if config.login_page:
            return ApiAnswer(200, _LOGIN, _HTML)
        caller = None if config.refuse_credentials else self.authentication.caller(request.headers)
        if caller is None:
            return not_authenticated()
        if resource is None:
            return refused(no_resource(request.path))
        if len(request.body) > config.payload_limit:
            return refused(too_large(len(request.body), config.payload_limit))
        return await self._limited(request, resource, caller, session)

    def _token(self, request: ApiRequest) -> ApiAnswer:
        if self.instance.config.refuse_credentials or request.method != "POST":
            return not_authenticated()
        form = dict(parse_qsl(request.body.decode(errors="replace"), keep_blank_values=True))
        return self.authentication.token(request.headers.get("content-type", ""), form)

    async def _limited(self, request: ApiRequest, resource: Resource, caller: Caller, session: str) -> ApiAnswer:
        if self.instance.count_down("throttle_next"):
            return ApiAnswer(429, _TOO_MANY, _HTML)
        if self.instance.count_down("ignore_next"):
            return ApiAnswer(202)
        items = resource.kind == "batch" and self.instance.config.rate_limit_batch_items
        number = max(batch_size(request.body), 1) if items else 1
        headers, refusal = self._rate_limits.check(
            caller, resource.api, resource.segments[0] if resource.segments else "", number
        )
        if refusal is not None:
            return refusal
        try:
            async with self._sessions.turn(session), self.semaphores.slot() as pace:
                answer = await self._served(request, resource, caller, pace)
        except SessionBusyError:
            return ApiAnswer(202)
        except QueueFullError:
            return ApiAnswer(429, _TOO_MANY, _HTML)
        except TimeoutError:
            return cancelled(500, broken=False)
        return ApiAnswer(answer.status, answer.body, {**headers, **answer.headers}, answer.wrote)

    async def _served(self, request: ApiRequest, resource: Resource, caller: Caller, pace: Pace) -> ApiAnswer:
        config = self.instance.config
        if self.instance.count_down("slow_next"):
            await pace.spend(config.slow_by)
        try:
            if resource.kind == "batch":
                return await self._batched(request, caller, pace)
            seconds = service_time(config, request.method, self._chance)
            over_time = pace.planned + seconds > config.table_time_limit
            await pace.spend(max(min(seconds, config.table_time_limit - pace.planned), 0))
            if over_time or self.instance.count_down("cancel_next"):
                return self._cancelled(request, caller)
            if self.instance.count_down("fail_next"):
                return refused(RefusalError(config.fail_status, "Internal error", None))
            return self._rest.answer(request, caller)
        except RefusalError as refusal:
            return refused(refusal)

    async def _batched(self, request: ApiRequest, caller: Caller, pace: Pace) -> ApiAnswer:
        if request.method != "POST":
            raise RefusalError(405, "Method not supported", f"{request.method} {request.path}")
        check_headers(request)
        config = self.instance.config
        if self.instance.count_down("fail_next"):
            return refused(RefusalError(config.fail_status, "Internal error", None))
        if self.instance.count_down("cancel_next"):
            return cancelled(config.cancel_status, broken=config.cancel_body == "broken_json")
        return await self._batch.handle(request, lambda item: self._rest.answer(_overridden(item), caller), pace)

    def _cancelled(self, request: ApiRequest, caller: Caller) -> ApiAnswer:
        config = self.instance.config
        partial = self._rest.answer(request, caller).body if request.method == "GET" and config.cancel_status == 200 else b""  # noqa: PLR2004 - the status with rows in it
        return cancelled(config.cancel_status, broken=config.cancel_body == "broken_json", partial=partial)

    def _perhaps_lose(self, answer: ApiAnswer) -> None:
        if not answer.wrote:
            return
        lost = self.instance.count_down("lose_answers_next")
        if lost or self._chance.random() < self.instance.config.lost_answer_probability:
            raise LostAnswerError

    def _note_item(self, item: ApiRequest, answer: ApiAnswer) -> None:
        resource = resource_of(item.path)
        self.counters.batch_items[item.method] += 1
        self.counters.batch_item_paths[f"{item.method} {resource.pattern if resource else 'other'}"] += 1
        self.counters.batch_item_statuses[answer.status] += 1


def too_large(length: int, limit: int) -> RefusalError:
    """The refusal of a body over the inbound limit (KB0747638)."""
    detail = f"Rejected large REST payload with content-length = {length} bytes. Max allowed: {limit} bytes."
    return RefusalError(400, "Exception while reading request", detail)


def _overridden(request: ApiRequest) -> ApiRequest:
    method = request.headers.get("x-http-method-override", "").upper()
    if not method or request.method != "POST":
        return request
    return replace(request, method=method)
