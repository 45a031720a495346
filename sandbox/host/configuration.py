"""host.json and local.settings.json, read as the Functions host and Core Tools read them.

Source: Azure Functions docs, "host.json reference for Azure Functions 2.x and later", "Azure Queue storage trigger and bindings"
(host.json settings), "Code and test Azure Functions locally" (local.settings.json).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from pathlib import Path

_TIMESPAN = re.compile(r"(?:(?P<days>\d+)\.)?(?P<hours>\d{1,2}):(?P<minutes>\d{1,2})(?::(?P<seconds>\d{1,2}(?:\.\d{1,7})?))?")
_LARGEST_BATCH = 32
_SHORTEST_POLLING_INTERVAL = 0.1


class ConfigurationError(Exception):
    """host.json, local.settings.json or a setting cannot be used; the message names the file or setting and what is wrong."""


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """``extensions.queues`` of host.json; times in seconds.

    The polling interval's default is the two seconds that Core Tools use locally; in Azure it is a minute.
    """

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_polling_interval: float = 2.0
    visibility_timeout: float = 0.0
    max_dequeue_count: int = 5
    base64: bool = True


@dataclass(frozen=True, slots=True)
class HostOptions:
    """What the host obeys of host.json. ``function_timeout`` in seconds, None is unbounded."""

    queues: QueueOptions = field(default_factory=QueueOptions)
    route_prefix: str = "api"
    function_timeout: float | None = 1800.0


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """local.settings.json: app settings (``Values``) and the port of Core Tools (``Host.LocalHttpPort``)."""

    values: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None

    def apply(self, environment: MutableMapping[str, str]) -> None:
        """Put the values into the environment; a variable that is already set wins, as with Core Tools."""
        for name, value in self.values.items():
            environment.setdefault(name, value)


def parse_timespan(text: str) -> float:
    """Seconds of a .NET time span, ``[days.]hh:mm[:ss[.fffffff]]``; ConfigurationError otherwise."""
    match = _TIMESPAN.fullmatch(text.strip())
    if match is None:
        raise ConfigurationError(f"{text!r} is not a time span like 00:00:30 (hours:minutes:seconds)")
    days, hours, minutes = (int(match[part] or 0) for part in ("days", "hours", "minutes"))
    return ((days * 24 + hours) * 60 + minutes) * 60 + float(match["seconds"] or 0)


def read_host_options(app_dir: Path) -> HostOptions:
    """Read ``app_dir/host.json``; ConfigurationError if it is missing or a value is outside its documented range."""
    path = app_dir / "host.json"
    document = _read_object(path)
    if document.get("version") != "2.0":
        raise ConfigurationError(f'{path}: "version" must be "2.0"')
    extensions = _member(document, "extensions", path)
    timeout = document.get("functionTimeout")
    try:
        return HostOptions(
            queues=_queue_options(_member(extensions, "queues", path)),
            route_prefix=str(_member(extensions, "http", path).get("routePrefix", "api")).strip("/"),
            function_timeout=_function_timeout(timeout),
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def read_local_settings(path: Path) -> LocalSettings:
    """Read local.settings.json; a missing file means no values: the environment alone speaks."""
    if not path.exists():
        return LocalSettings()
    document = _read_object(path)
    if document.get("IsEncrypted"):
        raise ConfigurationError(f"{path}: encrypted settings cannot be read here; run 'func settings decrypt' first")
    values = _member(document, "Values", path)
    for name, value in values.items():
        if not isinstance(value, str):
            raise ConfigurationError(f"{path}: the value of {name} must be a string")
    port = _member(document, "Host", path).get("LocalHttpPort")
    if port is not None and not isinstance(port, int):
        raise ConfigurationError(f"{path}: Host.LocalHttpPort must be a number")
    return LocalSettings(values, port)


def _function_timeout(value: Any) -> float | None:
    if value is None:
        return HostOptions().function_timeout
    return None if str(value) == "-1" else parse_timespan(str(value))


def _queue_options(section: dict[str, Any]) -> QueueOptions:
    defaults = QueueOptions()
    batch_size = _integer(section, "batchSize", defaults.batch_size, 1, _LARGEST_BATCH)
    interval = parse_timespan(section["maxPollingInterval"]) if "maxPollingInterval" in section else defaults.max_polling_interval
    if interval < _SHORTEST_POLLING_INTERVAL:
        raise ConfigurationError("extensions.queues.maxPollingInterval must be at least 00:00:00.100")
    encoding = str(section.get("messageEncoding", "base64")).lower()
    if encoding not in {"base64", "none"}:
        raise ConfigurationError('extensions.queues.messageEncoding must be "base64" or "none"')
    return QueueOptions(
        batch_size=batch_size,
        new_batch_threshold=_integer(section, "newBatchThreshold", batch_size // 2, 0, 1000),
        max_polling_interval=interval,
        visibility_timeout=parse_timespan(section["visibilityTimeout"]) if "visibilityTimeout" in section else 0.0,
        max_dequeue_count=_integer(section, "maxDequeueCount", defaults.max_dequeue_count, 1, 1000),
        base64=encoding == "base64",
    )


def _integer(section: dict[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = section.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ConfigurationError(f"extensions.queues.{name} must be a whole number from {least} to {most}, not {value!r}")
    return value


def _read_object(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigurationError(f"{path} is missing: is this the directory of a function app?") from None
    except ValueError as error:
        raise ConfigurationError(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path} must hold a JSON object")
    return document


def _member(document: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    value = document.get(name, {})
    if not isinstance(value, dict):
        raise ConfigurationError(f"{path}: {name} must be an object")
    return value
