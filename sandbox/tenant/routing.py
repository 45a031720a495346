"""Which handler answers which request, and what the request costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from sandbox.tenant.errors import bad_request
from sandbox.tenant.query import DEFAULT_PAGE, LARGEST_PAGE
from sandbox.tenant.tokens import ForeignTokenError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from sandbox.tenant.delta import DeltaTokens
    from sandbox.tenant.directory import Tenant
    from sandbox.tenant.messages import GraphRequest, GraphResponse
    from sandbox.tenant.subscriptions import Subscriptions
    from sandbox.tenant.tokens import Sealer
    from sandbox.tenant.view import View


@dataclass(frozen=True, slots=True)
class Services:
    """What handlers work with."""

    tenant: Tenant
    subscriptions: Subscriptions
    sealer: Sealer
    delta_tokens: DeltaTokens


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has found its handler. ``view`` is what the replica that answers it sees."""

    services: Services
    request: GraphRequest
    params: dict[str, str]
    view: View

    @property
    def tenant(self) -> Tenant:
        return self.services.tenant

    def context(self, fragment: str) -> str:
        """The ``@odata.context`` of an answer."""
        return f"{self.request.base}/$metadata#{fragment}"

    def paged[T](
        self, fragment: str, found: Iterator[tuple[int, T]], render: Callable[[T], Any], *, count: Callable[[], int] | None = None
    ) -> dict[str, Any]:
        """A collection with as many items as ``$top`` allows, and a next link if there are more.

        ``found`` yields (where to go on after it, item). All other options stay in the next link.
        """
        size = self.page_size()
        body: dict[str, Any] = {"@odata.context": self.context(fragment)}
        if count is not None and self.request.options.get("count", "").lower() == "true":
            body["@odata.count"] = count()
        items: list[Any] = []
        reached = 0
        for following, item in found:
            if len(items) == size:
                token = self.services.sealer.seal([self.request.path, reached])
                kept = {f"${name}": value for name, value in self.request.options.items() if name != "skiptoken"}
                body["@odata.nextLink"] = (
                    f"{self.request.base}{self.request.path}?{urlencode(kept | {'$skiptoken': token}, safe='$,')}"
                )
                break
            items.append(render(item))
            reached = following
        body["value"] = items
        return body

    def page_size(self) -> int:
        """``$top``, or the default; raises ``GraphError`` 400 beyond the largest page."""
        top = self.request.options.get("top")
        if top is None:
            return DEFAULT_PAGE
        if not top.isdigit() or not 1 <= int(top) <= LARGEST_PAGE:
            raise bad_request(f"Invalid page size specified: '{top}'. Must be between 1 and {LARGEST_PAGE} inclusive.")
        return int(top)

    def start(self) -> int:
        """Where a page begins: what the skip token says, or 0; raises ``GraphError`` 400 for a token from elsewhere."""
        token = self.request.options.get("skiptoken")
        if token is None:
            return 0
        try:
            path, reached = self.services.sealer.open(token)
        except ForeignTokenError as error:
            raise bad_request("The skip token is not valid.", code="Directory_ExpiredPageToken") from error
        if path != self.request.path:
            raise bad_request("The skip token is not valid.", code="Directory_ExpiredPageToken")
        return int(reached)


type Handler = Callable[[Call], Awaitable[GraphResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """``template`` is a path whose ``{name}`` parts match anything; ``units`` is the base cost in resource units."""

    method: str
    template: str
    handler: Handler
    units: int = 1
    subscription_service: bool = False

    @property
    def name(self) -> str:
        return f"{self.method} /{self.template}"


class Router:
    """Finds routes: literal parts go before parameters."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes: dict[tuple[str, int], list[tuple[tuple[str, ...], Route]]] = {}
        for route in routes:
            parts = tuple(route.template.split("/"))
            self._routes.setdefault((route.method, len(parts)), []).append((parts, route))
        for candidates in self._routes.values():
            candidates.sort(key=lambda pair: sum(part.startswith("{") for part in pair[0]))

    def find(self, method: str, segments: tuple[str, ...]) -> tuple[Route, dict[str, str]] | None:
        """The route, and the values of its parameters."""
        for parts, route in self._routes.get((method, len(segments)), ()):
            params = _match(parts, segments)
            if params is not None:
                return route, params
        return None


def _match(parts: tuple[str, ...], segments: tuple[str, ...]) -> dict[str, str] | None:
    params: dict[str, str] = {}
    for part, segment in zip(parts, segments, strict=True):
        if part.startswith("{"):
            params[part[1:-1]] = segment
        elif part.lower() != segment.lower():
            return None
    return params
