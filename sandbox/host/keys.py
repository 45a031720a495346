"""The keys that callers of functions must show.

Source: Azure Functions docs, "Work with access keys in Azure Functions": the master key opens everything, a host key every
function, a function key its own.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sandbox.host.configuration import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_KEY_BYTES = 40


@dataclass(frozen=True, slots=True)
class HostKeys:
    """``master`` for the admin API and everything else, ``default`` for every function, ``functions`` by function name."""

    master: str
    default: str
    functions: Mapping[str, str] = field(default_factory=dict)

    def permit(self, presented: str | None, auth_level: str, function_name: str) -> bool:
        """Whether a caller that presents this key may run the function; compared in constant time."""
        if auth_level == "anonymous":
            return True
        accepted = [self.master]
        if auth_level != "admin":
            accepted.append(self.default)
            accepted += [key for name, key in self.functions.items() if name == function_name]
        candidate = (presented or "").encode()
        # All are compared, so that the time tells nothing.
        return sum(hmac.compare_digest(candidate, key.encode()) for key in accepted) > 0


def load_or_create_keys(path: Path) -> HostKeys:
    """Keys from a JSON file ``{"master", "default", "functions": {name: key}}``, made on first use, readable by the owner."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            keys = {"master": secrets.token_urlsafe(_KEY_BYTES), "default": secrets.token_urlsafe(_KEY_BYTES), "functions": {}}
            json.dump(keys, file, indent=2)
        # A link fails if another host was first: both then read the same file, which is complete.
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return HostKeys(document["master"], document["default"], document.get("functions", {}))
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f'{path} must hold {{"master": "...", "default": "..."}}: {error!r}; delete it for new keys'
        ) from error
