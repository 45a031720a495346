"""Log lines that say which function and which invocation wrote them."""

from __future__ import annotations

import logging
import sys
from typing import Final

from sandbox.host.runtime import current_invocation_id

_FORMAT: Final = "%(asctime)s.%(msecs)03d %(levelname)-7s %(origin)s%(name)s: %(message)s"
# Chatter of libraries at each request; the host itself says what it does with storage.
_QUIET: Final = ("azure", "azure.functions", "httpx", "httpcore", "msal", "aiohttp.access")

# Synchronous functions run in threads that inherit no context but the invocation id, so names are looked up by it.
_function_names: dict[str, str] = {}


class InvocationFilter(logging.Filter):
    """Adds ``origin``, as ``users[1f0c9a2b] ``, to records that a function's code wrote; an empty string to others."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mark the record; every record passes."""
        invocation_id = current_invocation_id.get()
        name = _function_names.get(invocation_id) if invocation_id else None
        record.origin = f"{name}[{str(invocation_id)[:8]}] " if name else ""
        return True


def remember_invocation(invocation_id: str, function_name: str) -> None:
    """Log lines of this invocation are marked with the function's name from now on."""
    _function_names[invocation_id] = function_name


def forget_invocation(invocation_id: str) -> None:
    """The invocation has ended."""
    _function_names.pop(invocation_id, None)


def log_to_stderr(level: str) -> None:
    """Send every log record from ``level`` on to standard error, libraries' own chatter only at ``debug``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(_FORMAT, datefmt="%H:%M:%S"))
    handler.addFilter(InvocationFilter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    if level.lower() != "debug":
        for name in _QUIET:
            logging.getLogger(name).setLevel(logging.WARNING)
