from __future__ import annotations

import pytest

from shared.servicenow.sys_ids import derived_sys_id, is_sys_id


def test_a_derived_sys_id_is_the_same_for_ever() -> None:
    assert derived_sys_id("tenant", "sys_user", "ada") == "d9e722f0fd94400c36eb4066730ee182"


def test_it_depends_on_where_one_part_ends_and_the_next_begins() -> None:
    assert derived_sys_id("ab", "c") != derived_sys_id("a", "bc")
    assert derived_sys_id("a", "b") != derived_sys_id("b", "a")


@pytest.mark.parametrize("parts", [(), ("",), ("a", "")])
def test_a_missing_part_is_refused(parts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="needs parts"):
        derived_sys_id(*parts)


@pytest.mark.parametrize(
    ("value", "answer"), [("glide.maint", True), ("0" * 32, True), ("..", False), ("a/b", False), ("0" * 33, False)]
)
def test_sys_ids_are_not_all_hexadecimal_but_never_a_path(value: str, answer: bool) -> None:
    assert is_sys_id(value) is answer
