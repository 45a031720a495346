"""What a page of a delta query means, as change events. Pure: the same page under the same reading gives the same events.

A page that is read again after a crash therefore queues the same work, and what it announces to the progress of a full round is
found under the same keys.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from shared.events import (
    Event,
    MembersChanged,
    NestedMembersDue,
    NestingChanged,
    ObjectsChanged,
    ObjectsSnapshot,
    chunks,
    pack,
)
from shared.state.joins import bucket

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shared.events import Chain, Kind
    from shared.graph.delta import DeltaItem, DeltaPage
    from shared.state.watermarks import Watermark

log = logging.getLogger("provisioning.cycles")

#: The chunk of the members at any depth of a group: apart from those of the page's direct members.
NESTED = 5000
KINDS: dict[Chain, Kind] = {"users": "user", "groups": "group"}


@dataclass(frozen=True, slots=True)
class Reading:
    """Under what a page was read. ``schema``: version of the schema whose attributes were asked for.

    ``at``: when the read had ended. ``expands``: the kinds whose mappings count members of member groups.
    """

    mark: Watermark
    at: datetime
    schema: str
    expands: frozenset[Kind] = frozenset()


def page_events(page: DeltaPage, reading: Reading) -> list[Event]:
    """What a page's items mean."""
    mark = reading.mark
    kind = KINDS[mark.chain]
    # Sorted by bucket, so that a chunk's joins lie in few partitions and are committed in few transactions.
    items = sorted(_merged(page.items), key=lambda item: (bucket(item.id), item.id))
    events: list[Event] = []
    present = [item for item in items if item.removed is None]
    for gone in (False, True):
        ids = [item.id for item in items if item.removed is not None and (item.removed == "deleted") is gone]
        if not gone and not mark.full:
            ids += [item.id for item in present]
        events += [
            ObjectsChanged(kind=kind, ids=tuple(part), reason="delta", occurred_at=reading.at, gone=gone, cycle_id=mark.cycle_id)
            for part in chunks(ids)
        ]
    if mark.full:
        whole = [item for item in present if item.raw]
        template = ObjectsSnapshot(
            kind=kind,
            generation=mark.generation,
            page=mark.page,
            chunk=0,
            cycle_id=mark.cycle_id,
            read_at=page.read_at,
            items=(),
            schema=reading.schema,
        )
        events += pack([snapshot(item) for item in whole], template)
    if mark.chain == "groups":
        events += _member_events(reading, page.read_at, present)
        events += _nested_events(reading, items)
    return events


def _nested_events(reading: Reading, items: Sequence[DeltaItem]) -> list[Event]:
    """What groups among the members mean, where a mapping expands them."""
    mark = reading.mark
    if mark.full:
        outer = {item.id for item in items if any(member.type == "group" for member in item.members)}
        if "group" not in reading.expands:
            return []
        return [
            NestedMembersDue(group_id=each, generation=mark.generation, page=mark.page, cycle_id=mark.cycle_id)
            for each in sorted(outer)
        ]
    if not reading.expands:
        return []
    # Graph need not say what kind of object left: one that is no group has nobody in it.
    inner = {member.id for item in items for member in item.members if member.type == "group" or not member.type}
    gone = {item.id for item in items if item.removed is not None}
    return [NestingChanged(group_id=each, cycle_id=mark.cycle_id) for each in sorted(inner | gone)]


def _member_events(reading: Reading, read_at: datetime, items: Sequence[DeltaItem]) -> list[Event]:
    mark = reading.mark
    events: list[Event] = []
    for item in items:
        latest = {member.id: member for member in item.members}
        ordered = sorted(latest.values(), key=lambda member: (bucket(member.id), member.id))
        users = [member for member in ordered if member.type in {"user", None}]
        if len(users) < len(ordered):
            log.info("group %s: %d members are not users and are left out", item.id, len(ordered) - len(users))
        for number, part in enumerate(chunks(users)):
            event = MembersChanged(
                group_id=item.id,
                generation=mark.generation,
                page=mark.page,
                chunk=number,
                cycle_id=mark.cycle_id,
                read_at=read_at,
                added=tuple(member.id for member in part if not member.removed),
                removed=tuple(member.id for member in part if member.removed),
                full=mark.full,
            )
            events.append(event)
    return events


def _merged(items: Sequence[DeltaItem]) -> list[DeltaItem]:
    """One item per object: an object that occurs several times on a page counts as it last was; its members add up."""
    merged: dict[str, DeltaItem] = {}
    for item in items:
        earlier = merged.get(item.id)
        if earlier is not None and item.removed is None and earlier.removed is None:
            item = replace(item, raw={**earlier.raw, **item.raw}, members=(*earlier.members, *item.members))  # noqa: PLW2901
        merged[item.id] = item
    return list(merged.values())


def snapshot(item: DeltaItem) -> dict[str, Any]:
    """A delta item as the object that a GET would give: without annotations, with the manager as a reference."""
    raw = {name: value for name, value in item.raw.items() if "@" not in name}
    if item.has_manager:
        raw["manager"] = {"id": item.manager_id} if item.manager_id else None
    return raw


def announcement(event: Event) -> tuple[str, int] | None:
    """The progress row of an event of a full round, or None for events that no round waits for."""
    if isinstance(event, ObjectsSnapshot):
        return chunk_key(event), len(event.items)
    if isinstance(event, MembersChanged) and event.full:
        return chunk_key(event), len(event.added) + len(event.removed)
    if isinstance(event, NestedMembersDue):
        return nested_key(event), 0
    return None


def chunk_key(event: ObjectsSnapshot | MembersChanged) -> str:
    """The same for the same part of the same page, however often it is read; the key of a rest begins with that of the whole.

    A page that is read again after a crash may have other contents by then: another key, so that both have to be done.
    """
    subject = "objects" if isinstance(event, ObjectsSnapshot) else event.group_id
    return f"{event.page:08d}-{subject}-{event.chunk:04d}-{event.part or _digest(event)}"


def nested_key(event: NestedMembersDue) -> str:
    """The progress row of the members at any depth of a group; the keys of the slices that name them begin with it."""
    return f"{event.page:08d}-{event.group_id}-{NESTED:04d}"


def rest_part(event: ObjectsSnapshot | MembersChanged, ids: Sequence[str]) -> str:
    """The ``part`` of the rest of an event that is about ``ids``: another rest, or another try, has to be done as well."""
    whole = (event.part or _digest(event)).partition(".")[0]
    text = "|".join((event.part, str(event.attempt), *sorted(ids)))
    return f"{whole}.{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _digest(event: ObjectsSnapshot | MembersChanged) -> str:
    ids = [str(item["id"]) for item in event.items] if isinstance(event, ObjectsSnapshot) else [*event.added, "", *event.removed]
    return hashlib.sha256("|".join(ids).encode()).hexdigest()[:12]
