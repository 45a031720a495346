"""The mappings of the companies that have one of their own: the packaged one with changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.mapped import Mapping, changed_document, clauses, column, fields, options

if TYPE_CHECKING:
    from collections.abc import Callable

#: The country that takes people out of scope.
ABROAD = "XX"


def assigned() -> dict[str, Any]:
    """For the assigned scope: nested groups count, app roles become roles, and who is disabled loses his memberships."""
    people = options(
        NestedGroups="expand",
        AppRoles="authoritative",
        OnDisable="disable; removeMemberships; set title=Former employee",
    )
    return _document((people, _home), options(NestedGroups="expand"))


def altered() -> dict[str, Any]:
    """For everybody: what comes before a hire and after a departure is changed, and members are only added."""
    people = options(HireDisabled="create", SkipOutOfScopeDeletions="true", RecreateMissing="hold")
    number = column("employee_number", "[employeeId]", matchingPriority=1)
    name = fields("user_name", matchingPriority=2)
    city = fields("city", metadata=[{"key": "Drift", "value": "repair"}])
    return _document((people, _home, _no_service_accounts, number, name, city), fields("members", flowType="MultiValueAddOnly"))


def _document(users: tuple[Callable[[Mapping], None], ...], groups: Callable[[Mapping], None]) -> dict[str, Any]:
    document = changed_document(*users)
    mappings = [mapping for rule in document["synchronizationRules"] for mapping in rule["objectMappings"]]
    groups(next(mapping for mapping in mappings if mapping["sourceObjectName"] == "Group"))
    return document


def _home(mapping: Mapping) -> None:
    clauses(("country", "NOT EQUALS", ABROAD))(mapping)


def _no_service_accounts(mapping: Mapping) -> None:
    clause = {"sourceOperandName": "userPrincipalName", "operatorName": "NOT REGEX MATCH", "targetOperand": {"values": ["^svc-"]}}
    mapping["scope"]["inputFilterGroups"] = [{"name": "No service accounts", "clauses": [clause]}]
