"""Which property values the directory takes from a writer."""

from __future__ import annotations

from typing import Any

from sandbox.tenant.errors import invalid_value
from sandbox.tenant.objects import PROPERTIES, Kind

_READ_ONLY = frozenset({"id", "createdDateTime", "deletedDateTime", "proxyAddresses"})
_REQUIRED: dict[Kind, tuple[str, ...]] = {
    Kind.USER: ("accountEnabled", "displayName", "mailNickname", "userPrincipalName"),
    Kind.GROUP: ("displayName", "mailEnabled", "mailNickname", "securityEnabled"),
    Kind.DEVICE: ("displayName",),
    Kind.SERVICE_PRINCIPAL: ("appId", "displayName"),
}
_WRITE_ONLY = frozenset({"passwordProfile"})


def checked_properties(kind: Kind, body: dict[str, Any], domains: tuple[str, ...]) -> dict[str, Any]:
    """The properties of ``body`` that the directory will keep; raises ``GraphError`` 400 for what it refuses.

    Annotations (names with ``@``) and write-only properties are left out.
    """
    kept: dict[str, Any] = {}
    for name, value in body.items():
        if "@" in name or name in _WRITE_ONLY:
            continue
        if name in _READ_ONLY:
            raise invalid_value(f"Property '{name}' is read-only and cannot be set.")
        rule = PROPERTIES[kind].get(name)
        if rule is None:
            raise invalid_value(f"Invalid property '{name}'.")
        types, longest = rule
        if value is not None:
            if not isinstance(value, types) or value == "":
                raise invalid_value(f"Invalid value specified for property '{name}' of resource '{kind.value.title()}'.")
            if longest is not None and isinstance(value, str) and len(value) > longest:
                raise invalid_value(f"Property '{name}' is longer than {longest} characters.")
        elif name in _REQUIRED[kind]:
            raise invalid_value(f"Property '{name}' cannot be null.")
        kept[name] = value
    _check_principal_name(kept.get("userPrincipalName"), domains)
    return kept


def check_required(kind: Kind, properties: dict[str, Any]) -> None:
    """Raises ``GraphError`` 400 if a property is missing without which an object cannot be created."""
    for name in _REQUIRED[kind]:
        if name not in properties:
            raise invalid_value(f"A value is required for property '{name}' of resource '{kind.value.title()}'.")


def _check_principal_name(name: str | None, domains: tuple[str, ...]) -> None:
    if name is not None:
        alias, _, domain = name.rpartition("@")
        if not alias or domain.lower() not in domains:
            raise invalid_value("The domain portion of the userPrincipalName property is invalid.")
