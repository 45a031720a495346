"""Business rules: those every instance has, and those that the configuration adds.

Sources: KB0696657 (locking out with inactivity, not unlocking again), KB0758037 (roles of a group guard its
membership), ServiceNow docs on groups (members inherit a group's roles).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from .access import SYSTEM, Caller
from .answers import RefusalError, operation_failed
from .config import BusinessRule, InstanceConfig
from .dictionary import Row, sys_id_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .table import Table

GUARDED_ROLES: Final = ("admin", "security_admin")


class Records(Protocol):
    """What rules need of the instance."""

    @property
    def config(self) -> InstanceConfig: ...
    def table(self, name: str) -> Table: ...
    def insert(self, table_name: str, values: dict[str, str], caller: Caller) -> Row: ...
    def delete(self, table_name: str, sys_id: str, caller: Caller) -> None: ...
    def row_matches(self, table_name: str, row: Row, query: str) -> bool: ...
    def role_names(self, table_name: str, column: str, sys_id: str) -> frozenset[str]: ...


def before_write(records: Records, table: str, before: Row | None, after: dict[str, str], caller: Caller) -> None:
    """Compute and change values of the record to be written, or abort with RefusalError."""
    if caller is not SYSTEM:
        _demand_mandatory(records, table, after)
    if table == "sys_user":
        _name_user(after)
        if records.config.lock_inactive_users:
            _lock_inactive(before, after)
    elif table == "sys_user_group":
        _refuse_cycle(records, after)
    elif table == "sys_user_grmember" and before is None:
        _guard_roles(records, after, caller)
    elif table == "cmn_location":
        after["full_name"] = "/".join(part for part in (_parent_name(records, after), after.get("name", "")) if part)
    abort_if_configured(records, table, "insert" if before is None else "update", after, caller)


def abort_if_configured(records: Records, table: str, verb: str, row: Row, caller: Caller) -> None:
    """Abort with RefusalError where a configured rule matches the record. Seeding and cascades are not held up."""
    for rule in records.config.business_rules if caller is not SYSTEM else ():
        if rule.table == table and verb in rule.on and records.row_matches(table, row, rule.condition):
            raise _aborted(table, rule)


def after_insert(records: Records, table: str, row: Row) -> None:
    """Give a new member of a group the group's roles."""
    if table != "sys_user_grmember" or not row.get("user") or not row.get("group"):
        return
    has_role = records.table("sys_group_has_role")
    for sys_id in has_role.matches("group", row["group"]):
        role = (has_role.get(sys_id) or {}).get("role", "")
        grant = {"user": row["user"], "role": role, "granted_by": row["group"], "inherited": "true", "inh_count": "1"}
        records.insert("sys_user_has_role", grant, SYSTEM)


def after_delete(records: Records, table: str, row: Row) -> None:
    """Take the group's roles from somebody who is no longer a member."""
    if table != "sys_user_grmember" or not row.get("user") or not row.get("group"):
        return
    members = records.table("sys_user_grmember")
    if any((members.get(other) or {}).get("group") == row["group"] for other in members.matches("user", row["user"])):
        return
    grants = records.table("sys_user_has_role")
    for sys_id in list(grants.matches("user", row["user"])):
        grant = grants.get(sys_id) or {}
        if grant.get("granted_by") == row["group"] and grant.get("inherited") == "true":
            records.delete("sys_user_has_role", sys_id, SYSTEM)


def _demand_mandatory(records: Records, table: str, after: Row) -> None:
    for policy in records.config.data_policies:
        if policy.table == table and (missing := [name for name in policy.mandatory if not after.get(name)]):
            columns = records.table(table).columns
            labels = ", ".join(columns[name].label if name in columns else name for name in missing)
            raise operation_failed(f"Data Policy Exception: The following fields are mandatory: {labels}")


def _name_user(after: dict[str, str]) -> None:
    after["name"] = " ".join(part for part in (after.get("first_name", ""), after.get("last_name", "")) if part)


def _lock_inactive(before: Row | None, after: dict[str, str]) -> None:
    if after.get("active") == "false" and (before is None or before.get("active") != "false"):
        after["locked_out"] = "true"


def _refuse_cycle(records: Records, after: Row) -> None:
    groups, seen, parent = records.table("sys_user_group"), {after["sys_id"]}, after.get("parent", "")
    while parent:
        if parent in seen:
            raise _aborted("sys_user_group", BusinessRule("Parent Check", "sys_user_group"))
        seen.add(parent)
        parent = (groups.get(parent) or {}).get("parent", "")


def _guard_roles(records: Records, after: Row, caller: Caller) -> None:
    guarded = records.role_names("sys_group_has_role", "group", after.get("group", "")).intersection(GUARDED_ROLES)
    if not guarded <= caller.roles:
        raise operation_failed(
            f"User {caller.user_name} without admin/security_admin role is not allowed to grant "
            "admin/security_admin-containing roles or groups."
        )


def _parent_name(records: Records, location: Row) -> str:
    return (records.table("cmn_location").get(location.get("parent", "")) or {}).get("full_name", "")


def _aborted(table: str, rule: BusinessRule) -> RefusalError:
    rule_id = sys_id_of("business rule", rule.name)
    return operation_failed(
        f"Operation against file '{table}' was aborted by Business Rule '{rule.name}^{rule_id}'. Business Rule Stack:{rule.name}"
    )


def cascades(tables: Iterable[Table], deleted_from: str, visit: Callable[[Table, str, str], None], sys_id: str) -> None:
    """Call ``visit(table, column, cascade rule)`` for every reference column that refers to the deleted record."""
    for table in tables:
        for column in table.columns.values():
            if column.type == "reference" and column.reference == deleted_from and table.matches(column.name, sys_id):
                visit(table, column.name, column.cascade)
