"""What ServiceNow means by its error texts: 403 alone stands for five different things.

Sources: KB0788959 (duplicate user_name), KB0758037 (groups with admin roles), KB0747638 (payload limit), KB1297438 (cancelled
transactions), ServiceNow documentation "Query ACL rules"; the other texts as public clients of the Table API have captured them.
No reason repeats a display name or an address that the server put into its text.
"""

from __future__ import annotations

import re
from http import HTTPStatus

from shared.errors import (
    ConflictError,
    NotFoundError,
    ProtocolError,
    ProvisioningError,
    RefusedError,
    SchemaMismatchError,
)

_DUPLICATE = re.compile(r"Error during (insert|update) of |Unique Key violation|Duplicate entry", re.IGNORECASE)
_BUSINESS_RULE = re.compile(r"aborted by Business Rule '(?P<rule>.+?)(?:\^[0-9a-zA-Z]{32})?'(?:\.| |$)", re.IGNORECASE)
_DATA_POLICY = re.compile(r"Data Policy Exception:?\s*(?P<what>.*)", re.IGNORECASE | re.DOTALL)
_ADMIN_GROUP = re.compile(r"not allowed to grant .*roles? or groups?|admin/security_admin", re.IGNORECASE)
_PERSONAL = re.compile(r"\([^)]*\)|[^\s'\"<>]+@[^\s'\"<>]+")
_LONGEST_QUOTE = 200
_CANCELLED = "transaction cancelled"
_NO_RESOURCE = "does not represent any resource"


class RecordTakenError(ConflictError):
    """A unique value is taken. ``duplicate_sys_id``: the record with the very sys_id of the insert exists already.

    The platform's text is the same for both, so the writer looks for the sys_id before it sets the mark.
    """

    def __init__(self, reason: str, *, duplicate_sys_id: bool = False, recommended_action: str | None = None) -> None:
        super().__init__(reason, recommended_action=recommended_action)
        self.duplicate_sys_id = duplicate_sys_id


def refusal(method: str, table: str, status: int, texts: tuple[str, str], columns: tuple[str, ...] = ()) -> ProvisioningError:
    """The failure behind a 4xx, or behind an ``error`` in a 2xx. ``columns`` are those of the query, for query ACLs."""
    message, detail = texts
    asked = f"{method} {table}"
    if _NO_RESOURCE in message:
        return ProtocolError(
            f"{asked}: the instance has no such API",
            recommended_action="Check SERVICENOW_INSTANCE_URL: it is the root of the instance, without a path.",
        )
    if message.startswith("Invalid table"):
        return SchemaMismatchError(f"table {table} does not exist", recommended_action=f"Check the mapping's table name {table}.")
    if status == HTTPStatus.NOT_FOUND:
        return _not_found(asked, message)
    if "Insufficient rights to query" in message:
        return RefusedError(
            f"{asked}: a column of the query does not exist or may not be queried ({', '.join(columns) or 'unknown'})",
            recommended_action=f"Add the columns to {table}, or grant read, query_match and query_range on them.",
        )
    if status == HTTPStatus.FORBIDDEN or status < HTTPStatus.MULTIPLE_CHOICES:
        return _forbidden(asked, table, message, detail)
    return ProtocolError(f"{asked}: ServiceNow answered {status} {_quoted(message, detail)}".rstrip())


def is_transaction_cancelled(texts: tuple[str, str]) -> bool:
    """Whether the server gave up at its own time limit (60 s for the Table API, 30 s for a batch)."""
    return any(_CANCELLED in text.lower() for text in texts)


def _not_found(asked: str, message: str) -> ProvisioningError:
    if not message:
        return ProtocolError(
            f"{asked}: 404 without ServiceNow's error body, which proves nothing about the record",
            recommended_action="Check SERVICENOW_INSTANCE_URL and what stands before the instance.",
        )
    return NotFoundError(f"{asked}: the record does not exist, or an access rule hides it")


def _forbidden(asked: str, table: str, message: str, detail: str) -> ProvisioningError:
    text = f"{message} {detail}"
    if _DUPLICATE.search(text):
        return RecordTakenError(
            f"{asked}: a unique value is taken by another record, which may be hidden from the integration user",
            recommended_action=f"Look for the value in {table} with an administrator, inactive records included.",
        )
    if (rule := _BUSINESS_RULE.search(text)) is not None:
        return RefusedError(
            f"{asked}: business rule '{rule['rule']}' aborted the write",
            recommended_action=f"Look at business rule '{rule['rule']}' of {table}.",
        )
    if (policy := _DATA_POLICY.search(text)) is not None:
        return RefusedError(
            f"{asked}: a data policy refused the write: {_quoted(policy['what'])}",
            recommended_action=f"Map the fields that the data policy of {table} demands, or exempt the integration user.",
        )
    if _ADMIN_GROUP.search(text):
        return RefusedError(
            f"{asked}: the group carries admin or security_admin roles and may not be granted by the integration user",
            recommended_action="See KB0758037; take the group out of scope or let an administrator grant it.",
        )
    return RefusedError(
        f"{asked}: refused, {_quoted(message, detail) or 'without a reason'}",
        recommended_action=f"Look at the access rules (ACL) of {table} for the integration user.",
    )


def _quoted(*texts: str) -> str:
    quoted = ": ".join(text.strip() for text in texts if text.strip())
    return _PERSONAL.sub("(...)", quoted)[:_LONGEST_QUOTE]
