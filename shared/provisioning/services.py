"""Everything that the engine works with, put together once per worker.

Tests and the sandbox pass their own clients and clock; in production everything comes from the settings.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from typing import TYPE_CHECKING

from shared.events import new_id, now
from shared.graph.client import GraphClient
from shared.graph.objects import default_domain
from shared.provisioning.announcing import Announcing
from shared.provisioning.assigned import Assigned
from shared.provisioning.cycles import Cycles
from shared.provisioning.dead_messages import DeadLetters
from shared.provisioning.discovering import Discovering
from shared.provisioning.dispatch import Dispatcher
from shared.provisioning.exporter import LiveExporter, RecordingExporter
from shared.provisioning.gate import SharedGate
from shared.provisioning.guard import Guard
from shared.provisioning.intake import Intake
from shared.provisioning.links import Links
from shared.provisioning.member_filters import MemberFilters
from shared.provisioning.members import Members
from shared.provisioning.nesting import Nesting
from shared.provisioning.objects import Objects
from shared.provisioning.on_demand import OnDemand
from shared.provisioning.operations import Operations
from shared.provisioning.parking import Parking
from shared.provisioning.planning import Planning
from shared.provisioning.quarantine import QuarantineWard
from shared.provisioning.recent import RecentLinks
from shared.provisioning.references import References
from shared.provisioning.schemas import ActiveSchema, seed_schema
from shared.provisioning.staging import Staging
from shared.provisioning.subscribing import Subscribing
from shared.provisioning.summary import LogContext
from shared.provisioning.target import Target
from shared.provisioning.verification import Verification
from shared.provisioning.waiting import Waiting
from shared.schema.mapping import Mappings, compile_mappings
from shared.servicenow.auth import build_auth
from shared.servicenow.client import ServiceNowClient
from shared.state.assignments import Assignments
from shared.state.escrows import Escrows
from shared.state.job import Jobs
from shared.state.joins import Joins
from shared.state.log import ProvisioningLog
from shared.state.lookups import Lookups
from shared.state.memberships import Memberships
from shared.state.owners import Owners
from shared.state.progress import ProgressRows
from shared.state.queues import Queues
from shared.state.schemas import Schemas
from shared.state.slots import Slots
from shared.state.subscriptions import HeldSubscriptions
from shared.state.tables import Tables
from shared.state.watermarks import Watermarks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    import httpx

    from shared.events import Kind, Walk
    from shared.provisioning.exporter import Exporter
    from shared.provisioning.walking import Walking
    from shared.schema.mapping import ObjectMapping
    from shared.servicenow.gate import Gate
    from shared.settings import Settings


class Services:
    """The stores, the clients and the engine's parts of one worker. Close with ``aclose``."""

    def __init__(
        self,
        settings: Settings,
        *,
        tables: Tables | None = None,
        queues: Queues | None = None,
        graph_transport: httpx.AsyncBaseTransport | None = None,
        servicenow_transport: httpx.AsyncBaseTransport | None = None,
        gate: Gate | None = None,
        mappings: Mappings | None = None,
        clock: Callable[[], datetime] = now,
        exporter: Exporter | None = None,
        graph: GraphClient | None = None,
        alert_transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.sleep = sleep
        self.worker = f"{os.getpid()}-{new_id()[:8]}"
        self._default_domain: str | None = None

        self.tables = exporter.tables if exporter else tables or Tables.open(settings.storage)
        self.queues = exporter.queues if exporter else queues or Queues.open(settings.storage)
        self.schemas = ActiveSchema(self, Schemas(self.tables), fixed=mappings)
        self.joins = Joins(self.tables, clock)
        self.owners = Owners(self.tables)
        self.memberships = Memberships(self.tables, clock)
        self.escrows = Escrows(self.tables)
        self.watermarks = Watermarks(self.tables)
        self.progress = ProgressRows(self.tables)
        self.jobs = Jobs(self.tables, clock)
        self.lookups = Lookups(self.tables)
        self.log = ProvisioningLog(self.tables)
        self.held_subscriptions = HeldSubscriptions(self.tables)

        source = settings.graph
        self.graph = graph or GraphClient(
            source.base_url, access_token=source.access_token or None, transport=graph_transport, clock=clock
        )
        limit = settings.servicenow.max_concurrency
        self._gate = SharedGate(Slots(self.tables, limit, self.worker, clock), self.jobs, limit)
        self.servicenow = exporter.servicenow if exporter else self._open_servicenow(servicenow_transport, gate or self._gate)
        self.exporter: Exporter = exporter or LiveExporter(self.tables, self.queues, self.servicenow)

        self.references = References(self)
        self.target = Target(self)
        self.assigned = Assigned(self, Assignments(self.tables))
        self.waiting = Waiting(self)
        self.guard = Guard(self)
        self.staging = Staging(self)
        self.parking = Parking(self)
        self.dead_messages = DeadLetters(self)
        self.announcing = Announcing(self, alert_transport)
        self.verification = Verification(self)
        self.plan = Planning(self)
        self.discovery = Discovering(self)
        self.quarantine = QuarantineWard(self)
        self.objects = Objects(self)
        self.recent_links = RecentLinks(self)
        self.members = Members(self)
        self.nesting = Nesting(self)
        self.member_filters = MemberFilters(self)
        self.cycles = Cycles(self)
        self.subscribing = Subscribing(self)
        self.intake = Intake(self)
        self.operations = Operations(self)
        self.on_demand = OnDemand(self)
        self.links = Links(self)
        self.dispatcher = Dispatcher(self)

    def _open_servicenow(self, transport: httpx.AsyncBaseTransport | None, gate: Gate) -> ServiceNowClient:
        target, clock = self.settings.servicenow, self.clock
        auth = build_auth(
            target.auth,
            username=target.username,
            password=target.password,
            client_id=target.client_id,
            client_secret=target.client_secret,
            api_key=target.api_key,
        )
        return ServiceNowClient(target.instance_url, auth, gate=gate, transport=transport, clock=lambda: clock().timestamp())

    def rehearse(self) -> tuple[Services, RecordingExporter]:
        """The same engine with an exporter that writes nothing anywhere, for previews and plans; need not be closed.

        What one rehearsal would have written is what its exporter holds; a second one knows nothing of it.
        """
        recording = RecordingExporter(self.exporter)
        rehearsed = Services(self.settings, mappings=self.mappings, clock=self.clock, exporter=recording, graph=self.graph)
        rehearsed.target = self.target
        return rehearsed, recording

    async def aclose(self) -> None:
        await self._gate.aclose()
        await self.servicenow.aclose()
        await self.graph.aclose()
        await self.queues.aclose()
        await self.tables.aclose()

    @property
    def walks(self) -> Mapping[Walk, Walking]:
        """The walks over everything, by their names in events."""
        return {"verification": self.verification, "plan": self.plan, "discovery": self.discovery}

    @property
    def mappings(self) -> Mappings:
        """The mappings in use: the active schema's, as this worker last saw it."""
        return self.schemas.mappings

    def mapping(self, kind: Kind) -> ObjectMapping | None:
        """The mapping of users or groups; None when the schema has none or it is switched off."""
        mapping = self.mappings.users if kind == "user" else self.mappings.groups
        return mapping if mapping is not None and mapping.enabled else None

    async def default_domain(self, mapping: ObjectMapping) -> str | None:
        """The tenant's default domain, asked for once, and only if an expression of the mapping needs it."""
        expressions = [attribute.expression for attribute in mapping.attributes if attribute.expression is not None]
        if not any("DefaultDomain" in str(expression.parsed) for expression in expressions):
            return None
        if self._default_domain is None:
            self._default_domain = await default_domain(self.graph)
        return self._default_domain

    @property
    def job_id(self) -> str:
        """The job's id, built as Entra ID builds its own: template, then the enterprise application or the instance."""
        settings = self.settings
        anchor = settings.graph.service_principal_id or hashlib.sha256(settings.servicenow.instance_url.encode()).hexdigest()[:12]
        return f"ServiceNowOutDelta.{anchor}"

    def log_context(self, cycle_id: str, initiated_by: str = "") -> LogContext:
        """What the provisioning log's entries of one invocation share."""
        return LogContext(
            self.job_id,
            cycle_id,
            self.settings.servicenow.instance_url,
            self.settings.graph.service_principal_id,
            self.mappings.version,
            initiated_by,
        )


def load_mappings(settings: Settings) -> Mappings:
    """The mappings of the first start, for a check of the settings. Raises ``SchemaFaults`` with every fault."""
    return compile_mappings(seed_schema(settings))
