"""The compiled view that the engine works with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shared.errors import SchemaMismatchError
from shared.schema.defaults import default_schema
from shared.schema.expressions import IGNORE_FLOW
from shared.schema.mapping import Mappings, ObjectFlowIgnoredError, Reference, compile_mappings
from shared.schema.model import parse_schema, to_json
from shared.schema.options import Action
from shared.schema.source import group_source, user_source
from shared.schema.target import to_target

from .export import direct, exported, function

if TYPE_CHECKING:
    from shared.schema.values import Value

ANN = {
    "id": "1",
    "userPrincipalName": "ann@contoso.com",
    "displayName": "Ann Smith",
    "givenName": "Ann",
    "surname": "Smith",
    "businessPhones": ["+1 555"],
    "department": "Sales",
    "employeeOrgData": {"costCenter": "CC7"},
    "manager": {"id": "boss"},
    "employeeId": "007",
}


def compiled(*attributes: dict[str, Any], options: dict[str, str] | None = None, **changes: object) -> Mappings:
    document = exported()
    document["directories"][1]["objects"] = []
    users = document["synchronizationRules"][0]["objectMappings"][0]
    users["metadata"] = [{"key": key, "value": value} for key, value in (options or {}).items()]
    if attributes:
        users["attributeMappings"] = [direct("user_name", "userPrincipalName", matching=1), *attributes]
    users |= changes
    return compile_mappings(parse_schema(document))


def metadata(**options: str) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in options.items()]


def test_the_default_mapping_provisions_a_user() -> None:
    users = compile_mappings(default_schema()).users
    source = user_source(ANN, is_soft_deleted=False)
    values = {one.target: text for one in users.attributes if (text := one.to_target(_value(one.evaluate(source))))}
    assert values == {
        "user_name": "ann@contoso.com", "active": "true", "first_name": "Ann", "last_name": "Smith", "phone": "+1 555",
        "department": "Sales", "cost_center": "CC7", "manager": "boss", "employee_number": "007",
    }  # fmt: skip
    assert users.matching[0].values(source) == {"user_name": "ann@contoso.com"}
    active = users.attribute("active")
    assert active is not None
    assert active.to_target(_value(active.evaluate(user_source(ANN, is_soft_deleted=True)))) == "false"


def _value(outcome: object) -> Value:
    assert outcome is None or isinstance(outcome, str | bool | int | float | tuple)
    return outcome


def test_the_default_mapping_provisions_a_group() -> None:
    groups = compile_mappings(default_schema()).groups
    assert groups is not None
    assert (groups.kind, groups.table) == ("group", "sys_user_group")
    source = group_source({"id": "g", "displayName": "Helpdesk"}, is_soft_deleted=False, members=["1", "2"])
    assert groups.matching[0].values(source) == {"name": "Helpdesk"}
    members = groups.attribute("members")
    assert members is not None
    assert members.evaluate(source) == ("1", "2")
    assert members.reference == Reference("sys_user", ("user_name",), "omit", objects=True)


def test_references_of_the_default_mapping_name_their_tables() -> None:
    users = compile_mappings(default_schema()).users
    tables = {one.target: (one.reference.table, one.reference.objects) for one in users.attributes if one.reference}
    assert tables == {
        "department": ("cmn_department", False),
        "location": ("cmn_location", False),
        "company": ("core_company", False),
        "cost_center": ("cmn_cost_center", False),
        "manager": ("sys_user", True),
    }


def test_the_select_covers_mappings_scope_and_the_engines_own_needs() -> None:
    users = compiled().users
    assert users.select[:5] == ("id", "accountEnabled", "userPrincipalName", "displayName", "userType")
    assert set(users.select[5:]) == {"businessPhones", "mobilePhone", "officeLocation", "onPremisesSyncEnabled"}


def test_the_version_follows_the_content_and_nothing_else() -> None:
    document = to_json(default_schema())
    same = compile_mappings(parse_schema(dict(reversed(document.items())) | {"version": "9", "id": "other"}))
    assert same.version == compile_mappings(default_schema()).version
    document["synchronizationRules"][0]["objectMappings"][0]["attributeMappings"][2]["flowType"] = "ObjectAddOnly"
    assert compile_mappings(parse_schema(document)).version != same.version


def test_matching_rules_follow_precedence_and_equal_priorities_are_anded() -> None:
    users = compiled(
        direct("employee_number", "employeeId", matching=5),
        direct("email", "mail", matching=3),
        direct("last_name", "surname", matching=5),
        options={"MatchPrefer": "active"},
    ).users
    assert [(rule.priority, [column for column, _ in rule.pairs], rule.prefer) for rule in users.matching] == [
        (1, ["user_name"], "active"),
        (3, ["email"], "active"),
        (5, ["employee_number", "last_name"], "active"),
    ]
    source = user_source(ANN | {"mail": ""}, is_soft_deleted=False)
    assert users.matching[1].values(source) is None
    assert users.matching[2].values(source) == {"employee_number": "007", "last_name": "Smith"}


def test_flows_and_defaults() -> None:
    users = compiled().users
    flows = {one.target: (one.flow, one.default) for one in users.attributes}
    assert flows["user_name"] == ("always", None)
    assert flows["company"] == ("create_only", None)
    assert flows["preferred_language"] == ("none", "en")
    assert (users.creates, users.updates, users.deletes) == (True, True, True)
    limited = compiled(flowTypes="Add,Update").users
    assert (limited.creates, limited.updates, limited.deletes) == (True, True, False)


def test_object_options_are_read_and_have_polite_defaults() -> None:
    standard = compiled().users.options
    assert standard.on_disable == standard.on_unassign == standard.on_soft_delete == Action(disable=True)
    assert standard.on_delete == Action(delete=True)
    assert (standard.hire_disabled, standard.members, standard.app_roles) == ("skip", "managed", "off")
    chosen = compiled(
        options={
            "OnDisable": "disable; removeMemberships; set title=Former, employee",
            "OnUnassign": "nothing",
            "HireDisabled": "Create",
            "SkipOutOfScopeDeletions": "True",
            "ProtectedAccounts": "admin, svc.*",
        }
    ).users.options
    assert chosen.on_disable == Action(disable=True, remove_memberships=True, set_attributes=(("title", "Former, employee"),))
    assert chosen.on_unassign.nothing
    assert (chosen.hire_disabled, chosen.skip_out_of_scope_deletions) == ("create", True)
    assert chosen.protected_accounts == ("admin", "svc.*")


def test_attribute_options_are_read() -> None:
    options = metadata(
        ReferencePolicy="create", ReferenceTable="u_region", ReferenceColumns="u_code, name", Clear="false",
        ClearNeverProvisioned="true", Drift="repair", OnOverflow="truncate", MatchCase="exact", Redact="true",
    )  # fmt: skip
    region = compiled(direct("u_region", "state", metadata=options)).users.attribute("u_region")
    assert region is not None
    assert region.reference == Reference("u_region", ("u_code", "name"), "create", objects=False)
    assert (region.clear, region.clear_never_provisioned, region.drift, region.on_overflow) == (False, True, "repair", "truncate")
    assert (region.case_exact, region.redact) == (True, True)


def test_a_redacted_expression_is_never_logged() -> None:
    title = compiled(function("title", "Redact([jobTitle])")).users.attribute("title")
    assert title is not None
    assert title.redact


def test_ignored_flows_reach_the_engine() -> None:
    mappings = compiled(
        function("title", "IgnoreFlowIfNullOrEmpty([jobTitle])"),
        function("city", 'Switch([userType], IgnoreObjectFlow, "Member", [city])'),
    )
    title, city = mappings.users.attribute("title"), mappings.users.attribute("city")
    assert title is not None
    assert city is not None
    source = user_source(ANN, is_soft_deleted=False)
    assert title.evaluate(source) is IGNORE_FLOW
    with pytest.raises(ObjectFlowIgnoredError) as caught:
        city.evaluate(source)
    assert caught.value.code == "EntrySynchronizationSkipped"


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (None, "String", ""),
        ("", "Boolean", ""),
        (True, "String", "true"),
        ("True", "String", "True"),
        ("False", "Boolean", "false"),
        ("1", "Boolean", "true"),
        (7, "Integer", "7"),
        ("007", "Integer", "7"),
        ("007", "String", "007"),
        (("only",), "String", "only"),
        ("7/30/2025 3:04:05 PM", "DateTime", "2025-07-30 15:04:05"),
        ("2025-07-30T15:04:05+02:00", "DateTime", "2025-07-30 13:04:05"),
        ("", "DateTime", ""),
    ],
)
def test_values_become_texts(value: Value, kind: Any, text: str) -> None:
    assert to_target(value, kind) == text


@pytest.mark.parametrize(("value", "kind"), [("maybe", "Boolean"), ("x1", "Integer"), (1.5, "Integer"), ("soon", "DateTime")])
def test_a_value_that_does_not_fit_is_refused_without_showing_it(value: Value, kind: Any) -> None:
    with pytest.raises(SchemaMismatchError) as caught:
        to_target(value, kind, target="u_x")
    assert "u_x" in caught.value.reason
    assert str(value) not in caught.value.reason


def test_a_list_where_one_value_fits_is_refused() -> None:
    with pytest.raises(SchemaMismatchError) as caught:
        to_target(("a", "b"), target="title")
    assert caught.value.code == "SchemaPropertyCanOnlyAcceptValue"
    assert to_target(("a", "b"), multivalued=True) == "a,b"
