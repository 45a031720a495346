"""The instance without its network: tables, queries, writes and their rules."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from . import rules
from .access import SYSTEM, Access, Caller
from .answers import invalid_table, no_record, operation_failed, query_forbidden
from .columns import TIMESTAMP, Labels
from .commits import CommitLog
from .conditions import ConditionCompiler, Scripts
from .config import InstanceConfig, merged
from .dictionary import DESCRIPTIVE_TABLES, Row, definitions, describe
from .encoded_query import Condition, EncodedQuery, parse
from .incoming import Incoming
from .seed import seed_base
from .selection import Selector
from .table import Collation, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

RETURNS_NO_ROWS = "glide.invalid_query.returns_no_rows"
LONGEST_SYS_ID = 32


class Instance:
    """Tables and their semantics. ``clock`` gives unix time in seconds.

    Every method that takes a caller applies his access rules and raises RefusalError as the Table API would answer.
    """

    def __init__(self, config: InstanceConfig | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._config = config or InstanceConfig()
        self.clock = clock
        self._collation = Collation(accent_insensitive=self._config.accent_insensitive)
        self.tables = {name: Table(table, self._collation) for name, table in definitions(self._config).items()}
        self._labels = Labels(self.tables, utc_offset=self._config.display_utc_offset)
        self.commits = CommitLog(clock)
        self.scripts_evaluated = 0
        for name, rows in describe({name: table.definition for name, table in self.tables.items()}).items():
            for row in rows:
                self.tables[name].put({**self._system_values(SYSTEM), **row})
        seed_base(self)
        self.commits = CommitLog(clock)

    @property
    def config(self) -> InstanceConfig:
        return self._config

    def configure(self, **changes: Any) -> None:
        """Change switches while running; raise ValueError for one that does not exist or does not fit."""
        self._config = merged(self._config, changes)
        self._labels.utc_offset = self._config.display_utc_offset

    def count_down(self, name: str) -> bool:
        """Use up one of a ``*_next`` switch; return whether there was one left."""
        left = int(getattr(self._config, name))
        if left > 0:
            self.configure(**{name: left - 1})
        return left > 0

    @property
    def labels(self) -> Labels:
        return self._labels

    def table(self, name: str) -> Table:
        """Return the table or raise RefusalError 400."""
        if name not in self.tables:
            raise invalid_table(name)
        return self.tables[name]

    def access(self, caller: Caller) -> Access:
        return Access(caller, self._config.access_rules)

    # Reading

    def find(self, table_name: str, query: EncodedQuery, caller: Caller) -> Sequence[str]:
        """Return the sys_ids that match, before access rules on rows; raise RefusalError 403 where queries are guarded."""
        table = self.table(table_name)
        if self._hides_inactive(table_name, caller):
            active: tuple[Condition, ...] = (Condition("active", "=", "true"),)
            query = replace(query, groups=tuple((*group, active) for group in query.groups))
        selector = Selector(self._compiler(caller), table)
        inspection = selector.inspect(query)
        if not caller.is_admin and inspection.ranged and self._config.deny_range_queries:
            raise query_forbidden()
        if inspection.invalid:
            if self._config.invalid_query == "forbidden" and not caller.is_admin:
                raise query_forbidden()
            if self._config.invalid_query == "no_rows" or self.property_value(RETURNS_NO_ROWS) == "true":
                return ()
        return selector.select(query)

    def get(self, table_name: str, sys_id: str, caller: Caller) -> Row:
        """Return the row or raise RefusalError 404, also where the row is hidden from the caller."""
        row = self.table(table_name).get(sys_id)
        if row is None or not self.visible(table_name, row, caller):
            raise no_record()
        return row

    def visible(self, table_name: str, row: Row, caller: Caller) -> bool:
        """Return whether access rules and before-query rules show the row to the caller."""
        access = self.access(caller)
        if not access.may("read", table_name):
            return False
        if self._hides_inactive(table_name, caller) and row.get("active") != "true":
            return False
        return not any(self.row_matches(table_name, row, query) for query in access.hidden_rows(table_name))

    def row_matches(self, table_name: str, row: Row, query: str) -> bool:
        return self._compiler(SYSTEM).row_test(self.tables[table_name], parse(query))(row)

    def property_value(self, name: str) -> str:
        properties = self.tables["sys_properties"]
        found = properties.matches("name", name)
        return (properties.get(found[0]) or {}).get("value", "") if found else ""

    def user_by_name(self, user_name: str) -> Row | None:
        users = self.tables["sys_user"]
        found = users.matches("user_name", user_name) if user_name else ()
        return users.get(found[0]) if found else None

    def role_names(self, table_name: str, column: str, sys_id: str) -> frozenset[str]:
        """Return the names of the roles that a user or group has by sys_user_has_role or sys_group_has_role."""
        table, roles = self.tables[table_name], self.tables["sys_user_role"]
        grants = (table.get(grant) or {} for grant in (table.matches(column, sys_id) if sys_id else ()))
        return frozenset((roles.get(grant.get("role", "")) or {}).get("name", "") for grant in grants)

    # Writing

    def insert(self, table_name: str, values: Mapping[str, Any], caller: Caller, *, display: bool = False) -> Row:
        """Insert a record and return it; raise RefusalError 403."""
        table = self.table(table_name)
        access = self.access(caller)
        if not access.may("insert", table_name):
            raise operation_failed("ACL Exception Insert Failed due to security constraints")
        stored = self._incoming().stored(table, values, access.frozen_columns(table_name), display=display)
        after = {column.name: column.default for column in table.columns.values() if column.default}
        after |= stored
        after |= self._system_values(caller)
        after["sys_id"] = self._new_sys_id(values, caller)
        rules.before_write(self, table_name, None, after, caller)
        if after["sys_id"] in table or self._taken(table, after):
            raise operation_failed(f"Error during insert of {table_name} ({after.get(table.definition.display, '')})")
        row = _dense(after)
        table.put(row)
        self.commits.add(table_name, row["sys_id"], "insert", stored, caller.user_name)
        rules.after_insert(self, table_name, row)
        return row

    def update(self, table_name: str, sys_id: str, values: Mapping[str, Any], caller: Caller, *, display: bool = False) -> Row:
        """Change a record and return it, unchanged values leave it alone; raise RefusalError 403 or 404."""
        before = self.get(table_name, sys_id, caller)
        access = self.access(caller)
        if not access.may("update", table_name):
            raise operation_failed("ACL Exception Update Failed due to security constraints")
        table = self.tables[table_name]
        stored = self._incoming().stored(table, values, access.frozen_columns(table_name), display=display)
        return self._change(table, before, stored, caller)

    def delete(self, table_name: str, sys_id: str, caller: Caller) -> None:
        """Delete a record and what cascades from it; raise RefusalError 403 or 404."""
        row = self.get(table_name, sys_id, caller)
        if not self.access(caller).may("delete", table_name):
            raise operation_failed("ACL Exception Delete Failed due to security constraints")
        rules.abort_if_configured(self, table_name, "delete", row, caller)
        self.tables[table_name].remove(sys_id)
        self.commits.add(table_name, sys_id, "delete", (), caller.user_name)
        rules.cascades(
            self.tables.values(), table_name, lambda other, column, rule: self._cascade(other, column, rule, sys_id), sys_id
        )
        rules.after_delete(self, table_name, row)

    def set_directly(self, table_name: str, sys_id: str, values: Mapping[str, str]) -> None:
        """Store values as the platform itself does, without rules, access or a commit."""
        table = self.tables[table_name]
        table.put(_dense({**(table.get(sys_id) or {"sys_id": sys_id}), **values}))

    # Keeping

    def snapshot(self) -> dict[str, list[Row]]:
        """Return every row that is data; the rows are never changed afterwards."""
        return {name: table.rows() for name, table in self.tables.items() if name not in DESCRIPTIVE_TABLES}

    def restore(self, rows: Mapping[str, Sequence[Mapping[str, str]]]) -> None:
        """Replace the data by a snapshot's, with the configured accounts; tables that it does not name stay as they are."""
        for name, kept in rows.items():
            if name in self.tables and name not in DESCRIPTIVE_TABLES:
                table = self.tables[name]
                for sys_id in list(table.ids):
                    table.remove(sys_id)
                for row in kept:
                    table.put(dict(row))
        seed_base(self)

    def _change(self, table: Table, before: Row, stored: Mapping[str, str], caller: Caller) -> Row:
        after = {**before, **stored}
        if all(before.get(name, "") == value for name, value in after.items()):
            return before
        rules.before_write(self, table.name, before, after, caller)
        changed = [name for name, value in after.items() if before.get(name, "") != value]
        if not changed:
            return before
        if self._taken(table, after):
            raise operation_failed(f"Error during update of {table.name} ({after.get(table.definition.display, '')})")
        after["sys_mod_count"] = str(int(before.get("sys_mod_count", "0")) + 1)
        after["sys_updated_on"], after["sys_updated_by"] = self._timestamp(), caller.user_name
        row = _dense(after)
        table.put(row)
        self.commits.add(table.name, row["sys_id"], "update", changed, caller.user_name)
        return row

    def _cascade(self, table: Table, column: str, rule: str, deleted: str) -> None:
        for sys_id in list(table.matches(column, deleted)):
            row = table.get(sys_id)
            if row is None:
                continue
            if rule == "delete":
                self.delete(table.name, sys_id, SYSTEM)
            else:
                self._change(table, row, {column: ""}, SYSTEM)

    def _taken(self, table: Table, after: Row) -> bool:
        unique = [column.name for column in table.columns.values() if column.unique and column.name != "sys_id"]
        for name in unique:
            if (value := after.get(name, "")) and any(other != after["sys_id"] for other in table.matches(name, value)):
                return True
        if table.name == "sys_user_grmember" and self._config.unique_memberships and after.get("user"):
            for other in table.matches("user", after["user"]):
                if other != after["sys_id"] and (table.get(other) or {}).get("group") == after.get("group"):
                    return True
        return False

    def _incoming(self) -> Incoming:
        return Incoming(self._config, self.tables, self._labels, self._create_reference)

    def _create_reference(self, table_name: str, values: dict[str, str]) -> str:
        return self.insert(table_name, values, SYSTEM)["sys_id"]

    def _new_sys_id(self, values: Mapping[str, Any], caller: Caller) -> str:
        given = values.get("sys_id")
        if (self._config.honour_sys_id or caller is SYSTEM) and isinstance(given, str) and 0 < len(given) <= LONGEST_SYS_ID:
            return given
        return uuid.uuid4().hex

    def _system_values(self, caller: Caller) -> dict[str, str]:
        now = self._timestamp()
        stamps = {"sys_created_on": now, "sys_created_by": caller.user_name}
        return {**stamps, "sys_updated_on": now, "sys_updated_by": caller.user_name, "sys_mod_count": "0"}

    def _timestamp(self) -> str:
        return datetime.fromtimestamp(self.clock(), UTC).strftime(TIMESTAMP)

    def _hides_inactive(self, table_name: str, caller: Caller) -> bool:
        return table_name == "sys_user" and self._config.hide_inactive_users and not caller.is_admin

    def _compiler(self, caller: Caller) -> ConditionCompiler:
        now = datetime.fromtimestamp(self.clock(), UTC)
        return ConditionCompiler(self.tables, self._collation, self._labels, Scripts(self._count_script), now, caller.sys_id)

    def _count_script(self) -> None:
        self.scripts_evaluated += 1


def _dense(values: Mapping[str, str]) -> Row:
    return {name: value for name, value in values.items() if value}
