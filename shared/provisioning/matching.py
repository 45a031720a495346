"""Matching: find the record in ServiceNow that is this object.

Rules are tried in precedence; the first that finds a record wins. A record counts only if its own value equals ours (ignoring
case): a row that is equal merely by ServiceNow's collation (accents, trailing blanks) would collide with a new one and be
somebody else, so it is a conflict. Several records are an error that names them, unless the mapping says which to prefer.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

from shared.errors import AmbiguousMatchError, ConflictError, MissingMatchValueError, ProvisioningError, SchemaMismatchError
from shared.provisioning.work import Outcome
from shared.servicenow.collation import collates
from shared.servicenow.queries import UnsafeQueryValue, all_of, any_of, equals, one_of, widened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.provisioning.services import Services
    from shared.provisioning.work import Work
    from shared.schema.expressions import EvaluationContext
    from shared.schema.mapping import MatchingRule, ObjectMapping
    from shared.servicenow.conditions import Condition
    from shared.servicenow.records import Record

#: Columns that tell whether an account may be touched, where the table has them.
PROTECTION = ("user_name", "identity_type", "internal_integration_user", "web_service_access_only")


async def match(
    services: Services, works: Sequence[Work], mapping: ObjectMapping, fields: Sequence[str], context: EvaluationContext
) -> None:
    """Give each work its record, or none; ambiguous, protected and unaskable ones end here."""
    open_works = [work for work in works if work.is_open]
    keyed: dict[str, bool] = dict.fromkeys((work.object_id for work in open_works), False)
    for rule in mapping.matching:
        asked: dict[str, tuple[Work, dict[str, str]]] = {}
        for work in open_works:
            if work.record is None and work.is_open:
                values = _rule_values(work, rule, context)
                if values:
                    keyed[work.object_id] = True
                    asked[work.object_id] = (work, values)
        if asked:
            await _apply(services, mapping, rule, list(asked.values()), fields)
    for work in open_works:
        if work.is_open and not keyed[work.object_id]:
            names = ", ".join(
                sorted({name for rule in mapping.matching for a in rule.attributes for name in a.source_attributes})
            )
            error = MissingMatchValueError(
                "no matching attribute has a value", recommended_action=f"Give the object a value for {names} in Entra ID."
            )
            work.note("EntryImportByJoiningProperty", "matching", "failure", error.reason, SkipReason="ImportSkipped")
            work.end(Outcome("escrowed", "other", "failure", error))
    unmatched = [work for work in open_works if work.is_open and work.record is None]
    if unmatched:
        await services.target.prove_absence(mapping)


def natural_key(work: Work, mapping: ObjectMapping, context: EvaluationContext) -> tuple[str, ...]:
    """What the object is known by: the values of the first rule that applies, without case."""
    for rule in mapping.matching:
        values = _rule_values(work, rule, context)
        if values:
            return tuple(part for column in sorted(values) for part in (column, values[column].casefold()))
    return ("object", work.object_id)


def _rule_values(work: Work, rule: MatchingRule, context: EvaluationContext) -> dict[str, str] | None:
    try:
        return rule.values(work.source, context)
    except ProvisioningError as error:
        work.note("EntryImportByJoiningProperty", "matching", "failure", error.reason, errorCode=error.code)
        work.end(Outcome("escrowed", "other", "failure", error))
        return None


async def _apply(
    services: Services,
    mapping: ObjectMapping,
    rule: MatchingRule,
    asked: Sequence[tuple[Work, dict[str, str]]],
    fields: Sequence[str],
) -> None:
    """Ask for all at once, and judge each answer on our side."""
    conditions: list[Condition] = []
    plain: list[str] = []
    columns = [column for column, _ in rule.pairs]
    for work, values in asked:
        too_long = await _too_long(services, mapping, values)
        if too_long is not None:
            # No record can hold it: asking would be in vain, and would be repeated with every look.
            _refuse(work, too_long, ", ".join(columns))
            continue
        try:
            if len(columns) == 1 and "," not in values[columns[0]]:
                equals(columns[0], values[columns[0]])  # refuses what cannot be asked for
                plain.append(values[columns[0]])
            else:
                conditions.append(all_of(*(equals(column, values[column]) for column in columns)))
        except UnsafeQueryValue as refused:
            wider = _widened(columns, values)
            if wider is None:
                work.note("EntryImportByJoiningProperty", "matching", "failure", refused.reason, errorCode=refused.code)
                work.end(Outcome("escrowed", "other", "failure", refused))
            else:
                conditions.append(wider)
    rows: dict[str, Record] = {}
    if plain:
        rows |= {row["sys_id"]: row for row in await services.servicenow.select(mapping.table, one_of(columns[0], plain), fields)}
    for start in range(0, len(conditions), 20):
        part = any_of(*conditions[start : start + 20])
        rows |= {row["sys_id"]: row for row in await services.servicenow.select(mapping.table, part, fields)}
    for work, values in asked:
        if work.is_open:
            _judge(work, mapping, rule, values, list(rows.values()), services.settings.servicenow.username)


async def _too_long(services: Services, mapping: ObjectMapping, values: Mapping[str, str]) -> ProvisioningError | None:
    """A matching value that is longer than its column can hold."""
    columns = (await services.target.dictionary(mapping.table)).columns
    for column, value in values.items():
        limit = columns[column].max_length if column in columns else None
        if limit and len(value) > limit:
            return SchemaMismatchError(
                f"the value of the matching column {column} has {len(value)} characters, {limit} fit",
                code="SchemaPropertyCanOnlyAcceptValue",
                recommended_action=f"Lengthen {mapping.table}.{column} in ServiceNow, or shorten the value in the mapping.",
            )
    return None


def _widened(columns: Sequence[str], values: dict[str, str]) -> Condition | None:
    """A query that finds at least the wanted rows, for values that cannot be written into one."""
    parts: list[Condition] = []
    for column in columns:
        try:
            parts.append(equals(column, values[column]))
        except UnsafeQueryValue:
            wider = widened(column, values[column])
            if wider is not None:
                parts.append(wider)
    return all_of(*parts) if parts else None


def _judge(
    work: Work, mapping: ObjectMapping, rule: MatchingRule, values: dict[str, str], rows: Sequence[Record], own_account: str
) -> None:
    same = [row for row in rows if all(row[column].casefold() == value.casefold() for column, value in values.items())]
    similar = [row for row in rows if row not in same and all(collates(row[column], value) for column, value in values.items())]
    shown = ", ".join(sorted(values))
    if len(same) > 1:
        same = _preferred(rule, same)
    if len(same) > 1:
        ids = ", ".join(sorted(row["sys_id"] for row in same))
        error: ProvisioningError = AmbiguousMatchError(
            f"{len(same)} records of {mapping.table} match by {shown}: {ids}",
            recommended_action="Merge or rename the records in ServiceNow, or link the right one by hand (PUT /api/links).",
        )
        _refuse(work, error, shown)
    elif len(same) == 1:
        protected = why_protected(same[0], mapping, own_account)
        if protected:
            error = ConflictError(
                f"the matching record {same[0]['sys_id']} is protected: {protected}",
                recommended_action="Link it by hand (PUT /api/links) if it really belongs to this person.",
            )
            _refuse(work, error, shown)
            return
        work.record = same[0]
        work.note(
            "EntryImportByJoiningProperty",
            "matching",
            "success",
            f"Retrieved {work.noun} '{work.display}' from ServiceNow by {shown}",
            sys_id=same[0]["sys_id"],
            matchCount="1",
        )
    elif similar:
        error = ConflictError(
            f"record {similar[0]['sys_id']} of {mapping.table} differs from the value of {shown} only in accents or blanks, "
            "which ServiceNow holds equal",
            recommended_action="Rename one of them, or link the record by hand (PUT /api/links).",
        )
        _refuse(work, error, shown)
    else:
        work.note("EntryImportByJoiningProperty", "matching", "success", f"No {work.noun} matches by {shown}", matchCount="0")


def _refuse(work: Work, error: ProvisioningError, shown: str) -> None:
    work.note("EntryImportByJoiningProperty", "matching", "failure", error.reason, errorCode=error.code, attributes=shown)
    work.end(Outcome("escrowed", "other", "failure", error))


def _preferred(rule: MatchingRule, rows: list[Record]) -> list[Record]:
    """Narrow several records down as the mapping prefers; still several if that does not decide."""
    if rule.prefer == "active":
        active = [row for row in rows if row.get("active") == "true"]
        return active or rows
    if rule.prefer == "newest":
        newest = max(row.get("sys_created_on", "") for row in rows)
        return [row for row in rows if row.get("sys_created_on", "") == newest]
    return rows


def why_protected(record: Record, mapping: ObjectMapping, own_account: str) -> str:
    """Why an account must not be touched unless it was linked by hand; empty if it may be."""
    if mapping.kind != "user":
        return ""
    name = record.get("user_name", "").casefold()
    if own_account and name == own_account.casefold():
        return "it is the integration's own user"
    if any(fnmatch.fnmatchcase(name, pattern.casefold()) for pattern in mapping.options.protected_accounts):
        return "the mapping protects accounts of that name"
    if record.get("identity_type", "") not in {"", "human"}:
        return "it is a machine identity"
    if record.get("internal_integration_user") == "true" or record.get("web_service_access_only") == "true":
        return "it is an integration user"
    return ""
