"""Verification: drift is found, and reported or mended, politely."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.instance.access import SYSTEM
from tests.support.people import hire, memberships, record_of
from tests.support.schemas import variant
from tests.support.world import world

if TYPE_CHECKING:
    from tests.support.world import World


async def verify(here: World) -> dict[str, int]:
    """One run and everything that follows from it; its counts."""
    await here.services.verification.begin()
    await here.pump()
    status = await here.services.verification.status()
    assert status["status"] == "completed", status
    counts: dict[str, int] = status["counts"]
    return counts


def by_hand(here: World, name: str, **values: str) -> None:
    """A change that ServiceNow's people make."""
    here.instance.instance.update("sys_user", record_of(here, name)["sys_id"], values, SYSTEM)


async def test_nothing_is_found_where_nothing_has_drifted(storage: str) -> None:
    async with world(storage, users=30, groups=3) as here:
        await here.cycle()
        await here.cycle()
        before = {**here.rows("sys_user"), **here.rows("sys_user_grmember")}
        counts = await verify(here)
        assert counts.pop("checked") > 25
        assert counts == {}
        assert {**here.rows("sys_user"), **here.rows("sys_user_grmember")} == before


async def test_drift_is_reported_and_left_unless_the_mapping_says_repair(storage: str) -> None:
    mappings = variant(columns={"title": {"Drift": "repair"}, "street": {"Drift": "ignore"}, "city": {"Redact": "true"}})
    async with world(storage, mappings=mappings) as here:
        ann = hire(here, "ann", jobTitle="Lead", city="Lyon", streetAddress="Rue 1", state="69")
        await here.cycle()
        by_hand(here, "ann", title="Boss", city="Paris", street="Rue 2", state="75")
        counts = await verify(here)

        row = record_of(here, "ann")
        assert (row["title"], row["city"], row["street"], row["state"]) == ("Lead", "Paris", "Rue 2", "75")
        assert (counts["drift"], counts["repaired"]) == (3, 1)
        report = next(entry for entry in await here.log_of(ann) if "exported" in entry["provisioningSteps"][0]["description"])
        changed = {entry["displayName"]: (entry["oldValue"], entry["newValue"]) for entry in report["modifiedProperties"]}
        assert changed == {"title": ("Boss", "Lead"), "city": ("[Redact]", "[Redact]"), "state": ("75", "69")}
        assert report["provisioningStatusInfo"]["status"] == "warning"


async def test_what_was_cleared_by_us_and_filled_by_hand_is_cleared_again(storage: str) -> None:
    async with world(storage, mappings=variant(columns={"title": {"Drift": "repair"}})) as here:
        ann = hire(here, "ann", jobTitle="Lead")
        await here.cycle()
        here.tenant.tenant.update(ann, {"jobTitle": None})
        await here.cycle()
        by_hand(here, "ann", title="Boss")
        await verify(here)
        assert record_of(here, "ann")["title"] == ""


async def test_whom_servicenows_people_locked_stays_locked(storage: str) -> None:
    mappings = variant(columns={"active": {"Drift": "repair"}})
    async with world(storage, mappings=mappings) as here:
        hire(here, "ann")
        ben = hire(here, "ben")
        await here.cycle()
        here.tenant.tenant.update(ben, {"accountEnabled": False})
        await here.cycle()
        by_hand(here, "ann", active="false", locked_out="true")
        by_hand(here, "ben", active="true")
        counts = await verify(here)
        assert record_of(here, "ann")["active"] == "false"
        assert record_of(here, "ann")["locked_out"] == "true"
        assert record_of(here, "ben")["active"] == "false"  # Entra ID disabled him: that is enforced
        assert counts["locked"] == 1


async def test_an_attribute_that_is_mended_again_and_again_is_contested(storage: str) -> None:
    async with world(storage, mappings=variant(columns={"title": {"Drift": "repair"}})) as here:
        hire(here, "ann", jobTitle="Lead")
        await here.cycle()
        for _ in range(3):
            by_hand(here, "ann", title="Boss")
            assert (await verify(here))["repaired"] == 1
            assert record_of(here, "ann")["title"] == "Lead"
        by_hand(here, "ann", title="Boss")
        counts = await verify(here)
        assert (counts["contested"], counts.get("repaired", 0)) == (1, 0)
        assert record_of(here, "ann")["title"] == "Boss"

        here.clock.advance(31 * 24 * 3600)
        assert (await verify(here))["repaired"] == 1


async def test_a_record_that_is_gone_is_made_again_and_an_orphan_is_left(storage: str) -> None:
    async with world(storage) as here:
        ann, ben = hire(here, "ann"), hire(here, "ben")
        await here.cycle()
        here.instance.instance.delete("sys_user", record_of(here, "ann")["sys_id"], SYSTEM)
        directory = here.tenant.tenant
        directory.order[directory.objects[ben].kind].remove(directory.objects[ben])
        del directory.objects[ben]
        counts = await verify(here)
        assert (counts["recordGone"], counts["orphaned"]) == (1, 1)
        assert record_of(here, "ann")["active"] == "true"
        assert record_of(here, "ben")["active"] == "true"
        assert await here.ended(ben) == ("warning", "Orphaned")
        assert ann


async def test_a_change_that_nobody_told_is_found(storage: str) -> None:
    async with world(storage) as here:
        ann = hire(here, "ann", jobTitle="Lead")
        await here.cycle()
        here.tenant.tenant.update(ann, {"jobTitle": "Boss"})
        counts = await verify(here)
        assert counts["missed"] == 1
        assert record_of(here, "ann")["title"] == "Boss"


async def test_duplicate_memberships_are_removed_and_missing_ones_reported(storage: str) -> None:
    async with world(storage) as here:
        people = [hire(here, name) for name in ("ann", "ben")]
        here.tenant.tenant.create_group("Team", members=people)
        await here.cycle()
        first, second = here.rows("sys_user_grmember").values()
        here.insert("sys_user_grmember", user=first["user"], group=first["group"])
        here.instance.instance.delete("sys_user_grmember", second["sys_id"], SYSTEM)
        local = here.insert("sys_user", user_name="local", last_name="Local")
        here.insert("sys_user_grmember", user=local, group=first["group"])

        counts = await verify(here)
        assert (counts["duplicateMember"], counts["missingMember"], counts["foreignMember"]) == (1, 1, 1)
        users = [row["user"] for row in here.rows("sys_user_grmember").values()]
        assert sorted(users) == sorted([first["user"], local])


async def test_missing_members_are_added_and_foreign_ones_removed_where_the_mapping_says_so(storage: str) -> None:
    mappings = variant("Group", options={"Members": "authoritative"}, columns={"members": {"Drift": "repair"}})
    async with world(storage, mappings=mappings) as here:
        people = [hire(here, name) for name in ("ann", "ben")]
        hire(here, "cleo")
        here.tenant.tenant.create_group("Team", members=people)
        await here.cycle()
        first, second = here.rows("sys_user_grmember").values()
        here.instance.instance.delete("sys_user_grmember", second["sys_id"], SYSTEM)
        for user in (here.insert("sys_user", user_name="local", last_name="Local"), record_of(here, "cleo")["sys_id"]):
            here.insert("sys_user_grmember", user=user, group=first["group"])
        await verify(here)
        assert memberships(here, "Team") == ["ann@contoso.com", "ben@contoso.com"]


async def test_a_table_that_shows_nothing_is_a_lost_permission_and_proves_nothing(storage: str) -> None:
    async with world(storage, mappings=variant("Group", columns={"members": {"Drift": "repair"}})) as here:
        here.tenant.tenant.create_group("Team", members=[hire(here, "ann")])
        await here.cycle()
        rules = here.instance.instance.config.access_rules
        hidden = tuple(
            type(rule)(
                rule.role,
                rule.read,
                rule.insert,
                rule.update,
                rule.delete,
                rule.hidden_columns,
                rule.frozen_columns,
                (("sys_user_grmember", "sys_idISNOTEMPTY"), ("sys_user", "sys_idISNOTEMPTY")),
            )
            for rule in rules
        )
        here.instance.instance.configure(access_rules=hidden)
        await here.services.verification.begin()
        await here.pump(patience=5)
        assert (await here.services.verification.status())["status"] == "running"
        here.instance.instance.configure(access_rules=rules)
        await here.later(400)
        assert len(here.rows("sys_user_grmember")) == 1
        assert record_of(here, "ann")["active"] == "true"
        assert (await here.services.verification.status())["counts"] == {"checked": 2}
