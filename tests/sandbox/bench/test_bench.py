"""The bench measures what it says, on its smallest sizes; how fast anything is, is not judged here."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import sys

import aiohttp
import pytest
from aiohttp import web

from sandbox.bench.__main__ import main
from sandbox.bench.baseline import COLUMNS, baselines
from sandbox.bench.cycles import first_cycle, provision, unchanged_cycle
from sandbox.bench.ends import BenchError
from sandbox.bench.live import live_changes
from sandbox.bench.memory import forget_peak, peak
from sandbox.bench.program import CASES, Program
from sandbox.bench.sizes import QUICK, Sizes
from sandbox.bench.stage import Stage
from sandbox.bench.table import Row, Section, percentile, rendered
from sandbox.bench.table_meter import TableMeter
from sandbox.bench.webhook import webhook


def cells(section: Section) -> dict[str, str]:
    return {row.measure: row.app for row in section.rows}


async def test_a_quick_run_provisions_repeats_changes_and_takes_notifications() -> None:
    async with Stage(users=20) as stage:
        await provision(stage, 20)
        there = await stage.target.rows("sys_user", "", "user_name")
        assert len(there) > 10
        await stage.quiet(60)
        again = cells(await unchanged_cycle(stage, users=20, write=0.0, baseline_users=2))
        assert again["ServiceNow requests"] == "0"
        live = cells(await live_changes(stage, changes=2, quiet_changes=0))
        assert re.fullmatch(r"\d+\.\d\d s", live["p50"])
        accepted = cells(await webhook(stage, posts=2, notifications=10))
        assert accepted["ServiceNow requests (nobody had changed)"] == "0"
        with pytest.raises(BenchError, match="no commit"):
            await stage.target.commit(await stage.target.last_commit(), {"table": "sys_user"}, seconds=0.2)
    assert stage.started_in > 0


async def test_a_first_cycle_is_measured_beside_the_baseline() -> None:
    async with Stage(users=12) as stage:
        section = await first_cycle(stage, users=12, write=0.01, baseline_users=4)
    assert {row.measure: row.baseline for row in section.rows}["ServiceNow requests per user"] == "2.000"
    assert float(cells(section)["ServiceNow requests per user"]) > 0


async def test_the_baseline_looks_up_and_creates_then_looks_up_and_updates() -> None:
    people = [dict.fromkeys(COLUMNS, "") | {"userPrincipalName": f"person{number}@contoso.com"} for number in range(6)]
    first, again = await baselines(people, write=0.0, again=3)
    assert (first.users, first.requests) == (6, 12)
    assert (again.users, again.requests) == (3, 6)


async def test_the_table_meter_counts_each_request_by_method_and_table_and_passes_it_on_unchanged() -> None:
    seen: list[tuple[str, str, bytes]] = []

    async def storage(request: web.Request) -> web.Response:
        seen.append((request.raw_path, request.headers.get("Authorization", ""), await request.read()))
        return web.Response(status=202, body=b"{}", headers={"ETag": 'W/"1"'}, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", storage)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        upstream = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with TableMeter(upstream) as meter, aiohttp.ClientSession() as session:
            path = "/account/joins(PartitionKey='user%2D1',RowKey='2')?$select=a"
            async with session.get(meter.url + path, headers={"Authorization": "SharedKey x"}) as answer:
                assert (answer.status, answer.headers["ETag"], await answer.read()) == (202, 'W/"1"', b"{}")
            async with session.post(f"{meter.url}/account/$batch", data=b"parts") as answer:
                assert answer.status == 202
            assert meter.counts == {"GET joins": 1, "POST $batch": 1}
    finally:
        await runner.cleanup()
    assert [entry[1:] for entry in seen] == [("SharedKey x", b""), ("", b"parts")]
    assert seen[0][0].startswith("/account/joins(")


async def test_a_case_that_fails_is_shown_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    told: list[str] = []
    program = Program(QUICK, ["live", "slow-writes"], told.append)
    await program.run()
    assert program.failed
    assert [section.title for section in program.sections] == ["the stage for users: no figures", "slow-writes: no figures"]
    assert "Node.js" in rendered(program.sections)


async def test_the_command_prints_the_machine_and_the_table() -> None:
    command = [sys.executable, "-m", "sandbox.bench", "--quick", "--users", "8", "--only", "start"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    output, errors = await asyncio.wait_for(process.communicate(), timeout=120)
    assert process.returncode == 0, errors.decode()
    assert re.search(r"\d+ cores.*CPython 3\.13", output.decode())
    assert re.search(r"to the first function served, median +\d+\.\d\d s", output.decode())


@pytest.mark.parametrize("arguments", [["--users", "0"], ["--members", "many"], ["--only", "everything"]])
def test_an_option_that_cannot_be_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)


def test_the_quick_sizes_are_smaller_than_the_full_ones() -> None:
    full, quick = dataclasses.asdict(Sizes()), dataclasses.asdict(QUICK)
    assert all(quick[name] <= full[name] for name in full)
    assert len(set(CASES)) == len(CASES)


def test_columns_are_aligned_over_all_sections() -> None:
    text = rendered(
        [Section("One", (Row("short", "1 s", "22 s", "0.5x", "< 1"),)), Section("Two", (Row("a longer one", "12 s"),))]
    )
    lines = text.splitlines()
    assert next(line for line in lines if "short" in line).index("1 s") == next(line for line in lines if "longer" in line).index(
        "2 s"
    )


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2.0), (0.99, 4.0), (0.0, 1.0), (1.0, 4.0)])
def test_a_percentile_is_the_nearest_rank(share: float, expected: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == expected


def test_the_peak_of_a_process_that_is_not_there_is_not_known() -> None:
    forget_peak(-1)
    assert peak(-1) == "not known here"
