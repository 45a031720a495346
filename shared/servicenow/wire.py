"""One HTTP request to the instance: credentials, a place at the gate, no cookies, and what may be retried on the spot."""

from __future__ import annotations

import asyncio
import http.cookiejar
import logging
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode, urlsplit

import httpx

from shared.errors import CredentialsError, ProvisioningError, UnavailableError
from shared.servicenow.answers import Answer, Asked, retry_after, unsure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from shared.servicenow.auth import Auth
    from shared.servicenow.gate import Gate

_log = logging.getLogger("provisioning.servicenow")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_CONNECT_TIMEOUT = 10.0
_TOKEN_TIMEOUT = 30.0
_PAUSE_BEFORE_RETRY = 0.2
_BATCHES_REFUSED_FOR = 900.0
_COMPLAINTS: Final = frozenset({HTTPStatus.ACCEPTED, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


@dataclass(frozen=True, slots=True)
class Request:
    """``method`` is the HTTP verb; ``asked`` says what it means (a batch of reads is a POST that reads). Timeout in seconds."""

    method: str
    url: str
    asked: Asked
    timeout: float
    body: bytes | None = None
    content_type: str = "application/json"


class _Interrupted(Exception):
    def __init__(self, failure: ProvisioningError) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class Wire:
    """The connection to one instance. ``clock`` is Unix time in seconds; ``sleep`` takes seconds."""

    def __init__(
        self,
        instance_url: str,
        auth: Auth,
        *,
        gate: Gate,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.auth = auth
        self.clock = clock
        self._no_batches_before = 0.0
        self._gate = gate
        self._sleep = sleep
        # httpx logs whole URLs at INFO, and encoded queries hold names and addresses.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._http = httpx.AsyncClient(
            base_url=_checked_url(instance_url),
            transport=transport,
            timeout=httpx.Timeout(None, connect=_CONNECT_TIMEOUT),
            follow_redirects=False,
            headers={"Accept": "application/json", "User-Agent": "entra-servicenow-provisioning"},
            cookies=_no_cookies(),
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    @property
    def batch_refused(self) -> bool:
        """Whether the Batch API as a whole was refused lately; it is tried again after a while, in case somebody opened it."""
        return self.clock() < self._no_batches_before

    def refuse_batches(self) -> None:
        """The Batch API as a whole is closed to us (an access policy, a proxy): the Table API serves alone for a while."""
        self._no_batches_before = self.clock() + _BATCHES_REFUSED_FOR

    def allow_batches(self) -> None:
        self._no_batches_before = 0.0

    async def send(self, request: Request, before: Callable[[], None] | None = None) -> Answer:
        """The answer, whatever its status but 401. ``before`` runs with the place at the gate held, right before the bytes go.

        Raises CredentialsError (refused twice, or refused earlier), UnavailableError (nothing was processed, or only read),
        FateUnknownError (a write was sent and no answer came), ThrottledError (no place at the gate).
        """
        for last in (False, True):
            headers = await self.auth.headers(self._post_form)
            answer = await self._send_patiently(request, headers, before)
            if answer.status != HTTPStatus.UNAUTHORIZED:
                if answer.is_json or answer.status == HTTPStatus.NO_CONTENT:
                    self.auth.accepted()
                return answer
            if not self.auth.refused(headers) or last:
                break
        raise CredentialsError(
            f"ServiceNow answered 401 to {request.asked}",
            recommended_action="Check SERVICENOW_AUTH and its credentials, and the access policies of the integration user.",
        )

    async def _post_form(self, path: str, form: Mapping[str, str]) -> Answer:
        body = urlencode(form, quote_via=quote).encode()
        asked = Asked("GET", "oauth_token")
        request = Request("POST", path, asked, _TOKEN_TIMEOUT, body, "application/x-www-form-urlencoded")
        return await self._send_patiently(request, {}, None)

    async def _send_patiently(self, request: Request, headers: Mapping[str, str], before: Callable[[], None] | None) -> Answer:
        try:
            return await self._send_once(request, headers, before)
        except _Interrupted as interrupted:
            if not request.asked.reads:
                raise interrupted.failure from None
        await self._sleep(_PAUSE_BEFORE_RETRY)
        try:
            return await self._send_once(request, headers, before)
        except _Interrupted as interrupted:
            raise interrupted.failure from None

    async def _send_once(self, request: Request, headers: Mapping[str, str], before: Callable[[], None] | None) -> Answer:
        async with self._gate.slot():
            if before is not None:
                before()
            started = self.clock()
            sent = dict(headers)
            if request.body is not None or request.method == "DELETE":
                sent["Content-Type"] = request.content_type
            try:
                async with asyncio.timeout(request.timeout):
                    response = await self._http.request(request.method, request.url, headers=sent, content=request.body)
            except TimeoutError:
                _log.warning("%s: no answer within %.0f s", request.asked, request.timeout)
                raise unsure(request.asked, f"no answer within {request.timeout:.0f} s", None) from None
            except httpx.RequestError as error:
                # The text of a protocol error can quote a header, so only the kind of error is told.
                kind = type(error).__name__
                _log.warning("%s: %s", request.asked, kind)
                if isinstance(error, _NEVER_SENT):
                    failure: ProvisioningError = UnavailableError(
                        f"{request.asked}: the instance cannot be reached ({kind})",
                        recommended_action="Check SERVICENOW_INSTANCE_URL and the network between the app and the instance.",
                    )
                else:
                    failure = unsure(request.asked, f"the connection was lost ({kind})", None)
                raise _Interrupted(failure) from None
            answer = _read(response, self.clock() - started)
            self._report(request.asked, answer)
            return answer

    def _report(self, asked: Asked, answer: Answer) -> None:
        if answer.status in _COMPLAINTS:
            self.complained(asked, answer)
        else:
            _log.debug("%s: %d in %.0f ms", asked, answer.status, answer.seconds * 1000)
            if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                self._gate.succeeded()

    def complained(self, asked: Asked, answer: Answer) -> None:
        """Tell the gate that the instance is overrun: an answer, or an item of a batch, of 202, 429 or 503."""
        _log.warning("%s: %d in %.0f ms, slowing down", asked, answer.status, answer.seconds * 1000)
        self._gate.slow_down(retry_after(answer.headers, self.clock()))


def table_url(table: str, sys_id: str | None = None, parameters: Sequence[tuple[str, str]] = (), *, api: str = "table") -> str:
    """A path below the instance with its query string, every value quoted."""
    path = f"/api/now/{api}/{quote(table, safe='')}" + ("" if sys_id is None else f"/{quote(sys_id, safe='')}")
    return path + ("?" + urlencode(parameters, quote_via=quote) if parameters else "")


def _read(response: httpx.Response, seconds: float) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, response.content, max(0.0, seconds))


def _checked_url(instance_url: str) -> str:
    parts = urlsplit(instance_url)
    if parts.hostname is None or (parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK)):
        raise CredentialsError(
            "SERVICENOW_INSTANCE_URL is no https address; credentials are not sent in the clear",
            code="ServiceNowInstanceInvalid",
            recommended_action="Set it to https://NAME.service-now.com.",
        )
    return instance_url.rstrip("/")


def _no_cookies() -> http.cookiejar.CookieJar:
    # Parallel requests that share a session cookie are queued by the instance, and above ten ignored with 202 (KB0655956).
    return http.cookiejar.CookieJar(policy=http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
