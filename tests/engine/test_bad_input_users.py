"""Users whose data does not fit: each ends with a reason in the provisioning log, and comes through when it is mended."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from tests.support.people import hire, record_of

if TYPE_CHECKING:
    from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _retry(here: World) -> None:
    """What an operator does after mending the data in ServiceNow."""
    await here.services.operations.restart("Escrows")
    await here.pump()


async def test_two_records_that_match_are_named_and_none_is_taken(here: World) -> None:
    first = here.insert("sys_user", user_name="twin@contoso.com", title="first")
    twin = here.insert("sys_user", user_name="other@contoso.com", title="second")
    # user_name is unique in ServiceNow; imports made before the index existed have doubles all the same.
    here.instance.instance.set_directly("sys_user", twin, {"user_name": "twin@contoso.com"})
    ann = hire(here, "twin", jobTitle="third")
    await here.cycle()

    assert await here.ended(ann) == ("failure", "DuplicateTargetEntries")
    reason = (await here.log_of(ann))[0]["provisioningStatusInfo"]["errorInformation"]["reason"]
    assert first in reason
    assert twin in reason
    assert [here.rows("sys_user")[sys_id]["title"] for sys_id in (first, twin)] == ["first", "second"]

    here.instance.instance.set_directly("sys_user", twin, {"user_name": "other@contoso.com"})
    await _retry(here)
    assert here.rows("sys_user")[first]["title"] == "third"


@pytest.mark.parametrize(
    ("property_name", "column", "value"),
    [
        ("jobTitle", "title", "R^D lead^NQactive=true"),
        ("jobTitle", "title", 'Head, "Special" Projects\'s'),
        ("jobTitle", "title", "javascript:gs.getUserID()"),
        ("surname", "last_name", "😀 O'Brien"),
        ("surname", "last_name", "Nuñez-Østergård"),
        ("streetAddress", "street", "1 Main St.\r\nBuilding <b>2</b> & 3"),
    ],
)
async def test_a_value_with_signs_of_query_or_script_arrives_as_it_is(
    here: World, property_name: str, column: str, value: str
) -> None:
    name = f"signs{crc32(value.encode())}"
    hire(here, name, **{property_name: value})
    await here.cycle()
    assert record_of(here, name)[column] == value
    assert here.instance.instance.scripts_evaluated == 0


@pytest.mark.parametrize("value", ["R^D^NQnameISNOTEMPTY", "Sales, EMEA", 'The "A" Team', "Señales 😀"])
async def test_a_department_with_such_a_name_is_awaited_and_found_when_it_comes(here: World, value: str) -> None:
    name = f"dept{crc32(value.encode())}"
    person = hire(here, name, department=value)
    await here.cycle()
    assert record_of(here, name)["department"] == ""
    assert await here.ended(person) == ("warning", "Warning")

    made = here.insert("cmn_department", name=value)
    await here.cycle()
    assert record_of(here, name)["department"] == made


async def test_a_department_that_no_query_may_name_is_left_out_and_never_executed(here: World) -> None:
    here.insert("cmn_department", name="javascript:gs.getUserID()")
    person = hire(here, "script", department="javascript:gs.getUserID()")
    await here.cycle()
    assert record_of(here, "script")["department"] == ""
    assert await here.ended(person) == ("warning", "Warning")
    assert here.instance.instance.scripts_evaluated == 0


async def test_a_text_longer_than_its_column_is_left_out_and_said(here: World) -> None:
    long = hire(here, "long", streetAddress="S" * 300, jobTitle="Engineer")
    await here.cycle()
    row = record_of(here, "long")
    assert (row["street"], row["title"]) == ("", "Engineer")
    assert await here.ended(long) == ("warning", "Warning")
    reason = (await here.log_of(long))[0]["provisioningStatusInfo"]["errorInformation"]["reason"]
    assert "street" in reason
    assert "300" in reason

    here.tenant.tenant.update(long, {"streetAddress": "S7"})
    await here.cycle()
    assert record_of(here, "long")["street"] == "S7"


async def test_a_matching_value_longer_than_its_column_is_refused(here: World) -> None:
    name = "l" * 60
    person = hire(here, name)
    await here.cycle()
    assert [row for row in here.rows("sys_user").values() if row["user_name"].startswith("lll")] == []
    assert await here.ended(person) == ("failure", "SchemaPropertyCanOnlyAcceptValue")

    here.tenant.tenant.update(person, {"userPrincipalName": "short.now@contoso.com"})
    await here.cycle()
    assert record_of(here, "short.now")["active"] == "true"


async def test_a_department_that_does_not_exist_is_omitted_and_linked_when_it_comes(here: World) -> None:
    ann = hire(here, "ann.omit", department="Astronomy")
    await here.cycle()
    assert record_of(here, "ann.omit")["department"] == ""
    assert await here.ended(ann) == ("warning", "Warning")
    made = here.insert("cmn_department", name="Astronomy")
    await here.cycle()
    assert record_of(here, "ann.omit")["department"] == made
    assert (await here.ended(ann))[0] == "success"


async def test_a_changed_department_that_does_not_exist_leaves_the_old_one(here: World) -> None:
    old = here.insert("cmn_department", name="Botany")
    bob = hire(here, "bob.moves", department="Botany")
    await here.cycle()
    here.tenant.tenant.update(bob, {"department": "Zoology", "jobTitle": "moved"})
    await here.cycle()
    row = record_of(here, "bob.moves")
    assert (row["department"], row["title"]) == (old, "moved")
    new = here.insert("cmn_department", name="Zoology")
    await here.cycle()
    assert record_of(here, "bob.moves")["department"] == new


async def test_an_ambiguous_department_is_omitted_until_it_is_clear(here: World) -> None:
    here.insert("cmn_department", name="Twofold")
    double = here.insert("cmn_department", name="Twofold")
    ann = hire(here, "ann.two", department="Twofold")
    await here.cycle()
    assert record_of(here, "ann.two")["department"] == ""
    reason = (await here.log_of(ann))[0]["provisioningStatusInfo"]["errorInformation"]["reason"]
    assert "several" in reason
    here.instance.instance.set_directly("cmn_department", double, {"name": "Onefold"})
    await here.cycle()
    assert record_of(here, "ann.two")["department"] not in {"", double}


async def test_a_manager_out_of_scope_is_left_out_and_named(here: World) -> None:
    boss = hire(here, "boss.out", accountEnabled=False)
    ann = hire(here, "ann.out")
    here.tenant.tenant.set_manager(ann, boss)
    await here.cycle()
    assert record_of(here, "ann.out")["manager"] == ""
    assert await here.ended(ann) == ("warning", "Warning")
    reason = (await here.log_of(ann))[0]["provisioningStatusInfo"]["errorInformation"]["reason"]
    assert boss in reason


async def test_somebody_who_is_his_own_manager_is_provisioned_and_linked_to_himself(here: World) -> None:
    ann = hire(here, "ann.self")
    here.tenant.tenant.set_manager(ann, ann)
    await here.cycle()
    row = record_of(here, "ann.self")
    assert row["manager"] == row["sys_id"]
    assert await here.services.escrows.waiting_for_object(ann) == []


async def test_a_circle_of_managers_is_provisioned_whole(here: World) -> None:
    ids = [hire(here, f"circle{number}") for number in range(3)]
    for number, person in enumerate(ids):
        here.tenant.tenant.set_manager(person, ids[(number + 1) % 3])
    await here.cycle()
    rows = [record_of(here, f"circle{number}") for number in range(3)]
    assert [row["manager"] for row in rows] == [rows[1]["sys_id"], rows[2]["sys_id"], rows[0]["sys_id"]]
    before = here.requests()
    await here.cycle()
    assert here.requests() == before


async def test_a_protected_account_is_never_matched_nor_touched(here: World) -> None:
    (admin,) = [row for row in here.rows("sys_user").values() if row["user_name"] == "admin"]
    machine = here.insert("sys_user", user_name="robot@contoso.com", identity_type="machine", title="robot")
    robot = hire(here, "robot", jobTitle="human")
    here.instance.instance.set_directly("sys_user", machine, {"identity_type": "machine"})
    await here.cycle()
    assert await here.ended(robot) == ("failure", "EntryConflict")
    assert here.rows("sys_user")[machine]["title"] == "robot"
    assert here.rows("sys_user")[admin["sys_id"]] == admin
