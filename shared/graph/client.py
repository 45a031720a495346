"""One signed, logged and error-mapped way to Microsoft Graph.

    client.read(lambda graph: graph.users.by_user_id(id), select=[...], permission="User.Read.All")   describes a request
    await client.object(ask)                                                                          sends it

Nothing here sleeps or retries: a throttled request raises ThrottledError with the server's Retry-After, and the event goes
back to its queue.
"""

from __future__ import annotations

import json
import logging
import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from shared.errors import ProtocolError, ProvisioningError
from shared.graph.answers import Answer, Ask, fault_of
from shared.graph.origins import checked_base_url, is_loopback, same_origin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    import httpx
    from azure.core.credentials_async import AsyncTokenCredential

    from shared.graph.adapter import Connection

_LOG: Final = logging.getLogger("provisioning.graph")
_TEMPLATE_EDGES: Final = re.compile(r"^\{\+baseurl\}|\{\?[^}]*\}$")
_EXPECTED_STATUSES: Final = frozenset({404, 410, 429})
_BAD_REQUEST: Final = 400


def utc_now() -> datetime:
    return datetime.now(UTC)


class GraphClient:
    """Microsoft Graph below ``base_url`` (``https://graph.microsoft.com/v1.0``, a national cloud, or a local tenant).

    ``access_token`` is a fixed token, accepted only for a loopback address. Otherwise ``credential`` signs in (the caller
    closes it), or azure-identity's DefaultAzureCredential with its own settings (AZURE_CLIENT_ID, AZURE_AUTHORITY_HOST for
    a national cloud). ``transport`` and ``clock`` are seams for tests. Raises ValueError for a base url or a token that the
    settings should have refused.
    """

    def __init__(
        self,
        base_url: str,
        *,
        access_token: str | None = None,
        credential: AsyncTokenCredential | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], datetime] = utc_now,
        timeout_seconds: float = 60.0,
    ) -> None:
        self.base_url = checked_base_url(base_url)
        if access_token is not None and not is_loopback(self.base_url):
            raise ValueError("GRAPH_ACCESS_TOKEN is accepted only when GRAPH_BASE_URL is a loopback address")
        self._access_token = access_token
        self._credential = credential
        self._transport = transport
        self._timeout_seconds = timeout_seconds
        self._connection: Connection | None = None
        self.now = clock

    async def aclose(self) -> None:
        """Close the connections. The next request would open new ones."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.aclose()

    def read(
        self,
        pick: Callable[[Any], Any],
        *,
        permission: str,
        select: Sequence[str] = (),
        expand: Sequence[str] = (),
        top: int | None = None,
        delta: bool = False,
    ) -> Ask:
        """A GET of what ``pick`` picks from the SDK's request builders. ``select`` must be checked names."""
        info = self._connect().pick(pick).to_get_request_information()
        # The names are those of the SDK's url templates: "$" is %24 there.
        for name, value in (("%24select", list(select)), ("%24expand", list(expand)), ("%24top", top)):
            if value:
                info.query_parameters[name] = value
        return Ask(info, "GET", _route(info.url_template), permission, delta=delta)

    def write(
        self,
        pick: Callable[[Any], Any],
        method: str,
        body: Mapping[str, Any] | None,
        *,
        permission: str,
    ) -> Ask:
        """A request that changes what ``pick`` picks, with a JSON body: the SDK's own would need its model classes."""
        from kiota_abstractions.method import Method
        from kiota_abstractions.request_information import RequestInformation

        builder = self._connect().pick(pick)
        info = RequestInformation(Method(method), builder.url_template, builder.path_parameters)
        info.headers.try_add("Accept", "application/json")
        if body is not None:
            info.set_stream_content(json.dumps(body).encode(), "application/json")
        return Ask(info, method, _route(builder.url_template), permission, writes=True)

    def follow(self, link: str, ask: Ask) -> Ask:
        """The request for a ``link`` that Graph gave in answer to ``ask`` or to one like it; it is sent unchanged.

        Raises ProtocolError if it leads to another origin than ``base_url``: a token is never sent elsewhere.
        """
        self.check_link(link, ask.route)
        from kiota_abstractions.method import Method
        from kiota_abstractions.request_information import RequestInformation

        info = RequestInformation(Method.GET)
        info.url = link
        info.headers.try_add("Accept", "application/json")
        return replace(ask, info=info, method="GET", link=True)

    def check_link(self, link: object, route: str) -> str:
        """``link`` itself. Raises ProtocolError unless it is a url of the same origin as ``base_url``."""
        if not isinstance(link, str) or not same_origin(link, self.base_url):
            raise ProtocolError(
                f"a link of {route} does not lead to {self.base_url}: the token is not sent there",
                recommended_action="Check GRAPH_BASE_URL: links carry the origin that Graph believes it has.",
            )
        return link

    async def send(self, ask: Ask) -> Answer:
        """Send, log, and raise what the answer means; an Answer that comes back is a 2xx with JSON or nothing in it.

        Raises CredentialsError, RefusedError (naming the permission), NotFoundError, ThrottledError, UnavailableError,
        DeltaResetError, SchemaMismatchError (a property that Graph cannot select), ConflictError, ProtocolError; and
        FateUnknownError when the answer to a write was lost. Every reason carries Graph's request-id.
        """
        connection = self._connect()
        started = time.monotonic()
        try:
            answer = await connection.send(ask)
        except ProvisioningError as error:
            _LOG.warning("%s %s no answer %s %.0f ms", ask.method, ask.route, type(error).__name__, _since(started))
            raise
        level = logging.WARNING if answer.status >= _BAD_REQUEST and answer.status not in _EXPECTED_STATUSES else logging.INFO
        _LOG.log(
            level,
            "%s %s %d %.0f ms request-id %s",
            ask.method,
            ask.route,
            answer.status,
            _since(started),
            answer.request_id,
        )
        fault = fault_of(ask, answer, self.now())
        if fault is not None:
            raise fault
        return answer

    async def object(self, ask: Ask) -> dict[str, Any]:
        """The JSON object that answers ``ask``. Raises as ``send`` does, and ProtocolError for anything but an object."""
        answer = await self.send(ask)
        if not isinstance(answer.body, dict):
            raise ProtocolError(f"Graph answered {ask.method} {ask.route} without an object (request-id {answer.request_id})")
        return answer.body

    async def pages(self, ask: Ask) -> AsyncIterator[list[Any]]:
        """The pages of a collection, until one has no nextLink; a page may be short or empty and is not the end.

        Raises as ``object`` does, and ProtocolError for a page without ``value`` or a nextLink that was followed before.
        """
        followed: set[str] = set()
        while True:
            page = await self.object(ask)
            yield collection(page, ask.route)
            link = page.get("@odata.nextLink")
            if link is None:
                return
            ask = self.follow(link, ask)
            if link in followed:
                raise ProtocolError(f"Graph repeats a nextLink of {ask.route}: the list would never end")
            followed.add(link)

    def _connect(self) -> Connection:
        if self._connection is None:
            from shared.graph.adapter import Connection

            self._connection = Connection(
                self.base_url,
                access_token=self._access_token,
                credential=self._credential,
                transport=self._transport,
                timeout_seconds=self._timeout_seconds,
            )
        return self._connection


def collection(page: Mapping[str, Any], route: str) -> list[Any]:
    """``value`` of a page. Raises ProtocolError where it is not a list: an empty guess would look like an empty directory."""
    value = page.get("value")
    if not isinstance(value, list):
        raise ProtocolError(f"Graph answered {route} with a page that has no list of values")
    return value


def _route(url_template: str) -> str:
    """``/users/{user-id}`` from ``{+baseurl}/users/{user%2Did}{?%24expand,%24select}``."""
    return _TEMPLATE_EDGES.sub("", _TEMPLATE_EDGES.sub("", url_template)).replace("%2D", "-")


def _since(started: float) -> float:
    return (time.monotonic() - started) * 1000
