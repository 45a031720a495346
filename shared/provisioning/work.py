"""One object on its way through the five steps, and how it ends.

The steps fill a ``Work`` from left to right; each adds a ``Step`` to the record that the provisioning log shows. A step that
cannot go on sets ``outcome``, and the later steps leave the object alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from shared.errors import ProvisioningError
    from shared.events import Kind
    from shared.state.escrows import Escrow
    from shared.state.joins import Join
    from shared.state.leases import Lease

#: What an outcome is counted as, in progress and in the job's status.
OutcomeName = Literal[
    "created",
    "matched",
    "updated",
    "disabled",
    "deleted",
    "unchanged",
    "skipped",
    "escrowed",
    "staged",
    "retried",
    "covered",
    "postponed",
]
Action = Literal["create", "update", "delete", "stageddelete", "disable", "other"]
Status = Literal["success", "warning", "failure", "skipped"]
StepType = Literal["import", "scoping", "matching", "processing", "referenceResolution", "export"]

#: What is to happen to the record, decided from the present truth.
Decision = Literal["provision", "disable", "delete", "nothing"]


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of ``provisioningSteps``."""

    name: str
    type: StepType
    status: Status
    description: str
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Modified:
    """One entry of ``modifiedProperties``."""

    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one object ended. ``error`` explains an escrow or a retry; ``detail`` a skip (SkipReason)."""

    name: OutcomeName
    action: Action = "other"
    status: Status = "success"
    error: ProvisioningError | None = None
    detail: str = ""
    #: Seconds until the object is to be looked at again; None: not by this event.
    again: float | None = None


@dataclass(slots=True)
class Work:
    """One object and what is known about it so far."""

    kind: Kind
    object_id: str
    change_id: str
    join: Join
    lease: Lease | None = None
    #: The object as Graph gave it; None while unread or when it is not there.
    raw: Mapping[str, Any] | None = None
    read_at: datetime | None = None
    presence: Literal["unread", "present", "softDeleted", "gone", "unknown"] = "unread"
    display: str = ""
    source: Mapping[str, Any] = field(default_factory=dict)
    decision: Decision = "nothing"
    reason: str = ""
    #: Target column -> wanted value as ServiceNow text; None: nothing is wanted there.
    values: dict[str, str | None] = field(default_factory=dict)
    #: Columns whose value may differ with every evaluation.
    volatile: frozenset[str] = frozenset()
    #: Names of the app roles that ServiceNow's roles follow; None: they do not.
    roles: tuple[str, ...] | None = None
    fingerprint: str = ""
    waits: list[Escrow] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    #: The record in ServiceNow as read in this invocation, if it was.
    record: Mapping[str, str] | None = None
    #: Columns to write, fitted to the columns' lengths.
    changes: dict[str, str] = field(default_factory=dict)
    #: Columns that are wanted but could not be written as they are.
    left_out: set[str] = field(default_factory=set)
    is_new_link: bool = False
    #: The record that its link named is gone from ServiceNow: whatever referred to that is gone as well.
    has_lost_record: bool = False
    steps: list[Step] = field(default_factory=list)
    modified: list[Modified] = field(default_factory=list)
    outcome: Outcome | None = None
    next_join: Join | None = None

    @property
    def noun(self) -> str:
        """How the log calls the object's type."""
        return "User" if self.kind == "user" else "Group"

    @property
    def evidence(self) -> str:
        """What shows that the object went away: whoever looks again later must not have to find it anew (see ``Escrow``)."""
        return {"gone": "gone", "unknown": "absent"}.get(self.presence, "")

    @property
    def is_open(self) -> bool:
        return self.outcome is None

    def note(self, name: str, type_: StepType, status: Status, description: str, **details: str) -> None:
        self.steps.append(Step(name, type_, status, description, details))

    def end(self, outcome: Outcome) -> None:
        """End here; the first outcome stands."""
        if self.outcome is None:
            self.outcome = outcome
