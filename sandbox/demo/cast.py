"""Who plays what: which departments ServiceNow lacks, whom it knows already, and whose life changes."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox.agreement import home_name
from sandbox.people import COMPANIES, COST_CENTERS, DEPARTMENTS, LOCATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sandbox.demo.servicenow import ServiceNow
    from sandbox.sides import Directory, Json

#: One of so many people is known to ServiceNow before the first cycle, at the least four.
_KNOWN_SHARE: Final = 50
_FEWEST_KNOWN: Final = 4
#: A department that is missing must be missed by a few.
_FEWEST_WAITING: Final = 2
_LONGEST_NAME: Final = 40
LEAST_USERS, LEAST_GROUPS = 40, 4
"""With fewer there is nobody left for one of the changes."""

_LOCALS: Final = (
    {"user_name": "kiosk.lobby", "first_name": "Lobby", "last_name": "Kiosk", "title": "Shared terminal"},
    {"user_name": "vendor.nightshift", "first_name": "Nadia", "last_name": "Okonkwo", "title": "Vendor, night shift"},
    {"user_name": "archive.reader", "first_name": "Archive", "last_name": "Reader", "active": "false"},
)
"""People of ServiceNow's own, whom nobody in Entra explains."""


class CastingError(Exception):
    """The directory has nobody for a part."""


@dataclass(frozen=True, slots=True)
class Scenery:
    """What ServiceNow holds before the first cycle, and which departments it lacks: one is created later, one never."""

    late_department: str
    missing_department: str
    known_people: tuple[Mapping[str, str], ...]
    known_group: Mapping[str, str]


def scenery(directory: Directory, seed: int) -> Scenery:
    """Choose; the same directory and seed give the same. Raises ``CastingError`` for a directory that is too small."""
    people = [user for user in employees(directory) if user.get("department")]
    # The smallest departments wait: most people should arrive whole.
    counts = Counter(user["department"] for user in people)
    by_size = [name for name, number in reversed(counts.most_common()) if number >= _FEWEST_WAITING]
    if len(by_size) < 3 or not directory.groups:  # noqa: PLR2004 - two are missing, and one must be there
        raise CastingError("the directory has too few departments or groups to play with: ask for more --users and --groups")
    rng = random.Random(f"known/{seed}")
    known = rng.sample(people, min(len(people), max(_FEWEST_KNOWN, len(people) // _KNOWN_SHARE)))
    group = rng.choice(directory.groups)
    return Scenery(
        late_department=by_size[0],
        missing_department=by_size[1],
        known_people=tuple(_known(user, number) for number, user in enumerate(known)),
        known_group={"name": group["displayName"], "description": "Made by hand in 2019"},
    )


async def furnish(servicenow: ServiceNow, chosen: Scenery) -> None:
    """Put it all into the instance, and a member whom ServiceNow's own people added to the known group."""
    missing = {chosen.late_department, chosen.missing_department}
    await servicenow.seed(
        {
            "departments": [name for name in DEPARTMENTS if name not in missing],
            "locations": LOCATIONS,
            "companies": COMPANIES,
            "cost_centers": COST_CENTERS,
            "people": [*chosen.known_people, *_LOCALS],
        }
    )
    own_group, known_group = await servicenow.insert("sys_user_group", [{"name": "Night Shift (local)"}, chosen.known_group])
    local = await servicenow.user(_LOCALS[0]["user_name"])
    if local is not None:
        pairs = [{"user": local["sys_id"], "group": group} for group in (own_group, known_group)]
        await servicenow.insert("sys_user_grmember", pairs)


def _known(user: Json, number: int) -> dict[str, str]:
    """Somebody as ServiceNow knew him: right name, title of long ago; the first one had left and been locked out."""
    row = {
        "user_name": user["userPrincipalName"],
        "first_name": user["givenName"],
        "last_name": user["surname"],
        "email": user.get("mail") or "",
        "title": "Trainee",
    }
    return row | {"active": "false", "locked_out": "true"} if number == 0 else row


def employees(directory: Directory) -> list[Json]:
    """Enabled people who are not guests."""
    return [user for user in directory.users if user.get("accountEnabled") is not False and user.get("userType") == "Member"]


class Troupe:
    """Hands out people whose lives change: each once, enabled, nobody's manager, in a department that ServiceNow knows."""

    def __init__(self, directory: Directory, chosen: Scenery, seed: int) -> None:
        self._directory = directory
        managers = {(user.get("manager") or {}).get("id") for user in directory.users}
        missing = {chosen.late_department, chosen.missing_department, None}
        staff = employees(directory)
        self._managers = [user for user in staff if user["id"] in managers]
        self._free = [
            user
            for user in staff
            if user["id"] not in managers
            and user.get("department") not in missing
            and len(user["userPrincipalName"]) <= _LONGEST_NAME
        ]
        self.departments = sorted({user["department"] for user in staff if user.get("department") not in missing})
        self._rng = random.Random(f"cast/{seed}")
        self._rng.shuffle(self._free)

    def anybody(self) -> Json:
        """The next one; raises ``CastingError`` when nobody is left."""
        return self._take(self._free)

    def member(self) -> tuple[Json, Json]:
        """A person and a group that he is a direct member of."""
        return self._pair(inside=True)

    def outsider(self) -> tuple[Json, Json]:
        """A person and a group that he is not in."""
        return self._pair(inside=False)

    def manager(self, *, but: str | None = None) -> Json:
        """Somebody who leads others, other than the object id ``but``."""
        return self._rng.choice([user for user in self._managers if user["id"] != but] or self._managers)

    def groups_of(self, user_id: str) -> Sequence[Json]:
        """The groups that somebody is a direct member of."""
        return [group for group in self._directory.groups if user_id in self._directory.members[group["id"]]]

    def _pair(self, *, inside: bool) -> tuple[Json, Json]:
        for group in sorted(self._directory.groups, key=lambda one: len(self._directory.members[one["id"]])):
            members = self._directory.members[group["id"]]
            for user in self._free:
                if (user["id"] in members) is inside:
                    self._free.remove(user)
                    return user, group
        raise CastingError("nobody is left for a change of membership: ask for more --users and --groups")

    @staticmethod
    def _take(people: list[Json]) -> Json:
        if not people:
            raise CastingError("nobody is left for a change: ask for more --users")
        return people.pop()


def new_hire(department: str, *, domain: str) -> dict[str, Any]:
    """Somebody whom the directory does not know yet."""
    return {
        "accountEnabled": True,
        "displayName": "Zoë Lindqvist-Ortiz",
        "givenName": "Zoë",
        "surname": "Lindqvist-Ortiz",
        "mailNickname": "zoe.lindqvist-ortiz",
        "userPrincipalName": f"zoe.lindqvist-ortiz@{domain}",
        "mail": f"zoe.lindqvist-ortiz@{domain}",
        "jobTitle": "Apprentice",
        "department": department,
        "companyName": COMPANIES[0],
        "officeLocation": LOCATIONS[0],
        "employeeId": "900001",
        "businessPhones": ["+49 30 5550123"],
        "passwordProfile": {"password": "Demo-only-1!", "forceChangePasswordNextSignIn": True},
    }


def domain_of(user: Json) -> str:
    """The domain of somebody's user principal name."""
    return home_name(user["userPrincipalName"]).rpartition("@")[2]
