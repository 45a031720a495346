"""Who calls, and what access rules let him see and do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .config import AccessRule


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated user with his roles by name."""

    user_name: str
    sys_id: str
    roles: frozenset[str]

    @property
    def is_admin(self) -> bool:
        return "admin" in self.roles


SYSTEM: Final = Caller("system", "", frozenset({"admin", "security_admin"}))
"""The instance itself: business rules, cascades, and people who edit by hand through the control routes."""


class Access:
    """The access rules of one caller. Administrators pass every rule."""

    __slots__ = ("_admin", "_rules")

    def __init__(self, caller: Caller, rules: Iterable[AccessRule]) -> None:
        self._admin = caller.is_admin
        self._rules = tuple(rule for rule in rules if rule.role in caller.roles)

    def may(self, verb: str, table: str) -> bool:
        """Return whether ``verb`` (read, insert, update or delete) is open on the table."""
        return self._admin or any(_opens(getattr(rule, verb), table) for rule in self._rules)

    def hidden_columns(self, table: str) -> frozenset[str]:
        return self._in_every_rule("read", "hidden_columns", table)

    def frozen_columns(self, table: str) -> frozenset[str]:
        return self._in_every_rule("update", "frozen_columns", table) | self.hidden_columns(table)

    def hidden_rows(self, table: str) -> tuple[str, ...]:
        """Return encoded queries; a row that matches any of them is not shown."""
        opening = [rule for rule in self._rules if _opens(rule.read, table)]
        if self._admin or not opening:
            return ()
        common = frozenset.intersection(*(frozenset(rule.hidden_rows) for rule in opening))
        return tuple(query for name, query in sorted(common) if name == table)

    def _in_every_rule(self, verb: str, attribute: str, table: str) -> frozenset[str]:
        opening = [rule for rule in self._rules if _opens(getattr(rule, verb), table)]
        if self._admin or not opening:
            return frozenset()
        common = frozenset.intersection(*(getattr(rule, attribute) for rule in opening))
        return frozenset(path.partition(".")[2] for path in common if path.startswith(f"{table}."))


def _opens(tables: frozenset[str], table: str) -> bool:
    return "*" in tables or table in tables
