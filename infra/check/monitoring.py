"""Alerts and workbook: whole, documented, and looking for lines and functions that exist."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.check.app_facts import function_names, log_lines
from infra.check.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALERTS, WORKBOOK, MANUAL = "infra/monitoring/alerts.json", "infra/monitoring/workbook.json", "docs/operate.md"
#: What must be watched, whatever else is.
NEEDED = frozenset({"poisoned-messages", "message-age", "failures", "subscription-renewal", "cycle-missing", "quarantine"})
_FIELDS = frozenset({"name", "title", "description", "severity", "frequency", "window", "resolves", "query"})
#: Lines of the host (source: Azure/azure-sdk-for-net, QueueProcessor and QueueTriggerBinding).
_HOST_LINES = (
    "Message has reached MaxDequeueCount of 5. Moving message to queue 'user-events-poison'.",
    "Trigger Details: MessageId: 0, DequeueCount: 1, InsertionTime: 2026-01-01T00:00:00.000+00:00",
)
#: Tables and columns that are used (source: Azure Monitor docs, "Azure Monitor Logs table reference").
_TABLES = {
    "AppTraces": {"TimeGenerated", "Message", "SeverityLevel", "OperationName", "ItemCount"},
    "AppRequests": {"TimeGenerated", "Name", "Success", "ResultCode", "DurationMs", "ItemCount"},
}
_DURATIONS = frozenset({"PT5M", "PT10M", "PT15M", "PT30M", "PT1H", "PT6H", "P1D"})
_HIGHEST_SEVERITY = 4
_TITLE_LENGTH = 80


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What queries may look for: the app's functions, and the fixed parts of its log lines."""

    functions: frozenset[str]
    lines: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, root: Path) -> Vocabulary:
        return cls(frozenset(function_names(root)), tuple(log_lines(root)))

    def logs(self, text: str, *, at_start: bool) -> bool:
        """Whether the host or the app writes a line that has the text, or begins with it."""
        if any(line.startswith(text) if at_start else text in line for line in _HOST_LINES):
            return True
        return any(parts[0].startswith(text) if at_start else any(text in part for part in parts) for parts in self.lines)


def check_alerts(root: Path) -> list[Finding]:
    """Every alert is complete, its query reads what is logged, and the manual says what to do about it."""
    alerts = json.loads((root / ALERTS).read_text(encoding="utf-8"))["alerts"]
    manual = (root / MANUAL).read_text(encoding="utf-8") if (root / MANUAL).exists() else ""
    names = [alert.get("name") for alert in alerts]
    known = Vocabulary.of(root)
    found = [Finding(ALERTS, 0, f"the alert {name} is missing") for name in sorted(NEEDED - set(names))]
    found += [Finding(ALERTS, 0, f"the alert {name} is there twice") for name in sorted(set(names)) if names.count(name) > 1]
    for alert in alerts:
        name = alert.get("name", "?")
        found += [Finding(ALERTS, 0, f"{name}: {fault}") for fault in _faults(alert)]
        found += [Finding(ALERTS, 0, f"{name}: {fault}") for fault in query_faults(known, "\n".join(alert.get("query", [])))]
        if f"### `{name}`" not in manual:
            found.append(Finding(MANUAL, 0, f"does not say what the alert {name} means"))
    found += [
        Finding(MANUAL, 0, f"speaks of the alert {name}, which does not exist")
        for name in re.findall(r"^### `([\w-]+)`", manual, re.MULTILINE)
        if name not in names
    ]
    return found


def check_workbook(root: Path) -> list[Finding]:
    """The workbook plots latency, throughput, outcomes and throttling, from queries that read what is logged."""
    workbook = json.loads((root / WORKBOOK).read_text(encoding="utf-8"))
    found = []
    titles = []
    known = Vocabulary.of(root)
    for item in workbook["items"]:
        content = item.get("content", {})
        if "query" in content:
            titles.append(content.get("title", ""))
            found += [Finding(WORKBOOK, 0, f"{item['name']}: {fault}") for fault in query_faults(known, content["query"])]
    found += [
        Finding(WORKBOOK, 0, f"nothing plots {subject.lower()}")
        for subject in ("Latency", "Throughput", "Outcomes", "Throttling")
        if not any(title.startswith(subject) for title in titles)
    ]
    return found


def query_faults(known: Vocabulary, query: str) -> Iterator[str]:
    """What is wrong with a query: unbalanced, unknown tables, functions or log lines."""
    bare = re.sub(r'@?"(?:[^"\\]|\\.)*"', '""', query)
    if bare.count('"') % 2 or any(bare.count(a) != bare.count(b) for a, b in ("()", "[]", "{}")):
        yield "quotes or brackets do not match"
    used = set(re.findall(r"\bApp[A-Z]\w+", bare))
    yield from (f"unknown table {table}" for table in sorted(used - set(_TABLES)))
    if not used & set(_TABLES):
        yield "reads no table"
    columns = set().union(*(_TABLES[table] for table in used & set(_TABLES))) if used & set(_TABLES) else set()
    assigned = set(re.findall(r"\b([A-Z]\w*)\s*=(?!=)", bare)) | {"Message"}
    for column in sorted(set(re.findall(r"\b([A-Z][A-Za-z]+)\b", bare)) - columns - assigned - used):
        yield f"unknown column {column}"
    named = re.findall(r'\bName == "([^"]+)"', query)
    for listed in re.findall(r"\bName in \(([^)]*)\)", query):
        named += re.findall(r'"([^"]+)"', listed)
    yield from (f"no function is called {name}" for name in named if name not in known.functions)
    for operator, text in re.findall(r'\bMessage (has|startswith) "([^"]+)"', query):
        if not known.logs(text, at_start=operator == "startswith"):
            yield f"nothing logs {text!r}"


def _faults(alert: dict[str, Any]) -> Iterator[str]:
    yield from (f"{field} is missing" for field in sorted(_FIELDS - set(alert)))
    yield from (f"unknown field {field}" for field in sorted(set(alert) - _FIELDS))
    if not re.fullmatch(r"[a-z][a-z-]{2,40}", str(alert.get("name"))):
        yield "the name must be lower case words joined by hyphens"
    if len(str(alert.get("title", ""))) > _TITLE_LENGTH:
        yield "the title is too long"
    if alert.get("severity") not in range(_HIGHEST_SEVERITY + 1):
        yield "the severity must be from 0 to 4"
    yield from (
        f"{field} is not one that Azure Monitor knows" for field in ("frequency", "window") if alert.get(field) not in _DURATIONS
    )
