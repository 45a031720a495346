"""Provision on demand: an answer for one object of every kind, and a preview that leaves nothing behind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.instance.access import SYSTEM
from shared.events import QUEUES
from shared.provisioning.on_demand import parse_demand
from shared.provisioning.operations import BadRequest
from shared.provisioning.requests import NotNow
from shared.state.tables import TABLES
from tests.support.people import hire, memberships, record_of
from tests.support.schemas import variant
from tests.support.world import World, world

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOMEBODY = "9bb0f679-a883-4a6f-8260-35b491b8b8c8"


async def demand(
    here: World, object_id: str, kind: str = "User", *, preview: bool = False, members: list[str] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The decoded key and value of the answer."""
    subject: dict[str, Any] = {"objectId": object_id, "objectTypeName": kind}
    if members is not None:
        subject["links"] = {"members": [{"objectId": member, "objectTypeName": "User"} for member in members]}
    body = {"parameters": [{"ruleId": "any", "subjects": [subject]}], "preview": preview}
    answer = await here.services.on_demand.provision(parse_demand(body))
    assert answer["@odata.context"].endswith("stringKeyStringValuePair")
    return json.loads(answer["key"]), json.loads(answer["value"])


def steps(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(step["type"], step["status"]) for step in value["provisioningSteps"]]


def step(value: Mapping[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(step for step in value["provisioningSteps"] if step["type"] == kind)
    return found


async def test_a_new_user_is_created_and_the_answer_shows_the_five_steps(here: World) -> None:
    department = min(row["name"] for row in here.rows("cmn_department").values())
    ann = hire(here, "ondemand.ann", department=department, jobTitle="Engineer")
    key, value = await demand(here, ann)
    row = record_of(here, "ondemand.ann")
    assert key["result"] == "Success"
    assert (value["action"], value["statusInfo"]["status"]) == ("Create", "Success")
    assert steps(value) == [
        ("Import", "Success"),
        ("Scoping", "Success"),
        ("Matching", "Success"),
        ("ReferenceResolution", "Success"),
        ("Export", "Success"),
    ]
    assert step(value, "Import")["details"]["jobTitle"] == "Engineer"
    assert step(value, "ReferenceResolution")["details"]["department"] == row["department"]
    assert {"displayName": "title", "oldValue": None, "newValue": "Engineer"} in value["modifiedProperties"]
    assert value["targetIdentity"]["id"] == row["sys_id"]


async def test_an_unchanged_user_is_compared_and_answered_as_redundant(here: World) -> None:
    ann = hire(here, "ondemand.same")
    await here.cycle()
    key, value = await demand(here, ann)
    assert key["result"] == "Skipped"
    assert key["details"]["errorCode"] == "RedundantExport"
    assert step(value, "Matching")["details"]["user_name"] == "ondemand.same@contoso.com"


async def test_a_value_that_was_changed_in_servicenow_is_seen_and_shown_with_old_and_new(here: World) -> None:
    ann = hire(here, "ondemand.drift", jobTitle="Engineer")
    await here.cycle()
    here.instance.instance.update("sys_user", record_of(here, "ondemand.drift")["sys_id"], {"title": "Wizard"}, SYSTEM)
    _, value = await demand(here, ann)
    assert {"displayName": "title", "oldValue": "Wizard", "newValue": "Engineer"} in value["modifiedProperties"]
    assert record_of(here, "ondemand.drift")["title"] == "Engineer"


async def test_a_disabled_user_of_ours_is_disabled(here: World) -> None:
    ann = hire(here, "ondemand.off")
    await here.cycle()
    here.tenant.tenant.update(ann, {"accountEnabled": False})
    _, value = await demand(here, ann)
    assert value["action"] == "Disable"
    assert record_of(here, "ondemand.off")["active"] == "false"


async def test_a_deleted_user_is_disabled_and_a_restored_one_comes_back(here: World) -> None:
    ann = hire(here, "ondemand.gone")
    await here.cycle()
    here.tenant.tenant.delete(ann)
    _, value = await demand(here, ann)
    assert value["action"] == "Disable"
    assert step(value, "Import")["details"]["presence"] == "softDeleted"
    here.tenant.tenant.restore(ann)
    _, value = await demand(here, ann)
    assert value["action"] == "Update"
    assert record_of(here, "ondemand.gone")["active"] == "true"
    await here.pump()


async def test_an_unknown_object_is_skipped_with_the_reason(here: World) -> None:
    key, _ = await demand(here, "00000000-0000-0000-0000-00000000dead")
    assert key["result"] == "Skipped"
    assert key["details"]["errorCode"] == "NotFound"


async def test_a_preview_shows_the_same_and_writes_nothing_anywhere(here: World) -> None:
    ann = hire(here, "ondemand.preview", jobTitle="Engineer", department="A department that does not exist")
    before = await _everything(here)
    key, value = await demand(here, ann, preview=True)
    assert key["result"] == "Success"
    assert (value["action"], value["preview"]) == ("Create", True)
    assert {"displayName": "title", "oldValue": None, "newValue": "Engineer"} in value["modifiedProperties"]
    assert await _everything(here) == before
    assert here.user("ondemand.preview@contoso.com") is None


async def test_a_preview_of_a_group_counts_its_members_and_writes_nothing(here: World) -> None:
    people = [hire(here, f"ondemand.p{number}") for number in range(3)]
    await here.cycle()
    team = here.tenant.tenant.create_group("Ondemand preview", members=people)
    before = await _everything(here)
    _, value = await demand(here, team, "Group", preview=True)
    assert value["action"] == "Create"
    assert value["provisioningSteps"][-1]["details"]["added"] == "3"
    assert await _everything(here) == before


async def test_a_group_brings_its_members_and_loses_those_who_left(here: World) -> None:
    people = [hire(here, f"ondemand.m{number}") for number in range(4)]
    await here.cycle()
    team = here.tenant.tenant.create_group("Ondemand team", members=people[:3])
    await demand(here, team, "Group")
    await here.pump()
    assert memberships(here, "Ondemand team") == [f"ondemand.m{number}@contoso.com" for number in range(3)]
    here.tenant.tenant.remove_members(team, [people[0]])
    here.tenant.tenant.add_members(team, [people[3]])
    _, value = await demand(here, team, "Group")
    details = value["provisioningSteps"][-1]["details"]
    assert (details["added"], details["removed"], details["queued"]) == ("1", "1", "0")
    assert memberships(here, "Ondemand team") == [f"ondemand.m{number}@contoso.com" for number in range(1, 4)]


async def test_members_named_in_the_request_are_the_only_ones_looked_at(here: World) -> None:
    people = [hire(here, f"ondemand.n{number}") for number in range(2)]
    await here.cycle()
    team = here.tenant.tenant.create_group("Ondemand named")
    await here.cycle()
    here.tenant.tenant.add_members(team, people)
    await demand(here, team, "Group", members=[people[0]])
    assert memberships(here, "Ondemand named") == ["ondemand.n0@contoso.com"]


async def test_an_object_that_another_worker_holds_is_busy_until_its_lease_ends(here: World) -> None:
    ann = hire(here, "ondemand.busy")
    join = await here.services.joins.get("user", ann)
    ((join, taken),) = await here.services.joins.take([join], "another worker")
    assert taken.lease is not None
    with pytest.raises(NotNow) as refused:
        await demand(here, ann)
    assert refused.value.retry_after is not None
    assert 0 < refused.value.retry_after <= 150
    assert here.user("ondemand.busy@contoso.com") is None
    await here.services.joins.write([(join, taken.lease)], keep=False)


async def test_each_scoping_clause_is_shown_with_its_verdict(storage: str) -> None:
    async with world(storage, mappings=variant(scope=[("department", "EQUALS", "Sales")])) as here:
        ann = hire(here, "ann", department="Legal")
        key, value = await demand(here, ann)
        assert key["result"] == "Skipped"
        assert key["details"]["errorCode"] == "NotEffectivelyEntitled"
        verdicts = json.loads(step(value, "Scoping")["details"]["ScopeEvaluationResult"])
        assert verdicts == {"People in scope department EQUALS Sales": False}


async def test_a_redacted_attribute_does_not_appear_in_the_answer(storage: str) -> None:
    async with world(storage, mappings=variant(columns={"title": {"Redact": "true"}})) as here:
        ann = hire(here, "ann", jobTitle="Secret agent")
        _, value = await demand(here, ann)
        assert "Secret agent" not in json.dumps(value)
        assert "[Redact]" in json.dumps(value)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"parameters": []},
        {"parameters": [{"subjects": []}]},
        {"parameters": [{"subjects": [{"objectId": SOMEBODY, "objectTypeName": "Device"}]}]},
        {"parameters": [{"subjects": [{"objectId": "", "objectTypeName": "User"}]}]},
        {"parameters": [{"subjects": [{"objectId": 7, "objectTypeName": "User"}]}]},
        {"parameters": [{"subjects": [{"objectId": "ann@contoso.com", "objectTypeName": "User"}]}]},
        {"parameters": [{"subjects": [{"objectId": SOMEBODY, "objectTypeName": "User"}] * 2}]},
        {"parameters": [{"subjects": [{"objectId": SOMEBODY, "objectTypeName": "User"}]}], "preview": "yes"},
        {"parameters": [{"subjects": [{"objectId": SOMEBODY, "objectTypeName": "Group", "links": {"members": ["y"]}}]}]},
        {
            "parameters": [
                {"subjects": [{"objectId": SOMEBODY, "objectTypeName": "Group", "links": {"members": [{"objectId": "y"}]}}]}
            ]
        },
    ],
)
async def test_a_request_that_names_no_single_object_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        parse_demand(body)


async def test_an_id_is_known_in_any_case() -> None:
    body = {"parameters": [{"subjects": [{"objectId": f" {SOMEBODY.upper()}", "objectTypeName": "User"}]}]}
    assert parse_demand(body).object_id == SOMEBODY


async def _everything(here: World) -> dict[str, Any]:
    """All storage but the slots of the gate, the lengths of the queues, and the tables of ServiceNow."""
    storage = {table: [row for row in await here.services.tables.query(table) if "slot" not in str(row)] for table in TABLES}
    target = {table: here.rows(table) for table in ("sys_user", "sys_user_group", "sys_user_grmember", "cmn_department")}
    return {"storage": storage, "queues": await here.held.lengths(QUEUES), "target": target}
