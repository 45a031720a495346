"""The view of a Microsoft Graph user or group that mappings and filters read.

Attributes answer to the names of the synchronization schema, which are those of the retired Azure AD Graph, and to Microsoft
Graph's own: ``telephoneNumber`` and ``businessPhones``, ``objectId`` and ``id``. Virtual attributes (source: "How application
provisioning works", Microsoft Entra docs): ``IsSoftDeleted``; ``userPrincipalName`` of a guest without ``#EXT#@tenant``, whole
in ``originalUserPrincipalName``; ``appRoleAssignments``; ``memberOf`` (ids of groups); ``manager`` (the manager's object id).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, override

from .values import Value, value_of

type ObjectKind = Literal["user", "group"]

RENAMED: Mapping[str, str] = {
    "objectId": "id",
    "telephoneNumber": "businessPhones",
    "mobile": "mobilePhone",
    "physicalDeliveryOfficeName": "officeLocation",
    "facsimileTelephoneNumber": "faxNumber",
    "dirSyncEnabled": "onPremisesSyncEnabled",
    "immutableId": "onPremisesImmutableId",
    "lastDirSyncTime": "onPremisesLastSyncDateTime",
    "refreshTokensValidFromDateTime": "signInSessionsValidFromDateTime",
    "userState": "externalUserState",
    "userStateChangedOn": "externalUserStateChangeDateTime",
}
"""Names of Azure AD Graph -> names of Microsoft Graph (source: property differences, "Migrate from Azure AD Graph" docs)."""

_FIRST_ONLY = frozenset({"telephoneNumber"})
_NESTED = {
    "costCenter": "employeeOrgData.costCenter",
    "division": "employeeOrgData.division",
    **{f"extensionAttribute{number}": f"onPremisesExtensionAttributes.extensionAttribute{number}" for number in range(1, 16)},
}
_ALIASES = {**RENAMED, **_NESTED}

_USER_PROPERTIES = frozenset({
    "id", "accountEnabled", "ageGroup", "businessPhones", "city", "companyName", "consentProvidedForMinor", "country",
    "createdDateTime", "creationType", "department", "displayName", "employeeHireDate", "employeeId", "employeeLeaveDateTime",
    "employeeOrgData.costCenter", "employeeOrgData.division", "employeeType", "externalUserState",
    "externalUserStateChangeDateTime", "faxNumber", "givenName", "identities", "imAddresses", "jobTitle",
    "lastPasswordChangeDateTime", "legalAgeGroupClassification", "mail", "mailNickname", "manager", "mobilePhone",
    "officeLocation", "onPremisesDistinguishedName", "onPremisesDomainName", "onPremisesImmutableId",
    "onPremisesLastSyncDateTime", "onPremisesSamAccountName", "onPremisesSecurityIdentifier", "onPremisesSyncEnabled",
    "onPremisesUserPrincipalName", "otherMails", "passwordPolicies", "postalCode", "preferredDataLocation",
    "preferredLanguage", "proxyAddresses", "showInAddressList", "signInSessionsValidFromDateTime", "state", "streetAddress",
    "surname", "usageLocation", "userPrincipalName", "userType",
    *(f"onPremisesExtensionAttributes.extensionAttribute{number}" for number in range(1, 16)),
})  # fmt: skip
_GROUP_PROPERTIES = frozenset({
    "id", "classification", "createdDateTime", "description", "displayName", "expirationDateTime", "groupTypes",
    "isAssignableToRole", "mail", "mailEnabled", "mailNickname", "members", "membershipRule",
    "membershipRuleProcessingState", "onPremisesDomainName", "onPremisesLastSyncDateTime", "onPremisesNetBiosName",
    "onPremisesSamAccountName", "onPremisesSecurityIdentifier", "onPremisesSyncEnabled", "owners", "preferredDataLocation",
    "preferredLanguage", "proxyAddresses", "renewedDateTime", "securityEnabled", "securityIdentifier", "theme", "visibility",
})  # fmt: skip
_VIRTUAL = frozenset({"IsSoftDeleted", "originalUserPrincipalName", "appRoleAssignments", "memberOf"})
_VIRTUAL_NEEDS = {"originalUserPrincipalName": "userPrincipalName"}
_ALWAYS: Mapping[ObjectKind, tuple[str, ...]] = {
    "user": ("id", "accountEnabled", "userPrincipalName", "displayName", "userType"),
    "group": ("id", "displayName", "securityEnabled", "mailEnabled", "groupTypes"),
}
_EXTENSION = re.compile(r"extension_[0-9A-Za-z]+_.+|[A-Za-z][A-Za-z0-9_]*\..+")
_GUEST = re.compile(r"(?P<alias>.+)#EXT#@.+", re.IGNORECASE)


class SourceObject(Mapping[str, Value]):
    """A read-only mapping from attribute name to value. Iterates over Microsoft Graph's names; answers to the older ones too.

    What is absent, null or an empty list in Graph has no key: it is NULL in expressions and filters alike.
    """

    __slots__ = ("_values", "kind", "object_id")

    def __init__(self, kind: ObjectKind, values: Mapping[str, Value]) -> None:
        self.kind = kind
        self._values = {name: value for name, value in values.items() if value is not None}
        self.object_id = str(self._values.get("id", ""))

    @override
    def __getitem__(self, name: str) -> Value:
        if name in self._values:
            return self._values[name]
        value = self._values[_ALIASES[name]]
        return value[0] if name in _FIRST_ONLY and isinstance(value, tuple) else value

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    @override
    def __len__(self) -> int:
        return len(self._values)

    @override
    def __repr__(self) -> str:
        return f"SourceObject({self.kind} {self.object_id}, {len(self._values)} attributes)"


def user_source(
    raw: Mapping[str, Any],
    *,
    is_soft_deleted: bool,
    app_roles: Sequence[str] = (),
    member_of: Sequence[str] = (),
    extra: Mapping[str, Value] | None = None,
) -> SourceObject:
    """A user from Graph's JSON, complete (never a delta's fragment).

    ``is_soft_deleted``: unassigned, out of scope, in the recycle bin or disabled. ``app_roles``: names of the app roles
    assigned. ``member_of``: ids of the groups that filters ask about. ``extra``: more attributes, which win.
    """
    values = _flattened(raw)
    name = values.get("userPrincipalName")
    if isinstance(name, str):
        values["originalUserPrincipalName"] = name
        values["userPrincipalName"] = home_principal_name(name)
    values["manager"] = _manager(raw)
    values |= {
        "IsSoftDeleted": is_soft_deleted,
        "appRoleAssignments": tuple(app_roles) or None,
        "memberOf": tuple(member_of) or None,
        **(extra or {}),
    }
    return SourceObject("user", values)


def group_source(
    raw: Mapping[str, Any],
    *,
    is_soft_deleted: bool,
    members: Sequence[str] = (),
    member_of: Sequence[str] = (),
    extra: Mapping[str, Value] | None = None,
) -> SourceObject:
    """A group from Graph's JSON. ``members``: object ids, where a mapping or filter needs them."""
    values = _flattened(raw)
    values |= {
        "IsSoftDeleted": is_soft_deleted,
        "members": tuple(members) or None,
        "memberOf": tuple(member_of) or None,
        **(extra or {}),
    }
    return SourceObject("group", values)


def home_principal_name(user_principal_name: str) -> str:
    """A guest's name in the home tenant: ``ann_fabrikam.com#EXT#@contoso.com`` is ``ann@fabrikam.com``."""
    guest = _GUEST.fullmatch(user_principal_name)
    if guest is None:
        return user_principal_name
    alias, separator, domain = guest["alias"].rpartition("_")
    return f"{alias}@{domain}" if separator else guest["alias"]


def _manager(raw: Mapping[str, Any]) -> Value:
    manager = raw.get("manager")
    if manager is None:
        # In a delta the new manager stands beside the removed one.
        changes = [entry for entry in raw.get("manager@delta") or () if isinstance(entry, dict) and "@removed" not in entry]
        manager = changes[-1] if changes else None
    if isinstance(manager, Mapping):
        manager = manager.get("id")
    return manager if isinstance(manager, str) and manager else None


def _flattened(raw: Mapping[str, Any]) -> dict[str, Value]:
    """Scalars and lists of scalars; one level of objects becomes ``outer.inner``. Annotations and lists of objects are left."""
    values: dict[str, Value] = {}
    for name, value in raw.items():
        if "@" in name:
            continue
        if isinstance(value, Mapping):
            inner = {f"{name}.{key}": entry for key, entry in value.items() if "@" not in key}
            values |= {key: value_of(entry) for key, entry in inner.items() if _is_plain(entry)}
        elif _is_plain(value):
            values[name] = value_of(value)
    return values


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return not any(isinstance(item, Mapping | list) for item in value)
    return not isinstance(value, Mapping)


def is_known_attribute(name: str, kind: ObjectKind) -> bool:
    """True for what a Graph user or group can have under any of its names, directory and schema extensions included."""
    properties = _USER_PROPERTIES if kind == "user" else _GROUP_PROPERTIES
    return _ALIASES.get(name, name) in properties or name in _VIRTUAL or _EXTENSION.fullmatch(name) is not None


def graph_select(attributes: Iterable[str], kind: ObjectKind) -> tuple[str, ...]:
    """The names for Graph's ``$select``: the engine's own needs, then the attributes', sorted. Virtual ones are left out."""
    needed: set[str] = set()
    for attribute in attributes:
        name = _VIRTUAL_NEEDS.get(attribute, attribute)
        if name in _VIRTUAL:
            continue
        needed.add(_ALIASES.get(name, name).partition(".")[0])
    always = _ALWAYS[kind]
    return (*always, *sorted(needed.difference(always)))
