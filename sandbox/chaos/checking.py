"""Did a history end right? What must hold is written by hand, from the mapping table; nothing of the app is asked but its log.

What the way decided and nobody can tell from the end is accepted either way, and only that:

| accepted | because |
|---|---|
| no record of somebody who was inactive before he had one (again), or his | nobody had to see the moment between |
| an inactive record of somebody who is gone for good, after a token was lost, or a restart | only Graph's own word may delete |
| the former department, while there is no record of the new one | a reference that waits keeps what it holds |
| a manager who was deleted at some time, or none | if he is back before we looked, nothing tells about his people |
| a manager who need not have a record, or none | nobody had to see the moment in which he was active |
| the last values of somebody who is deleted now | he was to be disabled; what changed right before, nobody had to see |
| the former owner's values in the inactive record of a rehire who is inactive too | nobody had to see him active in between |
| a value of the former owner of a record that was taken over | what never was provisioned for the new one is left alone |
| a value or a membership that somebody edited in ServiceNow | drift is reported, not repaired, by default |
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sandbox.agreement import Difference, compare
from sandbox.chaos.looking import directory_of, records_of
from sandbox.tenant import Kind, State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sandbox.chaos.hands import Memory
    from sandbox.chaos.witness import Deed, Witness
    from sandbox.sides import Directory, Records, Row
    from sandbox.tenant import Tenant

#: How much earlier than a write an entry of the log may say it was written, in seconds: both clocks are this machine's.
_CLOCKS_DIFFER = 0.5
_MEMBERSHIPS = "sys_user_grmember"
_STATE = frozenset({"active", "locked_out"})


class Judge:
    """Judges one history over and over, until it is right or time is up."""

    def __init__(self, tenant: Tenant, instance: Witness, memory: Memory, before: Records) -> None:
        self._tenant = tenant
        self._instance = instance
        self._memory = memory
        self._before = before
        #: Whether a delta token was lost on the way.
        self.tokens_lost = False

    def faults(self, in_scope: Collection[str] | None) -> list[str]:
        """What is wrong between the two sides, as sentences."""
        records = records_of(self._instance)
        directory = directory_of(self._tenant, in_scope=in_scope)
        agreement = compare(
            _without(directory, self._memory.unseen, self._memory.enabled),
            records,
            provisioned=self._memory.enabled - self._memory.unseen,
            before=self._with_local_records(records),
        )
        found = [_sentence(one) for one in agreement.differences if not self._is_accepted(one, directory, records)]
        return [*found, *doubles(records), *taken_away(self._instance.deeds, records, self._memory)]

    def _with_local_records(self, records: Records) -> Records:
        """What ServiceNow's own people made, on the way too: it is to be there as they made it."""
        local = {key: row for key, row in records.users.items() if row["sys_created_by"] == "system"}
        theirs = {key: row for key, row in records.memberships.items() if row["user"] in local}
        return replace(
            self._before,
            users={**self._before.users, **{key: row for key, row in local.items() if key not in self._before.users}},
            memberships={**self._before.memberships, **theirs},
        )

    def _is_accepted(self, difference: Difference, directory: Directory, records: Records) -> bool:
        memory = self._memory
        table, _, column = difference.column.partition(".")
        owners = self._ids_of(difference.subject)
        if table == "sys_user" and column == "record" and difference.expected == "absent":
            inactive = [row for row in records.users.values() if row["user_name"].casefold() == difference.subject.casefold()]
            silent = all(row["active"] == "false" for row in inactive)
            return silent and bool(owners & memory.unseen or (self.tokens_lost and owners & memory.purged))
        if table == "sys_user_group" and column == "record" and difference.expected == "absent":
            rows = [row for row in records.groups.values() if row["name"] == difference.subject]
            return self.tokens_lost and all(row["active"] == "false" for row in rows)
        if table == "sys_user" and len(owners) > 1 and not difference.expected:
            return True
        if table == "sys_user" and len(owners) > 1 and column not in {"record", *_STATE} and not owners & active_of(self._tenant):
            return True
        if table == "sys_user" and column == "department":
            wanted = {str(one.get("department") or "") for one in directory.users if one["id"] in owners} - {""}
            if wanted.isdisjoint(records.names["cmn_department"].values()) and wanted:
                return True
        if table == "sys_user" and column == "manager":
            managers = {(one.get("manager") or {}).get("id") for one in directory.users if one["id"] in owners}
            return bool(managers & (memory.recycled | memory.unseen))
        if table == "sys_user":
            ids = {key for key, row in records.users.items() if row["user_name"].casefold() == difference.subject.casefold()}
            return any((sys_id, column) in memory.edited for sys_id in ids)
        if table == _MEMBERSHIPS:
            return self._was_unlinked(difference, records) or self._is_unseens_own(difference, directory, records)
        return False

    def _is_unseens_own(self, difference: Difference, directory: Directory, records: Records) -> bool:
        """Whether somebody who need not have a record has one after all, and with it a membership that he has in Entra."""
        group, _, user = difference.subject.rpartition(": ")
        title = records.groups.get(group, {}).get("name")
        members = {one for each in directory.groups if each["displayName"] == title for one in directory.members[each["id"]]}
        return difference.expected == "0 rows" and bool(self._ids_of(user) & self._memory.unseen & members)

    def _was_unlinked(self, difference: Difference, records: Records) -> bool:
        group, _, user = difference.subject.rpartition(": ")
        groups = {key for key, row in records.groups.items() if group in {key, row["name"]}}
        users = {key for key, row in records.users.items() if row["user_name"] == user}
        return any((one, other) in self._memory.unlinked for one in groups for other in users)

    def _ids_of(self, name: str) -> set[str]:
        return {object_id for object_id, names in self._memory.names.items() if name.casefold() in names}


def active_of(tenant: Tenant) -> set[str]:
    """The object ids of everybody who is there and enabled."""
    people = tenant.order[Kind.USER]
    return {one.id for one in people if one.state is State.LIVE and one.properties["accountEnabled"] is not False}


def _without(directory: Directory, unseen: Collection[str], enabled: Collection[str]) -> Directory:
    """Without the people who need not have a record, and need not lack one."""
    return replace(
        directory,
        users=tuple(one for one in directory.users if one["id"] not in unseen),
        deleted_users=tuple(one for one in directory.deleted_users if one["id"] not in unseen and one["id"] in enabled),
    )


def doubles(records: Records) -> list[str]:
    """Users, groups and memberships that are there more than once."""
    names = Counter(row["user_name"].casefold() for row in records.users.values() if row["user_name"])
    groups = Counter(row["name"] for row in records.groups.values())
    pairs = Counter((row["group"], row["user"]) for row in records.memberships.values())
    return [
        f"{number} {what} are {which}"
        for what, counted in (("users", names), ("groups", groups), ("memberships", pairs))
        for which, number in counted.items()
        if number > 1
    ]


def taken_away(deeds: Iterable[Deed], records: Records, memory: Memory) -> list[str]:
    """Accounts disabled, records deleted and members removed that had done nothing to deserve it."""
    wrong: list[str] = []
    subjects = {name: object_id for object_id, names in memory.names.items() for name in names}
    sharers = Counter(name for names in memory.names.values() for name in names)
    dissolved = memory.all_titles(memory.dissolved)
    parted = {group for group, _ in memory.parted}
    former = {deed.sys_id: deed.before or deed.after for deed in deeds if deed.table == "sys_user_group"}
    for deed in deeds:
        name = (deed.before or deed.after).get("user_name", "").casefold()
        owner = subjects.get(name, "")
        known = sharers[name] == 1
        if deed.table == "sys_user" and known and deed.turned_off() and owner not in memory.disabled:
            wrong.append(f"{name} was disabled and never should have been")
        if deed.table == "sys_user" and known and deed.verb == "delete" and owner not in memory.purged:
            wrong.append(f"{name} was deleted and never should have been")
        title = deed.before.get("name", "")
        if deed.table == "sys_user_group" and deed.verb == "delete" and title not in dissolved:
            wrong.append(f"group {title} was deleted and never should have been")
        if deed.table == _MEMBERSHIPS and deed.verb == "delete":
            user = records.users.get(deed.before.get("user", ""), {}).get("user_name", "").casefold()
            group = records.groups.get(deed.before.get("group", ""), former.get(deed.before.get("group", ""), {}))
            ids = {one for one, titles in memory.titles.items() if group.get("name") in titles}
            if sharers[user] == 1 and ids and not any((one, subjects[user]) in memory.parted for one in ids & parted | ids):
                wrong.append(f"{user} was taken out of {group.get('name')} and never should have been")
    return wrong


def unaccounted(deeds: Iterable[Deed], written_at: Mapping[str, float]) -> list[str]:
    """Records whose last write the provisioning log does not account for.

    ``written_at``: for each target record and each source object, when its latest entry was written (Unix time).
    """
    last: dict[tuple[str, str], Deed] = {}
    for deed in deeds:
        key = (deed.table, deed.sys_id) if deed.table != _MEMBERSHIPS else (deed.table, (deed.before or deed.after)["group"])
        if key not in last or last[key].at <= deed.at:
            last[key] = deed
    return [
        f"the last write of {table} {sys_id} ({_told(deed)}) is not in the provisioning log, "
        + (f"whose last entry is {deed.at - written_at[sys_id]:.2f} s older" if sys_id in written_at else "which never names it")
        for (table, sys_id), deed in sorted(last.items())
        if written_at.get(sys_id, 0.0) < deed.at - _CLOCKS_DIFFER
    ]


def unheard(tenant: Tenant, named: Collection[str]) -> list[str]:
    """Whoever is there in the end, and of whom the log says nothing at all: also who is not provisioned is told of, with why."""
    there = [one for kind in (Kind.USER, Kind.GROUP) for one in tenant.order[kind] if one.state is State.LIVE]
    return [f"the provisioning log never names the {one.kind} {one.id}" for one in there if one.id not in named]


def _told(deed: Deed) -> str:
    row = deed.after or deed.before
    columns = [column for column in sorted(deed.after) if deed.after[column] != deed.before.get(column)]
    whose = row.get("user_name") or row.get("name") or row.get("user", "")
    return f"{deed.verb} of {whose}{': ' if columns else ''}{', '.join(columns)}"


@dataclass(frozen=True, slots=True)
class Spared:
    """Whose end the way decides: people (user names, in lower case), people with their memberships only, groups (names).

    ``left``: people who are gone or out of scope, of whom only the state is compared.
    """

    people: frozenset[str] = frozenset()
    left: frozenset[str] = frozenset()
    members: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()

    @classmethod
    def of(cls, tenant: Tenant, in_scope: Collection[str] | None, *memories: Memory) -> Spared:
        """What runs with these memories need not have in common."""
        names = memories[0].all_names
        there = {one.id for one in tenant.order[Kind.USER] if one.state is State.LIVE}
        known = memories[0].names
        left = known.keys() - (there if in_scope is None else there & set(in_scope))
        sharers = Counter(name for each in known.values() for name in each)
        shared = {name for name, number in sharers.items() if number > 1}
        return cls(
            left=names(left) - names(known.keys() - left) | (shared - names(active_of(tenant))),
            people=names(frozenset().union(*(memory.unseen | memory.purged for memory in memories))),
            members=names(frozenset().union(*(memory.unlinked_users for memory in memories))),
            groups=memories[0].all_titles(memories[0].dissolved),
        )

    def covers(self, key: str) -> bool:
        """Whether an entry of a picture is spared."""
        user, is_member, group = key.partition(" in ")
        if user.startswith("local."):
            return True  # made beside a group's record, if there was one by then; the judge looks after them
        if is_member and (user in self.members or group in self.groups):
            return True
        return user in self.people or key.removeprefix("group ") in self.groups


def picture(records: Records, memory: Memory) -> dict[str, dict[str, str]]:
    """The end state in words that two runs share: no ids, references by name. Without what was edited by hand."""
    columns = ("active", "locked_out", "email", "first_name", "last_name", "title", "phone", "employee_number", "city")
    edited = {sys_id for sys_id, _ in memory.edited}
    people: dict[str, dict[str, str]] = {}
    for row in records.users.values():
        values = {name: row[name] for name in columns if not (name == "city" and row["sys_id"] in edited)}
        people[row["user_name"].casefold()] = values
    groups = {f"group {row['name']}": {name: row[name] for name in ("active", "description")} for row in records.groups.values()}
    return people | groups | _memberships(records)


def _memberships(records: Records) -> dict[str, dict[str, str]]:
    def name(rows: Mapping[str, Row], sys_id: str, column: str) -> str:
        return rows.get(sys_id, {}).get(column, sys_id)

    return {
        f"{name(records.users, row['user'], 'user_name').casefold()} in {name(records.groups, row['group'], 'name')}": {}
        for row in records.memberships.values()
    }


def unequal(
    disturbed: Mapping[str, Mapping[str, str]], undisturbed: Mapping[str, Mapping[str, str]], spared: Spared
) -> list[str]:
    """Where two end states differ, apart from what is ``spared``."""

    def compared(state: Mapping[str, Mapping[str, str]]) -> set[str]:
        return {key for key in state if not spared.covers(key)}

    mine, other = compared(disturbed), compared(undisturbed)
    wrong = [f"{key}: only in the disturbed run" for key in sorted(mine - other)]
    wrong += [f"{key}: only in the undisturbed run" for key in sorted(other - mine)]
    for key in sorted(mine & other):
        names = sorted(_STATE & disturbed[key].keys() if key in spared.left else disturbed[key].keys() & undisturbed[key].keys())
        differing = [name for name in names if disturbed[key][name] != undisturbed[key][name]]
        wrong += [f"{key}: {name} is {disturbed[key][name]!r}, undisturbed {undisturbed[key][name]!r}" for name in differing]
    return wrong


def _sentence(one: Difference) -> str:
    return f"{one.subject}: {one.column} should be {one.expected!r} and is {one.found!r}"
