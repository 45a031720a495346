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
    from collections.abc import Sequence
    from datetime import datetime

    from shared.provisioning.services import Services
    from shared.schema.mapping import ObjectMapping

_KEPT = timedelta(hours=1)
#: Only the dictionary itself says that a column does not exist; a sample record merely does not show it. Where it may not be
#: read, columns are believed to exist, and reading back what was written tells.
_AUTHORITY = "sys_dictionary"
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
        if dictionary.source != _AUTHORITY:
            return frozenset()
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

    async def readable_columns(self, mapping: ObjectMapping, always: Sequence[str]) -> list[str]:
        """The columns to read of a record: the mapped ones that exist, and of ``always`` those that the table has."""
        dictionary = await self.dictionary(mapping.table)
        missing = await self.missing_columns(mapping)
        mapped = [attribute.target for attribute in mapping.attributes if attribute.target not in {*missing, "members"}]
        if dictionary.source == "none":
            return mapped
        matching = {column for rule in mapping.matching for column, _ in rule.pairs}
        return list(dict.fromkeys(column for column in (*mapped, *always) if column in dictionary or column in matching))

    async def prove_absence(self, mapping: ObjectMapping, *, afresh: bool = False) -> None:
        """Zero rows mean nothing unless the same caller sees other rows: ask for any row at all.

        Raises ``UnavailableError`` when the table shows none though objects are linked to records of it: that is a lost
        permission, and no empty table. A claim alone is no record: its worker may have died before he made one.
        """
        table = mapping.table
        at = self._services.clock()
        last = self._controlled_at.get(table)
        if not afresh and last is not None and at - last < _CONTROLLED:
            return
        rows = await self._services.servicenow.sample(table, everything(), ("sys_id",), limit=1)
        if not rows and await self._services.joins.has_links(mapping.kind):
            raise UnavailableError(
                f"ServiceNow shows no row of {table} at all, so that an empty answer proves nothing",
                retry_after=60.0,
                code="InsufficientRights",
                recommended_action=f"Let the integration user read {table}.",
            )
        self._controlled_at[table] = at
