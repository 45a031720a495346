"""Tables of a rehearsal: what is written is seen by later reads under storage's own rules, and storage never hears of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.state.recorded_tables import RecordedTables
from shared.state.tables import Exists, Operation, Stale, row

if TYPE_CHECKING:
    from shared.state.tables import Tables

_TABLE = "joins"


async def test_writes_are_seen_by_reads_and_queries_and_not_by_storage(tables: Tables) -> None:
    await tables.insert(_TABLE, row("p", "a", number=1, flag=True))
    recorded = RecordedTables(tables)
    etag = str((await recorded.get(_TABLE, "p", "a") or {})["etag"])
    await recorded.replace(_TABLE, row("p", "a", number=5, flag=True), etag)
    await recorded.insert(_TABLE, row("p", "b", number=2, flag=False))
    condition = "PartitionKey eq @p and number ge @least and flag eq true"
    assert [found["RowKey"] for found in await recorded.query(_TABLE, condition, {"p": "p", "least": 3})] == ["a"]
    assert [found["number"] for found in await recorded.query(_TABLE, "PartitionKey eq @p", {"p": "p"}, limit=1)] == [5]
    stored = await tables.query(_TABLE, "PartitionKey eq @p", {"p": "p"})
    assert [(found["RowKey"], found["number"]) for found in stored] == [("a", 1)]
    assert {found["RowKey"] for found in recorded.rows_written(_TABLE)} == {"a", "b"}


async def test_compare_and_set_holds_as_in_storage(tables: Tables) -> None:
    await tables.insert(_TABLE, row("q", "a", number=1))
    recorded = RecordedTables(tables)
    with pytest.raises(Exists):
        await recorded.insert(_TABLE, row("q", "a"))
    with pytest.raises(Stale):
        await recorded.replace(_TABLE, row("q", "a", number=2), "another")
    results = await recorded.apply(_TABLE, [Operation("insert", row("q", "b")), Operation("insert", row("q", "a"))])
    assert isinstance(results[1], Exists)
    assert await recorded.get(_TABLE, "q", "b") is not None


async def test_a_transaction_that_fails_leaves_nothing(tables: Tables) -> None:
    recorded = RecordedTables(tables)
    with pytest.raises(Stale):
        await recorded.transact(_TABLE, [Operation("insert", row("r", "a")), Operation("replace", row("r", "b"), "gone")])
    assert await recorded.get(_TABLE, "r", "a") is None


async def test_a_lease_that_a_worker_holds_does_not_keep_a_rehearsal_waiting(tables: Tables) -> None:
    await tables.insert(_TABLE, row("s", "a", lease_holder="somebody", lease_until="2999-01-01T00:00:00+00:00"))
    found = await RecordedTables(tables).get(_TABLE, "s", "a")
    assert found is not None
    assert found["lease_holder"] == ""


async def test_deleted_rows_are_gone(tables: Tables) -> None:
    await tables.insert(_TABLE, row("t", "a"))
    recorded = RecordedTables(tables)
    await recorded.delete(_TABLE, "t", "a")
    assert await recorded.get(_TABLE, "t", "a") is None
    assert await recorded.query(_TABLE, "PartitionKey eq @p", {"p": "t"}) == []
    assert await tables.get(_TABLE, "t", "a") is not None
