"""The view of a Graph object: names, virtual attributes, what must be selected."""

from __future__ import annotations

import pytest

from shared.schema.expressions import compile_expression
from shared.schema.source import graph_select, group_source, home_principal_name, is_known_attribute, user_source

RAW = {
    "@odata.type": "#microsoft.graph.user",
    "id": "11111111-0000-4000-8000-000000000001",
    "userPrincipalName": "ann@contoso.com",
    "displayName": "Ann",
    "accountEnabled": True,
    "department": None,
    "businessPhones": ["+1 555", "+1 556"],
    "mobilePhone": "+1 557",
    "officeLocation": "Munich",
    "proxyAddresses": [],
    "employeeOrgData": {"costCenter": "CC7", "division": None},
    "onPremisesExtensionAttributes": {"extensionAttribute1": "one", "extensionAttribute2": None},
    "extension_0123456789abcdef_badge": "B1",
    "identities": [{"issuer": "contoso.com"}],
    "manager": {"@odata.type": "#microsoft.graph.user", "id": "boss"},
}


def test_graph_names_and_older_names_give_the_same_value() -> None:
    person = user_source(RAW, is_soft_deleted=False)
    assert person["objectId"] == person["id"] == person.object_id
    assert person["businessPhones"] == ("+1 555", "+1 556")
    assert person["telephoneNumber"] == "+1 555"
    assert person["mobile"] == person["mobilePhone"] == "+1 557"
    assert person["physicalDeliveryOfficeName"] == person["officeLocation"] == "Munich"
    assert person["costCenter"] == person["employeeOrgData.costCenter"] == "CC7"
    assert person["extensionAttribute1"] == "one"
    assert person["extension_0123456789abcdef_badge"] == "B1"
    assert person["manager"] == "boss"


def test_absent_null_and_empty_lists_are_all_null() -> None:
    person = user_source(RAW, is_soft_deleted=False)
    for name in ("department", "neverHeardOf", "proxyAddresses", "division", "extensionAttribute2", "telephoneNumberX"):
        assert name not in person
        assert person.get(name) is None
        assert compile_expression(f"IsNull([{name}])").evaluate(person) is True
    assert "identities" not in person
    assert not any("@" in name for name in person)


@pytest.mark.parametrize(
    ("whole", "home"),
    [
        ("ann_fabrikam.com#EXT#@contoso.onmicrosoft.com", "ann@fabrikam.com"),
        ("ann_lee_fabrikam.com#EXT#@contoso.onmicrosoft.com", "ann_lee@fabrikam.com"),
        ("annfabrikam#ext#@contoso.com", "annfabrikam"),
        ("ann_x@contoso.com", "ann_x@contoso.com"),
    ],
)
def test_a_guest_has_the_name_of_the_home_tenant(whole: str, home: str) -> None:
    assert home_principal_name(whole) == home
    guest = user_source({"id": "1", "userPrincipalName": whole}, is_soft_deleted=False)
    assert (guest["userPrincipalName"], guest["originalUserPrincipalName"]) == (home, whole)


@pytest.mark.parametrize("flag", [True, False])
def test_is_soft_deleted_is_what_the_engine_says(flag: bool) -> None:
    switch = compile_expression('Switch([IsSoftDeleted], , "False", "True", "True", "False")')
    assert switch.evaluate(user_source(RAW, is_soft_deleted=flag)) == ("False" if flag else "True")


def test_roles_groups_and_extra_attributes_are_seen() -> None:
    person = user_source(RAW, is_soft_deleted=False, app_roles=["Admin"], member_of=["g1"], extra={"department": "IT"})
    assert (person["appRoleAssignments"], person["memberOf"], person["department"]) == (("Admin",), ("g1",), "IT")


def test_the_manager_of_a_delta_is_the_one_that_stays() -> None:
    changes = [{"id": "old", "@removed": {"reason": "deleted"}}, {"id": "new"}]
    assert user_source({"id": "1", "manager@delta": changes}, is_soft_deleted=False)["manager"] == "new"
    assert user_source({"id": "1", "manager@delta": changes[:1]}, is_soft_deleted=False).get("manager") is None
    assert user_source({"id": "1", "manager": "boss"}, is_soft_deleted=False)["manager"] == "boss"


def test_a_group_has_its_members() -> None:
    group = group_source({"id": "g", "displayName": "G", "description": None}, is_soft_deleted=False, members=["1", "2"])
    assert (group.kind, group["members"], group["IsSoftDeleted"], group.get("description")) == ("group", ("1", "2"), False, None)


def test_select_asks_for_graph_names_once_and_for_nothing_virtual() -> None:
    attributes = ["telephoneNumber", "businessPhones", "costCenter", "division", "extensionAttribute3", "manager", "memberOf"]
    virtual = ["IsSoftDeleted", "originalUserPrincipalName", "appRoleAssignments", "objectId"]
    assert graph_select([*attributes, *virtual], "user") == (
        "id", "accountEnabled", "userPrincipalName", "displayName", "userType",
        "businessPhones", "employeeOrgData", "manager", "onPremisesExtensionAttributes",
    )  # fmt: skip
    assert graph_select(["mail", "displayName"], "group")[-1] == "mail"


def test_a_repr_shows_no_personal_data() -> None:
    assert "ann" not in repr(user_source(RAW, is_soft_deleted=False)).lower()


@pytest.mark.parametrize(
    "name", ["telephoneNumber", "mail", "extensionAttribute15", "extension_ab12_x", "IsSoftDeleted", "ext1_a.courseId"]
)
def test_known_attributes(name: str) -> None:
    assert is_known_attribute(name, "user")


@pytest.mark.parametrize("name", ["mial", "extensionAttribute16", "members", ""])
def test_unknown_attributes(name: str) -> None:
    assert not is_known_attribute(name, "user")
