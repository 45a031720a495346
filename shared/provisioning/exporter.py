"""Where everything goes that the engine does: to storage, to the queues, to ServiceNow, or nowhere.

The engine works through an ``Exporter`` and cannot tell which one it has. The live one writes. The recording one reads the same
storage, the same directory and the same instance, and keeps every write in memory, where later reads find it: claims, leases,
intents, joins, escrows, log rows, queue messages and requests to ServiceNow alike. So a preview or a plan is the engine itself,
run by ``Services.rehearse()``, and nothing of it remains anywhere.

(One thing is shared with the live engine on purpose: the slots that bound the requests to ServiceNow over the whole app.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from shared.servicenow.recorded import RecordedClient
from shared.state.log import documents_of
from shared.state.recorded_queues import RecordedQueues
from shared.state.recorded_tables import RecordedTables

if TYPE_CHECKING:
    from typing import Any

    from shared.events import Event
    from shared.servicenow.client import ServiceNowClient
    from shared.servicenow.writes import Write
    from shared.state.queues import Queues
    from shared.state.tables import Tables


class Exporter(Protocol):
    """The three ways out of the engine."""

    @property
    def tables(self) -> Tables: ...

    @property
    def queues(self) -> Queues: ...

    @property
    def servicenow(self) -> ServiceNowClient: ...


@dataclass(frozen=True, slots=True)
class LiveExporter:
    """Storage, queues and the instance themselves."""

    tables: Tables
    queues: Queues
    servicenow: ServiceNowClient


class RecordingExporter:
    """Reads through ``beneath``, writes nothing, keeps what would have been written."""

    def __init__(self, beneath: Exporter) -> None:
        self.tables = RecordedTables(beneath.tables)
        self.queues = RecordedQueues(beneath.queues)
        self.servicenow = RecordedClient(beneath.servicenow)

    @property
    def writes(self) -> list[Write]:
        """The requests that ServiceNow would have got, in order."""
        return self.servicenow.writes

    @property
    def events(self) -> list[Event]:
        """The events that would have been queued, in order."""
        return [event for event, _ in self.queues.events]

    @property
    def log(self) -> list[dict[str, Any]]:
        """The entries that the provisioning log would have got, oldest first."""
        return documents_of(self.tables.rows_written("log"))
