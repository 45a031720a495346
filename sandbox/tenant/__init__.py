"""A local Entra tenant that speaks Microsoft Graph v1.0."""

from __future__ import annotations

from sandbox.tenant.cli import add_arguments, run
from sandbox.tenant.config import DELIVERY_RULES_2023, DeliveryRules, Faults, SubscriptionRules, TenantConfig
from sandbox.tenant.directory import Tenant
from sandbox.tenant.errors import GraphError
from sandbox.tenant.objects import Kind, State
from sandbox.tenant.server import TenantServer

__all__ = [
    "DELIVERY_RULES_2023",
    "DeliveryRules",
    "Faults",
    "GraphError",
    "Kind",
    "State",
    "SubscriptionRules",
    "Tenant",
    "TenantConfig",
    "TenantServer",
    "add_arguments",
    "run",
]
