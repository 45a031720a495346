"""The same history without disturbance: one process, storage in memory, each deed provisioned before the next one happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.chaos.hands import Hands
from sandbox.chaos.history import DEEDS
from sandbox.chaos.looking import records_of
from sandbox.chaos.oneprocess import OneProcess
from sandbox.chaos.stage import tenant_config
from sandbox.chaos.witness import Witness
from sandbox.instance import InstanceServer, seed_references
from sandbox.people import COMPANIES, COST_CENTERS, DEPARTMENTS, LOCATIONS
from sandbox.tenant import TenantServer
from sandbox.up import sandbox_settings
from shared.settings import load_settings

if TYPE_CHECKING:
    from sandbox.chaos.hands import Memory
    from sandbox.chaos.history import History
    from sandbox.sides import Records


async def undisturbed(history: History) -> tuple[Records, Memory]:
    """How the instance ends when nothing goes wrong, and what happened on the way."""
    instance = Witness()
    async with TenantServer(tenant_config(history)) as source, InstanceServer(instance=instance) as target:
        seed_references(instance, departments=DEPARTMENTS, locations=LOCATIONS, companies=COMPANIES, cost_centers=COST_CENTERS)
        principal = source.tenant.config.service_principal_id if history.scope == "assigned" else ""
        changes = {
            "PROVISIONING_SCOPE": history.scope,
            "ENTRA_SERVICE_PRINCIPAL_ID": principal,
            "GRAPH_REPLICATION_GRACE": "0",
            "NOTIFICATION_URL": "",
        }
        settings = load_settings(
            sandbox_settings(tenant_url=source.url.removesuffix("/v1.0"), instance_url=target.url, changes=changes)
        )
        hands = Hands(source.tenant, instance, assigned=history.scope == "assigned")
        async with OneProcess(settings) as process:
            await process.cycle()
            for step in history.steps:
                if step.name in DEEDS and hands.do(step):
                    await process.cycle()
            await process.cycle()
        return records_of(instance), hands.memory
