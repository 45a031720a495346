"""An instance that remembers every write of the app with its values: what was taken away, and from whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, override

from sandbox.instance import Instance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox.instance import InstanceConfig
    from sandbox.instance.access import Caller
    from sandbox.instance.dictionary import Row

ACCOUNT: Final = "entra.provisioning"


@dataclass(frozen=True, slots=True)
class Deed:
    """One write of the app. ``before`` and ``after`` are the record's stored values; empty where there was or is none."""

    at: float
    verb: str
    table: str
    sys_id: str
    before: Mapping[str, str]
    after: Mapping[str, str]

    def turned_off(self) -> bool:
        """Whether the write made an active record inactive."""
        return self.verb == "update" and self.before.get("active") == "true" != self.after.get("active")


class Witness(Instance):
    """``deeds``: what the app wrote, in order; a write that changed nothing is none."""

    def __init__(self, config: InstanceConfig | None = None, *, clock: Callable[[], float] | None = None) -> None:
        self.deeds: list[Deed] = []
        if clock is None:
            super().__init__(config)
        else:
            super().__init__(config, clock=clock)

    @override
    def insert(self, table_name: str, values: Mapping[str, Any], caller: Caller, *, display: bool = False) -> Row:
        row = super().insert(table_name, values, caller, display=display)
        self._note(caller, "insert", table_name, row["sys_id"], {}, row)
        return row

    @override
    def update(self, table_name: str, sys_id: str, values: Mapping[str, Any], caller: Caller, *, display: bool = False) -> Row:
        before = dict(self.table(table_name).get(sys_id) or {})
        row = super().update(table_name, sys_id, values, caller, display=display)
        if row.get("sys_mod_count") != before.get("sys_mod_count"):
            self._note(caller, "update", table_name, sys_id, before, row)
        return row

    @override
    def delete(self, table_name: str, sys_id: str, caller: Caller) -> None:
        before = dict(self.table(table_name).get(sys_id) or {})
        super().delete(table_name, sys_id, caller)
        self._note(caller, "delete", table_name, sys_id, before, {})

    def _note(
        self, caller: Caller, verb: str, table: str, sys_id: str, before: Mapping[str, str], after: Mapping[str, str]
    ) -> None:
        if caller.user_name == ACCOUNT:
            self.deeds.append(Deed(self.clock(), verb, table, sys_id, before, dict(after)))
