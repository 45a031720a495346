"""The comparison of both sides finds what is wrong, and only that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.agreement import Agreement, compare, home_name
from tests.sandbox.demo.sides import Sides, account, agreeing, person

if TYPE_CHECKING:
    from collections.abc import Collection


def _compare(sides: Sides, provisioned: Collection[str] = ()) -> Agreement:
    return compare(sides.directory, sides.records, provisioned=provisioned, before=sides.before)


def _columns(sides: Sides, provisioned: Collection[str] = ()) -> list[str]:
    return [difference.column for difference in _compare(sides, provisioned).differences]


def test_two_sides_that_agree_are_found_to_agree() -> None:
    agreement = _compare(agreeing())
    assert agreement.agrees
    assert agreement.comparisons["sys_user.manager"].compared == 2
    assert agreement.comparisons["sys_user_grmember"].compared == 2


def test_two_empty_sides_prove_nothing() -> None:
    assert not _compare(Sides()).agrees


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("user_name", "someone.else@contoso.com"),
        ("last_name", "Nunez"),
        ("country", ""),
        ("active", "false"),
        ("locked_out", "true"),
        ("manager", "sys-bob"),
        ("manager", ""),
        ("department", ""),
        ("title", "Trainee"),
        ("phone", "+1 556"),
    ],
)
def test_one_wrong_value_is_found(column: str, value: str) -> None:
    sides = agreeing()
    sides.accounts[1][column] = value
    agreement = _compare(sides)
    assert not agreement.agrees
    expected = "sys_user.record" if column == "user_name" else f"sys_user.{column}"
    assert expected in [difference.column for difference in agreement.differences]


def test_the_letter_case_of_a_user_name_does_not_matter() -> None:
    sides = agreeing()
    sides.accounts[1]["user_name"] = "BOB@Contoso.com"
    assert _compare(sides).agrees


def test_a_person_without_an_account_is_found() -> None:
    sides = agreeing()
    del sides.accounts[1]
    assert "sys_user.record" in _columns(sides)


def test_a_disabled_person_who_was_never_provisioned_has_no_account() -> None:
    sides = agreeing()
    sides.users.append(person("carl", accountEnabled=False))
    assert _compare(sides).agrees
    sides.accounts.append(account("carl", active="false", locked_out="true"))
    assert _columns(sides) == ["sys_user.record"]


def test_a_disabled_person_who_was_provisioned_is_inactive_and_locked() -> None:
    sides = agreeing()
    sides.users[1]["accountEnabled"] = False
    assert sorted(_columns(sides, {"bob"})) == ["sys_user.active", "sys_user.locked_out"]
    sides.accounts[1] |= {"active": "false", "locked_out": "true"}
    assert _compare(sides, {"bob"}).agrees


def test_a_soft_deleted_person_is_inactive_and_in_no_group() -> None:
    sides = agreeing()
    sides.deleted = [sides.users.pop() | {"userPrincipalName": "b" * 32 + "bob@contoso.com"}]
    sides.members["g"].discard("bob")
    found = _columns(sides, {"bob"})
    assert sorted(found) == ["sys_user.active", "sys_user.locked_out", "sys_user_grmember.member"]
    sides.accounts[1] |= {"active": "false", "locked_out": "true"}
    sides.member_rows.pop()
    assert _compare(sides, {"bob"}).agrees


def test_who_is_gone_for_good_has_no_account() -> None:
    sides = agreeing()
    sides.users.pop()
    sides.members["g"].discard("bob")
    sides.member_rows.pop()
    assert _columns(sides, {"bob"}) == ["sys_user.record"]


@pytest.mark.parametrize("rows", [0, 2])
def test_a_membership_is_there_exactly_once(rows: int) -> None:
    sides = agreeing()
    membership = sides.member_rows.pop()
    sides.member_rows += [membership | {"sys_id": f"again-{number}"} for number in range(rows)]
    assert _columns(sides) == ["sys_user_grmember.member"]


def test_a_membership_that_nobody_has_in_entra_is_found() -> None:
    sides = agreeing()
    sides.members["g"].discard("bob")
    assert _columns(sides) == ["sys_user_grmember.member"]


def test_a_member_whom_servicenow_added_before_stays() -> None:
    sides = agreeing()
    local = account("kiosk", user_name="kiosk")
    membership = {"sys_id": "m3", "group": "sys-g", "user": "sys-kiosk"}
    sides.accounts.append(local)
    sides.before_accounts.append(local)
    sides.member_rows.append(membership)
    sides.before_members.append(membership)
    assert _compare(sides).agrees
    sides.member_rows.remove(membership)
    assert _columns(sides) == ["sys_user_grmember.member"]


def test_an_account_of_servicenows_own_must_not_be_touched() -> None:
    sides = agreeing()
    sides.before_accounts.append(account("kiosk", title="Shared terminal"))
    sides.accounts.append(account("kiosk", title="Shared terminal"))
    assert _compare(sides).agrees
    sides.accounts[-1]["title"] = ""
    assert _columns(sides) == ["sys_user.title"]


def test_a_department_that_does_not_exist_waits() -> None:
    sides = agreeing()
    sides.users[1]["department"] = "Research"
    sides.accounts[1]["department"] = ""
    agreement = _compare(sides)
    assert agreement.agrees
    assert agreement.comparisons["sys_user.department"].waiting == 1


def test_a_manager_without_an_account_waits() -> None:
    sides = agreeing()
    sides.users[0]["accountEnabled"] = False
    sides.accounts = [sides.accounts[1] | {"manager": ""}]
    sides.member_rows = sides.member_rows[1:]
    agreement = _compare(sides)
    assert agreement.agrees
    assert agreement.comparisons["sys_user.manager"].waiting == 1
    assert agreement.comparisons["sys_user_grmember"].waiting == 1


def test_a_value_that_does_not_fit_its_column_is_left_out() -> None:
    sides = agreeing()
    sides.users[1]["country"] = "United States"
    sides.accounts[1]["country"] = ""
    agreement = _compare(sides)
    assert agreement.agrees
    assert agreement.comparisons["sys_user.country"].too_long == 1
    sides.accounts[1]["country"] = "Uni"
    assert _columns(sides) == ["sys_user.country"]


def test_a_null_leaves_what_was_there_before_and_nothing_else() -> None:
    sides = agreeing()
    sides.before_accounts = [account("bob", title="Trainee")]
    sides.accounts[1]["title"] = "Trainee"
    assert _compare(sides).agrees
    sides.accounts[1]["title"] = "Intern"
    assert _columns(sides) == ["sys_user.title"]


def test_a_group_is_compared_by_name_and_values() -> None:
    sides = agreeing()
    sides.group_rows[0]["email"] = "old@contoso.com"
    assert _columns(sides) == ["sys_user_group.email"]


def test_the_table_names_the_first_differences() -> None:
    sides = agreeing()
    sides.accounts[1]["last_name"] = "Nunez"
    table = _compare(sides).table()
    assert "bob@contoso.com: sys_user.last_name should be 'Núñez' and is 'Nunez'" in table


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("ann_fabrikam.com#EXT#@contoso.com", "ann@fabrikam.com"),
        ("ann_maria_fabrikam.com#EXT#@contoso.com", "ann_maria@fabrikam.com"),
        ("ann@contoso.com", "ann@contoso.com"),
    ],
)
def test_a_guest_is_known_by_the_name_at_home(name: str, home: str) -> None:
    assert home_name(name) == home
