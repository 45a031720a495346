"""What the directory consists of: objects, their properties, and the record of each change."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass, field
from typing import Any, Final


class Kind(enum.StrEnum):
    """The types of directory objects; the value is the name in ``#microsoft.graph.{name}``."""

    USER = "user"
    GROUP = "group"
    DEVICE = "device"
    SERVICE_PRINCIPAL = "servicePrincipal"

    @property
    def odata_type(self) -> str:
        return f"#microsoft.graph.{self.value}"


class State(enum.Enum):
    """Where an object is in its life. ``PURGED`` objects are kept: the change log refers to them."""

    ABSENT = "absent"
    LIVE = "live"
    DELETED = "deleted"
    PURGED = "purged"


class _NeverSet(enum.Enum):
    NEVER_SET = "never set"


NEVER_SET: Final = _NeverSet.NEVER_SET
"""The value before a change of a property that the object has never had."""


@dataclass(frozen=True, slots=True)
class Change:
    """One committed change of one object, with what it takes to undo it.

    ``before``: former values of the properties that changed (``NEVER_SET`` where there was none).
    ``members``: object ids that joined (True) or left (False) a group, with the edge's former ordinal.
    ``manager``: object ids of the manager before and after.
    ``state_before``: the former state, if the change is a creation, deletion, restore or purge.
    """

    seq: int
    at: float
    subject: DirectoryObject
    before: dict[str, Any] = field(default_factory=dict)
    members: tuple[tuple[str, bool, int], ...] = ()
    manager: tuple[str | None, str | None] | None = None
    state_before: State | None = None
    state_after: State | None = None
    hidden_from_delta: bool = False


@dataclass(slots=True, eq=False)
class DirectoryObject:
    """An object as it is now.

    ``members`` maps a member's object id to the ordinal of its edge: ordinals only grow, so a reader of a big group can
    go on where it stopped. ``groups`` are the ids of the groups that the object is a direct member of.
    """

    id: str
    kind: Kind
    properties: dict[str, Any]
    state: State = State.LIVE
    deleted_at: float | None = None
    manager_id: str | None = None
    members: dict[str, int] = field(default_factory=dict)
    groups: dict[str, None] = field(default_factory=dict)
    history: list[Change] = field(default_factory=list)
    edges: list[tuple[int, str]] | None = None

    def ordered_edges(self) -> list[tuple[int, str]]:
        """Members in the order of their edges, as (ordinal, object id)."""
        if self.edges is None:
            self.edges = [(ordinal, member) for member, ordinal in self.members.items()]
        return self.edges


_TEXT: Final = (str,)
_FLAG: Final = (bool,)
_LIST: Final = (list,)
_RECORD: Final = (dict,)

# Name, accepted JSON type, and the longest text that the directory keeps, where the user resource page states one.
USER_PROPERTIES: dict[str, tuple[tuple[type, ...], int | None]] = {
    "accountEnabled": (_FLAG, None),
    "ageGroup": (_TEXT, None),
    "businessPhones": (_LIST, None),
    "city": (_TEXT, 128),
    "companyName": (_TEXT, 64),
    "country": (_TEXT, 128),
    "createdDateTime": (_TEXT, None),
    "department": (_TEXT, 64),
    "displayName": (_TEXT, 256),
    "employeeHireDate": (_TEXT, None),
    "employeeId": (_TEXT, 16),
    "employeeLeaveDateTime": (_TEXT, None),
    "employeeOrgData": (_RECORD, None),
    "employeeType": (_TEXT, None),
    "externalUserState": (_TEXT, None),
    "faxNumber": (_TEXT, None),
    "givenName": (_TEXT, 64),
    "jobTitle": (_TEXT, 128),
    "mail": (_TEXT, None),
    "mailNickname": (_TEXT, 64),
    "mobilePhone": (_TEXT, 64),
    "officeLocation": (_TEXT, 128),
    "onPremisesExtensionAttributes": (_RECORD, None),
    "onPremisesImmutableId": (_TEXT, None),
    "onPremisesSamAccountName": (_TEXT, None),
    "onPremisesSyncEnabled": (_FLAG, None),
    "otherMails": (_LIST, None),
    "postalCode": (_TEXT, 40),
    "preferredLanguage": (_TEXT, None),
    "proxyAddresses": (_LIST, None),
    "state": (_TEXT, 128),
    "streetAddress": (_TEXT, 1024),
    "surname": (_TEXT, 64),
    "usageLocation": (_TEXT, 2),
    "userPrincipalName": (_TEXT, None),
    "userType": (_TEXT, None),
}
GROUP_PROPERTIES: dict[str, tuple[tuple[type, ...], int | None]] = {
    "classification": (_TEXT, None),
    "createdDateTime": (_TEXT, None),
    "description": (_TEXT, 1024),
    "displayName": (_TEXT, 256),
    "groupTypes": (_LIST, None),
    "isAssignableToRole": (_FLAG, None),
    "mail": (_TEXT, None),
    "mailEnabled": (_FLAG, None),
    "mailNickname": (_TEXT, 64),
    "membershipRule": (_TEXT, None),
    "membershipRuleProcessingState": (_TEXT, None),
    "onPremisesSyncEnabled": (_FLAG, None),
    "proxyAddresses": (_LIST, None),
    "securityEnabled": (_FLAG, None),
    "visibility": (_TEXT, None),
}
DEVICE_PROPERTIES: dict[str, tuple[tuple[type, ...], int | None]] = {
    "accountEnabled": (_FLAG, None),
    "deviceId": (_TEXT, None),
    "displayName": (_TEXT, 256),
    "operatingSystem": (_TEXT, None),
}
SERVICE_PRINCIPAL_PROPERTIES: dict[str, tuple[tuple[type, ...], int | None]] = {
    "accountEnabled": (_FLAG, None),
    "appDisplayName": (_TEXT, None),
    "appId": (_TEXT, None),
    "appRoleAssignmentRequired": (_FLAG, None),
    "appRoles": (_LIST, None),
    "displayName": (_TEXT, 256),
    "servicePrincipalType": (_TEXT, None),
}
PROPERTIES: dict[Kind, dict[str, tuple[tuple[type, ...], int | None]]] = {
    Kind.USER: USER_PROPERTIES,
    Kind.GROUP: GROUP_PROPERTIES,
    Kind.DEVICE: DEVICE_PROPERTIES,
    Kind.SERVICE_PRINCIPAL: SERVICE_PRINCIPAL_PROPERTIES,
}
DEFAULT_PROPERTIES: dict[Kind, tuple[str, ...]] = {
    Kind.USER: (
        "businessPhones",
        "displayName",
        "givenName",
        "jobTitle",
        "mail",
        "mobilePhone",
        "officeLocation",
        "preferredLanguage",
        "surname",
        "userPrincipalName",
    ),
    Kind.GROUP: tuple(GROUP_PROPERTIES),
    Kind.DEVICE: tuple(DEVICE_PROPERTIES),
    Kind.SERVICE_PRINCIPAL: tuple(SERVICE_PRINCIPAL_PROPERTIES),
}
"""What comes without $select (users: the eleven of the user resource page, ``id`` included)."""


def timestamp(at: float, *, digits: int = 0) -> str:
    """Seconds since 1970 as an ISO 8601 UTC time with ``digits`` fraction digits."""
    moment = dt.datetime.fromtimestamp(at, dt.UTC)
    fraction = f"{moment.microsecond:06d}".ljust(digits, "0")[:digits]
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{fraction}" if digits else "") + "Z"
