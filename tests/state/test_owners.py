"""Who owns a record, and what is known of whom it passes over from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.state.owners import Claim, Owners, Ownership

if TYPE_CHECKING:
    from shared.state.tables import Tables

OLD, NEW = Claim("sys_user", "a1", "old"), Claim("sys_user", "a1", "new")


async def test_the_first_claim_owns_and_the_second_meets_it(tables: Tables, other: Tables) -> None:
    assert await Owners(tables).claim([OLD]) == ["old"]
    assert await Owners(other).claim([NEW, Claim("sys_user", "b2", "new")]) == ["old", "new"]
    assert await Owners(other).owner("sys_user", "a1") == "old"
    assert await Owners(other).owners("sys_user", ["a1", "b2", "c3"]) == {"a1": "old", "b2": "new"}


async def test_what_was_exported_for_a_former_owner_is_known_until_the_new_one_has_settled(tables: Tables) -> None:
    owners = Owners(tables)
    await owners.claim([OLD])
    assert await owners.prepare(NEW, "old", ["city"]) == Ownership("old", "old", frozenset({"city"}))
    # Repeated after a crash, when the former link has ended and nobody knows any more what was exported.
    assert await owners.prepare(NEW, "old", []) == Ownership("old", "old", frozenset({"city"}))
    assert await owners.move(NEW, "old")
    assert await owners.take([NEW]) == [Ownership("new", "old", frozenset({"city"}))]
    await owners.settle(NEW)
    assert await owners.take([NEW]) == [Ownership("new")]


async def test_nothing_passes_over_from_somebody_who_does_not_own_it(tables: Tables) -> None:
    owners = Owners(tables)
    assert await owners.prepare(NEW, "old", ["city"]) is None
    await owners.claim([OLD])
    assert await owners.prepare(NEW, "third", ["city"]) is None
    assert not await owners.move(NEW, "third")
    await owners.settle(NEW)
    await owners.release(NEW)
    assert await owners.take([OLD]) == [Ownership("old")]


async def test_a_released_record_is_free(tables: Tables) -> None:
    owners = Owners(tables)
    await owners.claim([OLD])
    await owners.release(OLD)
    assert await owners.take([NEW]) == [Ownership("new")]
