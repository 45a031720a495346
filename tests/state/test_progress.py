"""Watermarks, progress and the log."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.state.log import LogEntry, ProvisioningLog
from shared.state.progress import Progress, ProgressRows, round_key
from shared.state.watermarks import Watermark, Watermarks

if TYPE_CHECKING:
    from shared.state.tables import Tables
    from tests.state.conftest import Clock


async def test_a_chain_that_never_ran_is_idle_at_generation_0(tables: Tables) -> None:
    assert await Watermarks(tables).get("users") == Watermark("users")


async def test_a_watermark_comes_back_as_it_was_moved(tables: Tables, clock: Clock) -> None:
    watermarks = Watermarks(tables)
    moved = await watermarks.move(
        Watermark("users"),
        generation=2,
        page=3,
        link="https://graph.microsoft.com/v1.0/users/delta?$skiptoken=é",
        phase="settling",
        full=True,
        wants_full=True,
        again=True,
        repeat=True,
        selection="s",
        cycle_id="c",
        complete=1,
        started_at=clock(),
        heartbeat=clock() + timedelta(seconds=1),
    )
    assert moved is not None
    assert await watermarks.get("users") == moved
    assert (await watermarks.get("groups")).generation == 0


async def test_a_long_link_survives_and_a_shorter_one_leaves_nothing_of_it(tables: Tables) -> None:
    watermarks = Watermarks(tables)
    link = "https://graph.microsoft.com/v1.0/users/delta?$skiptoken=" + "aé" * 60_000
    mark = await watermarks.move(Watermark("users"), link=link, generation=1)
    assert mark is not None
    assert (await watermarks.get("users")).link == link
    assert await watermarks.move(mark, link="short") is not None
    assert (await watermarks.get("users")).link == "short"


async def test_a_second_chain_finds_the_watermark_moved_and_ends(tables: Tables, other: Tables) -> None:
    mine, theirs = Watermarks(tables), Watermarks(other)
    mark = await mine.move(Watermark("users"), generation=1, page=0)
    assert mark is not None
    results = await asyncio.gather(mine.move(mark, page=1), theirs.move(mark, page=1))
    assert sorted(result is None for result in results) == [False, True]
    assert await mine.move(mark, page=2) is None
    assert (await mine.get("users")).page == 1


async def test_of_two_first_starts_one_wins(tables: Tables, other: Tables) -> None:
    results = await asyncio.gather(*(Watermarks(store).move(Watermark("groups"), generation=1) for store in (tables, other)))
    assert sorted(result is None for result in results) == [False, True]


async def test_a_chunk_that_is_processed_twice_counts_once(tables: Tables) -> None:
    progress, key = ProgressRows(tables), round_key("users", 4)
    await progress.announce(key, [("0-0", 100), ("0-1", 50)])
    await progress.done(key, "0-0", 100, {"created": 90, "skipped": 10})
    await progress.done(key, "0-0", 100, {"unchanged": 90, "skipped": 10})
    await progress.announce(key, [("0-0", 100), ("0-1", 50), ("1-0", 7)])
    await progress.done(round_key("users", 5), "0-0", 1, {"created": 1})

    found = await progress.sum(key)
    assert found == Progress(3, 1, 0, 157, 100, {"unchanged": 90, "skipped": 10})
    assert not found.is_settled

    await progress.done(key, "0-1", 50, {"created": 50})
    await progress.done(key, "1-0", 7, {"created": 7})
    found = await progress.sum(key)
    assert found.is_settled
    assert found.outcomes == {"unchanged": 90, "skipped": 10, "created": 57}


async def test_a_chunk_done_before_it_was_announced_stays_done(tables: Tables) -> None:
    progress, key = ProgressRows(tables), round_key("groups", 1)
    await progress.done(key, "0-0", 3, {"added": 3})
    await progress.announce(key, [("0-0", 3)])
    assert (await progress.sum(key)).is_settled


def entry(clock: Clock, minutes: float, object_id: str = "ann", text: str = "", *, status: str = "success") -> LogEntry:
    number = f"{minutes:g}"
    document = {"id": number, "text": text, "provisioningStatusInfo": {"status": status}}
    return LogEntry(clock() + timedelta(minutes=minutes), f"change-{number}", object_id, document)


async def test_the_log_is_read_newest_first_page_by_page_over_hours(tables: Tables, clock: Clock) -> None:
    log = ProvisioningLog(tables)
    minutes = [number * 17 for number in range(25)]
    await log.write([entry(clock, number) for number in minutes])

    seen: list[str] = []
    token = None
    while True:
        page, token = await log.page(size=7, token=token)
        assert len(page) <= 7
        seen += [document["id"] for document in page]
        if token is None:
            break
    assert seen == [f"{number:g}" for number in reversed(minutes)]

    page, _ = await log.page(size=100, token=None, since=clock() + timedelta(minutes=17 * 20))
    assert [document["id"] for document in page] == [f"{number:g}" for number in reversed(minutes[20:])]


async def test_the_log_of_one_object_is_found_newest_first(tables: Tables, clock: Clock) -> None:
    log = ProvisioningLog(tables)
    await log.write([entry(clock, number, "ann" if number % 2 else "ann2") for number in range(100)])
    found = await log.of_object("ann", limit=10)
    assert [document["id"] for document in found] == [f"{number}" for number in range(99, 79, -2)]
    assert await log.of_object("nobody", limit=10) == []


async def test_an_entry_that_is_written_again_is_one_entry(tables: Tables, clock: Clock) -> None:
    log = ProvisioningLog(tables)
    await log.write([entry(clock, 1, text="first")])
    await log.write([entry(clock, 1, text="second")])
    page, _ = await log.page(size=10, token=None)
    assert [document["text"] for document in page] == ["second"]
    assert len(await log.of_object("ann", limit=10)) == 1


async def test_a_long_document_comes_back_whole(tables: Tables, clock: Clock) -> None:
    log = ProvisioningLog(tables)
    text = "Zoë 🙂 " * 20_000
    await log.write([entry(clock, 1, text=text)])
    (document,) = await log.of_object("ann", limit=1)
    assert document["text"] == text


async def test_many_long_documents_at_once_fit_their_requests(tables: Tables, clock: Clock) -> None:
    log = ProvisioningLog(tables)
    await log.write([entry(clock, number / 100, text="x" * 90_000) for number in range(60)])
    page, _ = await log.page(size=100, token=None)
    assert len(page) == 60


async def test_an_entry_that_a_replay_writes_later_takes_the_place_of_the_first(tables: Tables, clock: Clock) -> None:
    log = ProvisioningLog(tables)
    first = entry(clock, 1, text="first")
    await log.write([first, entry(clock, 2)])
    again = replace(first, at=first.at + timedelta(minutes=90), document={**first.document, "text": "second"}, replayed=True)
    await log.write([again])
    page, _ = await log.page(size=10, token=None)
    assert [document["id"] for document in page] == ["1", "2"]
    assert page[0]["text"] == "second"
    assert [document["id"] for document in await log.of_object("ann", limit=10)] == ["1", "2"]


async def test_a_replay_that_changed_nothing_leaves_the_first_entry(tables: Tables, clock: Clock) -> None:
    log = ProvisioningLog(tables)
    first = entry(clock, 1, text="created")
    quiet = replace(
        first, at=first.at + timedelta(minutes=3), document={"id": "1", "text": "unchanged"}, replayed=True, quiet=True
    )
    await log.write([first])
    await log.write([quiet])
    page, _ = await log.page(size=10, token=None)
    assert [document["text"] for document in page] == ["created"]
    # Nobody wrote one before: the entry says at least who was looked at.
    await log.write([replace(quiet, change_id="2", document={"id": "2"})])
    assert len(await log.of_object("ann", limit=10)) == 2


async def test_a_pointer_whose_entry_was_never_written_is_no_entry(tables: Tables, clock: Clock) -> None:
    log = ProvisioningLog(tables)
    first = entry(clock, 1, text="updated")
    await log.write([first])
    # The worker died, or storage was lost to him, between the pointer and the entry itself.
    await tables.delete("log", *first.key)
    quiet = replace(first, at=first.at + timedelta(minutes=3), replayed=True, quiet=True)
    await log.write([quiet])
    assert len((await log.page(size=10, token=None))[0]) == 1
    assert len(await log.of_object("ann", limit=10)) == 1


async def test_a_replay_that_found_everything_in_order_takes_the_place_of_a_failure(tables: Tables, clock: Clock) -> None:
    log = ProvisioningLog(tables)
    first = entry(clock, 1, text="not known whether it was written", status="failure")
    await log.write([first])
    document = {**first.document, "text": "as it should be", "provisioningStatusInfo": {"status": "skipped"}}
    await log.write([replace(first, at=first.at + timedelta(minutes=3), document=document, replayed=True, quiet=True)])
    assert [found["text"] for found in (await log.page(size=10, token=None))[0]] == ["as it should be"]


async def test_nobody_waits_for_what_only_an_earlier_reading_of_a_page_announced(tables: Tables) -> None:
    progress = ProgressRows(tables)
    key, page = round_key("groups", 7), "00000003-"
    await progress.announce_page(key, page, [(f"{page}team-0000-aaa", 8), (f"{page}other-0000-ccc", 2)])
    await progress.announce(key, [(f"{page}other-0000-ccca", 1), ("00000004-team-0000-ddd", 5)])
    # The page is read again, and one of its slices has other members now; the rest of the one that stayed is waited for still.
    await progress.announce_page(key, page, [(f"{page}team-0000-bbb", 7), (f"{page}other-0000-ccc", 2)])
    assert (await progress.sum(key)).chunks == 4
    for chunk in (f"{page}team-0000-bbb", f"{page}other-0000-ccc", f"{page}other-0000-ccca"):
        assert not (await progress.sum(key)).is_settled
        await progress.done(key, chunk, 1, {})
    assert not (await progress.sum(key)).is_settled
    await progress.done(key, "00000004-team-0000-ddd", 5, {})
    assert (await progress.sum(key)).is_settled
    # What was processed of the earlier reading after all does no harm.
    await progress.done(key, f"{page}team-0000-aaa", 8, {})
    assert (await progress.sum(key)).is_settled
