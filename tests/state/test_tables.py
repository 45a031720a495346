"""Table Storage's verbs: compare-and-set, transactions with a row that is not as expected, pages."""

from __future__ import annotations

import asyncio

import pytest

from sandbox.processes import free_port
from shared.errors import UnavailableError
from shared.settings import Storage
from shared.state.tables import TABLES, TRANSACTION, Exists, Operation, Stale, Tables, row

TABLE = "job"


async def test_a_replace_needs_the_etag_of_what_was_read(tables: Tables) -> None:
    first = await tables.insert(TABLE, row("p", "k", value=1))
    second = await tables.replace(TABLE, row("p", "k", value=2), first)

    with pytest.raises(Stale):
        await tables.replace(TABLE, row("p", "k", value=3), first)

    found = await tables.get(TABLE, "p", "k")
    assert found is not None
    assert (found["value"], found["etag"]) == (2, second)


async def test_of_many_compare_and_sets_at_once_one_wins(tables: Tables, other: Tables) -> None:
    etag = await tables.insert(TABLE, row("p", "k", value=0))

    async def attempt(number: int) -> bool:
        try:
            await (tables if number % 2 else other).replace(TABLE, row("p", "k", value=number), etag)
        except Stale:
            return False
        return True

    won = await asyncio.gather(*(attempt(number) for number in range(1, 11)))
    found = await tables.get(TABLE, "p", "k")
    assert found is not None
    assert won.count(True) == 1
    assert found["value"] == won.index(True) + 1


async def test_a_replace_of_a_row_that_is_gone_is_stale(tables: Tables) -> None:
    etag = await tables.insert(TABLE, row("p", "k"))
    await tables.delete(TABLE, "p", "k")

    with pytest.raises(Stale):
        await tables.replace(TABLE, row("p", "k"), etag)
    await tables.delete(TABLE, "p", "k", etag)
    assert await tables.get(TABLE, "p", "k") is None


async def test_a_delete_with_an_etag_spares_a_row_that_has_changed(tables: Tables) -> None:
    etag = await tables.insert(TABLE, row("p", "k"))
    await tables.upsert(TABLE, row("p", "k"))
    with pytest.raises(Stale):
        await tables.delete(TABLE, "p", "k", etag)
    assert await tables.get(TABLE, "p", "k") is not None


async def test_a_second_insert_says_that_the_row_exists_and_leaves_it(tables: Tables) -> None:
    await tables.insert(TABLE, row("p", "k", value=1))
    with pytest.raises(Exists):
        await tables.insert(TABLE, row("p", "k", value=2))
    found = await tables.get(TABLE, "p", "k")
    assert found is not None
    assert found["value"] == 1


async def test_a_merge_keeps_what_it_does_not_name_and_an_upsert_does_not(tables: Tables) -> None:
    await tables.merge(TABLE, row("p", "k", one=1, two=2))
    await tables.merge(TABLE, row("p", "k", two=3))
    found = await tables.get(TABLE, "p", "k")
    assert found is not None
    assert (found["one"], found["two"]) == (1, 3)

    await tables.upsert(TABLE, row("p", "k", two=4))
    found = await tables.get(TABLE, "p", "k")
    assert found is not None
    assert "one" not in found


async def test_a_transaction_is_all_or_nothing(tables: Tables) -> None:
    etag = await tables.insert(TABLE, row("p", "b", value=1))
    await tables.upsert(TABLE, row("p", "b", value=2))

    with pytest.raises(Stale):
        await tables.transact(TABLE, [Operation("insert", row("p", "a")), Operation("replace", row("p", "b"), etag)])
    assert await tables.get(TABLE, "p", "a") is None

    with pytest.raises(Exists):
        await tables.transact(TABLE, [Operation("insert", row("p", "a")), Operation("insert", row("p", "b"))])
    assert await tables.get(TABLE, "p", "a") is None

    with pytest.raises(Stale):
        await tables.transact(TABLE, [Operation("insert", row("p", "a")), Operation("replace", row("p", "missing"), etag)])
    assert await tables.get(TABLE, "p", "a") is None


async def test_one_stale_row_does_not_hold_up_the_rest(tables: Tables) -> None:
    etags = [await tables.insert(TABLE, row("p", f"k{number}", value=0)) for number in range(5)]
    await tables.upsert(TABLE, row("p", "k2", value=9))
    operations = [Operation("replace", row("p", f"k{number}", value=1), etag) for number, etag in enumerate(etags)]
    operations.append(Operation("insert", row("p", "k0")))
    operations.append(Operation("insert", row("q", "k0", value=1)))

    results = await tables.apply(TABLE, operations)

    assert [type(result) for result in results] == [str, str, Stale, str, str, Exists, str]
    found = await tables.query(TABLE, "PartitionKey eq @p", {"p": "p"})
    assert [entry["value"] for entry in found] == [1, 1, 9, 1, 1]
    assert [entry["etag"] for entry in found] == [
        results[0],
        results[1],
        found[2]["etag"],
        results[3],
        results[4],
    ]


async def test_the_same_row_twice_in_one_call_is_written_in_order(tables: Tables) -> None:
    results = await tables.apply(
        TABLE,
        [
            Operation("insert", row("p", "k", value=1)),
            Operation("upsert", row("p", "other", value=1)),
            Operation("insert", row("p", "k", value=2)),
            Operation("merge", row("p", "other", value=2)),
        ],
    )
    assert [type(result) for result in results] == [str, str, Exists, str]
    assert [entry["value"] for entry in await tables.query(TABLE)] == [1, 2]


async def test_more_rows_than_a_transaction_holds_take_as_few_requests_as_possible(tables: Tables) -> None:
    operations = [Operation("upsert", row(f"p{number % 2}", f"k{number:04d}")) for number in range(2 * TRANSACTION + 2)]
    results = await tables.apply(TABLE, operations)
    assert all(isinstance(result, str) and result for result in results)
    assert tables.requests["transaction"] == 4
    assert len(await tables.query(TABLE)) == len(operations)


async def test_a_table_that_is_missing_is_made_by_every_verb(storage: str) -> None:
    tables = Tables.open(Storage(storage))
    try:
        assert await tables.get("missing1", "p", "k") is None
        assert await tables.query("missing2") == []
        assert await tables.page("missing3", "", {}, size=10, token=None) == ([], None)
        await tables.insert("missing4", row("p", "k"))
        await tables.merge("missing5", row("p", "k"))
        await tables.apply("missing6", [Operation("insert", row("p", "k")), Operation("insert", row("q", "k"))])
        await tables.delete("missing7", "p", "k")
        for number in range(1, 7):
            await tables.upsert(f"missing{number}", row("p", "k2"))
            assert await tables.get(f"missing{number}", "p", "k2")
        await tables.ensure()
        assert await asyncio.gather(*(tables.get(table, "none", "none") for table in TABLES)) == [None] * len(TABLES)
    finally:
        await tables.aclose()


async def test_many_point_reads_come_in_the_order_of_their_keys(tables: Tables) -> None:
    await tables.apply(TABLE, [Operation("insert", row("p", f"k{number:03d}")) for number in range(0, 60, 2)])
    found = await tables.get_many(TABLE, [("p", f"k{number:03d}") for number in reversed(range(60))])
    assert [entry["RowKey"] if entry else None for entry in found] == [
        f"k{number:03d}" if number % 2 == 0 else None for number in reversed(range(60))
    ]


async def test_values_in_a_filter_are_values_whatever_they_hold(tables: Tables) -> None:
    strange = "O'Brien' or PartitionKey ne '"
    await tables.insert(TABLE, row("p", "1", name=strange))
    await tables.insert(TABLE, row("p", "2", name="Smith"))
    found = await tables.query(TABLE, "name eq @name", {"name": strange})
    assert [entry["RowKey"] for entry in found] == ["1"]


async def test_pages_go_on_where_the_one_before_ended(tables: Tables) -> None:
    await tables.apply(TABLE, [Operation("insert", row("p", f"k{number:03d}")) for number in range(25)])
    seen: list[str] = []
    token = None
    while True:
        rows, token = await tables.page(TABLE, "", {}, size=10, token=token)
        assert len(rows) <= 10
        seen += [entry["RowKey"] for entry in rows]
        if token is None:
            break
    assert seen == [f"k{number:03d}" for number in range(25)]


async def test_a_limit_ends_a_query_early(tables: Tables) -> None:
    await tables.apply(TABLE, [Operation("insert", row("p", f"k{number:03d}")) for number in range(25)])
    assert len(await tables.query(TABLE, limit=7)) == 7


async def test_a_storage_that_does_not_answer_is_a_retryable_failure() -> None:
    endpoint = f"http://127.0.0.1:{free_port()}/devstoreaccount1"
    tables = Tables.open(
        Storage(f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=eA==;TableEndpoint={endpoint};")
    )
    try:
        with pytest.raises(UnavailableError, match="Table Storage did not answer"):
            await tables.get(TABLE, "p", "k")
        with pytest.raises(UnavailableError):
            await tables.apply(TABLE, [Operation("insert", row("p", "k"))])
    finally:
        await tables.aclose()


@pytest.mark.filterwarnings("ignore:Testing an element's truth value:DeprecationWarning")  # of azure-data-tables
async def test_a_storage_that_refuses_the_key_is_named_and_the_key_is_not(storage: str) -> None:
    parts = dict(part.partition("=")[::2] for part in storage.strip(";").split(";"))
    parts["AccountKey"] = "bm90LXRoZS1rZXk="
    tables = Tables.open(Storage(";".join(f"{name}={value}" for name, value in parts.items())))
    try:
        with pytest.raises(UnavailableError, match="403") as caught:
            await tables.get(TABLE, "p", "k")
        assert parts["AccountKey"] not in str(caught.value)
    finally:
        await tables.aclose()
