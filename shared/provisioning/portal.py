"""The status page: state, progress, what waits and what is held, the newest entries of the log. One page of plain HTML.

Names and reasons are other people's input: every value is escaped, no script is allowed by the Content-Security-Policy, and the
one style sheet is allowed by its hash alone.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from shared.provisioning.walking import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shared.provisioning.services import Services

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1b1b1b;background:#fff}"
    "h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #ddd;vertical-align:top;overflow-wrap:anywhere}"
    "progress{width:16rem}.state{display:inline-block;padding:.1rem .6rem;border-radius:.3rem;background:#e6f2e6}"
    ".bad{background:#f9dcd6}"
)
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
#: Newest entries of the log, and held deeds, that the page shows.
_SHOWN = 20
_NO_ROWS = "nothing"


@dataclass(frozen=True, slots=True)
class Status:
    """What the page tells. ``job`` is ``GET /job``, ``log`` and ``staged`` pages of ``GET /logs`` and ``GET /staged``."""

    job: Mapping[str, Any]
    log: Sequence[Mapping[str, Any]]
    staged: Sequence[Mapping[str, Any]]
    held: Mapping[str, int]
    escrows: Mapping[str, int]
    dead: int
    verification: Mapping[str, Any]
    plan: Mapping[str, Any]
    instance: str


async def gather(services: Services) -> Status:
    """Read what the page shows."""
    return Status(
        job=await services.operations.job(),
        log=(await services.operations.logs(condition="", top=str(_SHOWN), token=""))["value"],
        staged=(await services.staging.page(top=str(_SHOWN), token=""))["value"],
        held=await services.guard.staged.waiting(),
        escrows=await services.escrows.codes(),
        dead=await services.dead_messages.store.count(),
        verification=await services.verification.status(),
        plan=shown(await services.plan.mark()),
        instance=services.settings.servicenow.instance_url,
    )


def render(status: Status) -> str:
    """The page. Pure."""
    job, app = status.job["status"], status.job["app"]
    quarantine = job["quarantine"]
    code = str(job["code"])
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Provisioning</title>",
        f"<meta http-equiv='refresh' content='30'><style>{_STYLE}</style></head><body>",
        "<h1>Microsoft Entra ID to ServiceNow</h1>",
        _paragraph(f"{status.instance}, job {status.job['id']}, schema {app['schemaVersion']}", code=code),
    ]
    if quarantine is not None:
        error = quarantine["error"]
        told = f"{quarantine['reason']} since {quarantine['currentBegan']}: {error['message']} ({error['code']})."
        parts.append(f"<p class='bad'>{escape(told)} Next probe {escape(str(quarantine['nextAttempt']))}.</p>")
    parts += [
        "<h2>Progress</h2>",
        _progress(job["progress"]),
        _table(
            ("chain", "phase", "generation", "page", "last finished"),
            [
                (name, chain["phase"], chain["generation"], chain["page"], chain["finishedDateTime"] or "never")
                for name, chain in app["chains"].items()
            ],
        ),
        "<h2>Provisioned</h2>",
        _table(("type", "number"), [(entry["key"], entry["value"]) for entry in job["synchronizedEntryCountByType"]]),
        "<h2>Waiting, by reason</h2>",
        _table(("reason", "number"), sorted(status.escrows.items())),
        "<h2>Held for a decision</h2>",
        _table(("deed", "number"), sorted(status.held.items())),
        _table(
            ("object", "deed", "state", "reason"),
            [(row["displayName"] or row["id"], row["action"], row["status"], row["reason"]) for row in status.staged],
        ),
        "<h2>Queues and dead messages</h2>",
        _table(("queue", "messages"), [*sorted(app["queues"].items()), ("moved to the table of dead messages", status.dead)]),
        "<h2>Verification and plan</h2>",
        _table(("walk", "state", "since", "counts"), [_walk("verification", status.verification), _walk("plan", status.plan)]),
        "<h2>Newest entries of the log</h2>",
        _table(("when", "object", "action", "result", "reason"), [_entry(entry) for entry in status.log]),
        "</body></html>",
    ]
    return "".join(parts)


def _paragraph(text: str, *, code: str) -> str:
    mood = "state" if code == "Active" else "state bad"
    return f"<p><span class='{mood}'>{escape(code)}</span> {escape(text)}</p>"


def _progress(entries: Iterable[Mapping[str, Any]]) -> str:
    bars = []
    for entry in entries:
        done, total = int(entry["completedUnits"]), int(entry["totalUnits"])
        label = f"{done} of {total} {entry['units']}"
        bars.append(f"<p><progress max='{max(1, total)}' value='{done}'></progress> {escape(label)}</p>")
    return "".join(bars)


def _walk(name: str, walk: Mapping[str, Any]) -> tuple[str, str, str, str]:
    counts = ", ".join(f"{number} {what}" for what, number in walk["counts"].items())
    return name, str(walk["status"]), str(walk["startedDateTime"] or ""), counts


def _entry(entry: Mapping[str, Any]) -> tuple[str, ...]:
    information = entry["provisioningStatusInfo"]["errorInformation"] or {}
    return (
        str(entry["activityDateTime"]),
        f"{entry['sourceIdentity']['identityType']} {entry['sourceIdentity']['displayName']}",
        str(entry["provisioningAction"]),
        str(entry["provisioningStatusInfo"]["status"]),
        f"{information.get('errorCode') or ''} {information.get('reason') or ''}".strip(),
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    if not body:
        body = f"<tr><td colspan='{len(head)}'>{_NO_ROWS}</td></tr>"
    return f"<table><thead><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr></thead><tbody>{body}</tbody></table>"
