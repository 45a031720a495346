"""Makes a whole organisation of invented people and groups from a seed: the same seed gives the same organisation.

Everything is in Graph's own property names, so that it can be loaded into a directory as it is. Nobody in it exists.
"""

from __future__ import annotations

import datetime as dt
import random
import uuid
from dataclasses import dataclass
from typing import Any

from sandbox.people.names import CULTURES, romanised
from sandbox.people.organisation import COMPANIES, COMPANY_OF_COUNTRY, COST_CENTER_OF, DEPARTMENTS, JOB_TITLES, OFFICES

SPAN_OF_CONTROL = 7
_GUEST_SHARE = 0.03
_DISABLED_SHARE = 0.04
_TYPED_COUNTRY = 0.01
_MEMBERSHIPS_PER_USER = 6
_FIRST_DAY = dt.date(2009, 1, 5)
_GUEST_DOMAINS = ("fabrikam.com", "adatum.com", "northwindtraders.com", "tailspintoys.com")
_PROJECTS = ("Aurora", "Bluebird", "Cascade", "Dünenwind", "Élan", "Falcon", "Glacier", "Horizonte", "Iris", "Jasmin")
_PROJECT_KIND = 2
_APPLICATIONS = ("ServiceNow", "VPN", "Expenses", "Payroll", "Wiki", "Source Control", "Data Lake", "Badge Access")


@dataclass(frozen=True, slots=True)
class GeneratedUser:
    """A user: Graph properties (absent ones were never set), and the manager's object id."""

    id: str
    properties: dict[str, Any]
    manager_id: str | None


@dataclass(frozen=True, slots=True)
class GeneratedDevice:
    """A device that may be a group's member."""

    id: str
    properties: dict[str, Any]


@dataclass(frozen=True, slots=True)
class GeneratedGroup:
    """A group and the object ids of its direct members: users, other groups, devices."""

    id: str
    properties: dict[str, Any]
    member_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Organisation:
    """Everything that a tenant is seeded with."""

    users: tuple[GeneratedUser, ...]
    groups: tuple[GeneratedGroup, ...]
    devices: tuple[GeneratedDevice, ...]


def generate(seed: int, users: int, groups: int, *, domain: str = "contoso.com") -> Organisation:
    """An organisation of ``users`` people and ``groups`` groups; the first user is at the top of the manager tree.

    About 3 % of the people are guests, 4 % are disabled, some attributes are missing or null, and there are about six
    memberships for each user, in groups of very different sizes.
    """
    people = _People(random.Random(f"people/{seed}"), users, domain)
    made = tuple(people.make(index) for index in range(users))
    rng = random.Random(f"groups/{seed}")
    devices = tuple(_device(rng, index) for index in range(max(1, groups // 20) if groups else 0))
    return Organisation(made, tuple(_groups(rng, groups, made, devices, domain)), devices)


def _happens(rng: random.Random, share: float) -> bool:
    """Whether what happens to ``share`` (0 to 1) of all happens to this one."""
    return rng.random() < share


def _object_id(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


class _People:
    def __init__(self, rng: random.Random, count: int, domain: str) -> None:
        self._rng = rng
        self._domain = domain
        self._taken: dict[str, int] = {}
        self._made: list[tuple[str, str]] = []  # object id and department of everybody so far
        # Guests are leaves of the tree, so their share among the leaves is a little higher than among all.
        self._first_leaf = 1 + (count - 2) // SPAN_OF_CONTROL if count > 1 else 1
        self._guest_chance = _GUEST_SHARE * count / max(1, count - self._first_leaf)

    def make(self, index: int) -> GeneratedUser:
        rng = self._rng
        office = rng.choice(OFFICES)
        culture = CULTURES[office.culture if _happens(rng, 0.6) else rng.choice(list(CULTURES))]
        given, surname = rng.choice(culture.given), rng.choice(culture.surnames)
        manager = (index - 1) // SPAN_OF_CONTROL if index else None
        department = self._department(index, manager)
        guest = index >= self._first_leaf and index > 0 and _happens(rng, self._guest_chance)
        alias = self._alias(given, surname)
        properties: dict[str, Any] = {
            "displayName": f"{given} {surname}",
            "givenName": given,
            "surname": surname,
            "mailNickname": alias,
            "accountEnabled": index == 0 or rng.random() >= _DISABLED_SHARE,
            "createdDateTime": _date(rng, index) + "T08:00:00Z",
            "businessPhones": [],
        }
        object_id = _object_id(rng)
        self._made.append((object_id, department))
        if guest:
            properties |= self._guest(alias)
            keeps_manager = _happens(rng, 0.5)
        else:
            properties |= {
                "userPrincipalName": f"{alias}@{self._domain}",
                "mail": f"{alias}@{self._domain}",
                "userType": "Member",
                "employeeId": str(100_000 + index),
                "employeeType": rng.choices(("Employee", "Contractor", "Intern"), (85, 11, 4))[0],
                "employeeHireDate": _date(rng, index) + "T00:00:00Z",
                "jobTitle": self._title(index, department),
                "department": department,
                "companyName": COMPANY_OF_COUNTRY.get(office.country_code, COMPANIES[0]),
                "employeeOrgData": {"division": None, "costCenter": COST_CENTER_OF[department]},
                "officeLocation": office.name,
                "streetAddress": office.street,
                "city": office.city,
                "postalCode": office.postal_code,
                # ServiceNow's column takes a code; here and there somebody has typed the name.
                "country": office.country if _happens(rng, _TYPED_COUNTRY) else office.country_code,
                "usageLocation": office.country_code,
                "preferredLanguage": office.language,
                "businessPhones": [f"{office.prefix} {rng.randint(1_000_000, 9_999_999)}"],
            }
            if office.state is not None:
                properties["state"] = office.state
            if _happens(rng, 0.6):
                properties["mobilePhone"] = f"{office.prefix.split()[0]} {rng.randint(100_000_000, 999_999_999)}"
            self._wear(properties)
            keeps_manager = index > 0
        manager_id = self._made[manager][0] if manager is not None and keeps_manager else None
        return GeneratedUser(object_id, properties, manager_id)

    def _department(self, index: int, manager: int | None) -> str:
        if manager is None:
            return DEPARTMENTS[0]
        if index <= SPAN_OF_CONTROL**2:  # the first two levels below the top lead the departments
            return DEPARTMENTS[1 + index % (len(DEPARTMENTS) - 1)]
        return self._made[manager][1] if _happens(self._rng, 0.97) else self._rng.choice(DEPARTMENTS)

    def _title(self, index: int, department: str) -> str:
        if index == 0:
            return "Chief Executive Officer"
        if index <= SPAN_OF_CONTROL:
            return f"Vice President {department}"
        if index <= SPAN_OF_CONTROL + SPAN_OF_CONTROL**2:
            return f"Head of {department}"
        if index < self._first_leaf:
            return f"{department} Manager"
        return self._rng.choice(JOB_TITLES[department])

    def _alias(self, given: str, surname: str) -> str:
        wanted = f"{romanised(given)}.{romanised(surname)}"
        seen = self._taken.get(wanted, 0)
        self._taken[wanted] = seen + 1
        return f"{wanted}{seen + 1}" if seen else wanted

    def _guest(self, alias: str) -> dict[str, Any]:
        home = self._rng.choice(_GUEST_DOMAINS)
        return {
            "userPrincipalName": f"{alias}_{home}#EXT#@{self._domain}",
            "mailNickname": f"{alias}_{home}#EXT#",
            "mail": f"{alias}@{home}",
            "userType": "Guest",
            "externalUserState": self._rng.choice(("Accepted", "PendingAcceptance")),
        }

    def _wear(self, properties: dict[str, Any]) -> None:
        """What every real directory looks like: some values were never entered, some were cleared later."""
        rng = self._rng
        for name, never_set, cleared in (
            ("employeeId", 0.02, 0.0),
            ("officeLocation", 0.03, 0.005),
            ("jobTitle", 0.01, 0.01),
            ("streetAddress", 0.05, 0.0),
            ("mail", 0.01, 0.005),
            ("employeeOrgData", 0.03, 0.0),
            ("preferredLanguage", 0.25, 0.0),
        ):
            draw = rng.random()
            if draw < never_set:
                del properties[name]
            elif draw < never_set + cleared:
                properties[name] = None


def _date(rng: random.Random, index: int) -> str:
    # Whoever stands higher in the tree has been there longer.
    return (_FIRST_DAY + dt.timedelta(days=rng.randint(0, min(6000, 1000 + index * 2)))).isoformat()


def _device(rng: random.Random, index: int) -> GeneratedDevice:
    properties = {
        "displayName": f"LAPTOP-{index:04d}",
        "accountEnabled": True,
        "deviceId": _object_id(rng),
        "operatingSystem": rng.choice(("Windows", "macOS")),
    }
    return GeneratedDevice(_object_id(rng), properties)


def _groups(
    rng: random.Random, count: int, users: tuple[GeneratedUser, ...], devices: tuple[GeneratedDevice, ...], domain: str
) -> list[GeneratedGroup]:
    ids = [_object_id(rng) for _ in range(count)]
    weights = [1 / (rank + 1) for rank in range(count)]
    scale = _MEMBERSHIPS_PER_USER * len(users) / sum(weights) if count else 0.0
    made: list[GeneratedGroup] = []
    for index, object_id in enumerate(ids):
        size = min(len(users), round(scale * weights[index]))
        members = [user.id for user in rng.sample(users, size)]
        if index + 1 < count and _happens(rng, 0.12):  # nested groups point down the list only: no circle
            members.append(ids[rng.randrange(index + 1, count)])
        if devices and _happens(rng, 0.08):
            members.append(rng.choice(devices).id)
        made.append(GeneratedGroup(object_id, _group_properties(rng, index, domain), tuple(members)))
    return made


def _group_properties(rng: random.Random, index: int, domain: str) -> dict[str, Any]:
    name = _group_name(index)
    alias = f"{romanised(name)}{index}"
    unified = _happens(rng, 0.3)
    properties: dict[str, Any] = {
        "displayName": name,
        "mailNickname": alias,
        "mailEnabled": unified,
        "securityEnabled": not unified or _happens(rng, 0.3),
        "groupTypes": ["Unified"] if unified else [],
        "createdDateTime": _date(rng, index) + "T09:00:00Z",
    }
    if unified:
        properties["mail"] = f"{alias}@{domain}"
    if _happens(rng, 0.8):
        properties["description"] = f"Members of {name}"
    return properties


def _group_name(index: int) -> str:
    kind, turn = index % 4, index // 4
    if kind == 0:
        base, many = f"{DEPARTMENTS[turn % len(DEPARTMENTS)]} Team", len(DEPARTMENTS)
    elif kind == 1:
        base, many = f"Everyone in {OFFICES[turn % len(OFFICES)].name}", len(OFFICES)
    elif kind == _PROJECT_KIND:
        base, many = f"Project {_PROJECTS[turn % len(_PROJECTS)]}", len(_PROJECTS)
    else:
        base, many = f"App {_APPLICATIONS[turn % len(_APPLICATIONS)]} Users", len(_APPLICATIONS)
    return base if turn < many else f"{base} {turn // many + 1}"
