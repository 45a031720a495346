"""What a delta page means: the same page gives the same work under the same keys, another one other keys."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shared.events import MembersChanged, NestedMembersDue, NestingChanged, ObjectsChanged, ObjectsSnapshot
from shared.graph.delta import DeltaItem, DeltaPage, MemberChange
from shared.provisioning.page_events import Reading, announcement, chunk_key, page_events, rest_part
from shared.state.watermarks import Watermark

if TYPE_CHECKING:
    from shared.events import Event, Kind

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def member(name: str, kind: str | None = "user", *, removed: bool = False) -> MemberChange:
    return MemberChange(name, kind, removed)


def events(*members: MemberChange, full: bool = True, expands: frozenset[Kind] = frozenset()) -> list[Event]:
    """What a page of the groups' chain means that names one group with these members."""
    item = DeltaItem("team", None, {"id": "team", "displayName": "Team"}, members=members, has_members=True)
    page = DeltaPage((item,), None, "https://graph.contoso.com/delta", AT)
    mark = Watermark("groups", generation=3, page=7, full=full, cycle_id="c")
    return page_events(page, Reading(mark, AT, "1", expands))


def keys(page: list[Event]) -> list[str]:
    return [entry[0] for entry in map(announcement, page) if entry is not None]


def test_a_page_read_twice_is_announced_under_the_same_keys() -> None:
    assert keys(events(member("a"), member("b"))) == keys(events(member("b"), member("a")))


def test_a_page_that_has_changed_meanwhile_is_announced_under_others() -> None:
    before, after = keys(events(member("a"), member("b"))), keys(events(member("a"), member("c")))
    assert before[0] == after[0], "the group itself is the same"
    assert before[1] != after[1]


def test_the_key_of_a_rest_begins_with_that_of_the_whole() -> None:
    for whole in events(member("a"), member("b")):
        assert isinstance(whole, (ObjectsSnapshot, MembersChanged))
        rest = replace(whole, part=rest_part(whole, ["a"]), attempt=1)
        of_rest = replace(rest, part=rest_part(rest, ["a"]))
        found = [chunk_key(each) for each in (whole, rest, of_rest)]
        assert all(key.startswith(found[0]) for key in found)
        assert len(set(found)) == 3
        assert len(found[1]) == len(found[2]), "a key does not grow with the tries"


def test_another_rest_of_the_same_event_is_another_chunk() -> None:
    for whole in events(member("a"), member("b")):
        assert isinstance(whole, (ObjectsSnapshot, MembersChanged))
        assert rest_part(whole, ["a"]) != rest_part(whole, ["a", "b"])
        assert rest_part(whole, ["a", "b"]) == rest_part(whole, ["b", "a"])


def test_a_member_that_comes_twice_counts_as_it_last_was() -> None:
    (_, slice_) = events(member("a"), member("a", removed=True), full=False)
    assert isinstance(slice_, MembersChanged)
    assert (slice_.added, slice_.removed) == ((), ("a",))


def test_a_group_with_groups_in_it_is_to_be_named_at_any_depth_where_the_mapping_expands_them() -> None:
    inside = (member("a"), member("inner", "group"), member("printer", "device"))
    assert [type(event) for event in events(*inside)] == [ObjectsSnapshot, MembersChanged]
    named = events(*inside, expands=frozenset({"group"}))
    assert named[-1] == NestedMembersDue(id=named[-1].id, group_id="team", generation=3, page=7, cycle_id="c")


def test_a_group_that_came_or_left_concerns_everybody_in_it() -> None:
    changed = (member("inner", "group"), member("nameless", None, removed=True), member("a"))
    assert [type(event) for event in events(*changed, full=False)] == [ObjectsChanged, MembersChanged]
    for kind in ("user", "group"):
        found = events(*changed, full=False, expands=frozenset({kind}))
        assert [event.group_id for event in found if isinstance(event, NestingChanged)] == ["inner", "nameless"]
