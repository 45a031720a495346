"""``$top`` and ``$skiptoken`` of the operator's lists."""

from __future__ import annotations

import base64
import binascii
import json

from shared.provisioning.requests import BadRequest

PAGE, MAX_PAGE = 50, 500
_LONGEST_TOKEN = 4096


def page_size(top: str) -> int:
    """Entries of one page. Raises ``BadRequest``."""
    if not top:
        return PAGE
    if not (top.isascii() and top.isdecimal() and len(top) <= len(str(MAX_PAGE)) and 1 <= int(top) <= MAX_PAGE):
        raise BadRequest(f"$top must be a number from 1 to {MAX_PAGE}")
    return int(top)


def write_token(token: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(token).encode()).decode()


def read_token(token: str) -> dict[str, str] | None:
    """Where a page begins; None for the first. Raises ``BadRequest`` for a text that this app never gave."""
    if not token:
        return None
    try:
        decoded = json.loads(base64.b64decode(token[:_LONGEST_TOKEN], altchars=b"-_", validate=True))
        return {"PartitionKey": str(decoded["PartitionKey"]), "RowKey": str(decoded["RowKey"])}
    except (ValueError, binascii.Error, KeyError, TypeError, RecursionError) as error:
        raise BadRequest("$skiptoken is not one that this app gave") from error
