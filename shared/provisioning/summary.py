"""The provisioning log's documents, in the shape of Microsoft Graph's ``provisioningObjectSummary``.

Source: Microsoft Graph v1.0, resource ``provisioningObjectSummary``. Values of attributes that a mapping redacts (function
``Redact``, or the attribute's option) appear as ``[Redact]``; they were replaced before they came here.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from shared.errors import ProvisioningError
    from shared.provisioning.work import Work

SOURCE_SYSTEM = "Microsoft Entra ID"
TARGET_SYSTEM = "ServiceNow"
_NAMESPACE = uuid.UUID("6f1f3c9e-5a44-4c1e-9b8e-2a6f0f6f6d11")
#: Failures that an operator or the owner of the data can mend, as opposed to failures of a service.
_SERVICE_CODES = frozenset({"TooManyRequests", "InternalServerError", "Timeout", "InternalError"})


@dataclass(frozen=True, slots=True)
class LogContext:
    """What all entries of one invocation share."""

    job_id: str
    cycle_id: str
    target_url: str
    service_principal_id: str
    schema_version: str
    initiated_by: str = ""


def change_id(event_id: str, object_id: str) -> str:
    """The id of one object's change under one event: the same again when the event is replayed."""
    return str(uuid.uuid5(_NAMESPACE, f"{event_id}|{object_id}"))


def summarize(work: Work, context: LogContext, started: datetime, ended: datetime) -> dict[str, Any]:
    """The log document of one object that has an outcome."""
    outcome = work.outcome
    if outcome is None:
        raise ValueError("an object without an outcome cannot be logged")
    # A record that was deleted is named all the same: the entry is the last trace of it.
    record = (work.next_join or work.join).sys_id or work.join.sys_id
    principal = {"id": context.service_principal_id, "displayName": TARGET_SYSTEM}
    details = {
        "ServicePrincipalId": context.service_principal_id,
        "ServicePrincipalDisplayName": TARGET_SYSTEM,
        "InstanceUrl": context.target_url,
        "SchemaVersion": context.schema_version,
    }
    return {
        "id": work.change_id,
        "activityDateTime": _timestamp(ended),
        "tenantId": "",
        "jobId": context.job_id,
        "cycleId": context.cycle_id,
        "changeId": work.change_id,
        "provisioningAction": outcome.action,
        "durationInMilliseconds": max(0, int((ended - started).total_seconds() * 1000)),
        "initiatedBy": {
            "id": "",
            "displayName": context.initiated_by or "Provisioning app",
            "initiatorType": "user" if context.initiated_by else "system",
        },
        "servicePrincipal": principal,
        "sourceSystem": {"id": "", "displayName": SOURCE_SYSTEM, "details": {}},
        "targetSystem": {"id": "", "displayName": TARGET_SYSTEM, "details": details},
        "sourceIdentity": {
            "id": work.object_id,
            "displayName": work.display,
            "identityType": work.noun,
            "details": {},
        },
        "targetIdentity": {
            "id": record,
            "displayName": work.display if record else "",
            "identityType": work.noun,
            "details": {},
        },
        "provisioningStatusInfo": _status(work),
        "provisioningSteps": [
            {
                "name": step.name,
                "provisioningStepType": step.type,
                "status": step.status,
                "description": step.description,
                "details": dict(step.details),
            }
            for step in work.steps
        ],
        "modifiedProperties": [
            {"displayName": modified.name, "oldValue": modified.old, "newValue": modified.new} for modified in work.modified
        ],
    }


def _status(work: Work) -> dict[str, Any]:
    outcome = work.outcome
    assert outcome is not None  # noqa: S101 - checked by the only caller
    information: dict[str, Any] | None = None
    if outcome.error is not None:
        information = error_information(outcome.error)
    elif outcome.detail or work.warnings:
        information = {
            "errorCode": outcome.detail or "Warning",
            "reason": "; ".join(work.warnings) or work.reason,
            "additionalDetails": None,
            "errorCategory": "success" if outcome.status == "skipped" else "nonServiceFailure",
            "recommendedAction": None,
        }
    status = "warning" if outcome.status == "success" and work.warnings else outcome.status
    return {"status": status, "errorInformation": information}


def error_information(error: ProvisioningError) -> dict[str, Any]:
    """An error as ``errorInformation``."""
    return {
        "errorCode": error.code,
        "reason": error.reason,
        "additionalDetails": None,
        "errorCategory": "failure" if error.code in _SERVICE_CODES else "nonServiceFailure",
        "recommendedAction": error.recommended_action,
    }


def _timestamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
