"""A hostile value in any attribute that the mapping reads travels as a value, or is refused with a reason; it never acts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.tenant import Kind
from sandbox.tenant.objects import PROPERTIES
from shared.schema.defaults import default_schema
from shared.schema.mapping import compile_mappings
from tests.security.hostile import HOSTILE
from tests.support.people import hire, memberships, record_of
from tests.support.world import world

if TYPE_CHECKING:
    from tests.support.world import World

#: Source attribute -> the column that is to hold its text as it is.
PLAIN = {
    "givenName": "first_name",
    "surname": "last_name",
    "mail": "email",
    "jobTitle": "title",
    "businessPhones": "phone",
    "mobilePhone": "mobile_phone",
    "streetAddress": "street",
    "city": "city",
    "state": "state",
    "postalCode": "zip",
    "employeeId": "employee_number",
}
#: Source attribute -> the column that refers to a record, of which there is none of that name.
REFERENCES = {
    "department": "department",
    "officeLocation": "location",
    "companyName": "company",
    "employeeOrgData": "cost_center",
}
#: Read for something else than a text: switches, ids, names that are never written, and what a choice list decides.
OTHERS = frozenset(
    {"id", "accountEnabled", "displayName", "userType", "manager", "userPrincipalName", "country", "preferredLanguage"}
)


def _fitted(attribute: str, value: str) -> str:
    """As much of it as the directory takes."""
    rule = PROPERTIES[Kind.USER].get(attribute)
    return value if rule is None else value[: rule[1]]


def _given(attribute: str, value: str) -> Any:
    value = _fitted(attribute, value)
    return {"businessPhones": [value], "employeeOrgData": {"costCenter": value}}.get(attribute, value)


def test_every_attribute_that_the_mapping_reads_is_among_them() -> None:
    users = compile_mappings(default_schema()).users
    assert users is not None
    assert set(users.select) == {*PLAIN, *REFERENCES, *OTHERS}


def _bystanders(here: World) -> dict[str, dict[str, str]]:
    """What is in ServiceNow and none of the app's."""
    return {
        f"{table} {sys_id}": row
        for table in ("sys_user", "sys_user_group", "cmn_department", "cmn_location", "core_company", "cmn_cost_center")
        for sys_id, row in here.rows(table).items()
        if not _is_ours(row)
    }


def _is_ours(row: dict[str, str]) -> bool:
    return row["sys_created_by"] == "entra.provisioning"


async def test_a_hostile_value_in_any_attribute_never_acts(storage: str) -> None:
    async with world(storage) as here:
        before = _bystanders(here)
        named: dict[str, str] = {}
        groups: dict[str, str] = {}
        for number, value in enumerate(HOSTILE):
            for attribute in (*PLAIN, *REFERENCES, "displayName", "country", "preferredLanguage", "userType"):
                hire(here, f"{attribute.lower()}{number}", **{attribute: _given(attribute, value)})
            named[value] = hire(here, f"named{number}", userPrincipalName=f"{value}@contoso.com")
            member = hire(here, f"member{number}")
            groups[value] = here.tenant.tenant.create_group(value, description=value, members=[member, named[value]])
        await here.cycle()
        await here.cycle()

        for number, value in enumerate(HOSTILE):
            for attribute, column in PLAIN.items():
                assert record_of(here, f"{attribute.lower()}{number}")[column] == _fitted(attribute, value), attribute
            for attribute, column in REFERENCES.items():
                assert record_of(here, f"{attribute.lower()}{number}")[column] == "", (attribute, value)
            # What a record is found by is its name to the letter, or keeps its object out with a reason.
            mine = [row for row in here.rows("sys_user").values() if row["user_name"] == f"{value}@contoso.com"]
            assert await _ended_right(here, named[value], len(mine)), value
            crews = [row for row in here.rows("sys_user_group").values() if row["name"] == value]
            assert await _ended_right(here, groups[value], len(crews)), value
            if crews:
                assert crews[0]["description"] == value
                assert len(memberships(here, value)) == 1 + len(mine)
        assert _bystanders(here) == before
        assert here.instance.instance.scripts_evaluated == 0

        # What waits can be listed and asked for again.
        await here.services.waiting.tick()
        await here.services.waiting.retry_all()
        await here.pump()
        assert _bystanders(here) == before
        assert here.instance.instance.scripts_evaluated == 0


async def _ended_right(here: World, object_id: str, records: int) -> bool:
    """Whether an object has its one record and never failed, or has none and the log names the error."""
    ends = [entry["provisioningStatusInfo"] for entry in await here.log_of(object_id)]
    failures = [end["errorInformation"]["errorCode"] for end in ends if end["status"] == "failure"]
    return records == 1 and bool(ends) and not failures if records else all(failures) and bool(failures)
