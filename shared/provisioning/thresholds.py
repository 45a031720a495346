"""When failures of single objects are a failure of the job: Entra ID's thresholds. Pure.

Source: Microsoft Entra docs, "Application provisioning in quarantine status": failures are judged from 5,000 on; more than 40 %
of all events or more than 40,000 of them quarantine the job, references that cannot be resolved not counted; so do 60,000 with
references counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.state.job import QuarantineReason

#: Failures below this number are never judged.
LEAST = 5_000
_PROPORTION = 0.40
_BASE, _TOTAL = 40_000, 60_000


def judge(failures: int, references: int, succeeded: int) -> QuarantineReason | None:
    """The reason for a quarantine, or None.

    ``failures``: objects that failed; ``references``: waits on managers, departments and members; ``succeeded``: objects that
    are provisioned.
    """
    if failures > _BASE:
        return "EncounteredBaseEscrowThreshold"
    if failures + references > _TOTAL:
        return "EncounteredTotalEscrowThreshold"
    if failures >= LEAST and failures > _PROPORTION * (failures + succeeded):
        return "EncounteredEscrowProportionThreshold"
    return None
