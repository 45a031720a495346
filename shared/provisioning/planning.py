"""The plan: what a full cycle would do now, without doing it.

A walk over the whole directory by delta pages of its own, whose links are kept in the walk's row: no watermark moves. Each page
goes through the engine itself, with an exporter that records instead of writing (``exporter``). Afterwards whoever is
provisioned and was not named by the directory is looked at in the same way. Nothing is held by the guard: the plan shows how
many deeds there would be, beside the limit.

What a plan cannot know: a manager, or a member, who would himself be created by this cycle. Such a difference is shown with
what it waits for.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from shared.events import ObjectsChanged, ObjectsSnapshot, Walk, chunks
from shared.graph.delta import delta_page
from shared.provisioning.page_events import snapshot
from shared.provisioning.paging import page_size, read_token, write_token
from shared.provisioning.walking import Position, Walking, shown
from shared.state.plans import Plans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.events import Kind
    from shared.provisioning.services import Services
    from shared.provisioning.work import Work
    from shared.state.walks import WalkMark

_QUIET = frozenset({"unchanged", "covered", "skipped"})
_PAGE = 1000
#: Ids of members that one difference names; the others are counted.
_NAMED = 100
_TABLE_WIDTHS = (10, 7, 40)


class Planning(Walking):
    """``POST /plan`` begins a run, ``GET /plan`` shows it page by page."""

    walk: Walk = "plan"

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._plans = Plans(services.tables)

    async def show(self, *, top: str, token: str) -> dict[str, Any]:
        """The plan's state and totals, and a page of its differences."""
        mark = await self.mark()
        rows, following = await self._plans.page(mark.run or "none", size=page_size(top), token=read_token(token))
        guard = self._services.guard
        answer: dict[str, Any] = {
            **shown(mark),
            "limits": {"disablesAndDeletes": guard.limit("deprovision"), "membershipRemovals": guard.limit("membership")},
            "value": rows,
        }
        if following is not None:
            answer["@odata.nextLink"] = f"plan?$top={page_size(top)}&$skiptoken={write_token(following)}"
        return answer

    async def step(self, mark: WalkMark) -> tuple[Position | None, Counter[str]]:
        if mark.step == 0:
            await self._plans.forget_others(mark.run)
        kind: Kind = "group" if mark.position.get("kind") == "group" else "user"
        if mark.position.get("absent"):
            counts = await self._absent(kind, mark)
            return ({"kind": "group"} if kind == "user" else None), counts
        services = self._services
        mapping = services.mapping(kind)
        if mapping is None:
            return ({"kind": "group"} if kind == "user" else None), Counter()
        page = await delta_page(services.graph, kind, link=mark.position.get("link"), select=mapping.select)
        items = {item.id: item for item in page.items if item.removed is None and item.raw}
        await self._plans.note_seen(mark.run, kind, mark.step, [item.id for item in page.items if item.removed is None])
        works: list[Work] = []
        for number, part in enumerate(chunks([snapshot(item) for item in items.values()])):
            event = ObjectsSnapshot(
                kind=kind,
                generation=0,
                page=mark.step,
                chunk=number,
                cycle_id=mark.run,
                read_at=page.read_at,
                items=tuple(part),
                schema=services.mappings.version,
            )
            works += await self._rehearse(event)
        differences, counts = _differences(works)
        if kind == "group" and mapping.attribute("members") is not None:
            # A group may stand on several pages; its members are read whole where it is named first.
            for work in works:
                if (work.next_join or work.join).is_linked:
                    await self._members_of(work, differences, counts)
        await self._plans.write(mark.run, mark.step, differences)
        if page.next_link:
            return {"kind": kind, "link": page.next_link}, counts
        return {"kind": kind, "absent": True}, counts

    async def _rehearse(self, event: ObjectsChanged | ObjectsSnapshot) -> list[Work]:
        rehearsed, _ = self._services.rehearse()
        rehearsed.guard.lets_all_through = True
        batch = await rehearsed.objects.process(event)
        return batch.works if batch is not None else []

    async def _absent(self, kind: Kind, mark: WalkMark) -> Counter[str]:
        """Whoever is provisioned and was not named: each is asked for by itself, as a full round does."""
        services = self._services
        seen = await self._plans.seen(mark.run, kind)
        absent = [join.object_id async for join in services.joins.scan(kind) if join.object_id not in seen]
        works: list[Work] = []
        at = services.clock()
        for part in chunks(absent):
            works += await self._rehearse(ObjectsChanged(kind=kind, ids=tuple(part), reason="absent", occurred_at=at))
        differences, counts = _differences(works)
        await self._plans.write(mark.run, mark.step, differences)
        return counts

    async def _members_of(self, work: Work, differences: list[dict[str, Any]], counts: Counter[str]) -> None:
        """The memberships of one group that would be added or removed."""
        services = self._services
        wanted = await services.nesting.users_of(work.object_id)
        written: set[str] = set()
        after = ""
        while True:
            rows = await services.memberships.of_group(work.object_id, after=after, limit=_PAGE)
            written |= {row.user_id for row in rows if row.sys_id}
            if len(rows) < _PAGE:
                break
            after = rows[-1].user_id
        joins = {join.object_id: join for join in await services.joins.get_many("user", sorted(wanted - written))}
        added = sorted(user for user, join in joins.items() if join.is_linked)
        waiting = sorted(user for user, join in joins.items() if not join.is_linked)
        removed = sorted(written - wanted)
        counts.update({"membersAdded": len(added), "membersWaiting": len(waiting), "membersRemoved": len(removed)})
        if added or removed or waiting:
            changes = [{"displayName": "members", "oldValue": None, "newValue": user} for user in added[:_NAMED]]
            changes += [{"displayName": "members", "oldValue": user, "newValue": None} for user in removed[:_NAMED]]
            differences.append(
                {
                    "objectId": work.object_id,
                    "objectTypeName": work.noun,
                    "displayName": work.display,
                    "action": "members",
                    "sysId": work.join.sys_id or None,
                    "reason": f"{len(added)} added, {len(removed)} removed, {len(waiting)} wait for their user",
                    "modifiedProperties": changes,
                }
            )


def as_text(document: dict[str, Any]) -> str:
    """The plan as a table for people: totals, then a line for each difference of the page."""
    lines = [f"plan {document['id'] or ''} {document['status']}".strip()]
    lines += [f"  {number:>8}  {name}" for name, number in document["counts"].items()]
    limits = document["limits"]
    lines.append(
        f"  limits of 24 hours: {limits['disablesAndDeletes']} disables and deletes, {limits['membershipRemovals']} members"
    )
    lines += ["", _line("action", "type", "object") + "changes"]
    for row in document["value"]:
        changes = "; ".join(
            f"{change['displayName']}: {_cell(change['oldValue'])} -> {_cell(change['newValue'])}"
            for change in row["modifiedProperties"]
        )
        lines.append(_line(row["action"], row["objectTypeName"], row["displayName"]) + (changes or row["reason"] or ""))
    if "@odata.nextLink" in document:
        lines += ["", f"next page: {document['@odata.nextLink']}"]
    return "\n".join(_printable(line).rstrip() for line in lines) + "\n"


def _line(*cells: str) -> str:
    return "".join(f"{str(cell)[: width - 1]:<{width}}" for cell, width in zip(cells, _TABLE_WIDTHS, strict=True))


def _cell(value: Any) -> str:
    return "-" if value in {None, ""} else repr(str(value))


def _printable(line: str) -> str:
    """Names are others' input: nothing of them moves the cursor or breaks a line."""
    return "".join(character if character.isprintable() else "?" for character in line)


def _differences(works: Sequence[Work]) -> tuple[list[dict[str, Any]], Counter[str]]:
    counts: Counter[str] = Counter()
    differences: list[dict[str, Any]] = []
    for work in works:
        outcome = work.outcome
        name = outcome.name if outcome is not None else "unchanged"
        noun = f"{work.kind}s"
        counts[f"{noun}.{name}"] += 1
        if outcome is None or (name in _QUIET):
            continue
        reasons = [outcome.error.reason] if outcome.error is not None else []
        reasons += work.warnings
        differences.append(
            {
                "objectId": work.object_id,
                "objectTypeName": work.noun,
                "displayName": work.display,
                "action": name,
                "sysId": work.join.sys_id or (work.record or {}).get("sys_id") or None,
                "reason": "; ".join(reasons) or work.reason or None,
                "modifiedProperties": [
                    {"displayName": modified.name, "oldValue": modified.old, "newValue": modified.new}
                    for modified in work.modified
                ],
            }
        )
    return differences, counts
