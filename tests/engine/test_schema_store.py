"""The active schema: seeded once, put whole or not at all, followed by every worker, and the links stay."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from shared.provisioning.operations import BadRequest
from shared.provisioning.requests import Faulty, NotNow, Unknown
from shared.provisioning.schemas import list_filter_operators, list_functions
from shared.provisioning.services import Services
from shared.schema.defaults import DEFAULT_SCHEMA_PATH
from tests.support.people import hire, record_of
from tests.support.world import world

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT: dict[str, Any] = json.loads(DEFAULT_SCHEMA_PATH.read_text(encoding="utf-8"))


def mapping_of(document: dict[str, Any], kind: str = "User") -> dict[str, Any]:
    found: dict[str, Any] = next(
        mapping
        for rule in document["synchronizationRules"]
        for mapping in rule["objectMappings"]
        if mapping["sourceObjectName"] == kind
    )
    return found


def changed(title: str = "[employeeId]") -> dict[str, Any]:
    """The packaged schema with another source for the column title."""
    document = copy.deepcopy(DEFAULT)
    for attribute in mapping_of(document)["attributeMappings"]:
        if attribute["targetAttributeName"] == "title":
            attribute["source"] = {"type": "Function", "expression": title, "name": "", "parameters": []}
    return document


async def test_the_first_start_seeds_the_packaged_schema_and_later_ones_leave_it(storage: str) -> None:
    async with world(storage) as here:
        schemas = here.services.schemas
        document = await schemas.document()
        assert document["synchronizationRules"] == DEFAULT["synchronizationRules"]
        put = await schemas.put(changed())
        again = Services(here.services.settings, queues=here.held, clock=here.clock)
        await again.schemas.refresh()
        assert again.mappings.version == put["version"]
        assert [one["number"] for one in await schemas.versions()] == [2, 1]
        await again.servicenow.aclose()
        await again.graph.aclose()
        await again.tables.aclose()


async def test_the_first_start_seeds_the_file_that_the_settings_name(storage: str, tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(changed()), encoding="utf-8")
    async with world(storage, PROVISIONING_SCHEMA=str(file)) as here:
        document = await here.services.schemas.document()
        titles = [m for m in mapping_of(document)["attributeMappings"] if m["targetAttributeName"] == "title"]
        assert titles[0]["source"]["expression"] == "[employeeId]"


async def test_a_changed_schema_starts_a_full_cycle_and_keeps_the_links(storage: str) -> None:
    async with world(storage) as here:
        ann = hire(here, "ann", jobTitle="Engineer", employeeId="E-1")
        await here.cycle()
        before = await here.services.joins.get("user", ann)
        generation = (await here.services.watermarks.get("users")).generation
        answer = await here.services.schemas.put(changed())
        await here.pump()
        after = await here.services.joins.get("user", ann)
        mark = await here.services.watermarks.get("users")
        assert record_of(here, "ann")["title"] == "E-1"
        assert (after.sys_id, after.schema) == (before.sys_id, answer["version"])
        assert (mark.generation, mark.complete) == (generation + 1, generation + 1)
        (entry, *_) = await here.log_of(ann)
        assert entry["targetSystem"]["details"]["SchemaVersion"] == answer["version"]


async def test_the_same_schema_again_changes_nothing(storage: str) -> None:
    async with world(storage) as here:
        await here.cycle()
        generation = (await here.services.watermarks.get("users")).generation
        await here.services.schemas.put(copy.deepcopy(DEFAULT))
        await here.pump()
        assert (await here.services.watermarks.get("users")).generation == generation
        assert len(await here.services.schemas.versions()) == 1


async def test_another_worker_follows_within_seconds(storage: str) -> None:
    async with world(storage) as here:
        other = Services(here.services.settings, queues=here.held, clock=here.clock)
        await other.schemas.refresh()
        answer = await here.services.schemas.put(changed())
        assert other.mappings.version != answer["version"]
        here.clock.advance(3)
        await other.schemas.refresh()
        assert other.mappings.version == answer["version"]
        await other.servicenow.aclose()
        await other.graph.aclose()
        await other.tables.aclose()


async def test_a_faulty_schema_is_refused_whole_with_every_fault_by_its_path(storage: str) -> None:
    async with world(storage) as here:
        await here.services.schemas.refresh()
        version = here.services.mappings.version
        document = changed("Frobnicate([employeeId])")
        mapping_of(document)["attributeMappings"][0]["flowType"] = "Sometimes"
        with pytest.raises(Faulty) as refused:
            await here.services.schemas.put(document)
        paths = [path for path, _ in refused.value.faults]
        assert len(paths) == 2
        assert all(path.startswith("$.synchronizationRules[0].objectMappings[0].attributeMappings[") for path in paths)
        await here.services.schemas.refresh(now=True)
        assert here.services.mappings.version == version


async def test_older_attribute_names_are_renamed_and_reported(storage: str) -> None:
    async with world(storage) as here:
        answer = await here.services.schemas.put(changed("[telephoneNumber]"))
        assert {"oldValue": "[telephoneNumber]", "newValue": "[businessPhones]"}.items() <= answer["changes"][0].items()
        assert "objectMappings[0]" in answer["changes"][0]["path"]


async def test_a_column_that_the_instance_lacks_is_a_warning_and_a_matching_one_a_fault(storage: str) -> None:
    async with world(storage) as here:
        document = changed()
        for attribute in mapping_of(document)["attributeMappings"]:
            if attribute["targetAttributeName"] == "title":
                attribute["targetAttributeName"] = "u_shoe_size"
        del document["directories"]
        answer = await here.services.schemas.put(document)
        assert any("u_shoe_size" in warning for warning in answer["warnings"])
        for attribute in mapping_of(document)["attributeMappings"]:
            attribute["matchingPriority"] = 1 if attribute["targetAttributeName"] == "u_shoe_size" else 0
        with pytest.raises(Faulty) as refused:
            await here.services.schemas.put(document)
        assert "u_shoe_size" in refused.value.faults[0][1]


async def test_a_large_schema_comes_back_as_it_was_put(storage: str) -> None:
    async with world(storage) as here:
        document = changed()
        noise = [{"key": f"noise{number}", "value": f"{number * 7919 % 104729:x}" * 40} for number in range(4000)]
        mapping_of(document)["metadata"] = [*mapping_of(document).get("metadata", []), *noise]
        answer = await here.services.schemas.put(document)
        stored = await here.services.schemas.document(answer["version"])
        assert stored["synchronizationRules"] == document["synchronizationRules"]
        with pytest.raises(Unknown):
            await here.services.schemas.document("0123456789abcdef")


async def test_a_snapshot_of_an_earlier_schema_is_read_again_under_the_new_one(storage: str) -> None:
    async with world(storage) as here:
        ann = hire(here, "ann", jobTitle="Engineer", employeeId="E-1")
        await here.services.operations.tick()
        # The snapshot that lies in the queue was taken before the mapping asked for the employee id.
        await here.pump(until=lambda: here.held.sent["user-events"] > 0)
        await here.services.schemas.put(changed('Join("-", [employeeId], [jobTitle])'))
        await here.pump()
        assert record_of(here, "ann")["title"] == "E-1-Engineer"
        del ann


async def test_an_expression_is_parsed_and_tried(storage: str) -> None:
    async with world(storage) as here:
        body = {
            "expression": 'Join("@", [alias], DefaultDomain())',
            "testInputObject": {"properties": [{"key": "alias", "value": "ann"}]},
        }
        answer = await here.services.schemas.parse_expression(body)
        assert answer["parsingSucceeded"] is True
        assert answer["evaluationResult"] == ["ann@contoso.com"]
        refused = await here.services.schemas.parse_expression({"expression": "Mid("})
        assert refused["error"]["code"] == "ParseExpressionFailed"
        for wrong in ({}, {"expression": 1}, {"expression": "[a]", "testInputObject": {"properties": ["x"]}}):
            with pytest.raises(BadRequest):
                await here.services.schemas.parse_expression(wrong)


async def test_functions_and_operators_are_listed() -> None:
    assert len(list_functions()["value"]) >= 46
    assert {"EQUALS", "IS MEMBER OF"} <= {operator["name"] for operator in list_filter_operators()["value"]}


async def test_a_process_with_a_given_schema_says_that_it_is_fixed(storage: str) -> None:
    async with world(storage) as here:
        rehearsed, _ = here.services.rehearse()
        with pytest.raises(NotNow):
            await rehearsed.schemas.put(changed())
