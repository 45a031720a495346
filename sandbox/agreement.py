"""Do both sides agree? What ServiceNow must hold for a directory, attribute by attribute, against what it holds.

The expectations are written by hand from the default mapping (docs/mapping.md): this module knows nothing of the app, so a
fault of the app cannot hide in it. They hold for the scope ``all`` and the default options: a disabled person is not hired,
one who was provisioned is disabled and locked; somebody in the recycle bin is inactive and in no group; who is gone for good
has no record; members whom ServiceNow's own people added stay; a value that is null and never was provisioned is left alone;
a reference to a record that does not exist waits; a text that is longer than its column is left out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sandbox.sides import Directory, Json, Records, Row

#: sys_user column <- Graph property, for the texts that flow as they are.
_USER_TEXTS: Final = {
    "email": "mail",
    "first_name": "givenName",
    "last_name": "surname",
    "title": "jobTitle",
    "mobile_phone": "mobilePhone",
    "street": "streetAddress",
    "city": "city",
    "state": "state",
    "zip": "postalCode",
    "country": "country",
    "employee_number": "employeeId",
    "preferred_language": "preferredLanguage",
}
#: sys_user column <- Graph property, and the table in which a record of that name is referred to.
_USER_REFERENCES: Final = {
    "department": ("department", "cmn_department"),
    "location": ("officeLocation", "cmn_location"),
    "company": ("companyName", "core_company"),
    "cost_center": ("employeeOrgData/costCenter", "cmn_cost_center"),
}
_GROUP_TEXTS: Final = {"description": "description", "email": "mail"}
_USER_COLUMNS: Final = ("user_name", "active", "locked_out", "phone", *_USER_TEXTS, *_USER_REFERENCES, "manager")
_GROUP_COLUMNS: Final = ("name", "active", *_GROUP_TEXTS)
_OBJECT_ID_DIGITS: Final = 32
_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not as it should be: ``subject`` is a person or group, ``column`` is ``table.column``."""

    subject: str
    column: str
    expected: str
    found: str


@dataclass(slots=True)
class Comparison:
    """How often one thing was compared, and how often its value waits, does not fit its column, or differs."""

    compared: int = 0
    waiting: int = 0
    too_long: int = 0
    different: int = 0


@dataclass(frozen=True, slots=True)
class Agreement:
    """The comparison of both sides, by what was compared."""

    comparisons: Mapping[str, Comparison]
    differences: tuple[Difference, ...]

    @property
    def agrees(self) -> bool:
        """Whether there is no difference, and something was compared at all."""
        return not self.differences and any(row.compared for row in self.comparisons.values())

    def table(self) -> str:
        """What was compared, and the first differences, as text."""
        width = max(map(len, self.comparisons), default=0)
        lines = [f"{'':{width}}  compared   waiting  too long   differs"]
        for name, row in self.comparisons.items():
            numbers = (row.compared, row.waiting, row.too_long, row.different)
            lines.append(f"{name:{width}}" + "".join(f"{number:10,}" if number else f"{'-':>10}" for number in numbers))
        lines += [
            f"  {one.subject}: {one.column} should be {one.expected!r} and is {one.found!r}" for one in self.differences[:_SHOWN]
        ]
        if len(self.differences) > _SHOWN:
            lines.append(f"  ... and {len(self.differences) - _SHOWN:,} more")
        return "\n".join(lines)


def compare(directory: Directory, records: Records, *, provisioned: Collection[str], before: Records) -> Agreement:
    """Compare a directory with the records that should follow from it.

    ``provisioned``: object ids of everybody who was enabled at some time since the app was started (who is enabled now need
    not be named). ``before``: the instance before the app first wrote to it.
    """
    case = _Case(directory, records, frozenset(provisioned) | directory.enabled, before)
    case.people()
    case.groups()
    case.memberships()
    case.bystanders()
    return Agreement(case.comparisons, tuple(case.differences))


def home_name(user_principal_name: str) -> str:
    """The name that a guest has at home: ``ann_fabrikam.com#EXT#@contoso.com`` is ``ann@fabrikam.com``; others keep theirs."""
    name, mark, _ = user_principal_name.partition("#EXT#")
    alias, underscore, domain = name.rpartition("_")
    return f"{alias}@{domain}" if mark and underscore else name


@dataclass(slots=True)
class _Case:
    directory: Directory
    records: Records
    provisioned: frozenset[str]
    before: Records
    comparisons: dict[str, Comparison] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    user_ids: dict[str, str] = field(default_factory=dict)  # object id -> sys_id of everybody who has a record
    group_ids: dict[str, str] = field(default_factory=dict)
    explained: set[str] = field(default_factory=set)  # sys_ids of records that somebody in Entra explains

    def people(self) -> None:
        by_name = _by(self.records.users, "user_name")
        live = {}
        for person in self.directory.users:
            name = home_name(person["userPrincipalName"])
            live[name.casefold()] = person
            if person["id"] in self.provisioned:
                self._claim("sys_user", person["id"], name, "user_name", by_name, self.user_ids)
        for person in self.directory.deleted_users:
            name = home_name(person["userPrincipalName"][_OBJECT_ID_DIGITS:])
            if person["id"] in self.provisioned and name.casefold() not in live:
                self._deleted_person(person["id"], name, by_name)
        for name, person in live.items():
            sys_id = self.user_ids.get(person["id"])
            if sys_id is not None:
                self._person(name, person, self.records.users[sys_id])

    def groups(self) -> None:
        by_name = _by(self.records.groups, "name")
        for group in self.directory.groups:
            name = group.get("displayName") or ""
            self._claim("sys_user_group", group["id"], name, "name", by_name, self.group_ids)
            sys_id = self.group_ids.get(group["id"])
            if sys_id is not None:
                row = self.records.groups[sys_id]
                self._value("sys_user_group", name, "name", row, name)
                self._value("sys_user_group", name, "active", row, "true")
                for column, source in _GROUP_TEXTS.items():
                    self._value("sys_user_group", name, column, row, _text(group, source))
        for group in self.directory.deleted_groups:
            for sys_id in by_name.get((group.get("displayName") or "").casefold(), ()):
                if sys_id not in self.explained and sys_id not in self.before.groups:
                    self.explained.add(sys_id)
                    self._value("sys_user_group", group["displayName"], "active", self.records.groups[sys_id], "false")

    def memberships(self) -> None:
        """Every membership of a provisioned user in a provisioned group is there once, and no other that we made."""
        rows = self.records.memberships.values()
        found = Counter((row["group"], row["user"]) for row in rows)
        theirs = {(row["group"], row["user"]) for row in self.before.memberships.values()}
        expected: dict[tuple[str, str], str] = {}
        count = self._count("sys_user_grmember")
        for group in self.directory.groups:
            for member in self.directory.members[group["id"]]:
                if group["id"] in self.group_ids and member in self.user_ids:
                    expected[self.group_ids[group["id"]], self.user_ids[member]] = group["displayName"]
                else:
                    count.waiting += 1
        for pair, name in expected.items():
            count.compared += 1
            if found[pair] != 1:
                subject = f"{name}: {self._user_name(pair[1])}"
                self._differs("sys_user_grmember", subject, "member", "1 row", f"{found[pair]} rows")
        kept_groups = set(self.group_ids.values()) | set(self.before.groups)
        for group_id, user_id in found.keys() - expected.keys() - theirs:
            if group_id in kept_groups:
                self._differs("sys_user_grmember", f"{group_id}: {self._user_name(user_id)}", "member", "0 rows", "1 row")
        for pair in theirs - found.keys():
            if pair[1] not in self.explained:
                self._differs("sys_user_grmember", f"{pair[0]}: {self._user_name(pair[1])}", "member", "left alone", "removed")

    def bystanders(self) -> None:
        """Records that nobody in Entra explains: as they were before, and none that was not there before."""
        sides = (
            ("sys_user", self.records.users, self.before.users, "user_name", _USER_COLUMNS),
            ("sys_user_group", self.records.groups, self.before.groups, "name", _GROUP_COLUMNS),
        )
        for table, now, former, key, columns in sides:
            for sys_id, row in now.items():
                if sys_id not in self.explained and sys_id not in former:
                    self._differs(f"{table} records", row.get(key) or sys_id, "record", "absent", "present")
            count = self._count(f"{table} of ServiceNow's own")
            for sys_id, row in former.items():
                if sys_id not in self.explained:
                    count.compared += 1
                    held = now.get(sys_id)
                    changed = [column for column in columns if held is None or held.get(column, "") != row.get(column, "")]
                    for column in changed:
                        found = held.get(column, "") if held else "no record"
                        self._differs(f"{table} of ServiceNow's own", row.get(key, ""), column, row.get(column, ""), found)

    def _claim(
        self, table: str, object_id: str, name: str, key: str, by_name: Mapping[str, list[str]], into: dict[str, str]
    ) -> None:
        """Find the one record of an object that must have one."""
        count = self._count(f"{table} records")
        if not name or len(name) > self.records.lengths.get((table, key), len(name)):
            count.too_long += 1
            return
        count.compared += 1
        found = by_name.get(name.casefold(), [])
        self.explained.update(found)
        if len(found) == 1:
            into[object_id] = found[0]
        else:
            self._differs(f"{table} records", name, "record", "1 record", f"{len(found)} records")

    def _person(self, name: str, person: Json, row: Row) -> None:
        enabled = person.get("accountEnabled") is not False
        phones = person.get("businessPhones") or [""]
        self._value("sys_user", name, "user_name", {**row, "user_name": row["user_name"].casefold()}, name)
        self._value("sys_user", name, "active", row, "true" if enabled else "false")
        self._value("sys_user", name, "locked_out", row, "false" if enabled else "true")
        self._value("sys_user", name, "phone", row, phones[0])
        for column, source in _USER_TEXTS.items():
            self._value("sys_user", name, column, row, _text(person, source))
        for column, (source, table) in _USER_REFERENCES.items():
            self._reference(name, column, row, _text(person, source), table)
        self._manager(name, person, row)

    def _deleted_person(self, object_id: str, name: str, by_name: Mapping[str, list[str]]) -> None:
        found: dict[str, str] = {}
        self._claim("sys_user", object_id, name, "user_name", by_name, found)
        if object_id in found:
            row = self.records.users[found[object_id]]
            self._value("sys_user", name, "active", row, "false")
            self._value("sys_user", name, "locked_out", row, "true")

    def _value(self, table: str, subject: str, column: str, row: Row, expected: str) -> None:
        """A plain value: what Entra has; what was there before, where Entra has none or the column is too short."""
        count = self._count(f"{table}.{column}")
        count.compared += 1
        former = (self.before.users if table == "sys_user" else self.before.groups).get(row["sys_id"], {})
        accepted = {expected}
        if len(expected) > self.records.lengths.get((table, column), len(expected)):
            count.too_long += 1
            accepted = {"", former.get(column, "")}
        elif not expected:
            accepted.add(former.get(column, ""))
        found = row.get(column, "")
        if found not in accepted:
            self._differs(f"{table}.{column}", subject, column, expected, found)

    def _reference(self, subject: str, column: str, row: Row, expected: str, table: str) -> None:
        """A reference by name: the one record of that name; none, or the former one, while there is no such record."""
        count = self._count(f"sys_user.{column}")
        count.compared += 1
        names = self.records.names[table]
        known = [sys_id for sys_id, name in names.items() if name.casefold() == expected.casefold()]
        accepted = set(known)
        if len(known) != 1:
            count.waiting += bool(expected)
            accepted = {"", self.before.users.get(row["sys_id"], {}).get(column, "")}
        found = row.get(column, "")
        if found not in accepted:
            self._differs(f"sys_user.{column}", subject, column, expected if known else "", names.get(found, found))

    def _manager(self, subject: str, person: Json, row: Row) -> None:
        count = self._count("sys_user.manager")
        count.compared += 1
        manager = (person.get("manager") or {}).get("id")
        expected = self.user_ids.get(manager, "") if manager else ""
        accepted = {expected}
        if not expected:
            count.waiting += bool(manager)
            accepted.add(self.before.users.get(row["sys_id"], {}).get("manager", ""))
        found = row.get("manager", "")
        if found not in accepted:
            self._differs("sys_user.manager", subject, "manager", self._user_name(expected), self._user_name(found))

    def _user_name(self, sys_id: str) -> str:
        return self.records.users.get(sys_id, {}).get("user_name", sys_id)

    def _count(self, name: str) -> Comparison:
        return self.comparisons.setdefault(name, Comparison())

    def _differs(self, name: str, subject: str, column: str, expected: str, found: str) -> None:
        self._count(name).different += 1
        self.differences.append(Difference(subject, f"{name.partition(' ')[0].partition('.')[0]}.{column}", expected, found))


def _by(rows: Mapping[str, Row], column: str) -> dict[str, list[str]]:
    """sys_ids by a column's value, without case."""
    found: dict[str, list[str]] = {}
    for sys_id, row in rows.items():
        found.setdefault(row.get(column, "").casefold(), []).append(sys_id)
    return found


def _text(source: Json, path: str) -> str:
    """A property as text, ``""`` for null; a slash leads into a complex value."""
    value: object = source
    for name in path.split("/"):
        value = value.get(name) if isinstance(value, dict) else None
    return str(value) if value is not None else ""
