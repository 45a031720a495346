"""Discovery: which ServiceNow accounts are linked, could be linked and to whom, or belong to nobody in Entra ID.

A walk that only reads: first the whole directory, page by page on a delta query of its own, noting by which values each user
would be matched; then the accounts, a part of the sys_ids at a time. It may run while the job is paused, and before it ever ran:
that is when an operator wants to know whom the first cycle would find.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from shared.errors import ProvisioningError
from shared.graph.delta import delta_page
from shared.provisioning.deciding import display_name
from shared.provisioning.matching import PROTECTION, why_protected
from shared.provisioning.page_events import snapshot
from shared.provisioning.paging import page_size, read_token, write_token
from shared.provisioning.requests import BadRequest
from shared.provisioning.walking import Position, Walking, shown
from shared.schema.expressions import EvaluationContext
from shared.schema.source import user_source
from shared.servicenow.queries import any_of, starts_with
from shared.state.discoveries import Candidate, Discoveries, match_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.events import Walk
    from shared.provisioning.services import Services
    from shared.schema.mapping import ObjectMapping
    from shared.servicenow.conditions import Condition
    from shared.servicenow.records import Record
    from shared.state.joins import Join
    from shared.state.walks import WalkMark

STATUSES = ("linked", "couldBeLinked", "belongsToNobody")
#: The accounts are read by how their sys_ids begin; ids that somebody chose by hand need not be hexadecimal.
_PARTS: tuple[str, ...] = (*"0123456789abcdef", "ghijklmnopqrstuvwxyz_-.")
_SHOWN = ("user_name", "name", "email", "active", "last_login_time", "sys_created_on", "source")


class Discovering(Walking):
    """``POST /discover`` begins a run, ``GET /discover`` shows it page by page."""

    walk: Walk = "discovery"

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._discoveries = Discoveries(services.tables)

    async def show(self, *, status: str, top: str, token: str) -> dict[str, Any]:
        """The discovery's state and totals, and a page of its findings. Raises ``BadRequest``."""
        if status and status not in STATUSES:
            raise BadRequest(f"status must be one of {', '.join(STATUSES)}")
        mark = await self.mark()
        size = page_size(top)
        rows, following = await self._discoveries.page(mark.run or "none", status=status, size=size, token=read_token(token))
        answer: dict[str, Any] = {**shown(mark), "value": rows}
        if following is not None:
            chosen = f"&status={status}" if status else ""
            answer["@odata.nextLink"] = f"discover?$top={size}{chosen}&$skiptoken={write_token(following)}"
        return answer

    async def step(self, mark: WalkMark) -> tuple[Position | None, Counter[str]]:
        mapping = self._services.mapping("user")
        if mapping is None:
            return None, Counter()
        if mark.step == 0:
            await self._discoveries.forget_others(mark.run)
            await self._services.target.prove_absence(mapping)
        part = mark.position.get("part")
        if part is None:
            return await self._read_directory(mark, mapping)
        counts = await self._read_accounts(mark, mapping, _PARTS[int(part)])
        following = int(part) + 1
        return ({"part": following} if following < len(_PARTS) else None), counts

    async def _read_directory(self, mark: WalkMark, mapping: ObjectMapping) -> tuple[Position, Counter[str]]:
        services = self._services
        page = await delta_page(services.graph, "user", link=mark.position.get("link"), select=mapping.select)
        context = EvaluationContext(now=services.clock(), default_domain=await services.default_domain(mapping))
        candidates: list[Candidate] = []
        present = [snapshot(item) for item in page.items if item.removed is None and item.raw]
        for raw in present:
            candidates += _candidates(raw, mapping, context)
        await self._discoveries.note_candidates(mark.run, candidates)
        position: Position = {"link": page.next_link} if page.next_link else {"part": 0}
        return position, Counter({"users": len(present)})

    async def _read_accounts(self, mark: WalkMark, mapping: ObjectMapping, beginnings: str) -> Counter[str]:
        services = self._services
        dictionary = await services.target.dictionary(mapping.table)
        matched = [column for rule in mapping.matching for column, _ in rule.pairs]
        wanted = dict.fromkeys((*matched, *_SHOWN, *PROTECTION))
        fields = [column for column in wanted if column in dictionary or column in matched]
        rows = await services.servicenow.select(mapping.table, _beginning_with(beginnings), fields)
        owners = await services.owners.owners(mapping.table, [record["sys_id"] for record in rows])
        joins = {join.object_id: join for join in await services.joins.get_many("user", list(dict.fromkeys(owners.values())))}
        linked: dict[str, Join] = {}
        for sys_id, owner in owners.items():
            if joins[owner].sys_id == sys_id:
                linked[sys_id] = joins[owner]
        candidates = await self._candidates_of(mark.run, mapping, [row for row in rows if row["sys_id"] not in linked])
        own_account = services.settings.servicenow.username
        findings = [
            _finding(row, mapping, linked.get(row["sys_id"]), candidates.get(row["sys_id"], []), own_account) for row in rows
        ]
        await self._discoveries.write(mark.run, findings)
        return Counter(finding["status"] for finding in findings)

    async def _candidates_of(self, run: str, mapping: ObjectMapping, rows: Sequence[Record]) -> dict[str, list[dict[str, Any]]]:
        """By sys_id: the users whom the first rule that finds any would match, and what they are linked to."""
        keys: dict[tuple[str, int], str] = {}
        for row in rows:
            for number, rule in enumerate(mapping.matching):
                values = {column: row.get(column, "") for column, _ in rule.pairs}
                if all(values.values()):
                    keys[row["sys_id"], number] = match_key(number, values)
        found = await self._discoveries.candidates(run, list(keys.values()))
        first: dict[str, tuple[int, list[Candidate]]] = {}
        for (sys_id, number), key in sorted(keys.items(), key=lambda item: item[0][1]):
            if key in found:
                first.setdefault(sys_id, (number, found[key]))
        ids = sorted({one.object_id for _, candidates in first.values() for one in candidates})
        joins = {join.object_id: join for join in await self._services.joins.get_many("user", ids)}
        return {
            sys_id: [
                {
                    "objectId": one.object_id,
                    "displayName": one.name,
                    "matchedBy": [column for column, _ in mapping.matching[number].pairs],
                    "linkedTo": joins[one.object_id].sys_id or None,
                }
                for one in candidates
            ]
            for sys_id, (number, candidates) in first.items()
        }


def _beginning_with(beginnings: str) -> Condition:
    return any_of(*(starts_with("sys_id", beginning) for beginning in beginnings))


def _candidates(raw: Mapping[str, Any], mapping: ObjectMapping, context: EvaluationContext) -> list[Candidate]:
    """By which values a user would be matched; a rule that fails on him matches nobody."""
    source = user_source(raw, is_soft_deleted=raw.get("accountEnabled") is False)
    candidates = []
    for number, rule in enumerate(mapping.matching):
        try:
            values = rule.values(source, context)
        except ProvisioningError:
            continue
        if values:
            candidates.append(Candidate(match_key(number, values), source.object_id, display_name(raw, source.object_id)))
    return candidates


def _finding(
    row: Record, mapping: ObjectMapping, link: Join | None, candidates: list[dict[str, Any]], own_account: str
) -> dict[str, Any]:
    return {
        "sysId": row["sys_id"],
        "status": "linked" if link is not None else "couldBeLinked" if candidates else "belongsToNobody",
        "account": {column: row[column] for column in _SHOWN if row.get(column)},
        "protected": why_protected(row, mapping, own_account) or None,
        "link": {"objectId": link.object_id, "state": link.state} if link is not None else None,
        "candidates": candidates,
    }
