"""How objects belong together: managers, memberships, assignments to applications."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from sandbox.tenant.errors import not_found
from sandbox.tenant.messages import GraphResponse
from sandbox.tenant.objects import DirectoryObject, Kind
from sandbox.tenant.query import render
from sandbox.tenant.routes_objects import SETS, reference_id, shape_for
from sandbox.tenant.routing import Call, Route

if TYPE_CHECKING:
    from collections.abc import Iterator

_CASTS = {f"microsoft.graph.{kind.value}": kind for kind in Kind}


def routes() -> list[Route]:
    """Routes of relationships between directory objects."""
    found = [
        Route("GET", "users/{id}/manager", _manager),
        Route("GET", "users/{id}/directReports", _direct_reports, units=2),
        Route("PUT", "users/{id}/manager/$ref", _set_manager),
        Route("DELETE", "users/{id}/manager/$ref", _clear_manager),
        Route("POST", "groups/{id}/members/$ref", _add_member),
        Route("DELETE", "groups/{id}/members/{member}/$ref", _remove_member),
        Route("GET", "servicePrincipals/{id}/appRoleAssignedTo", _assigned_to),
        Route("POST", "servicePrincipals/{id}/appRoleAssignedTo", _assign),
        Route("DELETE", "servicePrincipals/{id}/appRoleAssignedTo/{assignment}", _unassign),
    ]
    for relation, units in (("members", 3), ("transitiveMembers", 5)):
        found.append(Route("GET", f"groups/{{id}}/{relation}", _Members(relation).list, units=units))
        found.append(Route("GET", f"groups/{{id}}/{relation}/{{cast}}", _Members(relation).list, units=units))
    for collection in ("users", "groups", "devices"):
        found.append(Route("GET", f"{collection}/{{id}}/appRoleAssignments", _Of(collection).assignments, units=2))
        for relation in ("memberOf", "transitiveMemberOf"):
            found.append(Route("GET", f"{collection}/{{id}}/{relation}", _Of(collection, relation).groups, units=2))
            found.append(Route("GET", f"{collection}/{{id}}/{relation}/{{cast}}", _Of(collection, relation).groups, units=2))
    return found


def _one(call: Call, kind: Kind, *, primary: bool = False) -> DirectoryObject:
    found = (call.tenant.now() if primary else call.view).find(kind, call.params["id"])
    if found is None:
        raise not_found(call.params["id"])
    return found


async def _manager(call: Call) -> GraphResponse:
    manager = call.view.manager(_one(call, Kind.USER))
    if manager is None:
        raise not_found("manager")
    rendered = render(call.view, manager, shape_for(call, Kind.USER), typed=True)
    return GraphResponse(body={"@odata.context": call.context("directoryObjects/$entity")} | rendered)


async def _direct_reports(call: Call) -> GraphResponse:
    manager = _one(call, Kind.USER)
    return _listed(call, ((edge, user) for edge, user in call.view.all(Kind.USER) if call.view.manager(user) is manager))


async def _set_manager(call: Call) -> GraphResponse:
    reference = reference_id(call.request.json_object().get("@odata.id"))
    call.tenant.set_manager(_one(call, Kind.USER, primary=True).id, reference)
    return GraphResponse(HTTPStatus.NO_CONTENT)


async def _clear_manager(call: Call) -> GraphResponse:
    user = _one(call, Kind.USER, primary=True)
    if user.manager_id is None:
        raise not_found("manager")
    call.tenant.set_manager(user.id, None)
    return GraphResponse(HTTPStatus.NO_CONTENT)


async def _add_member(call: Call) -> GraphResponse:
    reference = reference_id(call.request.json_object().get("@odata.id"))
    call.tenant.add_members(_one(call, Kind.GROUP, primary=True).id, [reference])
    return GraphResponse(HTTPStatus.NO_CONTENT)


async def _remove_member(call: Call) -> GraphResponse:
    call.tenant.remove_members(_one(call, Kind.GROUP, primary=True).id, [call.params["member"]])
    return GraphResponse(HTTPStatus.NO_CONTENT)


def _listed(call: Call, related: Iterator[tuple[int, DirectoryObject]]) -> GraphResponse:
    """A mixed list of objects, or those of one type if the path ends in a cast; ``$count`` gives their number."""
    cast = call.params.get("cast")
    if cast is not None and cast not in {*_CASTS, "$count"}:
        raise not_found(cast)
    if cast == "$count":
        return GraphResponse(body=str(sum(1 for _ in related)))
    kind = _CASTS[cast] if cast else None
    start = call.start()
    remaining = (pair for pair in related if pair[0] > start and (kind is None or pair[1].kind is kind))
    shape = shape_for(call, kind)
    body = call.paged("directoryObjects", remaining, lambda subject: render(call.view, subject, shape, typed=kind is None))
    return GraphResponse(body=body)


class _Members:
    """Direct members, or members at any depth."""

    def __init__(self, relation: str) -> None:
        self._transitive = relation == "transitiveMembers"

    async def list(self, call: Call) -> GraphResponse:
        group = _one(call, Kind.GROUP)
        if self._transitive:
            return _listed(call, enumerate(call.view.transitive_members(group), start=1))
        return _listed(call, call.view.member_edges(group, after=call.start()))


class _Of:
    """What an object of one entity set belongs to."""

    def __init__(self, collection: str, relation: str = "memberOf") -> None:
        self._kind = SETS[collection]
        self._transitive = relation == "transitiveMemberOf"

    async def groups(self, call: Call) -> GraphResponse:
        subject = _one(call, self._kind)
        found = call.view.transitive_groups_of(subject) if self._transitive else call.view.groups_of(subject)
        return _listed(call, enumerate(found, start=1))

    async def assignments(self, call: Call) -> GraphResponse:
        assigned = call.tenant.assignments.of_principal(_one(call, self._kind).id)
        start = call.start()
        found = ((start + offset + 1, made) for offset, made in enumerate(assigned[start:]))
        return GraphResponse(body=call.paged("appRoleAssignments", found, dict))


def _application(call: Call) -> DirectoryObject:
    key = call.params["id"]
    if key.startswith("appId="):
        for _, candidate in call.tenant.now().all(Kind.SERVICE_PRINCIPAL):
            if candidate.properties.get("appId") == key.removeprefix("appId=").lower():
                return candidate
    found = call.tenant.now().find(Kind.SERVICE_PRINCIPAL, key)
    if found is None:
        raise not_found(key)
    return found


async def _assigned_to(call: Call) -> GraphResponse:
    application = _application(call)
    start = call.start()
    assigned = call.tenant.assignments.to_resource(application.id)
    found = ((start + offset + 1, made) for offset, made in enumerate(assigned[start:]))
    return GraphResponse(body=call.paged(f"servicePrincipals('{application.id}')/appRoleAssignedTo", found, dict))


async def _assign(call: Call) -> GraphResponse:
    body = call.request.json_object()
    made = call.tenant.assignments.assign(str(body.get("principalId", "")), _application(call).id, body.get("appRoleId"))
    return GraphResponse(HTTPStatus.CREATED, {"@odata.context": call.context("appRoleAssignments/$entity")} | made)


async def _unassign(call: Call) -> GraphResponse:
    _application(call)
    call.tenant.assignments.unassign(call.params["assignment"])
    return GraphResponse(HTTPStatus.NO_CONTENT)
