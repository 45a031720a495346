"""When and how attributes flow: once, always, never resting, chosen to be unique, fitted to their columns."""

from __future__ import annotations

from sandbox.instance.access import SYSTEM
from shared.events import ObjectsChanged
from tests.support.mapped import column, fields, options, remapped
from tests.support.people import hire, memberships, record_of
from tests.support.world import World, world


async def _look(here: World, object_id: str) -> None:
    """An event without a change."""
    event = ObjectsChanged(kind="user", ids=(object_id,), reason="scope", occurred_at=here.clock())
    await here.services.queues.send(event)
    await here.pump()


def _update(here: World, name: str, **values: str) -> None:
    here.instance.instance.update("sys_user", record_of(here, name)["sys_id"], values, SYSTEM)


async def test_an_expression_that_never_rests_does_not_make_every_event_a_write(storage: str) -> None:
    async with world(storage, mappings=remapped(column("source", "Now()"))) as here:
        ann = hire(here, "ann", jobTitle="Engineer")
        await here.cycle()
        first = record_of(here, "ann")["source"]
        requests = here.requests()
        here.clock.advance(90)
        await _look(here, ann)
        assert here.requests() == requests
        assert record_of(here, "ann")["source"] == first
        here.tenant.tenant.update(ann, {"jobTitle": "Lead"})
        await here.cycle()
        assert record_of(here, "ann")["title"] == "Lead"
        assert record_of(here, "ann")["source"] != first


async def test_flow_always_goes_along_with_every_export_and_flow_when_changed_does_not(storage: str) -> None:
    mappings = remapped(fields("city", flowBehavior="FlowAlways"))
    async with world(storage, mappings=mappings) as here:
        ann = hire(here, "ann", jobTitle="Engineer", city="Lyon", state="Rhone")
        await here.cycle()
        _update(here, "ann", city="Paris", state="Seine")
        here.tenant.tenant.update(ann, {"jobTitle": "Lead"})
        await here.cycle()
        row = record_of(here, "ann")
        assert (row["title"], row["city"], row["state"]) == ("Lead", "Lyon", "Seine")


async def test_a_unique_value_is_the_first_that_nobody_has_and_stays(storage: str) -> None:
    expression = 'SelectUniqueValue(Join("", "e-", [surname]), Join("", "e-", [surname], "-2"), Join("", "e-", [surname], "-3"))'
    async with world(storage, mappings=remapped(column("employee_number", expression))) as here:
        here.insert("sys_user", user_name="somebody", employee_number="E-Sample")
        ann, bob = hire(here, "ann"), hire(here, "bob")
        await here.cycle()
        chosen = {record_of(here, "ann")["employee_number"], record_of(here, "bob")["employee_number"]}
        assert chosen == {"e-Sample-2", "e-Sample-3"}
        before = record_of(here, "ann")["employee_number"]
        here.tenant.tenant.update(ann, {"jobTitle": "Lead"})
        await here.cycle()
        assert record_of(here, "ann")["employee_number"] == before
        cyd = hire(here, "cyd")
        await here.cycle()
        assert here.user("cyd@contoso.com") is None
        assert (await here.ended(cyd))[0] == "failure"
        del bob


async def test_a_matched_record_keeps_the_value_that_would_be_chosen_for_a_new_one(storage: str) -> None:
    async with world(storage, mappings=remapped(column("employee_number", 'SelectUniqueValue("1", "2")'))) as here:
        here.insert("sys_user", user_name="ann@contoso.com", employee_number="77")
        hire(here, "ann")
        await here.cycle()
        assert record_of(here, "ann")["employee_number"] == "77"


async def test_values_of_the_wrong_type_are_left_out_and_said(storage: str) -> None:
    mappings = remapped(column("notification", "[jobTitle]"), column("vip", "[city]"))
    async with world(storage, mappings=mappings) as here:
        ann = hire(here, "ann", jobTitle="many", mobilePhone="1")
        await here.cycle()
        row = record_of(here, "ann")
        assert row["notification"] == "2"
        assert (await here.ended(ann))[0] == "warning"


async def test_a_list_where_one_value_fits_fails_alone_and_names_the_column(storage: str) -> None:
    async with world(storage, mappings=remapped(column("title", "[otherMails]"))) as here:
        ann = hire(here, "ann", otherMails=["a@contoso.com", "b@contoso.com"])
        hire(here, "bob", otherMails=["b@contoso.com"])
        await here.cycle()
        assert here.user("ann@contoso.com") is None
        assert await here.ended(ann) == ("failure", "SchemaPropertyCanOnlyAcceptValue")
        assert record_of(here, "bob")["title"] == "b@contoso.com"


async def test_values_are_only_added_where_the_mapping_says_so(storage: str) -> None:
    mappings = remapped(column("source", "[jobTitle]", flowType="MultiValueAddOnly"))
    async with world(storage, mappings=mappings) as here:
        ann = hire(here, "ann", jobTitle="one")
        await here.cycle()
        _update(here, "ann", source="theirs,one")
        here.tenant.tenant.update(ann, {"jobTitle": "two"})
        await here.cycle()
        assert record_of(here, "ann")["source"] == "theirs,one,two"


async def test_members_are_only_added_where_the_mapping_says_so(storage: str) -> None:
    mappings = remapped(fields("members", flowType="MultiValueAddOnly"), kind="Group")
    async with world(storage, mappings=mappings) as here:
        people = [hire(here, f"p{number}") for number in range(2)]
        team = here.tenant.tenant.create_group("Team", members=people[:1])
        await here.cycle()
        here.tenant.tenant.remove_members(team, people[:1])
        here.tenant.tenant.add_members(team, people[1:])
        await here.cycle()
        assert memberships(here, "Team") == ["p0@contoso.com", "p1@contoso.com"]


async def test_a_disable_can_take_memberships_and_set_columns_and_a_return_brings_them_back(storage: str) -> None:
    mappings = remapped(options(OnDisable="disable; removeMemberships; set title=Former employee"))
    async with world(storage, mappings=mappings) as here:
        ann = hire(here, "ann", jobTitle="Engineer")
        here.tenant.tenant.create_group("Team", members=[ann])
        await here.cycle()
        here.tenant.tenant.update(ann, {"accountEnabled": False})
        await here.cycle()
        row = record_of(here, "ann")
        assert (row["active"], row["title"]) == ("false", "Former employee")
        assert memberships(here, "Team") == []
        here.tenant.tenant.update(ann, {"accountEnabled": True})
        await here.cycle()
        row = record_of(here, "ann")
        assert (row["active"], row["title"]) == ("true", "Engineer")
        assert memberships(here, "Team") == ["ann@contoso.com"]


async def test_a_disable_that_only_sets_a_column_leaves_the_account_active(storage: str) -> None:
    mappings = remapped(options(OnDisable="set title=On leave"))
    async with world(storage, mappings=mappings) as here:
        ann = hire(here, "ann", jobTitle="Engineer")
        await here.cycle()
        here.tenant.tenant.update(ann, {"accountEnabled": False})
        await here.cycle()
        row = record_of(here, "ann")
        assert (row["active"], row["locked_out"], row["title"]) == ("true", "false", "On leave")


async def test_a_soft_delete_that_does_nothing_leaves_the_record_as_it_was(storage: str) -> None:
    mappings = remapped(options(OnSoftDelete="nothing", OnDelete="disable; set title=Gone"))
    async with world(storage, mappings=mappings) as here:
        ann = hire(here, "ann", jobTitle="Engineer")
        await here.cycle()
        here.tenant.tenant.delete(ann)
        await here.cycle()
        assert (record_of(here, "ann")["active"], record_of(here, "ann")["title"]) == ("true", "Engineer")
        here.tenant.tenant.purge(ann)
        await here.cycle()
        assert (record_of(here, "ann")["active"], record_of(here, "ann")["title"]) == ("false", "Gone")


async def test_a_default_is_sent_on_creation_only(storage: str) -> None:
    async with world(storage, mappings=remapped(fields("title", defaultValue="Colleague"))) as here:
        ann = hire(here, "ann")
        await here.cycle()
        assert record_of(here, "ann")["title"] == "Colleague"
        here.tenant.tenant.update(ann, {"city": "Lyon"})
        await here.cycle()
        assert record_of(here, "ann")["title"] == "Colleague"


async def test_a_mapping_that_would_blank_the_matching_attribute_is_stopped(storage: str) -> None:
    mappings = remapped(column("user_name", 'IIF([jobTitle] = "gone", "", [userPrincipalName])', matchingPriority=1))
    async with world(storage, mappings=mappings) as here:
        ann = hire(here, "ann", jobTitle="Engineer")
        await here.cycle()
        here.tenant.tenant.update(ann, {"jobTitle": "gone"})
        await here.cycle()
        assert record_of(here, "ann")["title"] == "Engineer"
        assert await here.ended(ann) == ("failure", "EntryJoiningPropertyValueIsMissing")
