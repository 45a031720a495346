"""The campaign's judge finds what is wrong: each kind of difference is planted into an end state that is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from sandbox.chaos.checking import Judge, Spared, picture, taken_away, unaccounted, unequal, unheard
from sandbox.chaos.hands import Hands, Memory
from sandbox.chaos.history import Step
from sandbox.chaos.looking import records_of
from sandbox.chaos.oneprocess import OneProcess
from sandbox.chaos.witness import Deed, Witness
from sandbox.instance import InstanceServer, seed_references
from sandbox.instance.access import SYSTEM
from sandbox.people import COMPANIES, COST_CENTERS, DEPARTMENTS, LOCATIONS
from sandbox.tenant import Kind, Tenant, TenantConfig, TenantServer
from tests.support.world import settings_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class End:
    """A history that has ended right."""

    tenant: Tenant
    instance: Witness
    hands: Hands
    judge: Judge

    def faults(self) -> list[str]:
        return self.judge.faults(self.hands.in_scope)

    def first(self, table: str, **values: str) -> Mapping[str, str]:
        """The first record of the app's with these values."""
        rows = self.instance.table(table).rows()
        return next(
            row
            for row in rows
            if row["sys_created_by"] != "system" and all(row.get(name) == value for name, value in values.items())
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provisioned() -> AsyncIterator[End]:
    instance = Witness()
    async with TenantServer(TenantConfig(users=10, groups=2)) as source, InstanceServer(instance=instance) as target:
        seed_references(instance, departments=DEPARTMENTS, locations=LOCATIONS, companies=COMPANIES, cost_centers=COST_CENTERS)
        before = records_of(instance)
        hands = Hands(source.tenant, instance, assigned=False)
        async with OneProcess(settings_for("UseDevelopmentStorage=true", source, target)) as process:
            await process.cycle()
        yield End(source.tenant, instance, hands, Judge(source.tenant, instance, hands.memory, before))


@pytest.fixture
def end(provisioned: End) -> End:
    """Each test plants into the same right end state."""
    provisioned.instance.restore(_RIGHT.setdefault("rows", provisioned.instance.snapshot()))
    return provisioned


_RIGHT: dict[str, Mapping[str, Sequence[Mapping[str, str]]]] = {}


def test_a_right_end_has_no_faults(end: End) -> None:
    assert end.faults() == []


def _wrong_value(end: End) -> None:
    end.instance.update("sys_user", end.first("sys_user", active="true")["sys_id"], {"title": "Impostor"}, SYSTEM)


def _turned_off(end: End) -> None:
    end.instance.update("sys_user", end.first("sys_user", active="true")["sys_id"], {"active": "false"}, SYSTEM)


def _missing_user(end: End) -> None:
    end.instance.delete("sys_user", end.first("sys_user", active="true")["sys_id"], SYSTEM)


def _missing_group(end: End) -> None:
    end.instance.delete("sys_user_group", end.first("sys_user_group")["sys_id"], SYSTEM)


def _missing_membership(end: End) -> None:
    end.instance.delete("sys_user_grmember", end.first("sys_user_grmember")["sys_id"], SYSTEM)


def _second(table: str) -> Callable[[End], None]:
    def plant(end: End) -> None:
        row = end.first(table)
        end.instance.set_directly(table, f"{'f' * 31}{len(table) % 10}", {**row, "sys_id": f"{'f' * 31}{len(table) % 10}"})

    return plant


def _stranger(end: End) -> None:
    row = end.first("sys_user", active="true")
    end.instance.set_directly("sys_user", "e" * 32, {**row, "sys_id": "e" * 32, "user_name": "nobody@contoso.com"})


def _wrong_manager(end: End) -> None:
    row = next(found for found in end.instance.table("sys_user").rows() if found.get("manager"))
    end.instance.update("sys_user", row["sys_id"], {"manager": row["sys_id"]}, SYSTEM)


@pytest.mark.parametrize(
    "plant",
    [
        _wrong_value,
        _turned_off,
        _missing_user,
        _missing_group,
        _missing_membership,
        _second("sys_user"),
        _second("sys_user_group"),
        _second("sys_user_grmember"),
        _stranger,
        _wrong_manager,
    ],
)
def test_a_planted_difference_is_found(end: End, plant: Callable[[End], None]) -> None:
    plant(end)
    assert end.faults()


def test_what_was_edited_by_hand_is_accepted_and_only_that(end: End) -> None:
    sys_id = end.first("sys_user", active="true")["sys_id"]
    end.instance.update("sys_user", sys_id, {"city": "Handtown"}, SYSTEM)
    assert end.faults()
    end.hands.memory.edited.add((sys_id, "city"))
    try:
        assert end.faults() == []
        end.instance.update("sys_user", sys_id, {"title": "Impostor"}, SYSTEM)
        assert end.faults()
    finally:
        end.hands.memory.edited.clear()


def test_an_account_that_was_turned_off_on_the_way_is_found_though_it_is_on_again(end: End) -> None:
    row = end.first("sys_user", active="true")
    deed = Deed(1.0, "update", "sys_user", row["sys_id"], {**row, "active": "true"}, {**row, "active": "false"})
    (sentence,) = taken_away([deed], records_of(end.instance), end.hands.memory)
    assert row["user_name"].casefold() in sentence


@pytest.mark.parametrize("table", ["sys_user", "sys_user_group", "sys_user_grmember"])
def test_a_record_that_was_deleted_on_the_way_is_found(end: End, table: str) -> None:
    row = end.first(table)
    deed = Deed(1.0, "delete", table, row["sys_id"], row, {})
    assert len(taken_away([deed], records_of(end.instance), end.hands.memory)) == 1


def test_a_write_that_the_log_does_not_know_is_found(end: End) -> None:
    row = end.first("sys_user")
    deed = Deed(100.0, "update", "sys_user", row["sys_id"], row, row)
    assert unaccounted([deed], {row["sys_id"]: 101.0}) == []
    assert unaccounted([deed], {row["sys_id"]: 90.0})
    assert unaccounted([deed], {})


def test_somebody_of_whom_the_log_says_nothing_is_found(end: End) -> None:
    ids = {one.id for kind in (Kind.USER, Kind.GROUP) for one in end.tenant.order[kind]}
    assert unheard(end.tenant, ids) == []
    silent = next(iter(sorted(ids)))
    (fault,) = unheard(end.tenant, ids - {silent})
    assert silent in fault


def test_two_end_states_are_compared_by_value_and_by_presence(end: End) -> None:
    mine = picture(records_of(end.instance), end.hands.memory)
    _wrong_value(end)
    assert len(unequal(mine, picture(records_of(end.instance), Memory()), Spared())) == 1
    _missing_membership(end)
    assert len(unequal(mine, picture(records_of(end.instance), Memory()), Spared())) == 2


def test_somebody_who_was_inactive_before_he_had_a_record_may_have_none(end: End) -> None:
    hands = Hands(end.tenant, end.instance, assigned=False)
    number = len(end.tenant.order[next(iter(end.tenant.order))])
    assert hands.do(Step("hire", 1, 1))
    assert any("record" in fault for fault in end.faults())
    hands.do(Step("disable", number, 0))
    assert hands.memory.unseen
    end.hands.memory.unseen |= hands.memory.unseen
    assert not [fault for fault in end.faults() if "new.hire" in fault]


def test_somebody_who_need_not_have_a_record_may_have_one_with_the_memberships_that_are_his(end: End) -> None:
    group, person = _someones_membership(end)
    memory = end.hands.memory
    end.tenant.update(person, {"accountEnabled": False})
    memory.unseen.add(person)
    try:
        assert not [fault for fault in end.faults() if "grmember" in fault]
        end.tenant.remove_members(group, [person])
        assert [fault for fault in end.faults() if "grmember" in fault]
    finally:
        memory.unseen.discard(person)
        end.tenant.update(person, {"accountEnabled": True})
        end.tenant.add_members(group, [person])


def _someones_membership(end: End) -> tuple[str, str]:
    people = {one.id for one in end.tenant.order[Kind.USER] if one.properties["accountEnabled"] is not False}
    return next((group.id, member) for group in end.tenant.order[Kind.GROUP] for member in group.members if member in people)


def test_a_group_that_was_renamed_and_dissolved_may_be_deleted_under_its_old_name(end: End) -> None:
    memory = end.hands.memory
    group, title = next(iter(memory.titles.items()))
    row = dict(end.first("sys_user_group", name=next(iter(title))))
    deed = Deed(1.0, "delete", "sys_user_group", row["sys_id"], row, {})
    assert taken_away([deed], records_of(end.instance), memory)
    memory.titles[group].add("New name")
    memory.dissolved.add(group)
    try:
        assert not taken_away([deed], records_of(end.instance), memory)
    finally:
        memory.titles[group].discard("New name")
        memory.dissolved.discard(group)


def test_of_somebody_who_has_left_only_the_state_is_compared(end: End) -> None:
    mine = picture(records_of(end.instance), Memory())
    person = end.first("sys_user", active="true")
    end.instance.update("sys_user", person["sys_id"], {"title": "Impostor"}, SYSTEM)
    left = Spared(left=frozenset({person["user_name"].casefold()}))
    assert unequal(mine, picture(records_of(end.instance), Memory()), left) == []
    end.instance.update("sys_user", person["sys_id"], {"active": "false"}, SYSTEM)
    assert len(unequal(mine, picture(records_of(end.instance), Memory()), left)) == 2  # and locked with it


def test_an_inactive_rehire_may_have_the_inactive_record_of_the_former_person(end: End) -> None:
    memory, tenant = end.hands.memory, end.tenant
    person = _someones_membership(end)[1]
    name = str(tenant.objects[person].properties["userPrincipalName"])
    record = end.first("sys_user", user_name=name)
    tenant.update(person, {"accountEnabled": False, "jobTitle": "Rehired"})
    end.instance.update("sys_user", record["sys_id"], {"active": "false", "locked_out": "true"}, SYSTEM)
    memory.disabled.add(person)
    memory.enabled.add(person)
    memory.names["the former one"] = {name.casefold()}
    try:
        assert not end.faults()
        assert name.casefold() in Spared.of(tenant, None, memory).left
        end.instance.update("sys_user", record["sys_id"], {"active": "true"}, SYSTEM)
        assert end.faults()
        del memory.names["the former one"]
        end.instance.update("sys_user", record["sys_id"], {"active": "false", "locked_out": "true"}, SYSTEM)
        assert [fault for fault in end.faults() if "Rehired" in fault]
    finally:
        memory.names.pop("the former one", None)
        memory.disabled.discard(person)
        memory.enabled.discard(person)
        tenant.update(person, {"accountEnabled": True, "jobTitle": None})
