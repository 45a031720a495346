from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from shared.errors import ProtocolError, ResyncRequiredError, SchemaMismatchError, ThrottledError
from shared.graph.answers import DeltaResetError
from shared.graph.delta import DeltaItem, MemberChange, delta_page
from tests.graph.conftest import BASE_URL, NOW, ScriptedGraph, error_reply, group_id, ok, user_id

if TYPE_CHECKING:
    from shared.graph.client import GraphClient

USERS = "/users/delta()"
GROUPS = "/groups/delta()"
DELTA_LINK = f"{BASE_URL}/users/delta?$deltatoken=D1"


def users_page(*items: dict[str, Any]) -> dict[str, Any]:
    return {"value": list(items), "@odata.deltaLink": DELTA_LINK}


async def one_item(client: GraphClient, graph: ScriptedGraph, item: dict[str, Any]) -> DeltaItem:
    graph.on(USERS, ok(users_page(item)))
    return (await delta_page(client, "user", link=None, select=[])).items[0]


async def test_a_first_page_of_users_selects_the_manager(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on(USERS, ok({"value": [], "@odata.nextLink": f"{BASE_URL}/users/delta?$skiptoken=S1"}))
    page = await delta_page(client, "user", link=None, select=["displayName", "id", "manager", "displayName"])
    assert dict(graph.requests[0].url.params) == {"$select": "id,displayName,manager"}
    assert (page.items, page.next_link, page.delta_link) == ((), f"{BASE_URL}/users/delta?$skiptoken=S1", None)
    assert page.read_at == NOW


async def test_a_first_page_of_groups_selects_the_members(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on(GROUPS, ok({"value": [], "@odata.deltaLink": f"{BASE_URL}/groups/delta?$deltatoken=G1"}))
    page = await delta_page(client, "group", link=None, select=["displayName"])
    assert dict(graph.requests[0].url.params) == {"$select": "id,displayName,members"}
    assert page.delta_link == f"{BASE_URL}/groups/delta?$deltatoken=G1"


async def test_a_link_carries_its_own_options_and_is_sent_whole(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on("/users/delta", ok(users_page()))
    link = f"{BASE_URL}/users/delta?$skipToken=aB%2F-_~'x'"
    await delta_page(client, "user", link=link, select=["displayName"])
    assert str(graph.requests[0].url) == link


async def test_a_link_to_another_origin_gets_no_token(client: GraphClient, graph: ScriptedGraph) -> None:
    with pytest.raises(ProtocolError):
        await delta_page(client, "user", link="https://graph.contoso.com/v1.0/users/delta?$deltatoken=x", select=[])
    assert graph.requests == []


async def test_a_page_that_points_elsewhere_is_refused_before_it_is_stored(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on(USERS, ok({"value": [], "@odata.nextLink": "https://graph.contoso.com/v1.0/users/delta?$skiptoken=x"}))
    with pytest.raises(ProtocolError, match="does not lead to"):
        await delta_page(client, "user", link=None, select=[])


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"id": "1"}, None),
        ({"id": "1", "@removed": {"reason": "changed"}}, "changed"),
        ({"id": "1", "@removed": {"reason": "deleted"}}, "deleted"),
        ({"id": "1", "@removed": "deleted"}, "deleted"),
        ({"id": "1", "@removed": "changed"}, "changed"),
        ({"id": "1", "@removed": {"reason": "evaporated"}}, "changed"),
        ({"id": "1", "@removed": {}}, "changed"),
        ({"id": "1", "@removed": None}, "changed"),
    ],
)
async def test_only_graphs_own_word_is_a_permanent_delete(
    client: GraphClient, graph: ScriptedGraph, item: dict[str, Any], expected: str | None
) -> None:
    assert (await one_item(client, graph, item)).removed == expected


async def test_a_cleared_attribute_and_an_absent_one_stay_different(client: GraphClient, graph: ScriptedGraph) -> None:
    item = await one_item(client, graph, {"id": "1", "jobTitle": None})
    assert "jobTitle" in item.raw
    assert "department" not in item.raw


@pytest.mark.parametrize(
    ("relation", "manager", "spoken"),
    [
        ({}, None, False),
        ({"manager@delta": [{"id": "m2"}]}, "m2", True),
        ({"manager@delta": [{"id": "m1", "@removed": {"reason": "deleted"}}, {"id": "m2"}]}, "m2", True),
        ({"manager@delta": [{"id": "m2"}, {"id": "m1", "@removed": {"reason": "deleted"}}]}, "m2", True),
        ({"manager@delta": [{"id": "m1", "@removed": "deleted"}]}, None, True),
        ({"manager@delta": [{"id": "m1"}, {"id": "m2"}]}, "m2", True),
        ({"manager@delta": []}, None, True),
        ({"manager@delta": {"id": "m2"}}, "m2", True),
        ({"manager": {"id": "m2"}}, "m2", True),
        ({"manager": None}, None, True),
    ],
)
async def test_the_manager_is_known_removed_or_not_spoken_of(
    client: GraphClient, graph: ScriptedGraph, relation: dict[str, Any], manager: str | None, spoken: bool
) -> None:
    item = await one_item(client, graph, {"id": "1", **relation})
    assert (item.manager_id, item.has_manager) == (manager, spoken)


async def test_members_come_linked_and_unlinked_with_their_types(client: GraphClient, graph: ScriptedGraph) -> None:
    big = {
        "id": group_id(1),
        "members@delta": [
            {"@odata.type": "#microsoft.graph.user", "id": user_id(1), "@removed": {"reason": "deleted"}},
            {"@odata.type": "#microsoft.graph.device", "id": "d1"},
            {"id": user_id(2), "@removed": "deleted"},
        ],
    }
    graph.on(GROUPS, ok({"value": [big, big, {"id": group_id(2)}], "@odata.deltaLink": DELTA_LINK}))
    page = await delta_page(client, "group", link=None, select=["displayName"])
    assert [item.id for item in page.items] == [group_id(1), group_id(1), group_id(2)], "a group may recur"
    assert page.items[0].members == (
        MemberChange(user_id(1), "user", removed=True),
        MemberChange("d1", "device", removed=False),
        MemberChange(user_id(2), None, removed=True),
    )
    assert page.items[0].has_members
    assert not page.items[2].has_members, "nothing said about members is not an empty group"


@pytest.mark.parametrize(
    ("status", "code", "link"),
    [
        (410, "", True),
        (410, "", False),
        (400, "syncStateNotFound", True),
        (400, "SyncStateNotFound", False),
        (404, "syncStateNotFound", True),
        (400, "resyncRequired", True),
        (400, "resyncApplyDifferences", True),
        (400, "resyncUploadDifferences", True),
        (400, "SomethingNewAboutSyncState", True),
        (400, "BadRequest", True),
    ],
)
async def test_a_state_that_graph_no_longer_knows_asks_for_a_full_cycle(
    client: GraphClient, graph: ScriptedGraph, status: int, code: str, link: bool
) -> None:
    fresh = f"{BASE_URL}/users/delta?$deltatoken="
    for path in (USERS, "/users/delta"):
        graph.on(path, error_reply(status, code, Location=fresh))
    with pytest.raises(ResyncRequiredError, match="rid-1") as caught:
        await delta_page(client, "user", link=DELTA_LINK if link else None, select=[])
    assert isinstance(caught.value, DeltaResetError)
    assert caught.value.location == fresh


async def test_a_first_page_that_is_refused_is_a_fault_of_the_mapping_and_not_a_reset(
    client: GraphClient, graph: ScriptedGraph
) -> None:
    graph.on(USERS, error_reply(400, "BadRequest", "Could not find a property named 'shoeSize' on type 'microsoft.graph.user'."))
    with pytest.raises(SchemaMismatchError, match="shoeSize"):
        await delta_page(client, "user", link=None, select=["shoeSize"])


async def test_a_throttled_link_is_not_a_reset(client: GraphClient, graph: ScriptedGraph) -> None:
    graph.on("/users/delta", error_reply(429, "TooManyRequests", Retry_After="10"))
    with pytest.raises(ThrottledError):
        await delta_page(client, "user", link=DELTA_LINK, select=[])


@pytest.mark.parametrize(
    "page",
    [
        {"value": []},
        {"value": [], "@odata.nextLink": DELTA_LINK, "@odata.deltaLink": DELTA_LINK},
        {"value": [], "@odata.deltaLink": 7},
        {"@odata.deltaLink": DELTA_LINK},
        {"value": {}, "@odata.deltaLink": DELTA_LINK},
        {"value": [{"displayName": "no id"}], "@odata.deltaLink": DELTA_LINK},
        {"value": ["1"], "@odata.deltaLink": DELTA_LINK},
        {"value": [{"id": "1", "members@delta": [{}]}], "@odata.deltaLink": DELTA_LINK},
    ],
)
async def test_a_page_that_would_lose_a_change_is_an_error(
    client: GraphClient, graph: ScriptedGraph, page: dict[str, Any]
) -> None:
    graph.on(USERS, ok(page))
    with pytest.raises(ProtocolError):
        await delta_page(client, "user", link=None, select=[])


async def test_a_page_of_999_users_costs_milliseconds(client: GraphClient, graph: ScriptedGraph) -> None:
    person = {"displayName": "Ann One", "department": "Sales", "mail": None, "manager@delta": [{"id": user_id(0)}]}
    graph.on(USERS, ok(users_page(*({"id": user_id(number), **person} for number in range(999)))))
    fastest = 9.9
    for _ in range(3):
        started = time.process_time()
        assert len((await delta_page(client, "user", link=None, select=["displayName"])).items) == 999
        fastest = min(fastest, time.process_time() - started)
    assert fastest < 0.5, "model classes would take seconds"
