"""What is known about the ServiceNow instance itself: its columns, and that it answers questions truthfully.

Loaded when the first write or match needs it, and kept by the worker for an hour: an unchanged directory costs no request.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.errors import SchemaMismatchError, UnavailableError
from shared.servicenow.dictionary import TableDictionary, load_dictionary, verify_columns
from shared.servicenow.queries import everything

if TYPE_CHECKING:
    from datetime import datetime

    from shared.provisioning.services import Services
    from shared.schema.mapping import ObjectMapping

_KEPT = timedelta(hours=1)
_CONTROLLED = timedelta(minutes=5)
_TABLES = ("sys_user", "sys_user_group", "sys_user_grmember")


class Target:
    """Columns and control questions, cached per worker."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._dictionaries: dict[str, TableDictionary] = {}
        self._loaded_at: datetime | None = None
        self._controlled_at: dict[str, datetime] = {}
        self._loading = asyncio.Lock()

    async def dictionary(self, table: str) -> TableDictionary:
        async with self._loading:
            at = self._services.clock()
            if self._loaded_at is None or at - self._loaded_at > _KEPT:
                self._dictionaries = await load_dictionary(self._services.servicenow, _TABLES)
                self._loaded_at = at
            return self._dictionaries[table]

    async def missing_columns(self, mapping: ObjectMapping) -> frozenset[str]:
        """Mapped columns that the table does not have, and are therefore left out (with a warning on every object).

        Raises ``SchemaMismatchError`` when a matching column is among them: without it nobody can be matched.
        """
        dictionary = await self.dictionary(mapping.table)
        columns = {attribute.target for attribute in mapping.attributes if attribute.target != "members"}
        faults = verify_columns(dictionary, read=columns, written=columns)
        matching = {column for rule in mapping.matching for column, _ in rule.pairs}
        for fault in faults:
            if fault.column in matching:
                raise SchemaMismatchError(
                    f"the matching column {fault.table}.{fault.column} {fault.problem}",
                    recommended_action=fault.recommended_action,
                )
        return frozenset(fault.column for fault in faults)

    async def prove_absence(self, table: str) -> None:
        """Zero rows mean nothing unless the same caller sees other rows: ask for any row at all.

        Raises ``UnavailableError`` when the table shows none: an empty sys_user is a lost permission, not an empty company.
        """
        at = self._services.clock()
        last = self._controlled_at.get(table)
        if last is not None and at - last < _CONTROLLED:
            return
        rows = await self._services.servicenow.sample(table, everything(), ("sys_id",), limit=1)
        if not rows and table == "sys_user":
            raise UnavailableError(
                f"ServiceNow shows no row of {table} at all, so that an empty answer proves nothing",
                retry_after=60.0,
                code="InsufficientRights",
                recommended_action=f"Let the integration user read {table}.",
            )
        self._controlled_at[table] = at
