"""Reading, refusing, importing and writing a synchronization schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from shared.schema.defaults import default_schema
from shared.schema.faults import SchemaFaults
from shared.schema.importing import Change, import_schema
from shared.schema.mapping import compile_mappings
from shared.schema.model import parse_schema, to_json
from shared.schema.source import user_source

from .export import direct, exported, function

if TYPE_CHECKING:
    from collections.abc import Callable

USERS = "$.synchronizationRules[0].objectMappings[0]"


def users_of(document: dict[str, Any]) -> dict[str, Any]:
    mapping: dict[str, Any] = document["synchronizationRules"][0]["objectMappings"][0]
    return mapping


def clause(attribute: str, operator: str, *values: object) -> dict[str, Any]:
    return {"sourceOperandName": attribute, "operatorName": operator, "targetOperand": {"values": list(values)}}


def scoped(*clauses: dict[str, Any]) -> dict[str, Any]:
    return {"groups": [{"name": "f", "clauses": list(clauses)}], "inputFilterGroups": [], "categoryFilterGroups": []}


@pytest.mark.parametrize("form", [lambda document: document, json.dumps, lambda document: json.dumps(document).encode()])
def test_an_export_comes_back_as_it_was(form: Callable[[dict[str, Any]], Any]) -> None:
    assert to_json(parse_schema(form(exported()))) == exported()


def test_the_written_schema_cannot_change_the_read_one() -> None:
    schema = parse_schema(exported())
    to_json(schema)["synchronizationRules"].clear()
    assert to_json(schema) == exported()


def test_import_renames_every_older_name_and_reports_it() -> None:
    schema, changes = import_schema(exported())
    rule = f"{USERS}.attributeMappings"
    assert {(change.path, change.old, change.new) for change in changes} == {
        (f"{rule}[2].source.expression", "StripSpaces( [telephoneNumber] )", "StripSpaces( [businessPhones] )"),
        (f"{rule}[3].source.name", "mobile", "mobilePhone"),
        (f"{rule}[3].source.expression", "[mobile]", "[mobilePhone]"),
        (f"{rule}[4].source.name", "physicalDeliveryOfficeName", "officeLocation"),
        (f"{rule}[4].source.expression", "[physicalDeliveryOfficeName]", "[officeLocation]"),
        (f"{rule}[5].source.name", "objectId", "id"),
        (f"{rule}[5].source.expression", "[objectId]", "[id]"),
        (f"{USERS}.scope.groups[0].clauses[0].sourceOperandName", "physicalDeliveryOfficeName", "officeLocation"),
        (f"{USERS}.scope.groups[0].clauses[1].sourceOperandName", "dirSyncEnabled", "onPremisesSyncEnabled"),
        ("$.directories[0].objects[0].attributes[0].name", "objectId", "id"),
        ("$.directories[0].objects[0].attributes[3].name", "telephoneNumber", "businessPhones"),
        ("$.directories[0].objects[0].attributes[4].name", "mobile", "mobilePhone"),
        ("$.directories[0].objects[0].attributes[5].name", "dirSyncEnabled", "onPremisesSyncEnabled"),
        ("$.directories[0].objects[0].attributes[6].name", "physicalDeliveryOfficeName", "officeLocation"),
    }
    phone = users_of(to_json(schema))["attributeMappings"][2]["source"]
    assert phone["parameters"][0]["value"]["name"] == "businessPhones"
    assert import_schema(to_json(schema))[1] == ()


def test_an_imported_schema_gives_the_same_values_as_the_original() -> None:
    raw = {"id": "1", "userPrincipalName": "a@contoso.com", "businessPhones": ["1 2"], "mobilePhone": "3", "officeLocation": "X"}
    person = user_source(raw, is_soft_deleted=False)
    schemas = (parse_schema(exported()), import_schema(exported())[0])
    old, new = (
        {
            one.target: one.to_target(value)
            for one in compile_mappings(schema).users.attributes
            if isinstance(value := one.evaluate(person), str | bool | tuple)
        }
        for schema in schemas
    )
    assert old == new
    assert old == {
        "user_name": "a@contoso.com", "active": "true", "phone": "12", "mobile_phone": "3", "location": "X",
        "u_object_id": "1", "company": "Contoso",
    }  # fmt: skip


def test_a_change_reads_as_one_line() -> None:
    assert str(Change("$.a", "x", "y")) == "$.a: x -> y"


def _set(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def bend(document: dict[str, Any]) -> None:
        users_of(document)[path] = value

    return bend


def _attribute(value: object) -> Callable[[dict[str, Any]], None]:
    def bend(document: dict[str, Any]) -> None:
        users_of(document)["attributeMappings"][3] = value

    return bend


def _option(key: str, value: str) -> Callable[[dict[str, Any]], None]:
    def bend(document: dict[str, Any]) -> None:
        users_of(document)["metadata"] = [{"key": key, "value": value}]

    return bend


def _definition(**changes: object) -> Callable[[dict[str, Any]], None]:
    def bend(document: dict[str, Any]) -> None:
        document["directories"][0]["objects"][0]["attributes"][1] |= changes

    return bend


def _target(**changes: object) -> Callable[[dict[str, Any]], None]:
    def bend(document: dict[str, Any]) -> None:
        document["directories"][1]["objects"][0]["attributes"][3] |= changes

    return bend


AT = f"{USERS}.attributeMappings[3]"
SCOPE = f"{USERS}.scope.groups[0]"


@pytest.mark.parametrize(
    ("bend", "path", "words"),
    [
        (_set("attributeMappings", [direct("phone", "mail")]), f"{USERS}.attributeMappings", "nothing can be matched"),
        (_definition(anchor=True), "$.directories[0].objects[0].attributes", "one anchor"),
        (_definition(name="mobile"), "$.directories[0].objects[0].attributes[4].name", "defined twice"),
        (_attribute(function("mobile_phone", "Frobnicate([mail])")), f"{AT}.source.expression", "Frobnicate"),
        (_attribute(function("mobile_phone", "Mid([mail], 1)")), f"{AT}.source.expression", '"length"'),
        (_attribute(function("mobile_phone", '"' + "x" * 10_001 + '"')), f"{AT}.source.expression", "10,000"),
        (_attribute(direct("mobile_phone", "mial")), f"{AT}.source.expression", '"mial"'),
        (_attribute(direct("phone", "mail")), f"{AT}.targetAttributeName", "mapped twice"),
        (_attribute(direct("u_nowhere", "mail")), f"{AT}.targetAttributeName", "not among the attributes"),
        (_attribute({"source": None}), f"{AT}.targetAttributeName", "is missing"),
        (_attribute({}), f"{AT}.targetAttributeName", "is missing"),
        (_attribute("text"), AT, "must be an object"),
        (_attribute(direct("mobile_phone", "mail", flowType="Sometimes")), f"{AT}.flowType", "Sometimes"),
        (_attribute(direct("mobile_phone", "mail") | {"matchingPriority": "1"}), f"{AT}.matchingPriority", "whole number"),
        (_attribute(direct("mobile_phone", "mail", matching=-1)), f"{AT}.matchingPriority", "0"),
        (_attribute(direct("mobile_phone", "mail") | {"source": None, "matchingPriority": 2}), f"{AT}.source", "needs a source"),
        (
            _attribute(function("mobile_phone", "SelectUniqueValue([mail], [mobile])", matching=2)),
            f"{AT}.source.expression",
            "SelectUniqueValue",
        ),
        (_attribute(function("mobile_phone", "Now()", matching=2)), f"{AT}.source.expression", "matching attribute"),
        (_target(mutability="ReadOnly"), f"{AT}.targetAttributeName", "read-only"),
        (_target(type="Strange"), "$.directories[1].objects[0].attributes[3].type", "Strange"),
        (_set("flowTypes", "Add, Destroy"), f"{USERS}.flowTypes", "Destroy"),
        (_set("sourceObjectName", "Device"), f"{USERS}.sourceObjectName", "Device"),
        (_set("targetObjectName", "urn:some:User"), f"{USERS}.targetObjectName", "no table name"),
        (_set("scope", scoped(clause("mail", "RESEMBLES", "x"))), f"{SCOPE}.clauses[0].operatorName", "RESEMBLES"),
        (_set("scope", scoped(clause("mial", "EQUALS", "x"))), f"{SCOPE}.clauses[0].sourceOperandName", "mial"),
        (_set("scope", scoped(clause("mail", "EQUALS"))), f"{SCOPE}.clauses[0].targetOperand.values", "needs a value"),
        (_set("scope", scoped(clause("mail", "IS NULL", "x"))), f"{SCOPE}.clauses[0].targetOperand.values", "takes no value"),
        (
            _set("scope", scoped(clause("employeeId", "Greater_Than", "x"))),
            f"{SCOPE}.clauses[0].targetOperand.values",
            "whole number",
        ),
        (_set("scope", scoped(clause("mail", "REGEX MATCH", "(x"))), f"{SCOPE}.clauses[0].targetOperand.values", "valid"),
        (_set("scope", scoped(clause("employeeHireDate", "AFTER", "soon"))), f"{SCOPE}.clauses[0].targetOperand.values", "soon"),
        (_set("scope", scoped()), f"{SCOPE}.clauses", "needs a clause"),
        (_set("scope", []), f"{USERS}.scope", "must be an object"),
        (_option("OnDisable", "explode"), f"{USERS}.metadata[0].value", "explode"),
        (_option("OnDelete", "delete; disable"), f"{USERS}.metadata[0].value", "stand alone"),
        (_option("Members", "some"), f"{USERS}.metadata[0].value", "managed, authoritative"),
        (_option("NestedGroups", "sometimes"), f"{USERS}.metadata[0].value", "ignore, expand"),
        (_option("SkipOutOfScopeDeletions", "perhaps"), f"{USERS}.metadata[0].value", "perhaps"),
    ],
)
def test_a_fault_is_named_with_its_path(bend: Callable[[dict[str, Any]], None], path: str, words: str) -> None:
    document = exported()
    bend(document)
    with pytest.raises(SchemaFaults) as caught:
        parse_schema(document)
    assert any(fault.path == path and words in fault.message for fault in caught.value.faults), caught.value.reason


def test_a_number_compared_with_a_boolean_attribute_is_a_fault() -> None:
    document = exported()
    document["directories"][0]["objects"][0]["attributes"][1] |= {"type": "Boolean"}
    users_of(document)["scope"] = scoped(clause("IsSoftDeleted", "Greater_Than", "1"))
    with pytest.raises(SchemaFaults, match='"IsSoftDeleted" is Boolean'):
        parse_schema(document)


def test_every_fault_is_listed_at_once() -> None:
    document = exported()
    users_of(document)["attributeMappings"][1]["source"]["expression"] = "Nope("
    users_of(document)["attributeMappings"][2]["flowType"] = "Never"
    users_of(document)["scope"] = scoped(clause("mail", "RESEMBLES", "x"))
    with pytest.raises(SchemaFaults) as caught:
        parse_schema(document)
    assert len(caught.value.faults) == 3
    assert caught.value.reason.startswith("the synchronization schema has 3 faults")


def test_a_nested_filter_is_read() -> None:
    document = exported()
    nested = {"logicalOperator": "OR", "clauses": [clause("mail", "IS NULL"), clause("city", "EQUALS", "Munich")]}
    users_of(document)["scope"] = scoped(clause("userType", "EQUALS", "Member"), nested)
    assert compile_mappings(parse_schema(document)).users.source_attributes >= {"mail", "city", "userType"}


def test_two_enabled_mappings_of_users_are_refused() -> None:
    document = exported()
    document["synchronizationRules"][0]["objectMappings"].append(users_of(exported()))
    with pytest.raises(SchemaFaults, match="second enabled mapping of users"):
        parse_schema(document)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", b"\xff", "[" * 100_000])
def test_what_is_no_schema_at_all_is_refused(text: str | bytes) -> None:
    with pytest.raises(SchemaFaults):
        parse_schema(text)


def test_an_empty_schema_has_faults_and_no_surprise() -> None:
    with pytest.raises(SchemaFaults, match="needs a synchronization rule"):
        parse_schema({})


def test_the_default_schema_is_in_graphs_shape() -> None:
    document = to_json(default_schema())
    assert import_schema(document)[1] == ()
    mappings = document["synchronizationRules"][0]["objectMappings"]
    active = next(one for one in mappings[0]["attributeMappings"] if one["targetAttributeName"] == "active")
    keys = [parameter["key"] for parameter in active["source"]["parameters"]]
    assert keys == ["source", "switchValue", "switchValue", "switchValue", "switchValue"]


def test_graphs_documented_skeleton_is_refused_with_readable_faults() -> None:
    mappings = [{"sourceObjectName": "User", "targetObjectName": "User", "attributeMappings": [{"source": {}}, {}]}, {}]
    rule = {"name": "USER_TO_USER", "sourceDirectoryName": "Azure Active Directory", "targetDirectoryName": "Salesforce"}
    document = {
        "directories": [{"name": "Azure Active Directory", "objects": [{"name": "User", "attributes": []}]}, {"objects": [{}]}],
        "synchronizationRules": [rule | {"objectMappings": mappings}, {}],
    }
    with pytest.raises(SchemaFaults) as caught:
        parse_schema(document)
    paths = {fault.path for fault in caught.value.faults}
    assert {
        f"{USERS}.attributeMappings[0].source.name",
        "$.directories[1].name",
        "$.synchronizationRules[1].sourceDirectoryName",
    } <= paths
