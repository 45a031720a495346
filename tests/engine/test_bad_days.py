"""ServiceNow and Graph on bad days: asleep, full, forgetful, refusing. Nothing is lost, nothing is doubled."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support.people import hire, memberships, record_of

if TYPE_CHECKING:
    from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _creations(here: World, since: int) -> list[str]:
    """sys_ids of sys_user rows that were inserted after a commit."""
    commits = here.instance.instance.commits.since(since)
    return [commit.sys_id for commit in commits if (commit.table, commit.verb) == ("sys_user", "insert")]


async def test_what_happens_while_the_instance_hibernates_arrives_when_it_wakes(here: World) -> None:
    here.instance.instance.configure(hibernating=True)
    ann = hire(here, "ann.sleep")
    await here.cycle()
    assert here.user("ann.sleep@contoso.com") is None
    assert (await here.services.jobs.get(fresh=True)).quarantine is None
    waiting = sum((await here.held.lengths(["user-events"])).values())
    assert waiting or (await here.services.escrows.counts()).get("retry")

    here.instance.instance.configure(hibernating=False)
    await here.later(900)
    await here.cycle()
    assert record_of(here, "ann.sleep")["active"] == "true"
    assert (await here.ended(ann))[0] == "success"


async def test_a_login_page_with_status_200_is_not_believed(here: World) -> None:
    here.instance.instance.configure(login_page=True)
    hire(here, "ann.page")
    await here.cycle()
    joins = [join async for join in here.services.joins.scan("user")]
    assert len(joins) == len([row for row in here.rows("sys_user").values() if "@" in row["user_name"]])
    here.instance.instance.configure(login_page=False)
    await here.services.operations.restart("QuarantineState")
    await here.later(900)
    await here.cycle()
    assert record_of(here, "ann.page")["active"] == "true"


@pytest.mark.parametrize(
    ("fault", "number"),
    [("throttle_next", 3), ("ignore_next", 2), ("fail_next", 2), ("drop_next", 2), ("cancel_next", 1), ("fail_items_next", 2)],
)
async def test_requests_that_are_refused_for_now_are_sent_again(here: World, fault: str, number: int) -> None:
    names = [f"{fault.replace('_', '.')}{index}" for index in range(4)]
    start = here.instance.instance.commits.last
    here.instance.instance.configure(**{fault: number})
    for name in names:
        hire(here, name)
    await here.cycle()
    await here.later(400)
    for name in names:
        assert record_of(here, name)["active"] == "true"
    assert len(_creations(here, start)) == len(names)
    assert (await here.services.jobs.get(fresh=True)).quarantine is None


async def test_a_write_whose_answer_is_lost_is_read_before_it_is_written_again(here: World) -> None:
    start = here.instance.instance.commits.last
    here.instance.instance.configure(lose_answers_next=1)
    ann = hire(here, "ann.lost", jobTitle="once")
    await here.cycle()
    join = await here.services.joins.get("user", ann)
    assert join.intent is not None
    assert len(_creations(here, start)) == 1

    await here.later(400)
    assert len(_creations(here, start)) == 1
    join = await here.services.joins.get("user", ann)
    assert (join.sys_id, join.intent) == (record_of(here, "ann.lost")["sys_id"], None)
    here.tenant.tenant.update(ann, {"jobTitle": "twice"})
    await here.cycle()
    assert record_of(here, "ann.lost")["title"] == "twice"


async def test_a_change_whose_answer_is_lost_arrives_once(here: World) -> None:
    ann = hire(here, "ann.changed", jobTitle="one")
    await here.cycle()
    here.instance.instance.configure(lose_answers_next=1)
    here.tenant.tenant.update(ann, {"jobTitle": "two"})
    await here.cycle()
    here.tenant.tenant.update(ann, {"jobTitle": "three"})
    await here.cycle()
    await here.later(400)
    assert record_of(here, "ann.changed")["title"] == "three"
    assert (await here.services.joins.get("user", ann)).dirty is False


async def test_a_membership_whose_answer_is_lost_is_made_once(here: World) -> None:
    ann = hire(here, "ann.member")
    team = here.tenant.tenant.create_group("Lost answers")
    await here.cycle()
    here.instance.instance.configure(lose_answers_next=1)
    here.tenant.tenant.add_members(team, [ann])
    await here.cycle()
    await here.later(400)
    assert memberships(here, "Lost answers") == ["ann.member@contoso.com"]


async def test_a_batch_that_is_cut_at_its_limit_is_finished(here: World) -> None:
    start = here.instance.instance.commits.last
    here.instance.instance.configure(batch_item_limit=3)
    for number in range(10):
        hire(here, f"cut{number}")
    await here.cycle()
    await here.later(400)
    here.instance.instance.configure(batch_item_limit=None)
    for number in range(10):
        assert record_of(here, f"cut{number}")["active"] == "true"
    assert len(_creations(here, start)) == 10


async def test_graph_that_throttles_only_delays(here: World) -> None:
    ann = hire(here, "ann.throttled")
    here.tenant.tenant.faults = replace(here.tenant.tenant.faults, throttle_next=4, throttle_retry_after=7)
    await here.cycle()
    await here.later(60)
    assert here.tenant.tenant.faults.throttle_next == 0
    assert record_of(here, "ann.throttled")["active"] == "true"
    assert (await here.ended(ann))[0] == "success"


async def test_graph_that_fails_only_delays(here: World) -> None:
    hire(here, "ann.failed")
    here.tenant.tenant.faults = replace(here.tenant.tenant.faults, fail_next=(500, 503, 504, 502))
    await here.cycle()
    await here.later(60)
    assert here.tenant.tenant.faults.fail_next == ()
    assert record_of(here, "ann.failed")["active"] == "true"


async def test_a_delta_token_that_expired_starts_a_full_round_that_finds_what_changed(here: World) -> None:
    ann = hire(here, "ann.expired", jobTitle="old")
    await here.cycle()
    before = await here.services.watermarks.get("users")
    here.tenant.tenant.update(ann, {"jobTitle": "new"})
    here.api_tokens.expire()
    await here.cycle()
    mark = await here.services.watermarks.get("users")
    assert mark.generation == before.generation + 1
    assert mark.complete == mark.generation
    assert record_of(here, "ann.expired")["title"] == "new"


async def test_a_sync_state_that_graph_has_forgotten_starts_a_full_round(here: World) -> None:
    ann = hire(here, "ann.forgotten", jobTitle="old")
    await here.cycle()
    before = await here.services.watermarks.get("users")
    here.tenant.tenant.update(ann, {"jobTitle": "new"})
    here.api_tokens.reset()
    await here.cycle()
    mark = await here.services.watermarks.get("users")
    assert mark.complete == before.generation + 1
    assert record_of(here, "ann.forgotten")["title"] == "new"


async def test_delta_pages_that_repeat_or_are_empty_change_nothing(here: World) -> None:
    ann = hire(here, "ann.replayed")
    team = here.tenant.tenant.create_group("Replayed", members=[ann])
    await here.cycle()
    here.tenant.tenant.faults = replace(here.tenant.tenant.faults, delta_replays=1.0, empty_pages=0.5)
    here.tenant.tenant.remove_members(team, [ann])
    await here.cycle()
    start = here.instance.instance.commits.last
    await here.cycle()
    await here.cycle()
    assert here.instance.instance.commits.last == start
    assert memberships(here, "Replayed") == []
    here.tenant.tenant.faults = replace(here.tenant.tenant.faults, delta_replays=0.0, empty_pages=0.0)


async def test_columns_that_servicenow_drops_in_silence_are_not_believed(here: World) -> None:
    rules = here.instance.instance.config.access_rules
    frozen = tuple(replace(rule, frozen_columns=frozenset({"sys_user.title"})) for rule in rules)
    here.instance.instance.configure(access_rules=frozen)
    ann = hire(here, "ann.dropped", jobTitle="dropped", city="Lyon")
    await here.cycle()
    assert (record_of(here, "ann.dropped")["title"], record_of(here, "ann.dropped")["city"]) == ("", "Lyon")
    assert await here.ended(ann) == ("warning", "Warning")
    entry = (await here.log_of(ann))[0]
    assert "title" in entry["provisioningStatusInfo"]["errorInformation"]["reason"]
    assert "title" not in {modified["displayName"] for modified in entry["modifiedProperties"]}

    here.instance.instance.configure(access_rules=rules)
    here.tenant.tenant.update(ann, {"city": "Paris"})
    await here.cycle()
    assert (record_of(here, "ann.dropped")["title"], record_of(here, "ann.dropped")["city"]) == ("dropped", "Paris")


async def test_a_change_that_servicenow_drops_in_silence_is_written_when_it_may_be(here: World) -> None:
    ann = hire(here, "ann.frozen", jobTitle="old", city="Lyon")
    await here.cycle()
    rules = here.instance.instance.config.access_rules
    frozen = tuple(replace(rule, frozen_columns=frozenset({"sys_user.title"})) for rule in rules)
    here.instance.instance.configure(access_rules=frozen)
    here.tenant.tenant.update(ann, {"jobTitle": "new"})
    await here.cycle()
    assert record_of(here, "ann.frozen")["title"] == "old"
    assert await here.ended(ann) == ("warning", "Warning")

    here.instance.instance.configure(access_rules=rules)
    here.tenant.tenant.update(ann, {"city": "Paris"})
    await here.cycle()
    assert record_of(here, "ann.frozen")["title"] == "new"


async def test_a_disable_that_servicenow_drops_in_silence_is_a_failure_and_is_repeated(here: World) -> None:
    ann = hire(here, "ann.still")
    await here.cycle()
    rules = here.instance.instance.config.access_rules
    frozen = tuple(replace(rule, frozen_columns=frozenset({"sys_user.active"})) for rule in rules)
    here.instance.instance.configure(access_rules=frozen)
    here.tenant.tenant.update(ann, {"accountEnabled": False})
    await here.cycle()
    assert record_of(here, "ann.still")["active"] == "true"
    assert await here.ended(ann) == ("failure", "InsufficientRights")

    here.instance.instance.configure(access_rules=rules)
    await here.later(120)
    await here.cycle()
    assert record_of(here, "ann.still")["active"] == "false"


async def test_a_table_that_shows_nothing_proves_nothing(here: World) -> None:
    here.insert("sys_user", user_name="ann.hidden@contoso.com", title="by hand")
    rules = here.instance.instance.config.access_rules
    hidden = tuple(replace(rule, hidden_rows=(("sys_user", "sys_idISNOTEMPTY"),)) for rule in rules)
    here.instance.instance.configure(access_rules=hidden)
    here.clock.advance(600)
    start = here.instance.instance.commits.last
    hire(here, "ann.hidden", jobTitle="matched")
    await here.cycle()
    assert _creations(here, start) == []
    here.instance.instance.configure(access_rules=rules)
    await here.later(600)
    await here.cycle()
    assert record_of(here, "ann.hidden")["title"] == "matched"
