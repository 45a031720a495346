"""What an operator wants to know of an instance before anything is provisioned to it: reads only, nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from shared.errors import CredentialsError, ProvisioningError, RetryableError
from shared.servicenow.dictionary import load_dictionary, verify_columns
from shared.servicenow.queries import after, all_of, equals, everything, one_of
from shared.servicenow.records import UnreadableColumns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from shared.servicenow.client import ServiceNowClient

type Severity = Literal["error", "warning", "info"]

DEFAULT_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "sys_user": ("user_name", "active", "locked_out", "email", "first_name", "last_name", "manager", "department", "location"),
    "sys_user_group": ("name", "description", "active"),
    "sys_user_grmember": ("user", "group"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One result. ``check`` names the check; ``error``: provisioning cannot work, ``warning``: it may go wrong."""

    severity: Severity
    check: str
    message: str
    recommended_action: str = ""


async def check_instance(
    client: ServiceNowClient,
    *,
    columns: Mapping[str, Iterable[str]] = DEFAULT_COLUMNS,
) -> list[Finding]:
    """Every fault found, or one ``info`` for each check that found none. ``columns`` are those of the mapping, by table.

    Stops at refused credentials or an unavailable instance: nothing else could be told then.
    """
    wanted = {table: tuple(names) for table, names in columns.items()}
    checks: list[tuple[str, Callable[[], Awaitable[list[Finding]]]]] = [
        ("control query", lambda: _control(client)),
        ("keyset paging", lambda: _keyset(client)),
        ("inactive users", lambda: _inactive(client)),
        *((f"columns of {table}", _columns_check(client, table, names)) for table, names in wanted.items()),
        ("batch", lambda: _batch(client)),
        ("dictionary", lambda: _dictionary(client, wanted)),
        ("dynamic creation", lambda: _dynamic_creation(client, wanted)),
    ]
    findings: list[Finding] = []
    for name, check in checks:
        try:
            findings += await check() or [Finding("info", name, "works")]
        except (CredentialsError, RetryableError) as error:
            return [*findings, _failure(name, error)]
        except ProvisioningError as error:
            findings.append(_failure(name, error))
    return findings


def _failure(check: str, error: ProvisioningError) -> Finding:
    return Finding("error", check, error.reason, error.recommended_action or "")


async def _control(client: ServiceNowClient) -> list[Finding]:
    if await client.sample("sys_user", everything(), ("user_name",)):
        return []
    action = "Let the integration user read sys_user; until then an absent user cannot be told from a hidden one."
    return [Finding("error", "control query", "no user at all is visible", action)]


async def _keyset(client: ServiceNowClient) -> list[Finding]:
    await client.sample("sys_user", after("sys_id", "0"), ("user_name",))
    return []


async def _inactive(client: ServiceNowClient) -> list[Finding]:
    if await client.sample("sys_user", equals("active", "false"), ("active",)):
        return []
    action = "Exempt the integration user from the before-query business rule 'user query' of sys_user, if there are any."
    message = "no inactive user is visible: a user who was disabled could not be found again, and its insert would be refused"
    return [Finding("warning", "inactive users", message, action)]


def _columns_check(client: ServiceNowClient, table: str, names: tuple[str, ...]) -> Callable[[], Awaitable[list[Finding]]]:
    async def check() -> list[Finding]:
        name = f"columns of {table}"
        try:
            if await client.sample(table, everything(), names):
                return []
        except UnreadableColumns as error:
            return [_failure(name, error)]
        dictionary = (await load_dictionary(client, [table]))[table]
        if dictionary.source == "none":
            message = f"{table} shows no row and no dictionary, so its columns could not be tried"
            return [Finding("warning", name, message, f"Let the integration user read {table} and sys_dictionary.")]
        faults = verify_columns(dictionary, read=names)
        return [Finding("error", name, f"column {f.column} {f.problem}", f.recommended_action) for f in faults]

    return check


async def _batch(client: ServiceNowClient) -> list[Finding]:
    await client.try_batch()
    if client.batches:
        return []
    action = "Allow POST /api/now/v1/batch in the REST API access policies of the integration user."
    return [Finding("warning", "batch", "the Batch API is refused: every write costs a request of its own", action)]


async def _dictionary(client: ServiceNowClient, wanted: Mapping[str, tuple[str, ...]]) -> list[Finding]:
    loaded = await load_dictionary(client, wanted)
    blind = [table for table, dictionary in loaded.items() if dictionary.source != "sys_dictionary"]
    if not blind:
        return []
    message = f"sys_dictionary shows nothing of {', '.join(blind)}: types, lengths and references are not known"
    return [Finding("warning", "dictionary", message, "Let the integration user read sys_dictionary and sys_db_object.")]


async def _dynamic_creation(client: ServiceNowClient, wanted: Mapping[str, tuple[str, ...]]) -> list[Finding]:
    condition = all_of(one_of("name", wanted), equals("dynamic_creation", "true"))
    try:
        rows = await client.select("sys_dictionary", condition, ("name", "element", "dynamic_creation"))
    except ProvisioningError as error:
        if isinstance(error, CredentialsError | RetryableError):
            raise
        return [Finding("info", "dynamic creation", "cannot be told: sys_dictionary does not show it")]
    return [
        Finding(
            "warning",
            "dynamic creation",
            f"{row['name']}.{row['element']} creates a row for every unknown text that is written to it (KB0655991)",
            "Turn dynamic creation off for this column; this app writes sys_ids only, other integrations may not.",
        )
        for row in rows
    ]
