"""``SelectUniqueValue``: which of its candidates nobody in ServiceNow has, asked when a record is about to be created.

The choice is made once: a record that is there keeps what it has. Two new objects of one chunk never choose the same; two
workers that choose at the same moment meet the unique index of the column, and the later one chooses again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shared.errors import ProvisioningError
from shared.provisioning.work import Outcome
from shared.schema.values import Flow, is_empty
from shared.servicenow.collation import fold
from shared.servicenow.queries import UnsafeQueryValue, any_of, equals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.provisioning.batch import Batch
    from shared.provisioning.services import Services
    from shared.provisioning.work import Work
    from shared.schema.mapping import AttributeMapping
    from shared.servicenow.conditions import Condition

#: Candidates of one query.
_ASKED_AT_ONCE = 20


async def choose_unique(services: Services, batch: Batch) -> None:
    """Give the objects that will be created their unique values; who has no free candidate ends here."""
    for attribute in batch.mapping.attributes:
        if not attribute.unique:
            continue
        works = [
            work for work in batch.decided if work.record is None and not work.join.sys_id and attribute.target in work.values
        ]
        taken = await _taken(services, batch, attribute, works)
        for work in works:
            _choose(work, batch, attribute, taken)


async def _taken(services: Services, batch: Batch, attribute: AttributeMapping, works: Sequence[Work]) -> set[str]:
    """The candidates of all works that ServiceNow holds already, as it compares them."""
    expression = attribute.expression
    conditions: list[Condition] = []
    taken: set[str] = set()
    for candidate in dict.fromkeys(
        each for work in works if expression is not None for each in expression.candidates(work.source, batch.context)
    ):
        try:
            conditions.append(equals(attribute.target, candidate))
        except UnsafeQueryValue:
            taken.add(fold(candidate))  # what cannot be asked for cannot be known to be free
    for start in range(0, len(conditions), _ASKED_AT_ONCE):
        part = any_of(*conditions[start : start + _ASKED_AT_ONCE])
        rows = await services.servicenow.select(batch.mapping.table, part, (attribute.target,))
        taken |= {fold(row[attribute.target]) for row in rows}
    return taken


def _choose(work: Work, batch: Batch, attribute: AttributeMapping, taken: set[str]) -> None:
    context = replace(batch.context, target_taken=lambda value: fold(value) in taken)
    try:
        value = attribute.evaluate(work.source, context)
        text = "" if isinstance(value, Flow) or is_empty(value) else attribute.to_target(value)
    except ProvisioningError as error:
        work.note("EntrySynchronizationAdd", "processing", "failure", error.reason, errorCode=error.code)
        work.end(Outcome("escrowed", "create", "failure", error))
        return
    work.values[attribute.target] = text or None
    taken.add(fold(text))
