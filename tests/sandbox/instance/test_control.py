"""Control routes: state, faults, counters, commits, edits by hand; keeping data; the command line."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from sandbox.instance import Account, InstanceConfig, InstanceServer, add_arguments, config_from
from sandbox.instance.config import DEFAULT_ACCOUNTS

from .conftest import ADMIN, client, running

if TYPE_CHECKING:
    from pathlib import Path

USERS = "/api/now/table/sys_user"


async def test_commits_tell_what_was_written_when_and_by_whom() -> None:
    async with running() as sn:
        before = time.time()
        user = await sn.create("sys_user", user_name="ada")
        await sn.integration.patch(f"{USERS}/{user['sys_id']}", json={"title": "Analyst"})
        await sn.admin.delete(f"{USERS}/{user['sys_id']}")
        commits = (await sn.control.get("/control/commits", params={"since": "0"})).json()
        assert [(commit["seq"], commit["verb"], commit["by"]) for commit in commits] == [
            (1, "insert", "admin"),
            (2, "update", "entra.provisioning"),
            (3, "delete", "admin"),
        ]
        assert commits[1]["fields"] == ["title"]
        assert all(commit["sys_id"] == user["sys_id"] and commit["table"] == "sys_user" for commit in commits)
        assert all(before - 0.01 <= commit["time"] <= time.time() + 0.01 for commit in commits)
        later = await sn.control.get("/control/commits", params={"since": "2", "table": "sys_user"})
        assert [commit["seq"] for commit in later.json()] == [3]


async def test_waiting_for_a_commit_ends_with_it() -> None:
    async with running() as sn:
        waiting = asyncio.create_task(sn.control.get("/control/commits", params={"since": "0", "wait": "10"}))
        started = time.perf_counter()
        await sn.create("sys_user", user_name="ada")
        assert len((await waiting).json()) == 1
        assert time.perf_counter() - started < 5


async def test_requests_are_counted_by_pattern_and_forgotten_on_demand() -> None:
    async with running(latency_query=0.01) as sn:
        user = await sn.create("sys_user", user_name="ada")
        await sn.admin.get(f"{USERS}/{user['sys_id']}")
        await sn.admin.get(USERS)
        counted = (await sn.control.get("/control/requests")).json()
        assert counted["http"] == {f"GET {USERS}": 1, f"GET {USERS}/{{sys_id}}": 1, f"POST {USERS}": 1}
        assert counted["statuses"] == {"200": 2, "201": 1}
        assert counted["busy_seconds"] == pytest.approx(0.02)
        assert counted["slots"] == 4
        assert counted["commits"] == {"insert sys_user": 1}
        assert (await sn.control.delete("/control/requests")).status_code == 204
        assert (await sn.control.get("/control/requests")).json()["http_total"] == 0


@pytest.mark.parametrize(
    "changes", [{"nonsense": 1}, {"fail_next": "many"}, {"accounts": []}, {"cancel_status": 404}, {"concurrency": -1}]
)
async def test_a_bad_fault_is_refused_and_changes_nothing(changes: dict[str, object]) -> None:
    async with running() as sn:
        before = (await sn.control.get("/control/faults")).json()
        answer = await sn.control.post("/control/faults", json=changes)
        assert answer.status_code == 400
        assert next(iter(changes)) in answer.text
        assert (await sn.control.get("/control/faults")).json() == before


async def test_rules_can_be_added_while_running() -> None:
    async with running() as sn:
        await sn.faults(
            data_policies=[{"table": "sys_user", "mandatory": ["email"]}], rate_limits=[{"name": "all", "per_hour": 1}]
        )
        assert (await sn.admin.post(USERS, json={"user_name": "ada"})).status_code == 403
        assert (await sn.admin.post(USERS, json={"user_name": "ada"})).status_code == 429


async def test_settings_shown_hold_no_secret() -> None:
    async with running() as sn:
        text = (await sn.control.get("/control/faults")).text
        assert "sandbox-secret" not in text
        assert "sandbox-api-key" not in text


async def test_rows_are_edited_by_hand_while_the_interface_hibernates() -> None:
    async with running(hibernating=True) as sn:
        edit = {"table": "cmn_department", "insert": [{"name": "Research"}, {"name": "Sales"}]}
        inserted = (await sn.control.post("/control/rows", json=edit)).json()["inserted"]
        edit = {
            "table": "cmn_department",
            "patch": [{"sys_id": inserted[0], "name": "R and D"}],
            "delete": [{"where": "name=Sales"}],
        }
        assert (await sn.control.post("/control/rows", json=edit)).json()["deleted"] == [inserted[1]]
        rows = await sn.control.get("/control/rows", params={"table": "cmn_department", "fields": "name"})
        assert rows.json() == {"rows": [{"name": "R and D"}]}
        bad = await sn.control.post("/control/rows", json={"table": "cmn_department", "delete": ["missing"]})
        assert bad.status_code == 409
        assert (await sn.control.get("/control/state")).json()["rows"]["cmn_department"] == 1


async def test_seeding_over_the_control_route() -> None:
    async with running() as sn:
        assert (
            await sn.control.post("/control/seed", json={"departments": ["Research"], "locations": ["Oslo"]})
        ).status_code == 204
        assert await sn.names("", "name", "cmn_location") == ["Oslo"]
        assert (await sn.control.post("/control/seed", json={"planets": ["Mars"]})).status_code == 400


async def test_data_survive_a_restart(tmp_path: Path) -> None:
    async with InstanceServer(data=tmp_path) as server, client(server.url, ADMIN) as admin:
        await admin.post(USERS, json={"user_name": "zoë"})
    async with InstanceServer(data=tmp_path) as server, client(server.url, ADMIN) as admin:
        answer = await admin.get(USERS, params={"sysparm_query": "user_name=zoë"})
        assert len(answer.json()["result"]) == 1
        assert server.instance.commits.last == 1


async def test_an_account_added_to_kept_data_can_log_in(tmp_path: Path) -> None:
    async with InstanceServer(data=tmp_path / "kept.json") as server, client(server.url, ADMIN) as admin:
        await admin.post(USERS, json={"user_name": "ada"})
    config = InstanceConfig(accounts=(*DEFAULT_ACCOUNTS, Account("new", "pw", ("admin",))))
    async with InstanceServer(config, data=tmp_path / "kept.json") as server, client(server.url, ("new", "pw")) as admin:
        answer = await admin.get(USERS, params={"sysparm_query": "user_name=ada"})
        assert [row["user_name"] for row in answer.json()["result"]] == ["ada"]


async def test_damaged_data_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "instance.json").write_text("[]")
    with pytest.raises(ValueError, match="not an instance's data"):
        async with InstanceServer(data=tmp_path):
            pass


def test_the_command_line_sets_switches() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args(["--latency-query", "0.05", "--object-id-columns", "--set", '{"concurrency": 2}'])
    config = config_from(args)
    assert (config.latency_query, config.concurrency) == (0.05, 2)
    assert [column.name for column in config.custom_columns] == ["u_entra_object_id"] * 2


async def test_the_process_prints_its_address_and_ends_cleanly_on_a_signal(tmp_path: Path) -> None:
    seed = tmp_path / "seed.json"
    seed.write_text('{"departments": ["Research"]}')
    program = (
        "import argparse, asyncio\n"
        "from sandbox.instance import add_arguments, run\n"
        "parser = argparse.ArgumentParser()\n"
        "add_arguments(parser)\n"
        f"asyncio.run(run(parser.parse_args(['--port', '0', '--data', {str(tmp_path)!r}, '--seed', {str(seed)!r}])))\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=dict(os.environ)
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 20)
        url = line.decode().split()[-1]
        async with client(url, ADMIN) as admin:
            answer = await admin.get("/api/now/table/cmn_department", params={"sysparm_fields": "name"})
            assert answer.json()["result"] == [{"name": "Research"}]
        process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(process.communicate(), 20)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, errors) == (0, b"")
    assert "Research" in (tmp_path / "instance.json").read_text(encoding="utf-8")
