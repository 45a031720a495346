"""What a write does beyond what it says: silent drops, uniqueness, business rules, cascades."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sandbox.instance import BusinessRule, CustomColumn, DataPolicy, Instance, InstanceConfig, seed_references
from sandbox.instance.access import SYSTEM, Caller
from sandbox.instance.answers import RefusalError

from .conftest import Clock, running

if TYPE_CHECKING:
    from sandbox.instance.dictionary import Row


def row_of(instance: Instance, table: str, sys_id: str) -> Row:
    row = instance.tables[table].get(sys_id)
    assert row is not None
    return row


async def test_unknown_columns_and_passwords_are_dropped_without_a_word() -> None:
    async with running() as sn:
        user = await sn.create("sys_user", user_name="ada", u_nonsense="x", user_password="secret", sys_mod_count="99")
        assert "u_nonsense" not in user
        assert user["sys_mod_count"] == "0"
        assert "user_password" not in row_of(sn.server.instance, "sys_user", user["sys_id"])


@pytest.mark.parametrize(("long_values", "length"), [("truncate", 40), ("keep", 300)])
async def test_long_values_are_cut_without_a_word(long_values: str, length: int) -> None:
    async with running(long_values=long_values) as sn:
        assert len((await sn.create("sys_user", user_name="x" * 300))["user_name"]) == length


async def test_lengths_can_be_set() -> None:
    async with running(max_lengths=(("sys_user.country", 60),)) as sn:
        assert (await sn.create("sys_user", user_name="ada", country="Switzerland"))["country"] == "Switzerland"


async def test_a_taken_user_name_is_a_403_that_does_not_say_so() -> None:
    async with running() as sn:
        await sn.create("sys_user", user_name="ada", first_name="Ada", last_name="Byron")
        values = {"user_name": "ADA", "first_name": "Jane", "last_name": "Doe"}
        refused = await sn.admin.post("/api/now/table/sys_user", json=values)
        assert refused.status_code == 403
        assert refused.json()["error"] == {"message": "Operation Failed", "detail": "Error during insert of sys_user (Jane Doe)"}
        other = await sn.create("sys_user", user_name="eve")
        update = await sn.admin.patch(f"/api/now/table/sys_user/{other['sys_id']}", json=values)
        assert update.json()["error"]["detail"] == "Error during update of sys_user (Jane Doe)"
        assert await sn.names("user_name=ada") == ["ada"]


async def test_a_callers_sys_id_makes_a_replay_fail_instead_of_duplicating() -> None:
    async with running() as sn:
        own = "0123456789abcdef0123456789abcdef"
        assert (await sn.create("sys_user_group", sys_id=own, name="Sales"))["sys_id"] == own
        replay = await sn.admin.post("/api/now/table/sys_user_group", json={"sys_id": own, "name": "Sales"})
        assert (replay.status_code, replay.json()["error"]["detail"]) == (403, "Error during insert of sys_user_group (Sales)")
    async with running(honour_sys_id=False) as sn:
        assert (await sn.create("sys_user_group", sys_id=own, name="Sales"))["sys_id"] != own


async def test_group_names_and_memberships_may_repeat_unless_switched_off() -> None:
    async with running() as sn:
        first, second = [await sn.create("sys_user_group", name="Sales") for _ in range(2)]
        assert first["sys_id"] != second["sys_id"]
        user = await sn.create("sys_user", user_name="ada")
        member = {"user": user["sys_id"], "group": first["sys_id"]}
        for _ in range(2):
            await sn.create("sys_user_grmember", **member)
        await sn.faults(unique_memberships=True)
        assert (await sn.admin.post("/api/now/table/sys_user_grmember", json=member)).status_code == 403
    async with running(unique_group_names=True) as sn:
        await sn.create("sys_user_group", name="Sales")
        assert (await sn.admin.post("/api/now/table/sys_user_group", json={"name": "sales"})).status_code == 403


async def test_deactivation_locks_and_reactivation_does_not_unlock() -> None:
    async with running() as sn:
        user = await sn.create("sys_user", user_name="ada")
        url = f"/api/now/table/sys_user/{user['sys_id']}"
        off = (await sn.admin.patch(url, json={"active": False})).json()["result"]
        assert (off["active"], off["locked_out"]) == ("false", "true")
        on = (await sn.admin.patch(url, json={"active": "true"})).json()["result"]
        assert (on["active"], on["locked_out"]) == ("true", "true")
        assert (await sn.admin.patch(url, json={"locked_out": "false"})).json()["result"]["locked_out"] == "false"


def test_a_write_that_changes_nothing_leaves_no_trace() -> None:
    clock = Clock()
    instance = Instance(clock=clock)
    user = instance.insert("sys_user", {"user_name": "ada", "title": "Analyst"}, SYSTEM)
    before = instance.commits.last
    clock.now += 100
    assert instance.update("sys_user", user["sys_id"], {"title": "Analyst", "vip": False, "nonsense": 1}, SYSTEM) is user
    assert instance.commits.last == before
    changed = instance.update("sys_user", user["sys_id"], {"title": "Engineer"}, Caller("me", "", frozenset({"admin"})))
    assert (changed["sys_mod_count"], changed["sys_updated_by"]) == ("1", "me")
    assert changed["sys_updated_on"] > user["sys_updated_on"]
    assert (changed["sys_created_on"], changed["sys_created_by"]) == (user["sys_created_on"], "system")
    assert instance.commits.since(before)[0].fields == ("title",)


async def test_clearing_is_an_empty_text_and_the_name_follows_its_parts() -> None:
    async with running() as sn:
        user = await sn.create("sys_user", user_name="ada", first_name="Ada", last_name="Byron", title="Analyst")
        assert user["name"] == "Ada Byron"
        url = f"/api/now/table/sys_user/{user['sys_id']}"
        changed = (await sn.admin.patch(url, json={"title": "", "last_name": "Lovelace"})).json()["result"]
        assert (changed["title"], changed["name"]) == ("", "Ada Lovelace")


async def test_a_reference_written_as_text_dangles() -> None:
    async with running() as sn:
        user = await sn.create("sys_user", user_name="ada", department="Research")
        link = f"{sn.server.url}/api/now/table/cmn_department/Research"
        assert user["department"] == {"link": link, "value": "Research"}


async def test_display_input_finds_ignores_or_creates_the_reference() -> None:
    async with running() as sn:
        department = await sn.create("cmn_department", name="Research")
        url = "/api/now/table/sys_user?sysparm_input_display_value=true&sysparm_exclude_reference_link=true"

        async def written(name: str, value: str) -> Any:
            answer = await sn.admin.post(url, json={"user_name": name, "department": value})
            return answer.json()["result"]["department"]

        assert await written("a", "research") == department["sys_id"]
        assert await written("b", "Unknown") == ""
        await sn.faults(dynamic_creation=["sys_user.department"])
        created = await written("c", "Unknown")
        assert [row["sys_id"] for row in await sn.rows("cmn_department", sysparm_query="name=Unknown")] == [created]


async def test_deletion_clears_references_and_removes_memberships() -> None:
    async with running() as sn:
        boss = await sn.create("sys_user", user_name="boss")
        ada = await sn.create("sys_user", user_name="ada", manager=boss["sys_id"])
        group = await sn.create("sys_user_group", name="Sales", manager=boss["sys_id"])
        for user in (boss, ada):
            await sn.create("sys_user_grmember", user=user["sys_id"], group=group["sys_id"])
        assert (await sn.admin.delete(f"/api/now/table/sys_user/{boss['sys_id']}")).status_code == 204
        assert (await sn.rows("sys_user", sysparm_query="user_name=ada"))[0]["manager"] == ""
        assert len(await sn.rows("sys_user_grmember")) == 1
        assert (await sn.rows("sys_user_group"))[0]["manager"] == ""
        await sn.admin.delete(f"/api/now/table/sys_user_group/{group['sys_id']}")
        assert await sn.rows("sys_user_grmember") == []


def test_members_of_a_group_with_admin_roles_are_refused() -> None:
    instance = Instance()
    group = instance.insert("sys_user_group", {"name": "Admins"}, SYSTEM)["sys_id"]
    role = instance.tables["sys_user_role"].matches("name", "admin")[0]
    instance.insert("sys_group_has_role", {"group": group, "role": role}, SYSTEM)
    user = instance.insert("sys_user", {"user_name": "ada"}, SYSTEM)["sys_id"]
    caller = Caller("entra.provisioning", "x", frozenset({"user_admin"}))
    with pytest.raises(RefusalError) as refusal:
        instance.insert("sys_user_grmember", {"user": user, "group": group}, caller)
    assert refusal.value.status == 403
    assert refusal.value.detail == (
        "User entra.provisioning without admin/security_admin role is not allowed to grant "
        "admin/security_admin-containing roles or groups."
    )


def test_members_inherit_a_groups_roles_while_they_belong() -> None:
    instance = Instance()
    group = instance.insert("sys_user_group", {"name": "Service desk"}, SYSTEM)["sys_id"]
    role = instance.tables["sys_user_role"].matches("name", "itil")[0]
    instance.insert("sys_group_has_role", {"group": group, "role": role}, SYSTEM)
    user = instance.insert("sys_user", {"user_name": "ada"}, SYSTEM)["sys_id"]
    member = instance.insert("sys_user_grmember", {"user": user, "group": group}, SYSTEM)
    assert instance.role_names("sys_user_has_role", "user", user) == {"itil"}
    instance.delete("sys_user_grmember", member["sys_id"], SYSTEM)
    assert instance.role_names("sys_user_has_role", "user", user) == frozenset()


async def test_configured_rules_and_policies_abort_with_their_403() -> None:
    rule = BusinessRule("No contractors", "sys_user", "titleLIKEcontractor", frozenset({"insert", "update"}))
    async with running(business_rules=(rule,), data_policies=(DataPolicy("sys_user", ("employee_number",)),)) as sn:
        policy = await sn.admin.post("/api/now/table/sys_user", json={"user_name": "ada"})
        assert policy.json()["error"]["detail"] == "Data Policy Exception: The following fields are mandatory: Employee number"
        values = {"user_name": "ada", "employee_number": "1", "title": "Contractor"}
        aborted = await sn.admin.post("/api/now/table/sys_user", json=values)
        assert aborted.status_code == 403
        detail = aborted.json()["error"]["detail"]
        assert detail.startswith("Operation against file 'sys_user' was aborted by Business Rule 'No contractors^")
        assert detail.endswith("'. Business Rule Stack:No contractors")
        assert (await sn.admin.post("/api/now/table/sys_user", json=values | {"title": "Staff"})).status_code == 201


async def test_a_group_cannot_be_its_own_ancestor() -> None:
    async with running() as sn:
        top = await sn.create("sys_user_group", name="Top")
        sub = await sn.create("sys_user_group", name="Sub", parent=top["sys_id"])
        refused = await sn.admin.patch(f"/api/now/table/sys_user_group/{top['sys_id']}", json={"parent": sub["sys_id"]})
        assert refused.status_code == 403


async def test_of_several_records_in_a_body_only_the_first_is_created() -> None:
    async with running() as sn:
        answer = await sn.admin.post("/api/now/table/cmn_department", json=[{"name": "A"}, {"name": "B"}])
        assert answer.status_code == 201
        assert await sn.names("", "name", "cmn_department") == ["A"]


def test_seeding_twice_changes_nothing() -> None:
    instance = Instance(InstanceConfig(custom_columns=(CustomColumn("sys_user", "u_entra_object_id"),)))
    people = [{"user_name": "ada@contoso.com", "first_name": "Ada", "last_name": "Byron"}]
    first = seed_references(instance, departments=["Research", "Sales"], companies=["Contoso"], people=people)
    before = instance.commits.last
    assert seed_references(instance, departments=["Research", "Sales"], companies=["Contoso"], people=people) == first
    assert instance.commits.last == before
    assert row_of(instance, "cmn_department", first["cmn_department"]["Sales"])["name"] == "Sales"
    assert row_of(instance, "sys_user", first["sys_user"]["ada@contoso.com"])["name"] == "Ada Byron"
