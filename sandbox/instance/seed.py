"""The records an instance starts with, and seeding of reference records and people who were there before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .access import SYSTEM
from .dictionary import sys_id_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .instance import Instance

_ROLES: Final = ("admin", "security_admin", "user_admin", "itil", "snc_platform_rest_api_access", "personalize_dictionary")
_CHOICES: Final = (
    ("sys_user", "notification", "1", "Disable"),
    ("sys_user", "notification", "2", "Enable"),
    ("sys_user", "identity_type", "human", "Human"),
    ("sys_user", "identity_type", "machine", "Machine"),
    ("sys_user", "identity_type", "ai", "AI agent"),
    ("sys_user", "preferred_language", "en", "English"),
    ("sys_user", "preferred_language", "de", "German"),
    ("sys_user", "preferred_language", "fr", "French"),
)
_REFERENCES: Final = {
    "departments": "cmn_department",
    "locations": "cmn_location",
    "companies": "core_company",
    "cost_centers": "cmn_cost_center",
    "buildings": "cmn_building",
}


def seed_base(instance: Instance) -> None:
    """Add roles, choices, properties and the configured accounts."""
    config = instance.config
    extra = {role for account in config.accounts for role in account.roles} | {rule.role for rule in config.access_rules}
    for name in sorted(extra.union(_ROLES)):
        _put(instance, "sys_user_role", name, {"name": name})
    for table, element, value, label in _CHOICES:
        values = {"name": table, "element": element, "value": value, "label": label}
        _put(instance, "sys_choice", f"{table}.{element}.{value}", values)
    if config.invalid_query == "no_rows":
        _put(instance, "sys_properties", "returns_no_rows", {"name": "glide.invalid_query.returns_no_rows", "value": "true"})
    for account in config.accounts:
        person = {"user_name": account.user_name, "first_name": account.first_name, "last_name": account.last_name}
        user = _present(instance, "sys_user", "user_name", person | _identity(account.roles))
        for role in account.roles:
            grant = {"user": user, "role": sys_id_of("sys_user_role", role)}
            _put(instance, "sys_user_has_role", f"{account.user_name}.{role}", grant)


def seed_references(
    instance: Instance,
    *,
    departments: Iterable[str] = (),
    locations: Iterable[str] = (),
    companies: Iterable[str] = (),
    cost_centers: Iterable[str] = (),
    buildings: Iterable[str] = (),
    people: Iterable[Mapping[str, Any]] = (),
) -> dict[str, dict[str, str]]:
    """Add reference records by name and people by their columns; what is there already (by name, user_name) stays.

    Return the sys_ids by table and name. They are the same in every run.
    """
    names = {
        "departments": departments,
        "locations": locations,
        "companies": companies,
        "cost_centers": cost_centers,
        "buildings": buildings,
    }
    seeded: dict[str, dict[str, str]] = {
        _REFERENCES[kind]: {name: _present(instance, _REFERENCES[kind], "name", {"name": name}) for name in values}
        for kind, values in names.items()
    }
    seeded["sys_user"] = {person["user_name"]: _present(instance, "sys_user", "user_name", dict(person)) for person in people}
    return seeded


def seed_from_json(instance: Instance, document: Any) -> None:
    """Seed from a JSON object with the keywords of ``seed_references``; raise ValueError if it has another shape."""
    known = {*_REFERENCES, "people"}
    if not isinstance(document, dict) or not known.issuperset(document) or not all(map(_is_list, document.values())):
        raise ValueError(f"a seed is a JSON object of lists named {', '.join(sorted(known))}")
    seed_references(instance, **document)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _identity(roles: Iterable[str]) -> dict[str, str]:
    return {} if "admin" in roles else {"identity_type": "machine", "web_service_access_only": "true"}


def _present(instance: Instance, table: str, column: str, values: dict[str, Any]) -> str:
    found = instance.tables[table].matches(column, str(values[column]))
    return found[0] if found else _put(instance, table, str(values[column]), values)


def _put(instance: Instance, table: str, key: str, values: dict[str, Any]) -> str:
    sys_id = str(values.get("sys_id") or sys_id_of(table, key))
    if sys_id not in instance.tables[table]:
        instance.insert(table, {**values, "sys_id": sys_id}, SYSTEM)
    return sys_id
