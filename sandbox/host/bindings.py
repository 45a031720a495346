"""What triggers a function and where its outputs go: raw binding JSON turned into value objects, ``%SETTING%`` replaced.

Source: Azure Functions docs, "Azure Functions binding expression patterns" (app settings) and the reference of each trigger.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox.host.ncrontab import Schedule, ScheduleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sandbox.host.runtime import IndexedFunction

_SETTING = re.compile(r"%([^%]*)%")
_QUEUE_NAME = re.compile(r"(?=.{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*")
_DEFAULT_CONNECTION = "AzureWebJobsStorage"


class BindingError(Exception):
    """A function's binding cannot be used; the host reports the function in error and runs the others."""


@dataclass(frozen=True, slots=True)
class HttpTrigger:
    """``methods`` is None where the decorator names none: all are allowed. ``auth_level``: anonymous, function or admin."""

    name: str
    route: str
    methods: frozenset[str] | None
    auth_level: str


@dataclass(frozen=True, slots=True)
class QueueTrigger:
    """``connection`` is the prefix of the settings that name the storage account."""

    name: str
    queue_name: str
    connection: str


@dataclass(frozen=True, slots=True)
class TimerTrigger:
    """``schedule`` in UTC; ``use_monitor``: an occurrence that was missed while no host ran is made up for."""

    name: str
    schedule: Schedule
    run_on_startup: bool
    use_monitor: bool


@dataclass(frozen=True, slots=True)
class QueueOutput:
    """A queue that a return value (``name`` is ``$return``) or an ``Out`` parameter is written to."""

    name: str
    queue_name: str
    connection: str


Trigger = HttpTrigger | QueueTrigger | TimerTrigger


@dataclass(frozen=True, slots=True)
class Function:
    """A function that can run."""

    indexed: IndexedFunction
    trigger: Trigger
    queue_outputs: tuple[QueueOutput, ...]

    @property
    def name(self) -> str:
        """The function's name, unique in the app."""
        return self.indexed.name


def bind(indexed: IndexedFunction, settings: Mapping[str, str]) -> Function:
    """Resolve a function's bindings against the app settings; BindingError says what the operator must set or correct."""
    bindings = [resolve(binding, settings) for binding in indexed.bindings]
    triggers = [binding for binding in bindings if str(binding["type"]).lower().endswith("trigger")]
    if len(triggers) != 1:
        raise BindingError(f"a function needs exactly one trigger, this one has {len(triggers)}")
    outputs = tuple(_outputs(bindings))
    return Function(indexed, _trigger(indexed.name, triggers[0]), outputs)


def resolve(binding: Mapping[str, Any], settings: Mapping[str, str]) -> dict[str, Any]:
    """Replace ``%NAME%`` in every string of a binding by the setting of that name; BindingError if there is none."""

    def setting(match: re.Match[str]) -> str:
        value = settings.get(match[1])
        if not value:
            raise BindingError(f"{match[0]!r} does not resolve to a value: set the app setting {match[1]}")
        return value

    # The connection is the name of settings itself; constraints of a route may hold a percent sign only through a setting too.
    return {key: _SETTING.sub(setting, value) if isinstance(value, str) else value for key, value in binding.items()}


def _trigger(function_name: str, binding: Mapping[str, Any]) -> Trigger:
    name = str(binding["name"])
    match binding["type"]:
        case "httpTrigger":
            methods = binding.get("methods")
            return HttpTrigger(
                name=name,
                route=str(binding.get("route") or function_name).strip("/"),
                methods=frozenset(str(method).upper() for method in methods) if methods else None,
                auth_level=str(binding.get("authLevel") or "function").lower(),
            )
        case "queueTrigger":
            return QueueTrigger(name, _queue_name(binding), _connection(binding))
        case "timerTrigger":
            try:
                schedule = Schedule.parse(str(binding["schedule"]))
            except ScheduleError as error:
                raise BindingError(str(error)) from error
            monitored = bool(binding.get("useMonitor", True)) and not schedule.fires_more_than_once_a_minute()
            return TimerTrigger(name, schedule, bool(binding.get("runOnStartup", False)), monitored)
        case other:
            raise BindingError(f"the trigger {other!r} is not supported by this host (http, queue and timer are)")


def _outputs(bindings: Iterable[Mapping[str, Any]]) -> Iterable[QueueOutput]:
    for binding in bindings:
        if str(binding.get("direction", "")).upper() != "OUT" or binding["type"] == "http":
            continue
        if binding["type"] != "queue":
            raise BindingError(f"the output binding {binding['type']!r} is not supported by this host (http and queue are)")
        yield QueueOutput(str(binding["name"]), _queue_name(binding), _connection(binding))


def _queue_name(binding: Mapping[str, Any]) -> str:
    # The host lowers the case of a queue's name before it checks it (Queue storage extension, QueueClientExtensions).
    name = str(binding.get("queueName", "")).lower()
    if not _QUEUE_NAME.fullmatch(name):
        raise BindingError(f"{name!r} is not a valid queue name (3 to 63 small letters, digits and single hyphens)")
    return name


def _connection(binding: Mapping[str, Any]) -> str:
    return str(binding.get("connection") or _DEFAULT_CONNECTION)
