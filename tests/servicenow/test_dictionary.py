from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.servicenow.dictionary import Column, TableDictionary, load_dictionary, verify_columns
from tests.servicenow.scripted import Script, client_of, failure, rows

if TYPE_CHECKING:
    import httpx


def entry(table: str, element: str, **properties: str) -> dict[str, str]:
    plain = {
        "internal_type": "string",
        "max_length": "40",
        "reference": "",
        "mandatory": "false",
        "read_only": "false",
        "unique": "false",
    }
    return {"sys_id": f"{table}.{element}", "name": table, "element": element, **plain, **properties}


def by_table(answers: dict[str, httpx.Response]) -> Any:
    return lambda request: answers[request.url.path.rpartition("/")[2]]


async def test_columns_come_with_their_properties_and_those_of_parent_tables() -> None:
    script = Script(
        rows({"sys_id": "1", "name": "u_person", "super_class.name": "sys_user"}),
        rows({"sys_id": "2", "name": "sys_user", "super_class.name": ""}),
        rows(
            entry("sys_user", ""),
            entry("sys_user", "user_name", unique="true", mandatory="true"),
            entry("sys_user", "manager", internal_type="reference", reference="sys_user", max_length="32"),
            entry("sys_user", "title"),
            entry("u_person", "title", max_length="100", read_only="true"),
            entry("u_person", "u_badge", max_length=""),
        ),
    )
    async with client_of(script) as client:
        loaded = await load_dictionary(client, ["u_person"])
    person = loaded["u_person"]
    assert (person.source, person.parents) == ("sys_dictionary", ("sys_user",))
    assert person.columns["user_name"] == Column("user_name", "string", 40, mandatory=True, unique=True)
    assert person.columns["manager"].reference == "sys_user"
    assert person.columns["title"] == Column("title", "string", 100, read_only=True)
    assert person.columns["u_badge"].max_length is None
    assert "" not in person


async def test_hidden_parents_leave_the_tables_own_columns() -> None:
    answers = {"sys_db_object": failure(403, "Operation Failed", "ACL"), "sys_dictionary": rows(entry("sys_user", "email"))}
    async with client_of(by_table(answers)) as client:
        loaded = await load_dictionary(client, ["sys_user"])
    assert set(loaded["sys_user"].columns) == {"email"}


async def test_an_unreadable_dictionary_is_replaced_by_a_records_columns_and_says_so() -> None:
    for denied in (failure(403, "Insufficient rights to query records"), rows(), rows({"sys_id": "1"})):
        answers = {
            "sys_db_object": rows(),
            "sys_dictionary": denied,
            "sys_user": rows({"sys_id": "1", "email": "", "title": "x"}),
        }
        async with client_of(by_table(answers)) as client:
            loaded = await load_dictionary(client, ["sys_user"])
        assert loaded["sys_user"].source == "record"
        assert set(loaded["sys_user"].columns) == {"sys_id", "email", "title"}


async def test_a_table_that_shows_nothing_has_no_columns_and_says_so() -> None:
    answers = {"sys_db_object": rows(), "sys_dictionary": rows(), "u_none": failure(400, "Invalid table u_none")}
    async with client_of(by_table(answers)) as client:
        loaded = await load_dictionary(client, ["u_none"])
    assert loaded["u_none"].source == "none"


def test_faults_name_missing_read_only_and_misdirected_columns() -> None:
    columns = {
        "email": Column("email"),
        "sys_id": Column("sys_id", read_only=True),
        "department": Column("department", reference="cmn_department"),
        "title": Column("title"),
    }
    dictionary = TableDictionary("sys_user", columns, "sys_dictionary")
    faults = verify_columns(
        dictionary,
        read=["email", "u_entra_id", "manager.user_name"],
        written=["email", "sys_id", "u_entra_id"],
        references={"department": "cmn_location", "title": "cmn_department"},
    )
    assert [(fault.column, fault.problem) for fault in faults] == [
        ("u_entra_id", "does not exist, or is hidden from us"),
        ("manager", "does not exist, or is hidden from us"),
        ("sys_id", "is read-only"),
        ("department", "refers to cmn_department, not to cmn_location"),
        ("title", "is no reference, though cmn_department is expected"),
    ]


def test_what_is_in_order_has_no_fault_and_a_sample_proves_no_reference_wrong() -> None:
    sample = TableDictionary("sys_user", {"department": Column("department")}, "record")
    assert verify_columns(sample, read=["department"], written=["department"], references={"department": "cmn_department"}) == []
