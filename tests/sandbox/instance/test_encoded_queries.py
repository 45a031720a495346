"""Encoded queries: operators, empties, references, injection, and what becomes of invalid parts."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from sandbox.instance import Account, CustomColumn, Instance, InstanceConfig
from sandbox.instance.access import SYSTEM
from sandbox.instance.encoded_query import parse

from .conftest import ADMIN, Clock, client, running


def people(instance: Instance) -> None:
    research = instance.insert("cmn_department", {"name": "Research"}, SYSTEM)["sys_id"]
    boss = instance.insert("sys_user", {"user_name": "Boss", "first_name": "Bob", "last_name": "Berg"}, SYSTEM)["sys_id"]
    values = {"user_name": "ada", "title": "Analyst", "department": research, "manager": boss, "email": "ada@contoso.com"}
    instance.insert("sys_user", values, SYSTEM)
    instance.insert("sys_user", {"user_name": "eve", "active": "false", "notification": "10", "city": "eve"}, SYSTEM)


def found(instance: Instance, query: str, table: str = "sys_user", field: str = "user_name") -> list[str]:
    rows = instance.tables[table]
    return [(rows.get(sys_id) or {}).get(field, "") for sys_id in instance.find(table, parse(query), SYSTEM)]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("user_name=ADA", ["ada"]),
        ("user_nameINada,EVE", ["ada", "eve"]),
        ("user_nameNOT INada,eve", ["Boss"]),
        ("user_name!=ada", ["Boss", "eve"]),
        ("title=", ["Boss", "eve"]),
        ("titleISNOTEMPTY", ["ada"]),
        ("title!=Analyst", ["Boss", "eve"]),
        ("titleEMPTYSTRING^active=true", ["Boss"]),
        ("active!=true", ["eve"]),
        ("user_nameSTARTSWITHA", ["ada"]),
        ("user_nameENDSWITHve", ["eve"]),
        ("user_name%SS", ["Boss"]),
        ("user_nameLIKEd", ["ada"]),
        ("user_name*d", ["ada"]),
        ("user_name!*d", ["Boss", "eve"]),
        ("user_nameNOTLIKEd", ["Boss", "eve"]),
        ("departmentLIKEsear", ["ada"]),
        ("managerSTARTSWITHbob", ["ada"]),
        ("department.name=research", ["ada"]),
        ("manager.user_name=boss", ["ada"]),
        ("user_name=ada^ORuser_name=eve^active=true", ["ada"]),
        ("user_name=ada^NQuser_name=eve", ["ada", "eve"]),
        ("notification>9", ["eve"]),
        ("notification<=2", ["Boss", "ada"]),
        ("notificationBETWEEN3@11", ["eve"]),
        ("user_nameBETWEENa@b", ["ada"]),
        ("citySAMEASuser_name", ["eve"]),
        ("cityNSAMEASuser_name^titleISEMPTY", ["Boss"]),
        ("notificationGT_FIELDcalendar_integration^cityISNOTEMPTY", ["eve"]),
        ("user_nameANYTHING", ["Boss", "ada", "eve"]),
        ("sys_class_nameINSTANCEOFsys_user", ["Boss", "ada", "eve"]),
        ("sys_created_onRELATIVEGE@hour@ago@1", ["Boss", "ada", "eve"]),
        ("sys_created_onRELATIVELT@hour@ago@1", []),
        ("sys_created_onONToday@javascript:gs.beginningOfToday()@javascript:gs.endOfToday()", ["Boss", "ada", "eve"]),
        ("sys_created_onON2001-01-01", []),
        ("123TEXTQUERY321=contoso", ["ada"]),
        ("user_name=ada^EQ", ["ada"]),
        ("nameISEMPTY^titleISEMPTY^active=true", []),
    ],
)
def test_operators_select_what_the_documentation_says(query: str, names: list[str]) -> None:
    instance = Instance(InstanceConfig(accounts=()))
    people(instance)
    assert sorted(found(instance, query)) == names


def test_order_is_by_collation_and_direction() -> None:
    instance = Instance(InstanceConfig(accounts=()))
    people(instance)
    assert found(instance, "ORDERBYuser_name") == ["ada", "Boss", "eve"]
    assert found(instance, "ORDERBYDESCuser_name") == ["eve", "Boss", "ada"]
    assert found(instance, "ORDERBYDESCactive^ORDERBYDESCuser_name") == ["Boss", "ada", "eve"]


def test_memberships_are_found_over_joins_related_lists_and_hierarchies() -> None:
    instance = Instance(InstanceConfig(accounts=()))
    people(instance)
    top = instance.insert("sys_user_group", {"name": "Top"}, SYSTEM)["sys_id"]
    sub = instance.insert("sys_user_group", {"name": "Sub", "parent": top}, SYSTEM)["sys_id"]
    ada = instance.find("sys_user", parse("user_name=ada"), SYSTEM)[0]
    instance.insert("sys_user_grmember", {"user": ada, "group": sub}, SYSTEM)
    assert found(instance, f"JOINsys_user.sys_id=sys_user_grmember.user!group={sub}") == ["ada"]
    assert found(instance, f"RLQUERYsys_user_grmember.user,>=1^group={sub}^ENDRLQUERY") == ["ada"]
    assert found(instance, f"groupIN_HIERARCHY{top}", "sys_user_grmember", "user") == [ada]
    assert found(instance, "user.sys_id=" + ada + "^group.name=sub", "sys_user_grmember", "user") == [ada]


def test_an_invalid_part_is_dropped_and_everybody_comes_back() -> None:
    instance = Instance(InstanceConfig(accounts=()))
    people(instance)
    assert len(found(instance, "u_entra_object_id=abc")) == 3
    assert found(instance, "u_entra_object_id=abc^user_name=ada") == ["ada"]
    assert len(found(instance, "User_name=ada")) == 3
    assert len(found(instance, "gibberish")) == 3


async def test_the_other_two_regimes_for_invalid_queries() -> None:
    async with running(invalid_query="no_rows") as sn:
        assert await sn.names("u_entra_object_id=abc") == []
    async with running(invalid_query="forbidden") as sn:
        params = {"sysparm_query": "u_entra_object_id=abc"}
        refused = await sn.integration.get("/api/now/table/sys_user", params=params)
        assert refused.status_code == 403
        assert refused.json()["error"]["message"] == "Insufficient rights to query records"
        assert len(await sn.names("u_entra_object_id=abc")) == 2


async def test_range_operators_can_need_a_right_of_their_own() -> None:
    async with running(deny_range_queries=True) as sn:
        keyset = {"sysparm_query": "sys_id>0^ORDERBYsys_id"}
        assert (await sn.integration.get("/api/now/table/sys_user", params=keyset)).status_code == 403
        assert (await sn.admin.get("/api/now/table/sys_user", params=keyset)).status_code == 200
        equal = {"sysparm_query": "user_name=admin"}
        assert (await sn.integration.get("/api/now/table/sys_user", params=equal)).status_code == 200


def test_a_script_in_a_value_does_harm_and_is_counted() -> None:
    instance = Instance(InstanceConfig(accounts=()))
    people(instance)
    assert len(found(instance, "user_name=javascript:gs.getUserID()")) == 3
    assert instance.scripts_evaluated == 1
    assert len(found(instance, "sys_id>javascript:x^ORDERBYsys_id")) == 3
    assert instance.scripts_evaluated == 2


def test_a_caret_in_a_value_cannot_be_escaped() -> None:
    instance = Instance(InstanceConfig(accounts=()))
    instance.insert("cmn_department", {"name": "R^ORname=D"}, SYSTEM)
    instance.insert("cmn_department", {"name": "D"}, SYSTEM)
    assert found(instance, "name=R^ORname=D", "cmn_department", "name") == ["D"]
    assert found(instance, "name=R^^ORname=D", "cmn_department", "name") == ["D"]


def test_accents_count_unless_the_collation_ignores_them() -> None:
    for insensitive, names in ((False, []), (True, ["zoë"])):
        instance = Instance(InstanceConfig(accounts=(), accent_insensitive=insensitive))
        instance.insert("sys_user", {"user_name": "zoë"}, SYSTEM)
        assert found(instance, "user_name=ZOE") == names


def test_relative_times_follow_the_clock() -> None:
    clock = Clock()
    instance = Instance(InstanceConfig(accounts=()), clock=clock)
    people(instance)
    clock.now += 3 * 3600
    assert found(instance, "sys_updated_onRELATIVEGE@hour@ago@2") == []
    stamp = datetime.fromtimestamp(clock.now - 4 * 3600, UTC).strftime("%Y-%m-%d %H:%M:%S")
    assert len(found(instance, f"sys_updated_on>={stamp}")) == 3


async def test_inactive_users_can_be_hidden_from_all_but_administrators() -> None:
    async with running(hide_inactive_users=True) as sn:
        user = await sn.create("sys_user", user_name="ada", active=False)
        url = f"/api/now/table/sys_user/{user['sys_id']}"
        query = {"sysparm_query": "user_name=ada"}
        hidden = await sn.integration.get("/api/now/table/sys_user", params=query)
        assert (hidden.json()["result"], hidden.headers["X-Total-Count"]) == ([], "0")
        assert (await sn.integration.get(url)).status_code == 404
        assert (await sn.integration.patch(url, json={"title": "x"})).status_code == 404
        again = await sn.integration.post("/api/now/table/sys_user", json={"user_name": "ada"})
        assert again.status_code == 403
        assert (await sn.admin.get(url)).status_code == 200


async def test_without_an_order_pages_can_overlap() -> None:
    async with running(unstable_order=True) as sn:
        for number in range(30):
            await sn.create("cmn_department", name=f"{number:02}")
        pages = [await sn.names("", "name", "cmn_department") for _ in range(3)]
        assert len({tuple(page) for page in pages}) > 1
        ordered = [await sn.names("ORDERBYsys_id", "name", "cmn_department") for _ in range(3)]
        assert len({tuple(page) for page in ordered}) == 1


def test_queries_on_fifty_thousand_memberships_stay_light() -> None:
    instance = Instance(InstanceConfig(accounts=()))
    group = instance.insert("sys_user_group", {"name": "Everybody"}, SYSTEM)["sys_id"]
    row = instance.insert("sys_user_grmember", {"user": "", "group": group}, SYSTEM)
    table = instance.tables["sys_user_grmember"]
    for number in range(50_000):
        table.put({**row, "sys_id": f"{number:032x}", "user": f"{number:031x}f"})
    queries = [
        f"group={group}^user={77:031x}f",
        f"group={group}^sys_id>{40_000:032x}^ORDERBYsys_id",
        f"group={group}^userIN" + ",".join(f"{number:031x}f" for number in range(100)),
        f"sys_id>{49_000:032x}^ORDERBYsys_id",
    ]
    started = time.process_time()
    assert instance.find("sys_user_grmember", parse(f"sys_idENDSWITH{77:05x}"), SYSTEM)
    whole_table = time.process_time() - started
    started = time.process_time()
    for _ in range(5):
        for query in queries:
            assert instance.find("sys_user_grmember", parse(query), SYSTEM)
    assert (time.process_time() - started) / 20 < whole_table / 3


def test_custom_columns_can_be_queried_and_described() -> None:
    instance = Instance(InstanceConfig(accounts=(), custom_columns=(CustomColumn("sys_user", "u_entra_object_id", unique=True),)))
    instance.insert("sys_user", {"user_name": "ada", "u_entra_object_id": "1-2-3"}, SYSTEM)
    assert found(instance, "u_entra_object_id=1-2-3") == ["ada"]
    assert found(instance, "name=sys_user^element=u_entra_object_id", "sys_dictionary", "internal_type") == ["string"]


async def test_the_property_for_invalid_queries_works_when_a_person_sets_it() -> None:
    async with running(accounts=(Account("admin", "admin", ("admin",)),)) as sn, client(sn.server.url, ADMIN) as admin:
        values = {"name": "glide.invalid_query.returns_no_rows", "value": "true"}
        assert (await admin.post("/api/now/table/sys_properties", json=values)).status_code == 201
        assert await sn.names("no_such_column=1") == []
