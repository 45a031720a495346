"""Where Graph is, and whether a url that we were given leads there."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

_PUBLIC_SCOPE: Final = "https://graph.microsoft.com/.default"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# What may stand in a url by RFC 3986: whatever two parsers could read in two ways (backslashes, spaces, controls) is left out.
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")


def checked_base_url(base_url: str) -> str:
    """``base_url`` without its trailing slash.

    Raises ValueError unless it is https, or http on a loopback address, with no user, query or fragment.
    """
    parts = _split(base_url)
    if parts is None or parts.query or parts.fragment:
        raise ValueError("GRAPH_BASE_URL is not an absolute url of the form https://graph.microsoft.com/v1.0")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(base_url)):
        raise ValueError("GRAPH_BASE_URL must be https, unless it is a loopback address")
    return base_url.rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether the host of ``url`` can only be this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def graph_scope(base_url: str) -> str:
    """The scope of a token for the cloud of ``base_url``; a loopback address takes that of the public cloud.

    National clouds are their own resource (Microsoft Graph docs, "National cloud deployments"):
    ``https://graph.microsoft.us/.default`` and so on.
    """
    if is_loopback(base_url):
        return _PUBLIC_SCOPE
    return f"https://{urlsplit(base_url).hostname}/.default"


def same_origin(url: str, base_url: str) -> bool:
    """Whether ``url`` has the scheme, host and port of ``base_url``: only then may a token travel with it."""
    parts, base = _split(url), _split(base_url)
    if parts is None or base is None:
        return False
    return _origin(parts) == _origin(base)


def _split(url: str) -> SplitResult | None:
    if _URL.fullmatch(url) is None:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    if not parts.hostname or "@" in parts.netloc:
        return None
    return parts


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)
