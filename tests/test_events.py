"""Events on the wire: what goes in comes out, and nothing else gets in."""

from __future__ import annotations

import base64
import json
import random
import string
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from shared import events
from shared.events import (
    CHUNK,
    MESSAGE_BYTES,
    VERSION,
    ChainAdvance,
    ChainPoke,
    DecisionDue,
    Event,
    FollowUpsDue,
    GroupMembersDue,
    MalformedEvent,
    MembersChanged,
    NestedMembersDue,
    NestingChanged,
    NewerEvent,
    ObjectsChanged,
    ObjectsSnapshot,
    PairsDue,
    ReportsDue,
    SubscriptionsDue,
    UserMembershipsDue,
    WalkDue,
    chunks,
    decode,
    encode,
    pack,
)

if TYPE_CHECKING:
    from collections.abc import Callable

AT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
SNAPSHOT = ObjectsSnapshot(kind="user", generation=3, page=7, chunk=0, cycle_id="c", read_at=AT, items=({"id": "a", "x": None},))
EVENTS: tuple[Event, ...] = (
    ObjectsChanged(kind="user", ids=("a", "b"), reason="notification", occurred_at=AT, gone=True, cycle_id="c"),
    ObjectsChanged(kind="group", ids=(), reason="delta", occurred_at=AT),
    FollowUpsDue(kind="user", appeared=("a",), returned=("b",), gone_ids=("c",), sys_ids=("d",)),
    WalkDue(walk="plan", run="r", step=2),
    DecisionDue(approved=True, occurred_at=AT, by="somebody"),
    SNAPSHOT,
    MembersChanged(
        group_id="g", generation=2, page=1, chunk=4, cycle_id="c", read_at=AT, added=("a",), removed=("b", "c"), full=True
    ),
    PairsDue(pairs=(("g", "a"), ("g", "b")), reason="released"),
    GroupMembersDue(group_id="g", reason="request", after="m"),
    UserMembershipsDue(user_id="a", reason="scope"),
    NestedMembersDue(group_id="g", generation=2, page=1, cycle_id="c"),
    NestingChanged(group_id="g", cycle_id="c"),
    ReportsDue(manager_id="m", cycle_id="c"),
    ChainAdvance(chain="groups", generation=5, page=12),
    ChainPoke(chain="users", full=True, repeat=True),
    SubscriptionsDue(),
)


def altered(event: Event, **changes: Any) -> str:
    """An event's message with some of its JSON replaced; ``...`` takes a name away."""
    document = json.loads(encode(event)) | changes
    return json.dumps({name: value for name, value in document.items() if value is not ...})


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_event_comes_out_as_it_went_in(event: Event) -> None:
    event = replace(event, attempt=3)
    assert decode(encode(event)) == event
    assert decode(encode(event).encode()) == event


def test_every_kind_of_event_is_known() -> None:
    assert {type(event) for event in EVENTS} == set(events._KINDS.values())


def test_the_next_try_is_the_same_change() -> None:
    event = EVENTS[0]
    again = event.again()
    assert again == replace(event, attempt=1)
    assert again.id == event.id


def test_two_events_have_two_ids() -> None:
    assert SubscriptionsDue().id != SubscriptionsDue().id


def test_times_of_any_zone_are_the_same_moment_in_utc() -> None:
    local = AT.astimezone(timezone(timedelta(hours=-9, minutes=-30)))
    decoded = decode(encode(replace(EVENTS[0], occurred_at=local)))  # type: ignore[call-arg] # the first is an ObjectsChanged
    assert isinstance(decoded, ObjectsChanged)
    assert decoded.occurred_at == AT
    assert decoded.occurred_at.tzinfo is UTC


def test_a_newer_version_is_told_from_garbage_whatever_it_holds() -> None:
    for changes in ({}, {"kind": "invented"}, {"ids": 7}, {"id": ...}):
        with pytest.raises(NewerEvent, match=str(VERSION + 1)):
            decode(altered(EVENTS[0], v=VERSION + 1, **changes))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "\x00\x01",
        b"\xff\xfe",
        "null",
        "[]",
        '"text"',
        "1",
        "{}",
        '{"v": 1}',
        '{"v": 0, "kind": "subscriptionsDue"}',
        '{"v": "1", "kind": "subscriptionsDue"}',
        '{"v": 1, "kind": ["subscriptionsDue"]}',
        '{"v": 1, "kind": "subscriptionsDue", "surprise": 1}',
        "[" * 100_000,
        '{"v": 1, "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"v": ' + "9" * 5000 + "}",
    ],
    ids=repr,
)
def test_garbage_is_malformed(text: str | bytes) -> None:
    with pytest.raises(MalformedEvent):
        decode(text)


@pytest.mark.parametrize(
    ("event", "changes"),
    [
        (EVENTS[0], {"ids": ...}),
        (EVENTS[0], {"ids": "a string is no list of ids"}),
        (EVENTS[0], {"ids": [1, None]}),
        (EVENTS[0], {"ids": None}),
        (EVENTS[0], {"objects": "device"}),
        (EVENTS[0], {"objects": ["user"]}),
        (EVENTS[0], {"objects": ...}),
        (EVENTS[0], {"gone": "no"}),
        (EVENTS[0], {"reason": {}}),
        (EVENTS[0], {"occurred_at": "yesterday"}),
        (EVENTS[0], {"occurred_at": "0001-01-01T00:00:00+14:00"}),
        (EVENTS[0], {"occurred_at": 1_700_000_000}),
        (EVENTS[0], {"id": 7}),
        (EVENTS[0], {"attempt": "1"}),
        (EVENTS[0], {"attempt": True}),
        (SNAPSHOT, {"items": "not base64!"}),
        (SNAPSHOT, {"items": base64.b64encode(b"not packed").decode()}),
        (SNAPSHOT, {"items": base64.b64encode(zlib.compress(b"{}[")).decode()}),
        (SNAPSHOT, {"items": base64.b64encode(zlib.compress(b"[1, 2]")).decode()}),
        (SNAPSHOT, {"items": base64.b64encode(zlib.compress(b"[" * 200_000)).decode()}),
        (SNAPSHOT, {"items": [{"id": "a"}]}),
        (SNAPSHOT, {"generation": "3"}),
        (SNAPSHOT, {"page": 1.5}),
        (PairsDue(pairs=(), reason="delta"), {"pairs": [["g"]]}),
        (PairsDue(pairs=(), reason="delta"), {"pairs": [["g", 1]]}),
        (PairsDue(pairs=(), reason="delta"), {"pairs": {"g": "a"}}),
        (ChainPoke(chain="users"), {"chain": "devices"}),
        (ChainPoke(chain="users"), {"chain": ["users"]}),
        (ChainAdvance(chain="users", generation=1, page=1), {"page": None}),
        (GroupMembersDue(group_id="g", reason="delta"), {"group_id": None}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Event) else str(value)[:40],
)
def test_a_field_of_the_wrong_shape_makes_the_message_malformed(event: Event, changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedEvent):
        decode(altered(event, **changes))


def test_a_reason_does_not_tell_what_was_in_the_message() -> None:
    with pytest.raises(MalformedEvent) as caught:
        decode(altered(EVENTS[0], occurred_at="ann@contoso.com"))
    assert "ann@contoso.com" not in str(caught.value)


def test_a_packed_bomb_does_not_fill_the_memory() -> None:
    bomb = zlib.compressobj(9)
    blank = b" " * (1 << 20)
    packed = b"".join(bomb.compress(blank) for _ in range(40)) + bomb.flush()
    text = altered(SNAPSHOT, items=base64.b64encode(packed).decode())
    assert len(text) < 2 * MESSAGE_BYTES

    with pytest.raises(MalformedEvent):
        decode(text)
    assert len(zlib.decompressobj().decompress(packed, events._UNPACKED_BYTES)) == events._UNPACKED_BYTES < 40 << 20


def test_an_event_that_no_message_can_hold_is_refused_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="larger"):
        encode(ObjectsChanged(kind="user", ids=("x" * MESSAGE_BYTES,), reason="delta", occurred_at=AT))


def test_the_largest_chunks_of_ids_fit_a_message() -> None:
    ids = tuple(f"{number:08d}-0000-4000-8000-000000000000" for number in range(CHUNK))
    encode(ObjectsChanged(kind="user", ids=ids, reason="notification", occurred_at=AT))
    encode(PairsDue(pairs=tuple((one, one) for one in ids), reason="released"))
    template = MembersChanged(group_id=ids[0], generation=1, page=1, chunk=0, cycle_id="c", read_at=AT, added=ids, removed=())
    encode(template)


def noise(size: int, seed: int) -> str:
    return "".join(random.Random(seed).choices(string.ascii_letters, k=size))  # noqa: S311 - incompressible, not secret


def test_packing_cuts_by_number_and_by_size_and_loses_nothing() -> None:
    small = [{"id": str(number)} for number in range(CHUNK * 2 + 5)]
    parts = pack(small, SNAPSHOT)
    assert [len(part.items) for part in parts] == [CHUNK, CHUNK, 5]

    big = [{"id": str(number), "note": noise(3_000, number)} for number in range(40)]
    parts = pack(big, SNAPSHOT)
    assert len(parts) > 2
    assert [item for part in parts for item in part.items] == big
    assert all(len(encode(part).encode()) <= MESSAGE_BYTES for part in parts)


def test_packed_parts_count_up_and_have_ids_of_their_own() -> None:
    parts = pack([{"id": str(number), "note": noise(9_000, number)} for number in range(9)], SNAPSHOT)
    assert [part.chunk for part in parts] == list(range(len(parts)))
    assert len({part.id for part in parts}) == len(parts)
    assert {(part.generation, part.page, part.cycle_id, part.read_at) for part in parts} == {(3, 7, "c", AT)}


def test_packing_the_same_page_twice_gives_the_same_parts() -> None:
    page = [{"id": str(number), "note": noise(2_000, number)} for number in range(60)]
    first, second = pack(page, SNAPSHOT), pack(page, SNAPSHOT)
    assert [part.items for part in first] == [part.items for part in second]


def test_packing_nothing_gives_nothing() -> None:
    assert pack([], SNAPSHOT) == []


def test_an_object_larger_than_a_message_is_named_not_dropped() -> None:
    with pytest.raises(ValueError, match="object huge"):
        pack([{"id": "small"}, {"id": "huge", "note": noise(80_000, 1)}], SNAPSHOT)


def test_what_is_packed_can_be_read_even_if_it_shrinks_a_lot() -> None:
    page = [{"id": str(number), "note": "x" * 180_000} for number in range(CHUNK)]
    parts = pack(page, SNAPSHOT)
    read = [decode(encode(part)) for part in parts]
    assert [item["id"] for part in read if isinstance(part, ObjectsSnapshot) for item in part.items] == [i["id"] for i in page]


def test_chunks_cover_all_values_in_order() -> None:
    assert chunks(list(range(5)), 2) == [[0, 1], [2, 3], [4]]
    assert chunks([]) == []


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(st.dictionaries(texts, json_values, max_size=5), max_size=6), st.datetimes(timezones=st.just(UTC)), st.integers(0)
)
@settings(max_examples=100, deadline=None)
def test_any_objects_survive_the_way(items: list[dict[str, Any]], at: datetime, generation: int) -> None:
    event = replace(SNAPSHOT, items=tuple(items), read_at=at, generation=generation)
    assert decode(encode(event)) == event


def _mutations() -> Callable[[Event], st.SearchStrategy[str]]:
    def of(event: Event) -> st.SearchStrategy[str]:
        document: dict[str, Any] = json.loads(encode(event))
        one = st.tuples(st.sampled_from(sorted(document)), json_values)
        return one.map(lambda change: json.dumps(document | {change[0]: change[1]}))

    return of


@given(st.sampled_from(EVENTS).flatmap(_mutations()) | st.binary(max_size=200).map(repr) | json_values.map(json.dumps))
@settings(max_examples=400, deadline=None)
def test_anything_is_an_event_or_said_not_to_be_one(text: str) -> None:
    try:
        event = decode(text)
    except (MalformedEvent, NewerEvent):
        return
    assert decode(encode(event)) == event
