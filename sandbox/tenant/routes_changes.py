"""What tells a client about changes: delta query and subscriptions."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sandbox.tenant.delta import Round, next_page, tracked
from sandbox.tenant.errors import bad_request
from sandbox.tenant.messages import GraphResponse
from sandbox.tenant.objects import DEFAULT_PROPERTIES, Kind
from sandbox.tenant.query import check_select, filtered_ids, selected
from sandbox.tenant.routing import Call, Route

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNSUPPORTED = ("top", "orderby", "expand", "search", "skip", "count")
_MOST_FILTERED = 50


def routes() -> list[Route]:
    """Routes of delta query and of the subscription service."""
    return [
        Route("GET", "users/delta", _Delta("users", Kind.USER).page),
        Route("GET", "groups/delta", _Delta("groups", Kind.GROUP).page),
        Route("GET", "subscriptions", _list, subscription_service=True),
        Route("POST", "subscriptions", _create, subscription_service=True),
        Route("GET", "subscriptions/{id}", _get, subscription_service=True),
        Route("PATCH", "subscriptions/{id}", _update, subscription_service=True),
        Route("DELETE", "subscriptions/{id}", _delete, subscription_service=True),
        Route("POST", "subscriptions/{id}/reauthorize", _reauthorize, subscription_service=True),
    ]


class _Delta:
    """Delta query over one entity set."""

    def __init__(self, collection: str, kind: Kind) -> None:
        self._collection = collection
        self._kind = kind

    async def page(self, call: Call) -> GraphResponse:
        options = call.request.options
        link = f"{call.request.base}/{self._collection}/delta"
        tokens = call.services.delta_tokens
        token = options.get("skiptoken") or options.get("deltatoken")
        position: Round
        if token and token != "latest":
            position = tokens.open(token, self._kind, f"{link}?$deltatoken=")
        else:
            position = self._first(call, options)
        fragment = self._fragment(position)
        if token == "latest":
            following, items, complete = Round(**_now(position)), [], True
        else:
            minimal = "return=minimal" in call.request.headers.get("prefer", "").replace(" ", "").lower()
            page = next_page(call.tenant, call.view, position, minimal=minimal)
            following, items, complete = page.following, page.items, page.complete
        name, key = ("@odata.deltaLink", "$deltatoken") if complete else ("@odata.nextLink", "$skiptoken")
        sealed = quote(tokens.seal(following), safe="")
        return GraphResponse(body={"@odata.context": call.context(fragment), name: f"{link}?{key}={sealed}", "value": items})

    def _first(self, call: Call, options: Mapping[str, str]) -> Round:
        """The beginning of a client's first round: from here on the options live in the token."""
        for option in _UNSUPPORTED:
            if option in options:
                message = f"The query option '${option}' is not supported by delta query."
                raise bad_request(message, code="Request_UnsupportedQuery")
        select = selected(options.get("select"))
        relations = ("manager",) if self._kind is Kind.USER else ("members", "owners")
        check_select(self._kind, select, also=relations)
        names, relation = tracked(self._kind, select, DEFAULT_PROPERTIES[self._kind])
        ids = None
        if options.get("filter"):
            ids = filtered_ids(options["filter"])
            if ids is None or len(ids) > _MOST_FILTERED:
                message = f"Delta query supports only filters of at most {_MOST_FILTERED} 'id eq' clauses."
                raise bad_request(message, code="Request_UnsupportedQuery")
        return Round(self._kind.value, names, relation, ids, initial=True, since=call.view.position)

    def _fragment(self, position: Round) -> str:
        return f"{self._collection}({','.join(position.select)})" if position.select else self._collection


def _now(position: Round) -> dict[str, Any]:
    """A round that begins with the next change."""
    return {
        "kind": position.kind,
        "select": position.select,
        "relation": position.relation,
        "ids": position.ids,
        "at": position.since,
    }


async def _list(call: Call) -> GraphResponse:
    subscriptions = call.services.subscriptions
    value = [subscriptions.rendered(held) for held in subscriptions.live()]
    return GraphResponse(body={"@odata.context": call.context("subscriptions"), "value": value})


def _entity(call: Call, rendered: dict[str, Any]) -> dict[str, Any]:
    return {"@odata.context": call.context("subscriptions/$entity")} | rendered


async def _create(call: Call) -> GraphResponse:
    subscriptions = call.services.subscriptions
    held = await subscriptions.create(call.request.json_object())
    return GraphResponse(HTTPStatus.CREATED, _entity(call, subscriptions.rendered(held)))


async def _get(call: Call) -> GraphResponse:
    subscriptions = call.services.subscriptions
    return GraphResponse(body=_entity(call, subscriptions.rendered(subscriptions.get(call.params["id"]))))


async def _update(call: Call) -> GraphResponse:
    subscriptions = call.services.subscriptions
    held = await subscriptions.update(call.params["id"], call.request.json_object())
    return GraphResponse(body=_entity(call, subscriptions.rendered(held)))


async def _delete(call: Call) -> GraphResponse:
    call.services.subscriptions.delete(call.params["id"])
    return GraphResponse(HTTPStatus.NO_CONTENT)


async def _reauthorize(call: Call) -> GraphResponse:
    call.services.subscriptions.reauthorize(call.params["id"])
    return GraphResponse(HTTPStatus.NO_CONTENT)
