"""Everything that can be set on the local instance: accounts, data rules, limits, faults and latency.

One frozen object holds it all. While the instance runs it is replaced, never changed: ``Instance.configure`` and
``POST /control/faults`` make a new one.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

INTEGRATION_ROLE = "u_provisioning"
MEBIBYTE = 1_048_576


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who may log in. The matching sys_user row is made at start, its roles as sys_user_has_role rows."""

    user_name: str
    password: str
    roles: tuple[str, ...] = ()
    first_name: str = ""
    last_name: str = ""
    basic_allowed: bool = True


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """An entry of the application registry; ``user_name`` is its "OAuth Application User" (client credentials)."""

    client_id: str
    client_secret: str
    user_name: str = ""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A REST API key bound to a user."""

    token: str
    user_name: str


@dataclass(frozen=True, slots=True)
class AccessRule:
    """What a role may do. ``"*"`` stands for every table; columns are written ``table.column``.

    A caller may do what any of his roles allows; a column is hidden or frozen only if every role that opens the table
    says so. ``hidden_rows`` pairs a table with an encoded query: matching rows are taken out of an answer *after* the
    limit was applied, though counted.
    """

    role: str
    read: frozenset[str] = frozenset({"*"})
    insert: frozenset[str] = frozenset()
    update: frozenset[str] = frozenset()
    delete: frozenset[str] = frozenset()
    hidden_columns: frozenset[str] = frozenset()
    frozen_columns: frozenset[str] = frozenset()
    hidden_rows: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class CustomColumn:
    """A column that a customer added, for example ``u_entra_object_id`` on sys_user."""

    table: str
    name: str
    type: str = "string"
    max_length: int = 40
    unique: bool = False
    reference: str = ""


@dataclass(frozen=True, slots=True)
class DataPolicy:
    """Columns that must have a value on insert, or refuse to be cleared on update, over every channel."""

    table: str
    mandatory: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BusinessRule:
    """A before-rule that aborts when the record to be written matches ``condition`` (an encoded query)."""

    name: str
    table: str
    condition: str = ""
    on: frozenset[str] = frozenset({"insert", "update", "delete"})


@dataclass(frozen=True, slots=True)
class RateLimitRule:
    """Requests an hour for each user, for a user, a role or everybody; the most specific rule wins."""

    name: str
    per_hour: int
    user_name: str = ""
    role: str = ""
    api: Literal["", "Table API", "Batch API", "Aggregate API"] = ""
    table: str = ""


PEOPLE_TABLES = frozenset({"sys_user", "sys_user_group", "sys_user_grmember"})
ROLE_TABLES = frozenset({"sys_user_has_role", "sys_group_has_role"})

DEFAULT_ACCOUNTS = (
    Account("admin", "admin", ("admin", "security_admin"), "System", "Administrator"),
    Account("entra.provisioning", "provisioning", ("user_admin", INTEGRATION_ROLE), "Entra", "Provisioning"),
)
DEFAULT_OAUTH_CLIENTS = (OAuthClient("sandbox-client", "sandbox-secret", "entra.provisioning"),)
DEFAULT_API_KEYS = (ApiKey("sandbox-api-key", "entra.provisioning"),)
DEFAULT_ACCESS = (
    AccessRule("user_admin", insert=PEOPLE_TABLES | ROLE_TABLES, update=PEOPLE_TABLES, delete=PEOPLE_TABLES | ROLE_TABLES),
    AccessRule(INTEGRATION_ROLE, insert=PEOPLE_TABLES, update=PEOPLE_TABLES, delete=frozenset({"sys_user_grmember"})),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceConfig:
    """The instance's switches. Defaults are those of a real instance as documented; faults are off, latency is zero.

    Times are seconds, sizes bytes. ``None`` switches a limit off. Counters that end in ``_next`` apply to the next so
    many requests and count down.
    """

    # Identity
    accounts: tuple[Account, ...] = field(default=DEFAULT_ACCOUNTS, repr=False)
    oauth_clients: tuple[OAuthClient, ...] = field(default=DEFAULT_OAUTH_CLIENTS, repr=False)
    api_keys: tuple[ApiKey, ...] = field(default=DEFAULT_API_KEYS, repr=False)
    access_rules: tuple[AccessRule, ...] = DEFAULT_ACCESS
    client_credentials_enabled: bool = True
    oauth_error: Literal["server_error", "invalid_client"] = "server_error"
    token_lifetime: float = 1800
    refresh_token_lifetime: float = 8_640_000
    lock_after_failed_logins: int | None = 5

    # Columns and rows
    custom_columns: tuple[CustomColumn, ...] = ()
    max_lengths: tuple[tuple[str, int], ...] = ()
    accent_insensitive: bool = False
    honour_sys_id: bool = True
    long_values: Literal["truncate", "keep"] = "truncate"
    unique_group_names: bool = False
    unique_memberships: bool = False
    lock_inactive_users: bool = True
    ignore_password_writes: bool = True
    dynamic_creation: frozenset[str] = frozenset()
    data_policies: tuple[DataPolicy, ...] = ()
    business_rules: tuple[BusinessRule, ...] = ()

    # Queries
    hide_inactive_users: bool = False
    invalid_query: Literal["drop", "no_rows", "forbidden"] = "drop"
    deny_range_queries: bool = False
    unstable_order: bool = False
    display_utc_offset: float = -8

    # Limits
    concurrency: int = 4
    queue_length: int = 50
    session_waiters: int = 10
    rate_limits: tuple[RateLimitRule, ...] = ()
    rate_limit_batch_items: bool = False
    table_time_limit: float = 60
    batch_time_limit: float = 30
    batch_item_limit: int | None = None
    batch_cut_commits: bool = False
    batch_item_input: int = 5 * MEBIBYTE
    batch_item_output: int = 10 * MEBIBYTE
    payload_limit: int = 10 * MEBIBYTE

    # Faults
    hibernating: bool = False
    login_page: bool = False
    maintenance: bool = False
    refuse_credentials: bool = False
    lost_answer_probability: float = 0
    lose_answers_next: int = 0
    drop_next: int = 0
    fail_next: int = 0
    fail_items_next: int = 0
    fail_status: int = 500
    slow_next: int = 0
    slow_by: float = 0
    throttle_next: int = 0
    ignore_next: int = 0
    cancel_next: int = 0
    cancel_status: Literal[200, 500] = 200
    cancel_body: Literal["error_member", "broken_json"] = "error_member"

    # Latency
    latency_query: float = 0
    latency_write: float = 0
    latency_jitter: float = 0
    seed: int = 0


FIXED = frozenset({"accounts", "custom_columns", "max_lengths", "accent_insensitive", "seed"})
"""What shapes tables and indexes at start and cannot change while the instance runs."""

_MEMBERS = {"rate_limits": RateLimitRule, "business_rules": BusinessRule, "data_policies": DataPolicy}
_CHOICES: dict[str, tuple[object, ...]] = {
    "oauth_error": ("server_error", "invalid_client"),
    "long_values": ("truncate", "keep"),
    "invalid_query": ("drop", "no_rows", "forbidden"),
    "cancel_status": (200, 500),
    "cancel_body": ("error_member", "broken_json"),
}
_OPTIONAL = frozenset({"lock_after_failed_logins", "batch_item_limit"})


def merged(config: InstanceConfig, changes: dict[str, Any]) -> InstanceConfig:
    """Return ``config`` with a JSON object's members in place; raise ValueError naming the member that does not fit."""
    known = {item.name for item in fields(config)}
    values: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in known:
            raise ValueError(f"unknown setting {name!r}")
        if name in FIXED:
            raise ValueError(f"{name!r} is fixed while the instance runs")
        values[name] = _coerced(name, value, getattr(config, name))
    return replace(config, **values)


def _coerced(name: str, value: Any, present: object) -> object:
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise ValueError(f"{name!r} must be one of {', '.join(map(str, _CHOICES[name]))}")
        return value
    if value is None and name in _OPTIONAL:
        return None
    if isinstance(present, bool):
        if value is True or value is False:
            return value
        raise ValueError(f"{name!r} must be true or false")
    if name in _OPTIONAL or isinstance(present, (int, float)):
        return _number(name, value, whole=name.endswith("_next") or (isinstance(present, int) and not _is_time(name)))
    if isinstance(present, (tuple, frozenset)) and isinstance(value, type(present)):
        return value
    if name in _MEMBERS and isinstance(value, list):
        return tuple(_member(name, item) for item in value)
    if isinstance(present, frozenset) and isinstance(value, list):
        return frozenset(str(item) for item in value)
    raise ValueError(f"{name!r} cannot be set to {value!r} here")


def _is_time(name: str) -> bool:
    return name.startswith(("latency_", "slow_by", "lost_")) or name.endswith(("_time_limit", "_lifetime", "_offset"))


def _number(name: str, value: Any, *, whole: bool) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or (whole and value != int(value)):
        raise ValueError(f"{name!r} must be a {'whole ' if whole else ''}number")
    if value < 0 and name != "display_utc_offset":
        raise ValueError(f"{name!r} must not be negative")
    return int(value) if whole else value


def _member(name: str, item: Any) -> object:
    kind = _MEMBERS[name]
    sequences = {"mandatory": tuple, "on": frozenset}
    try:
        return kind(**{key: sequences[key](value) if key in sequences else value for key, value in item.items()})
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{name!r}: {error}") from None


def public_settings(config: InstanceConfig) -> dict[str, Any]:
    """Return the switches as JSON, without accounts and secrets."""
    secret = {"accounts", "oauth_clients", "api_keys"}
    return {item.name: _json_value(getattr(config, item.name)) for item in fields(config) if item.name not in secret}


def _json_value(value: object) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [_json_value(item) for item in value]
    if dataclasses.is_dataclass(value):
        return {item.name: _json_value(getattr(value, item.name)) for item in fields(value)}
    return value
