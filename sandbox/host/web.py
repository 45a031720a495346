"""HTTP triggers: routes, keys, and requests and responses in the shapes that the runtime library reads and writes.

Source: Azure Functions docs, "Azure Functions HTTP trigger"; Azure/azure-functions-host, WebScriptHostHttpRoutesManager.cs (a
method that is not allowed is a route that does not exist).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from sandbox.host.bindings import HttpTrigger
from sandbox.host.routing import Route
from sandbox.host.runtime import Datum

if TYPE_CHECKING:
    from collections.abc import Iterable

    from multidict import MultiMapping

    from sandbox.host.bindings import Function
    from sandbox.host.invocations import Invoker
    from sandbox.host.keys import HostKeys

_log = logging.getLogger(__name__)

LARGEST_BODY: Final = 100 * 1024 * 1024
# The server frames the response itself.
_FRAMING_HEADERS: Final = frozenset({"content-length", "transfer-encoding", "connection"})


@dataclass(frozen=True, slots=True)
class _HttpFunction:
    function: Function
    trigger: HttpTrigger
    route: Route


class HttpTriggers:
    """Answers requests by running functions. ``keys`` is None where no key is asked for, as with ``func start``."""

    def __init__(self, functions: Iterable[Function], invoker: Invoker, *, route_prefix: str, keys: HostKeys | None) -> None:
        self._invoker = invoker
        self._keys = keys
        prefix = f"{route_prefix}/" if route_prefix else ""
        found = [
            _HttpFunction(function, function.trigger, Route.compile(prefix + function.trigger.route))
            for function in functions
            if isinstance(function.trigger, HttpTrigger)
        ]
        self._functions = sorted(found, key=lambda candidate: candidate.route.precedence)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The aiohttp handler of every path that is not the host's own."""
        for candidate in self._functions:
            methods = candidate.trigger.methods
            if methods is not None and request.method not in methods:
                continue
            parameters = candidate.route.match(request.rel_url.raw_path)
            if parameters is not None:
                return await self._answer(candidate, request, parameters)
        return web.Response(status=404)

    async def _answer(self, candidate: _HttpFunction, request: web.Request, parameters: dict[str, str]) -> web.StreamResponse:
        if not permitted(self._keys, request, candidate.trigger.auth_level, candidate.function.name):
            return web.Response(status=401)
        datum = await request_datum(request, parameters)
        reason = "This function was programmatically called via the host APIs."
        outcome = await self._invoker.run(candidate.function, datum, {}, reason=reason)
        if outcome.error is not None:
            return web.Response(status=500)
        returned = outcome.returned
        if returned is None:
            returned = next((value for _, value in outcome.outputs if value.type == "http"), None)
        return response_from(returned)


def permitted(keys: HostKeys | None, request: web.Request, auth_level: str, function_name: str) -> bool:
    """Whether the request shows a key that suffices, in ``x-functions-key`` or ``?code=``."""
    if keys is None:
        return True
    presented = request.headers.get("x-functions-key") or request.query.get("code")
    return keys.permit(presented, auth_level, function_name)


async def request_datum(request: web.Request, parameters: dict[str, str]) -> Datum:
    """A request as the worker's protocol carries it; repeated headers and query parameters are joined by commas."""
    return Datum(
        {
            "method": _text(request.method),
            "url": _text(str(request.url)),
            "headers": _joined(request.headers, ", "),
            "params": {name: _text(value) for name, value in parameters.items()},
            "query": _joined(request.query, ","),
            "body": Datum(await request.read(), "bytes"),
        },
        "http",
    )


def response_from(returned: Datum | None) -> web.Response:
    """What a function returned as an HTTP response: a string is its text, nothing is 204."""
    if returned is None or returned.type is None:
        return web.Response(status=204)
    if returned.type != "http":
        body = returned.value if isinstance(returned.value, bytes) else str(returned.value).encode()
        return web.Response(body=body, content_type="text/plain", charset="utf-8")
    value: dict[str, Any] = returned.value
    response = web.Response(status=int(value["status_code"].value), body=value["body"].value)
    for name, header in value["headers"].items():
        if name.lower() not in _FRAMING_HEADERS:
            response.headers[name] = header.value
    for cookie in value.get("cookies") or ():
        for morsel in cookie.values():
            response.headers.add("Set-Cookie", morsel.OutputString())
    return response


def _text(value: str) -> Datum:
    return Datum(value, "string")


def _joined(values: MultiMapping[str], separator: str) -> dict[str, Datum]:
    joined: dict[str, str] = {}
    for name, value in values.items():
        key = name.lower() if separator != "," else name
        joined[key] = f"{joined[key]}{separator}{value}" if key in joined else value
    return {name: _text(value) for name, value in joined.items()}
