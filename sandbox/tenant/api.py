"""Graph as one function from request to answer: routing, throttling, batches, errors in Graph's shape."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sandbox.tenant import routes_changes, routes_objects, routes_relations
from sandbox.tenant.errors import GraphError, bad_request
from sandbox.tenant.messages import GraphRequest, GraphResponse
from sandbox.tenant.objects import timestamp
from sandbox.tenant.routing import Call, Router, Services
from sandbox.tenant.throttling import Throttle, resource_units

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_STEPS = 20
_METHODS = frozenset({"GET", "POST", "PATCH", "PUT", "DELETE"})


class GraphApi:
    """Answers requests. ``requests`` counts them by route; parts of a batch count singly, and the batch as one more."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._tenant = services.tenant
        self._router = Router([*routes_objects.routes(), *routes_relations.routes(), *routes_changes.routes()])
        self.throttle = Throttle(services.tenant)
        self.requests: Counter[str] = Counter()

    async def answer(self, request: GraphRequest) -> GraphResponse:
        """The answer to a request that came in by itself: credentials first, then faults, then the request."""
        try:
            self._check_credentials(request.headers.get("authorization", ""))
            self._fail_if_told()
            if request.segments == ("$batch",) and request.method == "POST":
                self.requests["POST /$batch"] += 1
                return await self._batch(request)
        except GraphError as error:
            return self._refusal(error, request)
        return await self._dispatch(request)

    async def _dispatch(self, request: GraphRequest) -> GraphResponse:
        """One request, alone or as a part of a batch."""
        headers: dict[str, str] = {}
        try:
            found = self._router.find(request.method, request.segments)
            if found is None:
                self.requests["unknown"] += 1
                message = f"Resource not found for the segment '{request.segments[-1]}'."
                raise GraphError(HTTPStatus.BAD_REQUEST, "BadRequest", message)
            route, params = found
            self.requests[route.name] += 1
            headers = self._throttled(request, route.units, route.subscription_service)
            call = Call(self._services, request, params, self._tenant.replica())
            response = await route.handler(call)
        except GraphError as error:
            return self._refusal(error, request, headers)
        return GraphResponse(response.status, response.body, headers | dict(response.headers))

    def _throttled(self, request: GraphRequest, units: int, subscription_service: bool) -> dict[str, str]:
        return self.throttle.admit(
            units=resource_units(units, request.options),
            writes=request.method != "GET" and not request.segments[-1].startswith("get"),
            subscription_service=subscription_service,
        )

    def _check_credentials(self, authorization: str) -> None:
        scheme, _, token = authorization.partition(" ")
        expected = self._tenant.config.bearer_token
        if scheme.lower() != "bearer" or not token.strip():
            message = "Access token is empty."
        elif self._tenant.faults.refuse_credentials or expected not in {None, token.strip()}:
            message = "Access token validation failure. Invalid signature."
        else:
            return
        raise GraphError(
            HTTPStatus.UNAUTHORIZED, "InvalidAuthenticationToken", message, headers={"WWW-Authenticate": 'Bearer realm=""'}
        )

    def _fail_if_told(self) -> None:
        faults = self._tenant.faults
        if faults.fail_next:
            self._tenant.faults = faults.merged({"fail_next": list(faults.fail_next[1:])})
            status = HTTPStatus(faults.fail_next[0])
            raise GraphError(status, status.phrase.replace(" ", ""), status.description or status.phrase)

    def _refusal(self, error: GraphError, request: GraphRequest, headers: Mapping[str, str] | None = None) -> GraphResponse:
        inner = {
            "date": timestamp(self._tenant.clock()).rstrip("Z"),
            "request-id": str(uuid.uuid4()),
            "client-request-id": request.headers.get("client-request-id") or str(uuid.uuid4()),
        }
        body = {"error": {"code": error.code, "message": error.message, "innerError": inner}}
        return GraphResponse(error.status, body, dict(headers or {}) | error.headers)

    # Batches (source: "Combine multiple HTTP requests using JSON batching", Microsoft Graph docs)

    async def _batch(self, request: GraphRequest) -> GraphResponse:
        """Up to twenty requests; each is judged alone, and the answers come in any order."""
        steps = _checked_steps(request.json_object().get("requests"))
        answers: dict[str, dict[str, Any]] = {}
        while len(answers) < len(steps):
            ready = [
                key
                for key, step in steps.items()
                if key not in answers and all(str(other).lower() in answers for other in step.get("dependsOn") or [])
            ]
            if not ready:
                raise bad_request("The dependencies of the batch requests form a circle.")
            parts = await asyncio.gather(*(self._step(request, steps[key], answers) for key in ready))
            answers.update(zip(ready, parts, strict=True))
        responses = list(answers.values())
        self._tenant.rng.shuffle(responses)
        return GraphResponse(body={"responses": responses})

    async def _step(self, batch: GraphRequest, step: dict[str, Any], answers: dict[str, dict[str, Any]]) -> dict[str, Any]:
        headers = dict(step.get("headers") or {})
        body = step.get("body")
        part = GraphRequest.parse(step["method"], batch.base, step["url"], headers, body)
        needed = [answers[str(other).lower()]["status"] for other in step.get("dependsOn") or []]
        if any(status >= HTTPStatus.BAD_REQUEST for status in needed):
            error = GraphError(HTTPStatus.FAILED_DEPENDENCY, "FailedDependency", "A request that this one depends on failed.")
            response = self._refusal(error, part)
        else:
            response = await self._dispatch(part)
        answer: dict[str, Any] = {"id": step["id"], "status": int(response.status), "headers": dict(response.headers)}
        if response.body is not None:
            answer["headers"]["Content-Type"] = "application/json"
            answer["body"] = response.body
        return answer


def _checked_steps(steps: Any) -> dict[str, dict[str, Any]]:
    """The steps by id in lower case; raises ``GraphError`` 400 for a batch that Graph would not take as a whole."""
    if not isinstance(steps, list) or not steps:
        raise bad_request("Batch requests must contain at least one request.")
    if len(steps) > _MOST_STEPS:
        raise bad_request(f"Number of batch request steps exceeds the maximum value of {_MOST_STEPS}.")
    checked: dict[str, dict[str, Any]] = {}
    for step in steps:
        _check_step(step)
        if step["id"].lower() in checked:
            raise bad_request(f"Request Id {step['id']} has to be unique in a batch.")
        checked[step["id"].lower()] = step
    for step in checked.values():
        for other in step.get("dependsOn") or []:
            if str(other).lower() not in checked:
                raise bad_request(f"Request Id {other}, which another request depends on, is not in the batch.")
    return checked


def _check_step(step: Any) -> None:
    if not isinstance(step, dict) or not isinstance(step.get("id"), str) or not step["id"]:
        raise bad_request("Every batch request needs an id.")
    method, url = step.get("method"), step.get("url")
    if not isinstance(method, str) or method.upper() not in _METHODS:
        raise bad_request(f"Batch request {step['id']} has no valid method.")
    if not isinstance(url, str) or "://" in url.partition("?")[0] or "$batch" in url:
        raise bad_request(f"Batch request {step['id']} needs a relative URL.")
    headers, needed = step.get("headers") or {}, step.get("dependsOn") or []
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise bad_request(f"The headers of batch request {step['id']} are not an object of strings.")
    if not isinstance(needed, list):
        raise bad_request(f"The dependsOn of batch request {step['id']} is not a list of ids.")
    if "body" in step and not any(name.lower() == "content-type" for name in headers):
        raise bad_request(f"Write request id : {step['id']} does not contain Content-Type header or body.")


def encoded(response: GraphResponse) -> tuple[bytes, str]:
    """The body of an answer as bytes, and its content type."""
    if response.body is None:
        return b"", "application/json"
    if isinstance(response.body, str):
        return response.body.encode(), "text/plain"
    content_type = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
    return json.dumps(response.body, ensure_ascii=False, separators=(",", ":")).encode(), content_type
