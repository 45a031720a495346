"""Users, groups and other directory objects: read, create, change, delete."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sandbox.tenant.errors import bad_request, not_found
from sandbox.tenant.messages import GraphResponse
from sandbox.tenant.objects import PROPERTIES, DirectoryObject, Kind, State
from sandbox.tenant.query import Shape, check_select, predicate_of, render, selected, shape_of
from sandbox.tenant.routing import Call, Route

if TYPE_CHECKING:
    from collections.abc import Iterator

SETS = {
    "users": Kind.USER,
    "groups": Kind.GROUP,
    "devices": Kind.DEVICE,
    "servicePrincipals": Kind.SERVICE_PRINCIPAL,
}
_MOST_IDS = 1000
_UNSUPPORTED = ("skip", "apply")
_BOUND_MEMBERS = "members@odata.bind"


def routes() -> list[Route]:
    """Routes of directory objects of all types."""
    found = []
    for collection, kind in SETS.items():
        found += [
            Route("GET", collection, _Collection(collection, kind).list, units=2 if kind is Kind.USER else 1),
            Route("GET", f"{collection}/$count", _Collection(collection, kind).count),
            Route("GET", f"{collection}/{{id}}", _Collection(collection, kind).get),
        ]
    for collection in ("users", "groups"):
        kind = SETS[collection]
        found += [
            Route("POST", collection, _Collection(collection, kind).create),
            Route("PATCH", f"{collection}/{{id}}", _Collection(collection, kind).update),
            Route("DELETE", f"{collection}/{{id}}", _Collection(collection, kind).delete),
        ]
        bin_set = f"directory/deletedItems/microsoft.graph.{kind.value}"
        found.append(Route("GET", bin_set, _Collection(collection, kind).list_deleted))
    return [
        *found,
        Route("GET", "directoryObjects/{id}", _get_object),
        Route("POST", "directoryObjects/getByIds", _get_by_ids, units=3),
        Route("GET", "directory/deletedItems/{id}", _get_deleted),
        Route("POST", "directory/deletedItems/{id}/restore", _restore),
        Route("DELETE", "directory/deletedItems/{id}", _purge),
        Route("GET", "organization", _organization),
    ]


def shape_for(call: Call, kind: Kind | None = None) -> Shape:
    """The shape that the options ask for, checked against the type where it is known."""
    for option in _UNSUPPORTED:
        if option in call.request.options:
            raise bad_request(f"The query option '${option}' is not supported.", code="Request_UnsupportedQuery")
    shape = shape_of(call.request.options, call.request.headers)
    if kind is not None:
        also = ("manager",) if kind is Kind.USER else ("members",) if kind is Kind.GROUP else ()
        check_select(kind, shape.select, also=also)
        check_select(Kind.USER, shape.manager_select)
    return shape


class _Collection:
    """The handlers of one entity set."""

    def __init__(self, name: str, kind: Kind) -> None:
        self._name = name
        self._kind = kind

    async def list(self, call: Call) -> GraphResponse:
        return self._listed(call, State.LIVE, self._name)

    async def list_deleted(self, call: Call) -> GraphResponse:
        return self._listed(call, State.DELETED, f"directory/deletedItems/microsoft.graph.{self._kind.value}")

    async def count(self, call: Call) -> GraphResponse:
        if call.request.headers.get("consistencylevel") != "eventual":
            raise bad_request("$count requires the header ConsistencyLevel: eventual.", code="Request_BadRequest")
        return GraphResponse(body=str(sum(1 for _ in self._found(call, State.LIVE, 0))))

    async def get(self, call: Call) -> GraphResponse:
        subject = self._one(call)
        shape = shape_for(call, self._kind)
        return GraphResponse(body=_entity(call, f"{self._name}/$entity", render(call.view, subject, shape)))

    async def create(self, call: Call) -> GraphResponse:
        body = dict(call.request.json_object())
        members = _bound(body.pop(_BOUND_MEMBERS, []))
        for member in members:
            if call.tenant.now().find(None, member) is None:
                raise not_found(member)
        subject = call.tenant.create(self._kind, body)
        if members:
            call.tenant.add_members(subject.id, members)
        rendered = render(call.tenant.now(), subject, Shape())
        return GraphResponse(HTTPStatus.CREATED, _entity(call, f"{self._name}/$entity", rendered))

    async def update(self, call: Call) -> GraphResponse:
        subject = self._one(call, primary=True)
        body = dict(call.request.json_object())
        members = _bound(body.pop(_BOUND_MEMBERS, []))
        call.tenant.update(subject.id, body)
        if members:
            call.tenant.add_members(subject.id, members)
        return GraphResponse(HTTPStatus.NO_CONTENT)

    async def delete(self, call: Call) -> GraphResponse:
        call.tenant.delete(self._one(call, primary=True).id)
        return GraphResponse(HTTPStatus.NO_CONTENT)

    def _one(self, call: Call, *, primary: bool = False) -> DirectoryObject:
        """The object that the path names; writes go to the primary, which knows everything."""
        key = call.params["id"]
        view = call.tenant.now() if primary else call.view
        if key.startswith("appId="):
            wanted = key.removeprefix("appId=").lower()
            for _, candidate in view.all(self._kind):
                if str(candidate.properties.get("appId", "")).lower() == wanted:
                    return candidate
            raise not_found(wanted)
        found = view.find(self._kind, key)
        if found is None:
            raise not_found(key)
        return found

    def _listed(self, call: Call, state: State, fragment: str) -> GraphResponse:
        shape = shape_for(call, self._kind)
        found = self._found(call, state, call.start())
        body = call.paged(
            fragment,
            found,
            lambda subject: render(call.view, subject, shape),
            count=lambda: sum(1 for _ in self._found(call, state, 0)),
        )
        return GraphResponse(body=body)

    def _found(self, call: Call, state: State, start: int) -> Iterator[tuple[int, DirectoryObject]]:
        found = call.view.all(self._kind, state, start=start)
        text = call.request.options.get("filter")
        if not text:
            return found
        matches = predicate_of(text, self._kind)
        return ((following, subject) for following, subject in found if matches(call.view, subject))


async def _get_object(call: Call) -> GraphResponse:
    subject = call.view.find(None, call.params["id"])
    if subject is None:
        raise not_found(call.params["id"])
    rendered = render(call.view, subject, shape_for(call), typed=True)
    return GraphResponse(body=_entity(call, "directoryObjects/$entity", rendered))


async def _get_by_ids(call: Call) -> GraphResponse:
    """Unknown and deleted ids are absent from the answer."""
    body = call.request.json_object()
    ids, types = body.get("ids"), body.get("types") or []
    if not isinstance(ids, list) or not 1 <= len(ids) <= _MOST_IDS:
        raise bad_request(f"The parameter 'ids' takes between 1 and {_MOST_IDS} ids.", code="Request_BadRequest")
    found = []
    for object_id in dict.fromkeys(str(value) for value in ids):
        subject = call.view.find(None, object_id)
        if subject is not None and (not types or subject.kind.value in types or "directoryObject" in types):
            shape = Shape(("id", *PROPERTIES[subject.kind]))
            found.append(render(call.view, subject, shape, typed=True))
    return GraphResponse(body={"@odata.context": call.context("directoryObjects"), "value": found})


async def _get_deleted(call: Call) -> GraphResponse:
    subject = call.view.find(None, call.params["id"], State.DELETED)
    if subject is None:
        raise not_found(call.params["id"])
    rendered = render(call.view, subject, shape_for(call), typed=True)
    return GraphResponse(body=_entity(call, "directoryObjects/$entity", rendered))


async def _restore(call: Call) -> GraphResponse:
    subject = call.tenant.restore(call.params["id"])
    rendered = render(call.tenant.now(), subject, Shape(), typed=True)
    return GraphResponse(body=_entity(call, "directoryObjects/$entity", rendered))


async def _purge(call: Call) -> GraphResponse:
    call.tenant.purge(call.params["id"])
    return GraphResponse(HTTPStatus.NO_CONTENT)


async def _organization(call: Call) -> GraphResponse:
    domains = [
        {
            "capabilities": "Email, OfficeCommunicationsOnline",
            "isDefault": index == 0,
            "isInitial": index == 1,
            "name": name,
            "type": "Managed",
        }
        for index, name in enumerate(call.tenant.domains)
    ]
    values = {"id": call.tenant.config.tenant_id, "displayName": "Contoso", "verifiedDomains": domains}
    select = selected(call.request.options.get("select"))
    shown = {name: value for name, value in values.items() if select is None or name in select}
    return GraphResponse(body={"@odata.context": call.context("organization"), "value": [shown]})


def _entity(call: Call, fragment: str, rendered: dict[str, Any]) -> dict[str, Any]:
    return {"@odata.context": call.context(fragment)} | rendered


def _bound(urls: Any) -> list[str]:
    if not isinstance(urls, list):
        raise bad_request(f"'{_BOUND_MEMBERS}' must be a list of references.")
    return [reference_id(url) for url in urls]


def reference_id(url: Any) -> str:
    """The object id at the end of a reference; raises ``GraphError`` 400 if there is none."""
    if not isinstance(url, str) or "/" not in url:
        raise bad_request("Invalid URL format specified in @odata.id of the payload.", code="Request_BadRequest")
    return url.rstrip("/").rpartition("/")[2]
