"""When a timer is due and who runs it: one row per timer that all hosts of an app share.

The row is the schedule monitor and the singleton lock in one: an occurrence is run by the host that takes the lease with the
row's ETag, and is done once the row names the next one. A host that dies in the middle leaves the row unmoved, so that another
one finds the occurrence overdue when the lease has run out. (Azure's host keeps the same two facts in blobs: the Functions
docs, "Timer trigger", ``useMonitor`` and "Singleton".)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.data.tables import UpdateMode

if TYPE_CHECKING:
    from azure.data.tables.aio import TableClient

TABLE: Final = "AzureWebJobsHostTimers"
_NEVER: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A timer's row: ``due`` is the occurrence to run, ``last`` the one that ran before, all times in UTC."""

    schedule: str
    due: datetime
    last: datetime | None = None
    updated: datetime = _NEVER
    owner: str = ""
    leased_until: datetime = _NEVER
    etag: str = ""


class OccurrenceStore:
    """The rows of one app's timers; every write is conditional, and False means that another host was first."""

    def __init__(self, table: TableClient, host_id: str) -> None:
        self._table = table
        self._host_id = host_id

    async def create_table(self) -> None:
        """Create the table if it is absent."""
        try:
            await self._table.create_table()
        except ResourceExistsError:
            return

    async def read(self, timer: str) -> Occurrence | None:
        """The row, or None before the first host has written it."""
        try:
            entity = await self._table.get_entity(self._host_id, timer)
        except ResourceNotFoundError:
            return None
        return Occurrence(
            schedule=entity["Schedule"],
            due=entity["Due"],
            last=entity.get("Last"),
            updated=entity["Updated"],
            owner=entity["Owner"],
            leased_until=entity["LeasedUntil"],
            etag=entity.metadata["etag"] or "",
        )

    async def write(self, timer: str, occurrence: Occurrence) -> Occurrence | None:
        """Insert the row (no ETag yet) or replace the version that was read; None if it has changed meanwhile."""
        entity: dict[str, Any] = {
            "PartitionKey": self._host_id,
            "RowKey": timer,
            "Schedule": occurrence.schedule,
            "Due": occurrence.due,
            "Updated": occurrence.updated,
            "Owner": occurrence.owner,
            "LeasedUntil": occurrence.leased_until,
        }
        if occurrence.last is not None:
            entity["Last"] = occurrence.last
        try:
            if occurrence.etag:
                response = await self._table.update_entity(
                    entity,
                    mode=UpdateMode.REPLACE,
                    etag=occurrence.etag,
                    match_condition=MatchConditions.IfNotModified,
                )
            else:
                response = await self._table.create_entity(entity)
        except (ResourceExistsError, ResourceModifiedError):
            return None
        except HttpResponseError as error:
            if error.status_code == 412:  # noqa: PLR2004 - precondition failed
                return None
            raise
        return replace(occurrence, etag=response["etag"])
