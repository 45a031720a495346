from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from shared.servicenow.collation import collates
from shared.servicenow.queries import (
    UnsafeQueryValue,
    after,
    all_of,
    any_of,
    equals,
    everything,
    is_empty,
    one_of,
    starts_with,
    widened,
)


def test_conditions_are_written_in_the_platforms_grammar() -> None:
    assert equals("user_name", "ada@contoso.com").encode() == "user_name=ada@contoso.com"
    assert one_of("sys_id", ["a", "b", "a"]).encode() == "sys_idINa,b"
    assert all_of(equals("a", "1"), equals("b", "2")).encode() == "a=1^b=2"
    assert any_of(equals("a", "1"), equals("b", "2")).encode() == "a=1^ORb=2"
    assert after("sys_id", "0f").encode() == "sys_id>0f"
    assert starts_with("name", "Sales").encode() == "nameSTARTSWITHSales"
    assert is_empty("manager").encode() == "managerISEMPTY"
    assert everything().encode() == ""


def test_alternatives_of_several_conditions_become_groups_and_further_conditions_bind_to_each() -> None:
    pairs = any_of(all_of(equals("user", "u1"), equals("group", "g1")), all_of(equals("user", "u2"), equals("group", "g2")))
    assert pairs.encode() == "user=u1^group=g1^NQuser=u2^group=g2"
    assert all_of(pairs, after("sys_id", "7")).encode() == "user=u1^group=g1^sys_id>7^NQuser=u2^group=g2^sys_id>7"
    assert all_of(equals("c", "3"), any_of(equals("a", "1"), equals("b", "2"))).encode() == "c=3^a=1^ORb=2"


@pytest.mark.parametrize(
    "value",
    [
        "a^b",
        "a^ORactive=true",
        "javascript:gs.getUserID()",
        "JavaScript:x",
        "a\nb",
        "a\x00",
        " a",
        "a ",
        "",
        "a\ud800",
        "a\u2028b",
    ],
)
def test_a_value_that_the_server_would_read_otherwise_is_refused(value: str) -> None:
    with pytest.raises(UnsafeQueryValue, match="user_name"):
        equals("user_name", value)
    with pytest.raises(UnsafeQueryValue):
        one_of("user_name", ["fine", value])
    with pytest.raises(UnsafeQueryValue):
        starts_with("user_name", value)


def test_the_refusal_does_not_repeat_the_value() -> None:
    with pytest.raises(UnsafeQueryValue) as caught:
        equals("name", "Ada^Lovelace")
    assert "Lovelace" not in str(caught.value)


def test_a_comma_is_refused_in_a_list_only() -> None:
    assert equals("name", "Research, Development").encode() == "name=Research, Development"
    with pytest.raises(UnsafeQueryValue):
        one_of("name", ["Research, Development"])


def test_an_empty_list_and_no_alternative_are_refused_instead_of_selecting_everything() -> None:
    with pytest.raises(UnsafeQueryValue):
        one_of("user_name", [])
    with pytest.raises(ValueError, match="at least one"):
        any_of()


@pytest.mark.parametrize("column", ["", "user name", "a^b", "a=1", "1a", "a..b", "a."])
def test_a_column_that_is_no_name_is_refused(column: str) -> None:
    with pytest.raises(ValueError, match="not a column name"):
        equals(column, "x")


@pytest.mark.parametrize("cursor", ["", "a,b", "a^b", "a b ", "ä", "x" * 41, "a>b"])
def test_a_cursor_with_other_characters_than_a_sys_ids_is_refused(cursor: str) -> None:
    with pytest.raises(UnsafeQueryValue):
        after("sys_id", cursor)
    assert after("sys_updated_on", "2026-01-19 04:52:04").encode() == "sys_updated_on>2026-01-19 04:52:04"


def test_rows_are_tested_by_the_platforms_collation_or_exactly() -> None:
    condition = equals("user_name", "Zoë@contoso.com")
    assert condition.matches({"user_name": "zoe@CONTOSO.com"})
    assert not condition.matches_exactly({"user_name": "zoe@CONTOSO.com"})
    assert condition.matches_exactly({"user_name": "Zoë@contoso.com"})
    assert not condition.matches({"user_name": "zoey@contoso.com"})
    assert not condition.matches({})


@pytest.mark.parametrize(
    ("left", "right"),
    [("STRASSE", "straße"), ("strase", "straße"), ("Łódź", "lodz"), ("a ", "a"), ("😀", "🍺"), ("Ærø", "aero"), ("ﬁn", "FIN")],
)
def test_whatever_some_collation_holds_equal_is_taken_for_equal(left: str, right: str) -> None:
    assert collates(left, right)
    assert collates(right, left)


def test_different_words_do_not_collate() -> None:
    assert not collates("Sales", "Sale")
    assert not collates(" Sales", "Sales")


@given(st.text(max_size=30))
def test_every_value_can_be_asked_for_or_is_refused_or_widened_to_a_query_that_admits_its_row(value: str) -> None:
    row = {"name": value}
    try:
        condition = equals("name", value)
    except UnsafeQueryValue:
        wider = widened("name", value)
        if wider is None:
            return
        condition = wider
        assert "^" not in condition.encode()
    assert condition.admits(row)
    assert condition.matches(row)
    assert condition.matches_exactly(row)


def test_a_widened_query_asks_for_the_longest_safe_part_and_means_the_whole_value() -> None:
    condition = widened("name", "Sales^Marketing, EMEA")
    assert condition is not None
    assert condition.encode() == "nameLIKEMarketing"
    other = {"name": "Marketing Ops"}
    assert condition.admits(other)
    assert not condition.matches(other)
    assert condition.matches({"name": "sales^marketing, emea"})
    assert widened("name", "^^") is None
    assert widened("name", "a^b") is None


def test_a_prefix_query_admits_what_wildcards_in_the_value_may_have_matched_but_does_not_mean_it() -> None:
    condition = starts_with("name", "u_role")
    assert condition.admits({"name": "uXrole one"})
    assert not condition.matches({"name": "uXrole one"})
    assert condition.matches({"name": "U_Role one"})
