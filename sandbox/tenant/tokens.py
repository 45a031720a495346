"""Opaque tokens: what a client carries back unread, and only the tenant that made it can open."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import zlib
from typing import Any

from sandbox.tenant.errors import bad_request

_SEAL_BYTES = 16


class ForeignTokenError(Exception):
    """A well-formed token of another tenant, or of this one before it was started anew."""


class Sealer:
    """Seals JSON values into URL-safe text and opens them again."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def seal(self, value: Any) -> str:
        content = zlib.compress(json.dumps(value, separators=(",", ":")).encode())
        return base64.urlsafe_b64encode(self._mark(content) + content).decode().rstrip("=")

    def open(self, token: str) -> Any:
        """The sealed value; raises ``ForeignTokenError``, or ``GraphError`` 400 for what was never a token."""
        try:
            sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            content = sealed[_SEAL_BYTES:]
            value = json.loads(zlib.decompress(content))
        except (binascii.Error, ValueError, zlib.error) as error:
            raise bad_request("Badly formed token.") from error
        if not hmac.compare_digest(self._mark(content), sealed[:_SEAL_BYTES]):
            raise ForeignTokenError
        return value

    def _mark(self, content: bytes) -> bytes:
        return hmac.digest(self._key, content, hashlib.sha256)[:_SEAL_BYTES]
