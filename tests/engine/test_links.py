"""Links by hand: seen, adopted even where matching may not, and removed only while the job is paused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.instance.access import SYSTEM
from shared.provisioning.operations import BadRequest
from shared.provisioning.requests import NotNow, Unknown
from tests.support.people import hire, memberships, record_of

if TYPE_CHECKING:
    from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_link_is_shown_as_an_object_connection(here: World) -> None:
    ann = hire(here, "links.ann")
    await here.cycle()
    seen = await here.services.links.see(ann)
    assert (seen["objectId"], seen["sourceAnchor"], seen["objectTypeName"]) == (ann, ann, "user")
    assert seen["targetAnchor"] == record_of(here, "links.ann")["sys_id"]
    assert seen["app"] == {**seen["app"], "state": "linked", "table": "sys_user", "owned": True}


async def test_an_object_without_a_link_is_unknown(here: World) -> None:
    with pytest.raises(Unknown):
        await here.services.links.see("00000000-0000-0000-0000-00000000beef")


async def test_a_protected_account_is_provisioned_once_it_is_linked_by_hand(here: World) -> None:
    robot = here.insert("sys_user", user_name="links.robot@contoso.com", name="Robot", web_service_access_only="true")
    ann = hire(here, "links.robot", jobTitle="Robot keeper")
    await here.cycle()
    assert record_of(here, "links.robot")["title"] == ""
    answer = await here.services.links.adopt(ann, {"targetAnchor": robot})
    assert answer["targetAnchor"] == robot
    await here.pump()
    assert record_of(here, "links.robot")["title"] == "Robot keeper"
    assert await here.services.owners.owner("sys_user", robot) == ann
    assert (await here.services.escrows.counts()) == {}


async def test_a_record_that_matches_by_nothing_is_adopted_and_nobody_is_created(here: World) -> None:
    other = here.insert("sys_user", user_name="somebody.else", name="Somebody Else")
    ann = hire(here, "links.nomatch")
    await here.services.links.adopt(ann, {"targetAnchor": other, "objectTypeName": "User"})
    await here.pump()
    assert record_of(here, "links.nomatch")["sys_id"] == other
    assert here.user("somebody.else") is None


async def test_a_moved_link_takes_the_memberships_along_and_lets_the_old_record_go(here: World) -> None:
    ann = hire(here, "links.moved")
    here.tenant.tenant.create_group("Links moved", members=[ann])
    await here.cycle()
    first = record_of(here, "links.moved")["sys_id"]
    second = here.insert("sys_user", user_name="links.second", name="Second")
    here.instance.instance.update("sys_user", first, {"user_name": "links.first"}, SYSTEM)
    await here.services.links.adopt(ann, {"targetAnchor": second})
    await here.pump()
    assert record_of(here, "links.moved")["sys_id"] == second
    assert "links.moved@contoso.com" in memberships(here, "Links moved")
    assert await here.services.owners.owner("sys_user", first) == ""


async def test_a_record_of_somebody_else_is_refused_and_both_keep_theirs(here: World) -> None:
    ann, bob = hire(here, "links.mine"), hire(here, "links.yours")
    await here.cycle()
    with pytest.raises(NotNow, match="is linked to"):
        await here.services.links.adopt(bob, {"targetAnchor": record_of(here, "links.mine")["sys_id"]})
    assert (await here.services.links.see(ann))["targetAnchor"] == record_of(here, "links.mine")["sys_id"]
    assert (await here.services.links.see(bob))["targetAnchor"] == record_of(here, "links.yours")["sys_id"]
    join = await here.services.joins.get("user", bob)
    assert not join.is_held(here.clock())


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, BadRequest),
        ({"targetAnchor": "not a sys id!"}, BadRequest),
        ({"targetAnchor": "0" * 32}, Unknown),
        ({"targetAnchor": "0" * 32, "objectTypeName": "Device"}, BadRequest),
    ],
)
async def test_a_link_to_nothing_is_refused(here: World, body: dict[str, str], problem: type[Exception]) -> None:
    someone = hire(here, f"links.bad{len(str(body))}{problem.__name__}".lower())
    with pytest.raises(problem):
        await here.services.links.adopt(someone, body)


async def test_a_link_for_an_object_that_graph_does_not_know_is_refused(here: World) -> None:
    with pytest.raises(Unknown):
        await here.services.links.adopt("00000000-0000-0000-0000-00000000beef", {"targetAnchor": "0" * 32})


@pytest.mark.parametrize("name", ["links.named@contoso.com", "somebody", "", "../users", "javascript:gs.getUserID()"])
async def test_an_object_is_named_by_its_id_alone(here: World, name: str) -> None:
    """Graph takes a user principal name for an id: a second link would be made for the same person."""
    links, record = here.services.links, here.insert("sys_user", user_name=f"record of {name}")
    if "@" in name:
        hire(here, name.partition("@")[0])
    with pytest.raises(BadRequest):
        await links.adopt(name, {"targetAnchor": record})
    with pytest.raises(BadRequest):
        await links.see(name)
    with pytest.raises(BadRequest):
        await links.remove(name)


async def test_an_id_is_known_in_any_case(here: World) -> None:
    ann = hire(here, "links.upper")
    await here.cycle()
    assert (await here.services.links.see(ann.upper()))["objectId"] == ann


async def test_a_link_is_removed_only_while_the_job_is_paused_and_twice_is_once(here: World) -> None:
    ann = hire(here, "links.removed")
    await here.cycle()
    sys_id = record_of(here, "links.removed")["sys_id"]
    with pytest.raises(NotNow, match="paused"):
        await here.services.links.remove(ann)
    await here.services.operations.pause()
    try:
        await here.services.links.remove(ann)
        await here.services.links.remove(ann)
        with pytest.raises(Unknown):
            await here.services.links.see(ann)
        assert await here.services.owners.owner("sys_user", sys_id) == ""
        assert record_of(here, "links.removed")["sys_id"] == sys_id
    finally:
        await here.services.operations.start()
    here.tenant.tenant.update(ann, {"jobTitle": "Back again"})
    await here.cycle()
    assert (await here.services.links.see(ann))["targetAnchor"] == sys_id
    assert record_of(here, "links.removed")["title"] == "Back again"


async def test_an_object_in_other_hands_is_not_linked(here: World) -> None:
    ann = hire(here, "links.busy")
    other = here.insert("sys_user", user_name="links.other", name="Other")
    ((join, taken),) = await here.services.joins.take([await here.services.joins.get("user", ann)], "another worker")
    assert taken.lease is not None
    with pytest.raises(NotNow) as refused:
        await here.services.links.adopt(ann, {"targetAnchor": other, "objectTypeName": "User"})
    assert refused.value.retry_after is not None
    await here.services.joins.write([(join, taken.lease)], keep=False)
