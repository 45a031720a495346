"""What became of the first cycle, in words: from the job's counts and the provisioning log."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NUMBER: Final = re.compile(r"\b\d+ characters")
#: Chain -> kind -> outcomes. The groups chain counts groups and memberships in one; in a first round no group is unchanged.
_COUNTS: Final[Mapping[str, Mapping[str, Sequence[str]]]] = {
    "users": {"users": ("created", "matched", "updated", "skipped", "unchanged", "escrowed")},
    "groups": {
        "groups": ("created", "matched", "updated", "skipped", "escrowed"),
        "memberships": ("added", "unchanged", "waiting"),
    },
}
_MOST_REASONS: Final = 12

type Entry = Mapping[str, Any]
"""One ``provisioningObjectSummary``."""


@dataclass(slots=True)
class Reasons:
    """Why things are not as in Entra, each with everybody whom it concerns.

    ``skipped``: not provisioned, and need not be. ``waiting``: comes as soon as what is missing appears. ``left_out``: values
    that ServiceNow's columns cannot take. ``failed``: tried again later.
    """

    skipped: dict[str, set[str]] = field(default_factory=dict)
    waiting: dict[str, set[str]] = field(default_factory=dict)
    left_out: dict[str, set[str]] = field(default_factory=dict)
    failed: dict[str, set[str]] = field(default_factory=dict)


def reasons(entries: Iterable[Entry], names: Mapping[str, str]) -> Reasons:
    """Group a log (newest first) by its reasons; ``names`` calls objects by their ids.

    What an object waits for is what its newest entry says; a column that is too short is met when its value is written first.
    """
    found = Reasons()
    seen: set[str] = set()
    memberships = _Memberships(names)
    for entry in entries:
        if memberships.note(entry):
            continue
        object_id, name = str(entry["sourceIdentity"]["id"]), _name(entry)
        status = entry["provisioningStatusInfo"]["status"]
        waits = [step["description"] for step in entry["provisioningSteps"] if _is_wait(step)]
        given = _given_reasons(entry)
        if status == "warning":
            _add(found.left_out, name, *(part for part in given if part not in waits))
        if object_id in seen:
            continue
        seen.add(object_id)
        if status == "skipped":
            _add(found.skipped, name, *given)
        elif status == "failure":
            _add(found.failed, name, *given)
        else:
            _add(found.waiting, name, *waits)
    for name in memberships.waiting():
        _add(found.waiting, name, "memberships of people who are not provisioned in ServiceNow (yet)")
    return found


def counts_table(outcomes: Mapping[str, Mapping[str, int]]) -> str:
    """The job's outcomes of the full round: users and groups apart from memberships."""
    lines = []
    for chain, kinds in _COUNTS.items():
        counts = outcomes.get(chain, {})
        for kind, names in kinds.items():
            shown = "   ".join(f"{name} {counts[name]:,}" for name in names if counts.get(name))
            lines.append(f"  {kind:13}{shown or 'none'}")
    return "\n".join(lines)


def reasons_table(found: Reasons) -> str:
    """The reasons, most frequent first, each with somebody as an example."""
    titles = (
        ("Skipped", found.skipped),
        ("Waiting, and will follow by itself", found.waiting),
        ("Left out, because the column cannot take it", found.left_out),
        ("Failed, and will be tried again", found.failed),
    )
    lines: list[str] = []
    for title, groups in titles:
        if groups:
            lines.append(f"  {title}")
            ranked = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
            lines += [f"    {len(names):6,}  {reason}  (e.g. {min(names)})" for reason, names in ranked[:_MOST_REASONS]]
    return "\n".join(lines)


def _name(entry: Entry) -> str:
    source = entry["sourceIdentity"]
    return str(source["displayName"] or source["id"])


def _is_wait(step: Mapping[str, Any]) -> bool:
    return bool(step["provisioningStepType"] == "referenceResolution" and step["status"] in {"warning", "failure"})


def _given_reasons(entry: Entry) -> Sequence[str]:
    information = entry["provisioningStatusInfo"]["errorInformation"]
    return [part for part in str(information["reason"]).split("; ") if part] if information else []


def _add(groups: dict[str, set[str]], name: str, *texts: str) -> None:
    """Put somebody under each reason, without what differs from one object to the next."""
    for text in texts:
        groups.setdefault(_NUMBER.sub("too many characters", _ID.sub("somebody", text)), set()).add(name)


class _Memberships:
    """What the log says about memberships: a newer entry is not overruled by an older one."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._waits: dict[tuple[str, str], bool] = {}

    def note(self, entry: Entry) -> bool:
        """Take in an entry; whether it is about memberships."""
        group = str(entry["sourceIdentity"]["id"])
        changed = [change for change in entry["modifiedProperties"] if change["displayName"] == "members"]
        for change in changed:
            self._waits.setdefault((group, str(change["newValue"] or change["oldValue"])), False)
        waiting = [step["details"]["members"] for step in entry["provisioningSteps"] if step["details"].get("members")]
        for members in waiting:
            for user in members.split(","):
                self._waits.setdefault((group, user), True)
        return bool(changed or waiting)

    def waiting(self) -> list[str]:
        """Every membership that waits, as the person and the group."""
        pairs = [pair for pair, waits in self._waits.items() if waits]
        return [f"{self._names.get(user, user)} in {self._names.get(group, group)}" for group, user in pairs]
