"""A local ServiceNow instance: tables, Table, Batch and Aggregate API, logins, limits and faults as switches."""

from __future__ import annotations

from .command_line import add_arguments, config_from, run
from .config import (
    AccessRule,
    Account,
    ApiKey,
    BusinessRule,
    CustomColumn,
    DataPolicy,
    InstanceConfig,
    OAuthClient,
    RateLimitRule,
)
from .instance import Instance
from .seed import seed_references
from .server import InstanceServer

__all__ = [
    "AccessRule",
    "Account",
    "ApiKey",
    "BusinessRule",
    "CustomColumn",
    "DataPolicy",
    "Instance",
    "InstanceConfig",
    "InstanceServer",
    "OAuthClient",
    "RateLimitRule",
    "add_arguments",
    "config_from",
    "run",
    "seed_references",
]
