"""Taking away is counted and held: nobody disables a company by mistake."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from sandbox.tenant import Kind, TenantConfig
from shared.events import ObjectsChanged
from shared.provisioning.requests import Unknown
from shared.schema.defaults import DEFAULT_SCHEMA_PATH
from shared.state.guard import Reservations
from shared.state.progress import round_key
from tests.support.mapped import changed_document, clauses
from tests.support.people import hire, memberships, record_of
from tests.support.world import world

if TYPE_CHECKING:
    from shared.state.watermarks import Watermark
    from tests.support.world import World

PRINCIPAL = TenantConfig().service_principal_id


def active(here: World, names: list[str]) -> int:
    return sum(record_of(here, name)["active"] == "true" for name in names)


def vanish(here: World, object_id: str) -> None:
    """Take a user out of the directory so that nothing tells of it: not the delta, and not the recycle bin."""
    directory = here.tenant.tenant
    subject = directory.objects.pop(object_id)
    directory.order[Kind.USER].remove(subject)
    for group_id in subject.groups:
        group = directory.objects[group_id]
        group.members.pop(object_id)
        group.edges = None


async def staged(here: World) -> list[dict[str, str]]:
    return [row for row in (await here.services.staging.page(top="500", token=""))["value"] if row["status"] == "staged"]


async def test_disables_above_the_threshold_are_held_and_the_others_flow_on(storage: str) -> None:
    async with world(storage, DELETE_THRESHOLD="2") as here:
        names = [f"p{number}" for number in range(6)]
        people = [hire(here, name) for name in names]
        await here.cycle()
        for person in people[:5]:
            here.tenant.tenant.update(person, {"accountEnabled": False})
        here.tenant.tenant.update(people[5], {"jobTitle": "Lead"})
        await here.cycle()

        assert active(here, names) == 4
        assert record_of(here, "p5")["title"] == "Lead"
        held = await staged(here)
        assert len(held) == 3
        assert all(row["action"] == "disable" and row["displayName"] and row["reason"] for row in held)
        object_id = held[0]["id"].removeprefix("user:")
        entry = (await here.log_of(object_id))[0]
        assert entry["provisioningAction"] == "stageddelete"
        await here.services.operations.tick()
        job = await here.services.operations.job()
        assert job["status"]["quarantine"]["reason"] == "TooManyDeletes"
        assert (await here.services.jobs.get()).may_write

        # Looked at again, a held deed is neither done nor said again.
        entries = len(await here.log_of(object_id))
        await here.services.operations.restart("Watermark")
        await here.pump()
        assert active(here, names) == 4
        assert len(await here.log_of(object_id)) == entries


async def test_an_approval_looks_at_the_present_truth_again(storage: str) -> None:
    async with world(storage, DELETE_THRESHOLD="0") as here:
        ann, ben = hire(here, "ann"), hire(here, "ben")
        await here.cycle()
        for person in (ann, ben):
            here.tenant.tenant.update(person, {"accountEnabled": False})
        await here.cycle()
        assert active(here, ["ann", "ben"]) == 2

        # Ben is back before anybody decides; nobody has told the app yet.
        here.tenant.tenant.update(ben, {"accountEnabled": True})
        assert await here.services.staging.decide([f"user:{ann}", f"user:{ben}"], approved=True, by="eve@contoso.com") == 2
        await here.pump()
        assert record_of(here, "ann")["active"] == "false"
        assert record_of(here, "ben")["active"] == "true"
        assert await staged(here) == []
        assert not await here.services.guard.staged.any()
        approved = [entry for entry in await here.log_of(ann) if entry["initiatedBy"]["displayName"] == "eve@contoso.com"]
        assert len(approved) == 1

        await here.services.operations.tick()
        assert (await here.services.operations.job())["status"]["quarantine"] is None


async def test_a_held_delete_keeps_the_evidence_that_it_needs(storage: str) -> None:
    async with world(storage, DELETE_THRESHOLD="1") as here:
        ann = hire(here, "ann")
        await here.cycle()
        here.tenant.tenant.delete(ann)
        await here.cycle()
        here.tenant.tenant.purge(ann)
        await here.cycle()
        assert record_of(here, "ann")["active"] == "false"
        (held,) = await staged(here)
        assert (held["id"], held["action"]) == (f"user:{ann}", "delete")

        await here.services.staging.decide([held["id"]], approved=True)
        await here.pump()
        assert here.user("ann@contoso.com") is None


async def test_a_rejected_deed_is_left_alone_until_the_truth_changes(storage: str) -> None:
    async with world(storage, DELETE_THRESHOLD="0") as here:
        ann = hire(here, "ann")
        await here.cycle()
        here.tenant.tenant.update(ann, {"accountEnabled": False})
        await here.cycle()
        await here.services.staging.decide([f"user:{ann}"], approved=False)
        await here.services.operations.restart("Watermark")
        await here.pump()
        assert record_of(here, "ann")["active"] == "true"
        assert await staged(here) == []

        here.tenant.tenant.update(ann, {"jobTitle": "Former lead"})
        await here.cycle()
        assert [row["id"] for row in await staged(here)] == [f"user:{ann}"]

        here.tenant.tenant.update(ann, {"accountEnabled": True})
        await here.cycle()
        assert not await here.services.guard.staged.any()
        assert record_of(here, "ann")["title"] == "Former lead"


async def test_everything_is_approved_together(storage: str) -> None:
    async with world(storage, DELETE_THRESHOLD="0") as here:
        names = [f"p{number}" for number in range(4)]
        people = [hire(here, name) for name in names]
        await here.cycle()
        for person in people:
            here.tenant.tenant.update(person, {"accountEnabled": False})
        await here.cycle()
        assert active(here, names) == 4
        await here.services.operations.restart("ForceDeletes")
        await here.pump()
        assert active(here, names) == 0
        assert not await here.services.guard.staged.any()


async def test_a_decision_about_what_is_not_held_is_refused(storage: str) -> None:
    async with world(storage) as here:
        with pytest.raises(Unknown):
            await here.services.staging.decide(["user:nobody"], approved=True)


async def test_clearings_and_membership_removals_have_limits_of_their_own(storage: str) -> None:
    async with world(storage, DELETE_THRESHOLD="0") as here:
        ann, ben = hire(here, "ann", jobTitle="Lead"), hire(here, "ben")
        team = here.tenant.tenant.create_group("Team", members=[ann, ben])
        await here.cycle()
        here.tenant.tenant.update(ann, {"jobTitle": None})
        here.tenant.tenant.remove_members(team, [ben])
        await here.cycle()
        assert record_of(here, "ann")["title"] == "Lead"
        assert len(memberships(here, "Team")) == 2
        assert {row["action"] for row in await staged(here)} == {"clear", "removeMember"}

        # He joins again: nothing is held about him any more.
        here.tenant.tenant.add_members(team, [ben])
        await here.cycle()
        assert [row["action"] for row in await staged(here)] == ["clear"]

        here.tenant.tenant.remove_members(team, [ben])
        await here.cycle()
        await here.services.staging.decide_all(approved=True)
        await here.pump()
        assert record_of(here, "ann")["title"] == ""
        assert memberships(here, "Team") == ["ann@contoso.com"]


async def test_an_empty_list_of_assignments_disables_nobody(storage: str) -> None:
    async with world(storage, ENTRA_SERVICE_PRINCIPAL_ID=PRINCIPAL) as here:
        names = [f"p{number}" for number in range(12)]
        assigned = here.tenant.tenant.assignments
        made = [assigned.assign(hire(here, name)) for name in names]
        await here.cycle()
        assert active(here, names) == 12

        for assignment in made:
            assigned.unassign(assignment["id"])
        await here.services.operations.restart("Watermark")
        await here.pump()
        assert active(here, names) == 12
        held = await staged(here)
        assert {row["action"] for row in held} == {"unassigned"}
        assert len(held) == 12

        # One of them is assigned again, the others were meant.
        assigned.assign(held[0]["id"].removeprefix("user:"))
        await here.services.operations.restart("Watermark")
        await here.pump()
        assert len(await staged(here)) == 11
        await here.services.staging.decide_all(approved=True)
        await here.pump()
        assert active(here, names) == 1
        assert not await here.services.guard.staged.any()


@pytest.mark.parametrize(("threshold", "people", "disabled"), [(3, 10, 0), (500, 12, 0), (500, 9, 9)])
async def test_a_wrong_filter_disables_no_company(storage: str, threshold: int, people: int, disabled: int) -> None:
    async with world(storage, DELETE_THRESHOLD=str(threshold)) as here:
        names = [f"p{number}" for number in range(people)]
        for name in names:
            hire(here, name, department="Sales")
        await here.cycle()
        document = json.loads(DEFAULT_SCHEMA_PATH.read_text(encoding="utf-8"))
        clause = {"operatorName": "EQUALS", "sourceOperandName": "department", "targetOperand": {"values": ["sales"]}}
        for rule in document["synchronizationRules"]:
            for mapping in rule["objectMappings"]:
                if mapping["sourceObjectName"] == "User":
                    mapping["scope"] = {"groups": [{"name": "Sales, misspelt", "clauses": [clause]}]}
        await here.services.schemas.put(document)
        await here.cycle()
        assert active(here, names) == people - disabled
        assert len(await staged(here)) == people - disabled

        # It was mended: nobody is held any more, and nobody was touched.
        await here.services.schemas.put(json.loads(DEFAULT_SCHEMA_PATH.read_text(encoding="utf-8")))
        await here.cycle()
        assert active(here, names) == people
        assert await staged(here) == []


async def test_who_falls_out_of_a_filter_that_others_still_pass_is_disabled_at_the_end_of_the_round(storage: str) -> None:
    async with world(storage) as here:
        for number in range(12):
            hire(here, f"in{number}", department="Sales")
        names = [f"out{number}" for number in range(11)]
        for name in names:
            hire(here, name, department="Finance")
        await here.cycle()
        await here.services.schemas.put(changed_document(clauses(("department", "EQUALS", "Sales"))))
        await here.cycle()
        assert active(here, names) == 0
        assert active(here, [f"in{number}" for number in range(12)]) == 12
        assert await staged(here) == []


async def test_who_comes_into_scope_while_a_round_runs_is_not_absent_from_it(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(storage, ENTRA_SERVICE_PRINCIPAL_ID=PRINCIPAL, PROVISIONING_SCOPE="assigned") as here:
        names = [f"late{number}" for number in range(12)]
        people = [hire(here, name) for name in names]
        settle = here.services.cycles._settle
        done: list[int] = []

        async def sent_to_another(*_: object, **__: object) -> None:
            pass

        async def assigned_meanwhile(mark: Watermark) -> Watermark | None:
            while mark.chain == "users" and not done:
                # The moment right before the round sees that it is settled.
                progress = await here.services.progress.sum(round_key(mark.chain, mark.generation))
                if not progress.is_settled:
                    await asyncio.sleep(0.05)
                    continue
                done.append(progress.objects)
                for person in people:
                    here.tenant.tenant.assignments.assign(person)
                # The event that this queues is in the hands of another worker, who commits right before the round ends.
                with monkeypatch.context() as another:
                    another.setattr(here.services.queues, "send_all", sent_to_another)
                    await here.services.assigned.refresh()
                event = ObjectsChanged(kind="user", ids=tuple(people), reason="scope", occurred_at=here.clock())
                await here.services.objects.process(event)
            return await settle(mark)

        monkeypatch.setattr(here.services.cycles, "_settle", assigned_meanwhile)
        await here.cycle()
        assert done, "the round did not settle"
        assert active(here, names) == 12
        assert await staged(here) == []
        here.tenant.tenant.update(people[0], {"accountEnabled": False})
        await here.cycle()
        assert active(here, names) == 11


async def test_a_round_that_names_hardly_any_memberships_takes_none_away(storage: str) -> None:
    async with world(storage) as here:
        people = [hire(here, f"p{number}") for number in range(15)]
        team = here.tenant.tenant.create_group("Team", members=people)
        await here.cycle()
        assert len(memberships(here, "Team")) == 15
        group = here.tenant.tenant.objects[team]
        for person in people[2:]:
            group.members.pop(person)
        group.edges = None
        await here.services.operations.restart("Watermark")
        await here.pump()
        assert len(memberships(here, "Team")) == 15
        assert {row["action"] for row in await staged(here)} == {"removeMember"}
        await here.services.staging.decide_all(approved=True)
        await here.pump()
        assert len(memberships(here, "Team")) == 2


async def test_a_round_that_does_not_name_half_the_company_takes_nothing_away(storage: str) -> None:
    async with world(storage, DELETE_THRESHOLD="3") as here:
        names = [f"p{number}" for number in range(8)]
        people = [hire(here, name) for name in names]
        here.tenant.tenant.create_group("Team", members=people)
        await here.cycle()
        assert len(memberships(here, "Team")) == 8

        # The directory loses them without a word, as one does that was reset.
        for person in people[:5]:
            vanish(here, person)
        await here.services.operations.restart("Watermark")
        await here.pump()
        assert active(here, names) == 8
        assert {row["action"] for row in await staged(here)} == {"absent"}

        await here.services.staging.decide_all(approved=True)
        await here.pump()
        assert active(here, names) == 3
        assert not await here.services.guard.staged.any()


async def test_memberships_that_a_round_does_not_name_are_held_as_a_whole(storage: str) -> None:
    async with world(storage, DELETE_THRESHOLD="0") as here:
        people = [hire(here, name) for name in ("ann", "ben", "cleo")]
        team = here.tenant.tenant.create_group("Team", members=people)
        await here.cycle()
        group = here.tenant.tenant.objects[team]
        for person in people[:2]:
            group.members.pop(person)
            group.edges = None
        await here.services.operations.restart("Watermark")
        await here.pump()
        assert len(memberships(here, "Team")) == 3
        held = await staged(here)
        assert {row["id"] for row in held} == {f"pair:{team}:{person}" for person in people[:2]}

        await here.services.staging.decide([held[0]["id"]], approved=True)
        await here.services.staging.decide([held[1]["id"]], approved=False)
        await here.pump()
        assert len(memberships(here, "Team")) == 2
        await here.services.operations.restart("Watermark")
        await here.pump()
        assert len(memberships(here, "Team")) == 2
        assert await staged(here) == []


async def test_a_token_that_expires_in_the_middle_takes_nothing_away(storage: str) -> None:
    async with world(storage, tenant=TenantConfig(user_delta_page=3)) as here:
        names = [f"p{number}" for number in range(9)]
        for name in names:
            hire(here, name)
        await here.cycle()
        mark = await here.services.watermarks.get("users")
        await here.services.operations.restart("Watermark")
        here.tenant.tenant.faults = here.tenant.tenant.faults.merged({"fail_next": [410]})
        await here.pump()
        after = await here.services.watermarks.get("users")
        assert after.generation > mark.generation
        assert active(here, names) == 9
        assert await staged(here) == []


async def test_several_workers_never_overshoot_the_limit_and_a_replay_counts_once(storage: str) -> None:
    async with world(storage) as here:
        workers = [Reservations(here.services.tables, here.clock) for _ in range(8)]
        keys = [[f"user:{worker}-{number}|disable|x" for number in range(25)] for worker in range(8)]
        granted = await asyncio.gather(
            *(worker.reserve("deprovision", part, 60) for worker, part in zip(workers, keys, strict=True))
        )
        assert sum(map(len, granted)) == 60
        again = await asyncio.gather(
            *(worker.reserve("deprovision", part, 60) for worker, part in zip(workers, keys, strict=True))
        )
        assert again == granted
        assert await workers[0].used("deprovision") == 60

        here.clock.advance(25 * 3600)
        assert await workers[0].used("deprovision") == 0
        assert len(await workers[0].reserve("deprovision", keys[0], 60)) == 25
        await workers[0].sweep()
        assert await workers[0].used("deprovision") == 25
