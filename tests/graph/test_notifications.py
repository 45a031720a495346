from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from shared.graph.notifications import (
    ChangeNotification,
    LifecycleNotification,
    MalformedNotification,
    client_state_matches,
    parse_notifications,
    validation_reply,
)
from tests.graph.conftest import group_id, user_id

SUBSCRIPTION = "bbbbbbbb-0000-4000-8000-00000000000b"
TENANT = "aaaaaaaa-0000-4000-8000-00000000000a"


def change(resource: str = f"Users/{user_id(1)}", **changes: Any) -> dict[str, Any]:
    data = {
        "@odata.type": "#Microsoft.Graph.User",
        "@odata.id": f"Users/{user_id(1)}",
        "id": user_id(1),
        "organizationId": TENANT,
        "eventTime": "2026-01-02T03:04:05.2455823Z",
        "sequenceNumber": 638000000000000000,
    }
    return {
        "changeType": "updated",
        "clientState": "client-state-1",
        "resource": resource,
        "resourceData": data,
        "subscriptionExpirationDateTime": "2026-01-29T00:00:00+00:00",
        "subscriptionId": SUBSCRIPTION,
        "tenantId": TENANT,
        **changes,
    }


def lifecycle(event: str) -> dict[str, Any]:
    return {
        "subscriptionId": SUBSCRIPTION,
        "subscriptionExpirationDateTime": "2026-01-29T00:00:00.0000000Z",
        "tenantId": TENANT,
        "clientState": "client-state-1",
        "lifecycleEvent": event,
    }


def body(*items: Any) -> bytes:
    return json.dumps({"value": list(items)}).encode()


def only(item: dict[str, Any]) -> ChangeNotification:
    parsed = parse_notifications(body(item))
    assert parsed.rejected == ()
    assert len(parsed.changes) == 1
    return parsed.changes[0]


def test_a_notification_keeps_what_it_says_and_no_more() -> None:
    assert only(change()) == ChangeNotification(
        subscription_id=SUBSCRIPTION,
        client_state="client-state-1",
        kind="user",
        object_id=user_id(1),
        change_type="updated",
        tenant_id=TENANT,
        event_time=datetime(2026, 1, 2, 3, 4, 5, 245582, tzinfo=UTC),
        sequence_number=638000000000000000,
    )


@pytest.mark.parametrize(
    "resource",
    [
        f"Users/{user_id(1)}",
        f"users/{user_id(1)}",
        f"/users/{user_id(1)}",
        f"users('{user_id(1)}')",
        f"Users('{user_id(1).upper()}')",
        f"users/{user_id(1)}/manager",
    ],
)
def test_a_resource_is_understood_however_it_is_written(resource: str) -> None:
    found = only(change(resource))
    assert (found.kind, found.object_id) == ("user", user_id(1))


def test_a_mixed_batch_is_taken_item_by_item() -> None:
    members = {
        "@odata.type": "#Microsoft.Graph.Group",
        "id": group_id(1),
        "members@delta": [{"id": user_id(2), "@removed": "deleted"}],
    }
    parsed = parse_notifications(
        body(
            change(),
            change(f"Groups/{group_id(1)}", resourceData=members),
            change(changeType="deleted"),
            lifecycle("missed"),
            "nonsense",
            change(changeType="renamed"),
            lifecycle("somethingNew"),
        )
    )
    assert [(item.kind, item.change_type) for item in parsed.changes] == [
        ("user", "updated"),
        ("group", "updated"),
        ("user", "deleted"),
    ]
    assert [item.event for item in parsed.lifecycle] == ["missed", "somethingNew"]
    assert [item.position for item in parsed.rejected] == [4, 5]
    assert isinstance(parsed.items[3], LifecycleNotification)
    assert parsed.items[3].subscription_expires_at == datetime(2026, 1, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    "item",
    [
        None,
        7,
        [],
        {},
        change(subscriptionId="sub-1"),
        change(subscriptionId=None),
        change(clientState=7),
        change(clientState=["client-state-1"]),
        change("Users"),
        change("Users/1"),
        change(f"Users/{user_id(1)}'"),
        change("Users/../groups"),
        change(f"devices/{user_id(1)}"),
        {**change(), "resource": None},
        change(changeType=None),
        change(changeType=7),
        change(resourceData={"id": user_id(2)}),
        change(resourceData={"id": 5}),
        change(resourceData={"@odata.type": "#Microsoft.Graph.Group"}),
        {**lifecycle("missed"), "lifecycleEvent": 5},
        {**lifecycle("missed"), "lifecycleEvent": ""},
    ],
)
def test_a_bad_item_is_rejected_alone_and_without_its_content(item: Any) -> None:
    parsed = parse_notifications(body(item, change()))
    assert len(parsed.items) == 1
    assert [rejected.position for rejected in parsed.rejected] == [0]
    assert user_id(2) not in parsed.rejected[0].reason


@pytest.mark.parametrize(
    "data",
    [None, {}, [], {"eventTime": "yesterday", "sequenceNumber": "638"}, {"sequenceNumber": True, "eventTime": 7}],
)
def test_what_only_informs_may_be_missing_or_wrong(data: Any) -> None:
    found = only(change(resourceData=data, tenantId="somewhere"))
    assert (found.event_time, found.sequence_number, found.tenant_id) == (None, None, None)


def test_a_missing_client_state_is_kept_as_missing() -> None:
    item = change()
    del item["clientState"]
    assert only(item).client_state is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b'"value"',
        b'{"value": {}}',
        b'{"values": []}',
        b'{"value": [}',
        b"\xff\xfe\x00",
        b"<xml/>",
        b'{"value": [' + b"9" * 5_000 + b"]}",
    ],
)
def test_a_body_that_is_no_collection_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedNotification):
        parse_notifications(raw)


def test_an_empty_collection_is_no_error() -> None:
    assert parse_notifications(b'\xef\xbb\xbf{"value": []}').items == ()


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 3_000_000,
        b'{"value":' * 300_000,
        b'{"value": [' + b'{"a":' * 1_000 + b"1" + b"}" * 1_000 + b"]}",
        b" " * 5_000_000,
        b"[]" * 100 + b'"' + b'\\"' * 1_000_000,
        b'{"value": "' + b"[" * 1_000_000,
        b'{"value": [' + b",".join([b"{}"] * 5_001) + b"]}",
    ],
    ids=["brackets", "objects", "deep-but-valid", "large", "endless-string", "brackets-in-a-string", "too-many"],
)
def test_an_attack_on_the_parser_is_refused_quickly(raw: bytes) -> None:
    started = time.process_time()
    with pytest.raises(MalformedNotification):
        parse_notifications(raw)
    assert time.process_time() - started < 3.0


def test_brackets_inside_strings_are_not_nesting() -> None:
    noisy = change(comment="[{" * 500 + '\\" [[[')
    assert len(parse_notifications(body(*[noisy] * 50)).items) == 50


def test_a_thousand_notifications_are_parsed_in_milliseconds() -> None:
    raw = body(*[change()] * 1_000)
    started = time.process_time()
    assert len(parse_notifications(raw).items) == 1_000
    assert time.process_time() - started < 0.5


def test_a_client_state_never_shows_in_a_repr() -> None:
    parsed = parse_notifications(body(change(), lifecycle("missed")))
    assert "client-state-1" not in repr(parsed)


@pytest.mark.parametrize(
    ("received", "secrets", "expected"),
    [
        ("new", ["new", "old"], True),
        ("old", ["new", "old"], True),
        ("older", ["new", "old"], False),
        ("ol", ["new", "old"], False),
        ("", ["new", ""], False),
        (None, ["new", ""], False),
        ("", [""], False),
        ("new", [], False),
        ("schlüssel-é", ["schlüssel-é"], True),
        ("schl\udcfcssel", ["schlüssel"], False),
        ("New", ["new"], False),
    ],
)
def test_a_client_state_is_one_of_the_secrets_or_it_is_not(received: str | None, secrets: list[str], expected: bool) -> None:
    assert client_state_matches(received, secrets) is expected


def test_a_lone_surrogate_in_a_body_is_a_wrong_secret_and_no_crash() -> None:
    raw = body(change()).replace(b"client-state-1", b"\\udcfc")
    assert not client_state_matches(parse_notifications(raw).items[0].client_state, ["client-state-1"])


@pytest.mark.parametrize(
    "token", ["Validation: Testing client application reachability", "a b+c/&=é%20", "<script>alert(1)</script>"]
)
def test_a_validation_token_comes_back_exactly_and_as_text(token: str) -> None:
    reply = validation_reply(token)
    assert (reply.status, reply.body) == (200, token)
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("token", ["", "x" * 8_193])
def test_a_validation_token_that_graph_would_not_send_is_refused(token: str) -> None:
    with pytest.raises(MalformedNotification):
        validation_reply(token)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*change(), "id", "x"]), inner, max_size=6),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(json_values, max_size=5))
def test_whatever_is_posted_is_parsed_or_rejected_item_by_item(items: list[Any]) -> None:
    parsed = parse_notifications(body(*items))
    assert len(parsed.items) + len(parsed.rejected) == len(items)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_whatever_bytes_are_posted_nothing_but_a_refusal_is_raised(raw: bytes) -> None:
    try:
        parse_notifications(raw)
    except MalformedNotification:
        return
