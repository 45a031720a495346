"""The schema that the app starts with when none is configured."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from .model import SynchronizationSchema, parse_schema

DEFAULT_SCHEMA_PATH = Path(__file__).parent / "default_schema.json"


@cache
def default_schema() -> SynchronizationSchema:
    """Our proposal for sys_user and sys_user_group; Microsoft documents no default mapping of its ServiceNow connector."""
    return parse_schema(DEFAULT_SCHEMA_PATH.read_bytes())
