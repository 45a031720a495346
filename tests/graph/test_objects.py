from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from shared.errors import CredentialsError, NotFoundError, ProtocolError, RefusedError, SchemaMismatchError, ThrottledError
from shared.graph.objects import (
    Failed,
    Missing,
    ObjectRef,
    Present,
    SoftDeleted,
    default_domain,
    member_of,
    members,
    read_objects,
    transitive_members,
)
from tests.graph.conftest import BASE_URL, NOW, ScriptedGraph, error_reply, group_id, ok, user_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.graph.client import GraphClient

GONE = {"status": 404, "headers": {}, "body": {"error": {"code": "Request_ResourceNotFound"}}}


def directory(objects: dict[str, dict[str, Any]]) -> Callable[[httpx.Request], httpx.Response]:
    """A batch endpoint over path -> part; what it does not know is a 404."""

    def reply(request: httpx.Request) -> httpx.Response:
        parts = json.loads(request.content)["requests"]
        responses = [{"id": part["id"], **objects.get(part["url"].partition("?")[0], GONE)} for part in parts]
        return httpx.Response(200, json={"responses": responses})

    return reply


def part(body: dict[str, Any]) -> dict[str, Any]:
    return {"status": 200, "headers": {}, "body": body}


async def test_a_single_user_is_one_get_with_the_manager(client: GraphClient, graph: ScriptedGraph) -> None:
    raw = {"id": user_id(1), "mail": None, "manager": {"@odata.type": "#microsoft.graph.user", "id": user_id(9)}}
    graph.on(f"/users/{user_id(1)}", ok(raw))
    reads = await read_objects(client, "user", [user_id(1), user_id(1)], ["mail", "manager", "mail"])
    assert reads == {user_id(1): Present(raw, NOW)}
    read = reads[user_id(1)]
    assert isinstance(read, Present)
    assert read.manager_id == user_id(9)
    assert len(graph.requests) == 1
    query = dict(graph.requests[0].url.params)
    assert query == {"$select": "id,mail", "$expand": "manager($select=id)"}


async def test_a_user_without_a_manager_has_none(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on(f"/users/{user_id(1)}", ok({"id": user_id(1)}))
    read = (await read_objects(client, "user", [user_id(1)], []))[user_id(1)]
    assert isinstance(read, Present)
    assert read.manager_id is None


async def test_a_group_is_read_without_its_members(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on(f"/groups/{group_id(1)}", ok({"id": group_id(1), "displayName": "G1"}))
    await read_objects(client, "group", [group_id(1)], ["displayName", "members"])
    assert dict(graph.requests[0].url.params) == {"$select": "id,displayName"}


async def test_a_404_is_looked_for_in_the_recycle_bin_and_else_unknown(client: GraphClient, graph: ScriptedGraph) -> None:
    binned = {"@odata.type": "#microsoft.graph.user", "id": user_id(2), "deletedDateTime": "2026-01-01T00:00:00Z"}
    other_kind = {"@odata.type": "#microsoft.graph.group", "id": user_id(4)}
    graph.on(
        "/$batch",
        directory(
            {
                f"/users/{user_id(1)}": part({"id": user_id(1)}),
                f"/directory/deletedItems/{user_id(2)}": part(binned),
                f"/directory/deletedItems/{user_id(4)}": part(other_kind),
            }
        ),
    )
    ids = [user_id(number) for number in (1, 2, 3, 4)]
    reads = await read_objects(client, "user", ids, ["displayName"])
    assert reads == {
        user_id(1): Present({"id": user_id(1)}, NOW),
        user_id(2): SoftDeleted(binned, NOW),
        user_id(3): Missing(NOW),
        user_id(4): Missing(NOW),
    }
    assert len(graph.requests) == 2


async def test_a_single_404_takes_the_same_way(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on(f"/directory/deletedItems/{group_id(1)}", ok({"id": group_id(1)}))
    assert isinstance((await read_objects(client, "group", [group_id(1)], []))[group_id(1)], SoftDeleted)
    assert isinstance((await read_objects(client, "group", [group_id(2)], []))[group_id(2)], Missing)


async def test_a_bin_that_is_closed_to_us_is_a_failure_and_never_missing(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on(f"/directory/deletedItems/{user_id(1)}", error_reply(403, "Authorization_RequestDenied"))
    read = (await read_objects(client, "user", [user_id(1)], []))[user_id(1)]
    assert isinstance(read, Failed)
    assert isinstance(read.error, RefusedError)


async def test_one_throttled_object_does_not_hold_up_the_others(client: GraphClient, graph: ScriptedGraph) -> None:
    throttled = {"status": 429, "headers": {"Retry-After": "5"}, "body": {"error": {"code": "TooManyRequests"}}}
    graph.on("/$batch", directory({f"/users/{user_id(1)}": part({"id": user_id(1)}), f"/users/{user_id(2)}": throttled}))
    reads = await read_objects(client, "user", [user_id(1), user_id(2)], [])
    assert isinstance(reads[user_id(1)], Present)
    failed = reads[user_id(2)]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, ThrottledError)
    assert failed.error.retry_after == 5.0


async def test_another_objects_answer_is_never_taken(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on(f"/users/{user_id(1)}", ok({"id": user_id(2), "displayName": "Somebody else"}))
    read = (await read_objects(client, "user", [user_id(1)], []))[user_id(1)]
    assert isinstance(read, Failed)
    assert isinstance(read.error, ProtocolError)
    assert "Somebody" not in read.error.reason


async def test_an_id_may_be_written_in_capitals(client: GraphClient, graph: ScriptedGraph) -> None:
    asked = "ABCDEF01-0000-4000-8000-000000000001"
    graph.on(f"/users/{asked}", ok({"id": asked.lower()}))
    assert isinstance((await read_objects(client, "user", [asked], []))[asked], Present)


async def test_refused_credentials_are_raised_at_once(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on(f"/users/{user_id(1)}", error_reply(401, "InvalidAuthenticationToken"))
    with pytest.raises(CredentialsError):
        await read_objects(client, "user", [user_id(1)], [])


@pytest.mark.parametrize("name", ["mail&$filter=x", "manager($levels=max)", "", "a b", "1st"])
async def test_what_is_no_property_name_never_reaches_a_url(client: GraphClient, graph: ScriptedGraph, name: str) -> None:
    with pytest.raises(SchemaMismatchError):
        await read_objects(client, "user", [user_id(1)], [name])
    assert graph.requests == []


async def test_an_id_cannot_leave_its_place_in_the_path(client: GraphClient, graph: ScriptedGraph) -> None:
    await read_objects(client, "user", ["../groups?x=1#", user_id(1)], [])
    urls = [request["url"] for request in graph.body(0)["requests"]] if graph.urls[0] == "/$batch" else graph.urls
    assert urls[0].startswith("/users/..%2Fgroups%3Fx%3D1%23?")


async def test_relations_are_read_to_their_last_page(client: GraphClient, graph: ScriptedGraph) -> None:
    path = f"/groups/{group_id(1)}/members"
    user, device = (
        {"@odata.type": "#microsoft.graph.user", "id": user_id(1)},
        {"@odata.type": "#microsoft.graph.device", "id": "d1"},
    )
    graph.on(
        path,
        ok({"value": [user], "@odata.nextLink": f"{BASE_URL}{path}?$skiptoken=2"}),
        ok({"value": [], "@odata.nextLink": f"{BASE_URL}{path}?$skiptoken=3"}),
        ok({"value": [device, user, {"id": "untyped"}]}),
    )
    assert await members(client, group_id(1)) == (
        ObjectRef(user_id(1), "user"),
        ObjectRef("d1", "device"),
        ObjectRef("untyped", None),
    )
    assert dict(graph.requests[0].url.params) == {"$select": "id", "$top": "999"}


async def test_a_relation_that_breaks_off_is_an_error_and_not_a_shorter_list(client: GraphClient, graph: ScriptedGraph) -> None:
    path = f"/groups/{group_id(1)}/transitiveMembers"
    graph.on(
        path,
        ok({"value": [{"id": user_id(1)}], "@odata.nextLink": f"{BASE_URL}{path}?$skiptoken=2"}),
        error_reply(429, Retry_After="9"),
    )
    with pytest.raises(ThrottledError):
        await transitive_members(client, group_id(1))


async def test_what_a_user_is_member_of_comes_with_its_type(client: GraphClient, graph: ScriptedGraph) -> None:
    rows = [
        {"@odata.type": "#microsoft.graph.group", "id": group_id(1)},
        {"@odata.type": "#microsoft.graph.directoryRole", "id": "r1"},
    ]
    graph.on(f"/users/{user_id(1)}/memberOf", ok({"value": rows}))
    assert await member_of(client, user_id(1)) == (ObjectRef(group_id(1), "group"), ObjectRef("r1", "directoryRole"))


async def test_a_member_without_an_id_is_not_dropped_in_silence(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on(f"/groups/{group_id(1)}/members", ok({"value": [{"@odata.type": "#microsoft.graph.user"}]}))
    with pytest.raises(ProtocolError):
        await members(client, group_id(1))


async def test_the_default_domain_is_the_one_that_is_marked(client: GraphClient, graph: ScriptedGraph) -> None:
    domains = [
        {"name": "contoso.onmicrosoft.com", "isDefault": False, "isInitial": True},
        {"name": "contoso.com", "isDefault": True},
    ]
    graph.on("/organization", ok({"value": [{"id": "t", "verifiedDomains": domains}]}))
    assert await default_domain(client) == "contoso.com"
    graph.on("/organization", ok({"value": [{"id": "t", "verifiedDomains": None}]}))
    with pytest.raises(NotFoundError):
        await default_domain(client)
