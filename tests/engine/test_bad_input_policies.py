"""The same bad input where the schema says what to do: matching by employee number, failing, creating and cutting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from sandbox.instance import AccessRule, InstanceConfig
from sandbox.instance.config import DEFAULT_ACCESS, INTEGRATION_ROLE
from tests.support.people import hire, record_of
from tests.support.schemas import variant
from tests.support.world import World, world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(storage: str) -> AsyncIterator[World]:
    mappings = variant(
        matching="employee_number",
        columns={
            "department": {"ReferencePolicy": "fail"},
            "location": {"ReferencePolicy": "create"},
            "city": {"OnOverflow": "truncate"},
        },
        added=[("u_nickname", "mailNickname")],
        options={"ProtectedAccounts": "admin, svc-*"},
    )
    may_add_locations = AccessRule(INTEGRATION_ROLE, insert=frozenset({"cmn_location"}))
    instance = InstanceConfig(accent_insensitive=True, access_rules=(*DEFAULT_ACCESS, may_add_locations))
    async with world(storage, instance=instance, mappings=mappings) as made:
        await made.cycle()
        yield made


async def test_a_user_without_the_matching_attribute_waits_for_one(here: World) -> None:
    ann = hire(here, "ann.blank")
    await here.cycle()
    assert here.user("ann.blank@contoso.com") is None
    assert await here.ended(ann) == ("failure", "EntryJoiningPropertyValueIsMissing")
    assert (await here.services.escrows.counts())["retry"] == 1

    here.tenant.tenant.update(ann, {"employeeId": "A-1"})
    await here.cycle()
    assert record_of(here, "ann.blank")["employee_number"] == "A-1"


async def test_a_matching_attribute_is_not_blanked(here: World) -> None:
    ann = hire(here, "ann.kept", employeeId="K-1", jobTitle="old")
    await here.cycle()
    here.tenant.tenant.update(ann, {"employeeId": None, "jobTitle": "new"})
    await here.cycle()
    assert await here.ended(ann) == ("failure", "EntryJoiningPropertyValueIsMissing")
    assert record_of(here, "ann.kept")["employee_number"] == "K-1"

    here.tenant.tenant.update(ann, {"employeeId": "K-2"})
    await here.cycle()
    row = record_of(here, "ann.kept")
    assert (row["employee_number"], row["title"]) == ("K-2", "new")


@pytest.mark.parametrize("number", ["R^D^NQactive=1", "7,8", '"9"', "É-5 😀"])
async def test_a_matching_value_that_is_hard_to_ask_for_matches_its_record_alone(here: World, number: str) -> None:
    made = here.insert("sys_user", user_name=f"by.hand.{number}", employee_number=number, title="old")
    others = {sys_id for sys_id in here.rows("sys_user") if sys_id != made}
    before = {sys_id: here.rows("sys_user")[sys_id] for sys_id in others}
    person = hire(here, f"hard{ord(number[0])}", employeeId=number, jobTitle="matched")
    await here.cycle()
    assert here.rows("sys_user")[made]["title"] == "matched"
    assert here.rows("sys_user")[made]["user_name"] == f"hard{ord(number[0])}@contoso.com"
    assert {sys_id: here.rows("sys_user")[sys_id] for sys_id in others} == before
    assert (await here.services.joins.get("user", person)).sys_id == made


async def test_a_matching_value_that_would_be_executed_is_refused(here: World) -> None:
    ann = hire(here, "ann.script", employeeId="javascript:1")
    await here.cycle()
    assert here.user("ann.script@contoso.com") is None
    status, code = await here.ended(ann)
    assert status == "failure"
    assert code
    assert here.instance.instance.scripts_evaluated == 0


async def test_a_record_that_is_equal_only_by_collation_is_a_conflict(here: World) -> None:
    stranger = here.insert("sys_user", user_name="stranger", employee_number="Jose", title="stranger")
    jose = hire(here, "jose", employeeId="José", jobTitle="engineer")
    await here.cycle()
    assert await here.ended(jose) == ("failure", "EntryConflict")
    assert here.rows("sys_user")[stranger]["title"] == "stranger"
    assert here.user("jose@contoso.com") is None

    here.instance.instance.set_directly("sys_user", stranger, {"employee_number": "Peter"})
    await here.services.operations.restart("Escrows")
    await here.pump()
    assert record_of(here, "jose")["title"] == "engineer"


async def test_policy_fail_provisions_nobody_until_the_department_is_there(here: World) -> None:
    ann = hire(here, "ann.fail", employeeId="F-1", department="Astronomy")
    bob = hire(here, "bob.fail", employeeId="F-2")
    await here.cycle()
    assert here.user("ann.fail@contoso.com") is None
    assert record_of(here, "bob.fail")["active"] == "true"
    assert await here.ended(ann) == ("failure", "InvalidLookupReference")
    assert await here.ended(bob) == ("warning", "Warning")

    made = here.insert("cmn_department", name="Astronomy")
    await here.cycle()
    assert record_of(here, "ann.fail")["department"] == made


async def test_policy_fail_leaves_the_record_of_somebody_who_moves_as_it_was(here: World) -> None:
    here.insert("cmn_department", name="Botany")
    ann = hire(here, "ann.moves", employeeId="F-3", department="Botany", jobTitle="old")
    await here.cycle()
    before = record_of(here, "ann.moves")
    here.tenant.tenant.update(ann, {"department": "Zoology", "jobTitle": "new"})
    await here.cycle()
    assert await here.ended(ann) == ("failure", "InvalidLookupReference")
    assert record_of(here, "ann.moves") == before
    here.insert("cmn_department", name="Zoology")
    await here.cycle()
    assert record_of(here, "ann.moves")["title"] == "new"


async def test_policy_create_makes_a_record_once_however_many_need_it(here: World) -> None:
    for number in range(30):
        hire(here, f"crowd{number}", employeeId=f"C-{number}", officeLocation="Moon Base")
    await here.cycle()
    made = [sys_id for sys_id, row in here.rows("cmn_location").items() if row["name"] == "Moon Base"]
    assert len(made) == 1
    assert {record_of(here, f"crowd{number}")["location"] for number in range(30)} == set(made)


async def test_policy_truncate_cuts_to_the_column_and_says_so(here: World) -> None:
    ann = hire(here, "ann.cut", employeeId="T-1", city="C" * 100)
    await here.cycle()
    assert record_of(here, "ann.cut")["city"] == "C" * 40
    assert await here.ended(ann) == ("warning", "Warning")
    before = here.requests()
    await here.services.operations.restart("Watermark")
    await here.pump()
    assert here.requests() == before


async def test_a_mapped_column_that_does_not_exist_is_left_out_and_said(here: World) -> None:
    ann = hire(here, "ann.column", employeeId="X-1", jobTitle="Engineer")
    await here.cycle()
    assert record_of(here, "ann.column")["title"] == "Engineer"
    assert await here.ended(ann) == ("warning", "Warning")
    reason = (await here.log_of(ann))[0]["provisioningStatusInfo"]["errorInformation"]["reason"]
    assert "sys_user.u_nickname" in reason


async def test_a_protected_name_is_not_touched_even_if_it_matches(here: World) -> None:
    service = here.insert("sys_user", user_name="SVC-backup", employee_number="S-1", title="service")
    ann = hire(here, "ann.service", employeeId="S-1", jobTitle="human")
    await here.cycle()
    assert await here.ended(ann) == ("failure", "EntryConflict")
    assert here.rows("sys_user")[service]["title"] == "service"


async def test_two_objects_with_one_matching_value_do_not_share_a_record(here: World) -> None:
    ann = hire(here, "ann.double", employeeId="D-1", jobTitle="Ann's")
    await here.cycle()
    bob = hire(here, "bob.double", employeeId="D-1", jobTitle="Bob's")
    await here.cycle()
    assert await here.ended(bob) == ("failure", "DuplicateSourceEntries")
    assert record_of(here, "ann.double")["title"] == "Ann's"
    reason = (await here.log_of(bob))[0]["provisioningStatusInfo"]["errorInformation"]["reason"]
    assert ann in reason
