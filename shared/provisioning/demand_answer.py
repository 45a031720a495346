"""The answer to ``provisionOnDemand``: a pair of JSON texts, as Microsoft Graph gives it.

Source: Microsoft Graph, "synchronizationJob: provisionOnDemand" (stringKeyStringValuePair): ``key`` says how it ended, ``value``
what was done, step by step. Values of attributes that a mapping redacts appear as ``[Redact]``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shared.provisioning.deciding import reference_attributes
from shared.provisioning.summary import SOURCE_SYSTEM, TARGET_SYSTEM, error_information
from shared.schema.values import items_of, text_of

if TYPE_CHECKING:
    from datetime import datetime

    from shared.provisioning.summary import LogContext
    from shared.provisioning.work import Step, Work
    from shared.schema.mapping import ObjectMapping

_CONTEXT = "https://graph.microsoft.com/beta/$metadata#microsoft.graph.stringKeyStringValuePair"
_REDACTED = "[Redact]"
_RESULTS = {"success": "Success", "warning": "Success", "failure": "Failure", "skipped": "Skipped"}
_ACTIONS = {
    "create": "Create",
    "update": "Update",
    "delete": "Delete",
    "disable": "Disable",
    "stageddelete": "StagedDelete",
    "other": "Other",
}


def answer(
    work: Work, mapping: ObjectMapping, context: LogContext, started: datetime, ended: datetime, *, preview: bool
) -> dict[str, Any]:
    """The pair for one object that has an outcome."""
    outcome = work.outcome
    if outcome is None:
        raise ValueError("an object without an outcome has no answer")
    error = error_information(outcome.error) if outcome.error is not None else None
    warnings = "; ".join(work.warnings)
    code = error["errorCode"] if error else outcome.detail or None
    message = error["reason"] if error else warnings or _skip_message(work) or work.reason or None
    key = {"result": _RESULTS[outcome.status], "details": {"errorCode": code, "errorMessage": message} if code or message else {}}
    join = work.next_join or work.join
    value = {
        "action": _ACTIONS[outcome.action],
        "changeId": work.change_id,
        "endTime": _time(ended),
        "modifiedProperties": [
            {"displayName": modified.name, "oldValue": modified.old, "newValue": modified.new} for modified in work.modified
        ],
        "provisioningSteps": _steps(work, mapping, started, ended),
        "reportableIdentifier": work.display,
        "startTime": _time(started),
        "statusInfo": {
            "status": "Warning" if outcome.status == "success" and warnings else _RESULTS[outcome.status],
            "errorCode": error["errorCode"] if error else None,
            "reason": error["reason"] if error else warnings or None,
            "additionalDetails": None,
            "errorCategory": error["errorCategory"] if error else None,
            "recommendedAction": error["recommendedAction"] if error else None,
        },
        "sourceIdentity": {"id": work.object_id, "type": work.noun, "displayName": work.display, "details": None},
        "sourceSystem": {"id": None, "name": SOURCE_SYSTEM, "details": None},
        "targetIdentity": {
            "id": join.sys_id or None,
            "type": mapping.table,
            "displayName": work.display if join.sys_id else None,
            "details": None,
        },
        "targetSystem": {"id": None, "name": TARGET_SYSTEM, "details": {"SchemaVersion": context.schema_version}},
        "preview": preview,
    }
    return {"@odata.context": _CONTEXT, "key": _text(key), "value": _text(value)}


def _skip_message(work: Work) -> str:
    return next((step.description for step in reversed(work.steps) if step.status == "skipped"), "")


def _steps(work: Work, mapping: ObjectMapping, started: datetime, ended: datetime) -> list[dict[str, Any]]:
    """The steps of the log, the read attributes and the found record with them, and what the references became."""
    steps = [_step(step, started if step.type == "import" else ended, _details(work, mapping, step)) for step in work.steps]
    resolved = _resolved(work, mapping)
    if resolved:
        export = next((at for at, step in enumerate(work.steps) if step.type == "export"), len(steps))
        steps.insert(
            export,
            {
                "name": "EntryReferenceResolution",
                "type": "ReferenceResolution",
                "status": "Success",
                "description": "The records that these columns refer to were found in ServiceNow",
                "timestamp": _time(ended),
                "details": resolved,
            },
        )
    return steps


def _step(step: Step, at: datetime, details: dict[str, str]) -> dict[str, Any]:
    return {
        "name": step.name,
        "type": step.type[0].upper() + step.type[1:],
        "status": step.status.capitalize(),
        "description": step.description,
        "timestamp": _time(at),
        "details": details,
    }


def _details(work: Work, mapping: ObjectMapping, step: Step) -> dict[str, str]:
    details = dict(step.details)
    if step.type == "import" and step.status == "success":
        hidden = {name for attribute in mapping.attributes if attribute.redact for name in attribute.source_attributes}
        for name in sorted(work.source):
            text = ", ".join(text_of(item) for item in items_of(work.source.get(name)))
            details[name] = _REDACTED if name in hidden and text else text
    if step.type == "matching" and step.status == "success" and work.record is not None:
        for column, held in sorted(work.record.items()):
            attribute = mapping.attribute(column)
            details[column] = _REDACTED if attribute is not None and attribute.redact and held else held
    return details


def _resolved(work: Work, mapping: ObjectMapping) -> dict[str, str]:
    """Column -> sys_id of what it refers to; columns that wait have been taken out of the wanted values."""
    return {
        attribute.target: str(work.values[attribute.target])
        for attribute in reference_attributes(mapping)
        if work.values.get(attribute.target)
    }


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _time(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")
