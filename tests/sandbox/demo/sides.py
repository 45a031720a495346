"""Two small sides that agree, to be made to differ."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from sandbox.sides import Directory, Records

DEPARTMENT = "d" * 32
_EMPTY: dict[str, dict[str, str]] = {"cmn_department": {}, "cmn_location": {}, "core_company": {}, "cmn_cost_center": {}}


def person(name: str, **properties: Any) -> dict[str, Any]:
    """A person of Entra whose object id is his name."""
    return {"id": name, "userPrincipalName": f"{name}@contoso.com", "accountEnabled": True} | properties


def account(name: str, **columns: str) -> dict[str, str]:
    """The account of such a person; its sys_id is ``sys-`` and his name."""
    row = {"sys_id": f"sys-{name}", "user_name": f"{name}@contoso.com", "active": "true", "locked_out": "false"}
    return row | columns


@dataclass(slots=True)
class Sides:
    """Both sides as plain lists; ``before`` holds what ServiceNow knew before."""

    users: list[dict[str, Any]] = field(default_factory=list)
    deleted: list[dict[str, Any]] = field(default_factory=list)
    groups: list[dict[str, Any]] = field(default_factory=list)
    members: dict[str, set[str]] = field(default_factory=dict)
    accounts: list[dict[str, str]] = field(default_factory=list)
    group_rows: list[dict[str, str]] = field(default_factory=list)
    member_rows: list[dict[str, str]] = field(default_factory=list)
    names: dict[str, dict[str, str]] = field(default_factory=lambda: deepcopy(_EMPTY))
    before_accounts: list[dict[str, str]] = field(default_factory=list)
    before_members: list[dict[str, str]] = field(default_factory=list)
    before_groups: list[dict[str, str]] = field(default_factory=list)

    @property
    def directory(self) -> Directory:
        members = {group["id"]: frozenset(self.members.get(group["id"], ())) for group in self.groups}
        return Directory(tuple(self.users), tuple(self.deleted), tuple(self.groups), (), members)

    @property
    def records(self) -> Records:
        return self._records(self.accounts, self.group_rows, self.member_rows)

    @property
    def before(self) -> Records:
        return self._records(self.before_accounts, self.before_groups, self.before_members)

    def _records(self, users: list[dict[str, str]], groups: list[dict[str, str]], members: list[dict[str, str]]) -> Records:
        lengths = {("sys_user", "country"): 3, ("sys_user", "user_name"): 40}
        return Records(
            {row["sys_id"]: row for row in users},
            {row["sys_id"]: row for row in groups},
            {row["sys_id"]: row for row in members},
            self.names,
            lengths,
        )


def agreeing() -> Sides:
    """Ann leads Bob; both are in Sales and in one group."""
    sides = Sides(
        users=[
            person("ann", jobTitle="Head of Sales", department="Sales", businessPhones=["+1 555"]),
            person("bob", surname="Núñez", country="US", manager={"id": "ann"}, department="Sales"),
        ],
        groups=[{"id": "g", "displayName": "Sales Team", "description": None, "mail": "sales@contoso.com"}],
        members={"g": {"ann", "bob"}},
        accounts=[
            account("ann", title="Head of Sales", phone="+1 555", department=DEPARTMENT),
            account("bob", last_name="Núñez", country="US", manager="sys-ann", department=DEPARTMENT),
        ],
        group_rows=[{"sys_id": "sys-g", "name": "Sales Team", "active": "true", "email": "sales@contoso.com"}],
        member_rows=[
            {"sys_id": "m1", "group": "sys-g", "user": "sys-ann"},
            {"sys_id": "m2", "group": "sys-g", "user": "sys-bob"},
        ],
    )
    sides.names["cmn_department"][DEPARTMENT] = "Sales"
    return sides
