"""The turns of life (``docs/life.md``) through the app's real triggers, as the host runs them.

Changes arrive as Graph's notifications and, where Graph announces nothing, with the cycle's timer. Three companies with an app,
a tenant and an instance each; all lives of a company are told side by side, so that the table takes about as long as the slowest.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pytest
import pytest_asyncio

from sandbox.azurite import Azurite
from sandbox.instance import InstanceConfig
from sandbox.processes import REPOSITORY
from sandbox.tenant import TenantConfig
from tests.e2e.lives import assigned, groups, mapped, mappings, people, records
from tests.e2e.lives.company import AT_REST, Life, company, tell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import Any

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

type Scope = Literal["everybody", "assigned", "mapped"]

SCOPES: tuple[Scope, ...] = ("everybody", "assigned", "mapped")
_TICK = "*/2 * * * * *"
_ROW = re.compile(r"^\| (?!turn |---)(?P<turn>[^|]+) \|", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Turn:
    """A row of the guide, and a life that shows it in one of the companies."""

    name: str
    life: Life
    scope: Scope = "everybody"

    @property
    def id(self) -> str:
        return self.name if self.scope == "everybody" else f"{self.name} ({self.scope})"


TURNS = (
    Turn("hire", people.hire),
    Turn("hire, disabled", people.hired_disabled),
    Turn("hire, disabled", mapped.hired_disabled, "mapped"),
    Turn("change", people.changed),
    Turn("rename of userPrincipalName", people.renamed),
    Turn("disable", people.disabled),
    Turn("disable", assigned.disabled, "assigned"),
    Turn("re-enable", people.enabled_again),
    Turn("soft delete", people.soft_deleted),
    Turn("restore", people.restored),
    Turn("deleted and restored before we looked", people.deleted_and_restored_unseen),
    Turn("permanent delete", people.permanently_deleted),
    Turn("unassign", assigned.unassigned, "assigned"),
    Turn("unassign, then delete", assigned.unassigned_and_deleted, "assigned"),
    Turn("reassign", assigned.reassigned, "assigned"),
    Turn("assigned through a group, also nested deep inside", assigned.assigned_through_a_group, "assigned"),
    Turn("out of a filter, and back", assigned.out_of_a_filter, "assigned"),
    Turn("out of scope with `SkipOutOfScopeDeletions`", mapped.out_of_scope_and_skipped, "mapped"),
    Turn("dropped by an input filter", mapped.dropped_by_an_input_filter, "mapped"),
    Turn("rehire as a new object, with the old name", people.rehired_with_the_old_name),
    Turn("rehire with the old employee number", mapped.rehired_with_the_old_number, "mapped"),
    Turn("guest turned member", people.guest_turned_member),
    Turn("manager who comes later, or not at all", people.manager_who_comes_late),
    Turn("manager soft-deleted, and restored", people.manager_restored),
    Turn("manager cycles, oneself as manager", people.managers_in_a_circle),
    Turn("app role assigned, taken away", assigned.app_role, "assigned"),
    Turn("record removed", records.removed),
    Turn("record removed", mapped.record_removed, "mapped"),
    Turn("record cloned", mapped.record_cloned, "mapped"),
    Turn("record merged into another", records.merged),
    Turn("record edited", records.edited),
    Turn("record edited", mapped.record_edited, "mapped"),
    Turn("account locked by hand", records.locked_by_hand),
    Turn("protected account", records.protected),
    Turn("member added by hand", records.member_added_by_hand),
    Turn("created, renamed, described, deactivated", groups.created_renamed_and_deactivated),
    Turn("renamed to a taken name", groups.renamed_to_a_taken_name),
    Turn("deleted and created again", groups.made_again),
    Turn("turned dynamic", groups.turned_dynamic),
    Turn("member joins, leaves", groups.members_come_and_go),
    Turn("member who is not provisioned yet", groups.member_who_comes_late),
    Turn("member that is a group", assigned.member_group, "assigned"),
    Turn("nested group changes deep down", assigned.change_deep_down, "assigned"),
    Turn("member group deleted", assigned.member_group_deleted, "assigned"),
    Turn("member that is a group (not expanded), device or service principal", groups.members_that_are_no_people),
    Turn("membership duplicated", groups.membership_doubled),
    Turn("members mapped with `MultiValueAddOnly`", mapped.members_only_added, "mapped"),
)

type Told = dict[str, BaseException | None]


async def _told(scope: Scope, directory: Path, **options: Any) -> Told:
    async with Azurite() as storage, company(storage.connection_string, directory, **options) as here:
        return await tell(here, {turn.id: turn.life for turn in TURNS if turn.scope == scope})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[Scope, asyncio.Task[Told]]]:
    """What became of each life of each company."""

    def telling(scope: Scope, **options: Any) -> asyncio.Task[Told]:
        return asyncio.create_task(_told(scope, tmp_path_factory.mktemp(scope), **options))

    settings = {
        "ENTRA_SERVICE_PRINCIPAL_ID": TenantConfig().service_principal_id,
        "PROVISIONING_SCOPE": "assigned",
        "CYCLE_SCHEDULE": _TICK,
    }
    tasks: dict[Scope, asyncio.Task[Told]] = {
        "everybody": telling("everybody", instance=InstanceConfig(unique_group_names=True)),
        "assigned": telling("assigned", schema=mappings.assigned(), settings=settings),
        "mapped": telling("mapped", schema=mappings.altered()),
    }
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.parametrize("turn", TURNS, ids=lambda turn: turn.id)
async def test_a_turn_of_life_through_the_real_triggers(told: dict[Scope, asyncio.Task[Told]], turn: Turn) -> None:
    outcome = (await told[turn.scope])[turn.id]
    if outcome is not None:
        raise outcome


@pytest.mark.parametrize("scope", SCOPES)
async def test_a_company_comes_to_rest_and_no_message_is_dead(told: dict[Scope, asyncio.Task[Told]], scope: Scope) -> None:
    outcome = (await told[scope])[AT_REST]
    if outcome is not None:
        raise outcome


async def test_every_row_of_the_guide_is_told() -> None:
    guide = (REPOSITORY / "docs" / "life.md").read_text(encoding="utf-8")
    assert {found["turn"] for found in _ROW.finditer(guide)} == {turn.name for turn in TURNS}
