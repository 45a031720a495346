"""What the demonstration is made of, against a tenant and an instance in this process."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from sandbox.agreement import compare
from sandbox.demo.__main__ import main
from sandbox.demo.app import job_from
from sandbox.demo.cast import CastingError, Troupe, furnish, scenery
from sandbox.demo.entra import Entra
from sandbox.demo.first_cycle import counts_of
from sandbox.demo.servicenow import Commit, ServiceNow
from sandbox.demo.stage import fresh_directory
from sandbox.instance import InstanceServer
from sandbox.sides import Directory, read_directory, read_records
from sandbox.tenant import TenantConfig, TenantServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sandbox.demo.live import Seen


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=10.0, trust_env=False) as client:
        yield client


@pytest.fixture
async def tenant() -> AsyncIterator[TenantServer]:
    async with TenantServer(TenantConfig(users=80, groups=6)) as server:
        yield server


@pytest.fixture
async def instance() -> AsyncIterator[InstanceServer]:
    async with InstanceServer() as server:
        yield server


async def test_a_directory_is_read_whole(tenant: TenantServer, http: httpx.AsyncClient) -> None:
    first = await read_directory(http, tenant.url, "any")
    entra = Entra(http, tenant.url, "any")
    leaver = next(iter(first.members[first.groups[0]["id"]]))
    await entra.delete_user(leaver)
    directory = await read_directory(http, tenant.url, "any")
    assert len(directory.users) == 79
    assert [user["id"] for user in directory.deleted_users] == [leaver]
    assert sum(1 for user in directory.users if user.get("manager")) > 50
    assert leaver not in directory.members[first.groups[0]["id"]]
    everybody = {user["id"] for user in directory.users}
    assert all(ids <= everybody for ids in directory.members.values())


async def test_throttling_is_waited_out(tenant: TenantServer, http: httpx.AsyncClient) -> None:
    await http.post(f"{tenant.control_url}/faults", json={"throttle_next": 2, "throttle_retry_after": 0})
    assert len((await read_directory(http, tenant.url, "any")).users) == 80


async def test_an_empty_instance_does_not_agree_with_a_full_tenant(
    tenant: TenantServer, instance: InstanceServer, http: httpx.AsyncClient
) -> None:
    directory, records = await read_directory(http, tenant.url, "any"), await read_records(http, instance.url)
    agreement = compare(directory, records, provisioned=(), before=records)
    assert not agreement.agrees
    assert agreement.comparisons["sys_user records"].different == len(directory.enabled)


async def test_servicenow_is_furnished_with_people_and_without_two_departments(
    tenant: TenantServer, instance: InstanceServer, http: httpx.AsyncClient
) -> None:
    directory = await read_directory(http, tenant.url, "any")
    chosen = scenery(directory, 1)
    assert scenery(directory, 1) == chosen
    await furnish(ServiceNow(http, instance.url), chosen)
    records = await read_records(http, instance.url)
    names = {row["user_name"] for row in records.users.values()}
    assert {row["user_name"] for row in chosen.known_people} <= names
    departments = set(records.names["cmn_department"].values())
    assert departments
    assert departments.isdisjoint({chosen.late_department, chosen.missing_department})
    waiting = [user for user in directory.users if user.get("department") == chosen.late_department]
    assert len(waiting) >= 2
    assert len(records.memberships) == 2


async def test_nobody_plays_two_parts_and_nobody_who_leads_others(tenant: TenantServer, http: httpx.AsyncClient) -> None:
    directory = await read_directory(http, tenant.url, "any")
    troupe = Troupe(directory, scenery(directory, 1), 1)
    outsider, other_group = troupe.outsider()
    member, group = troupe.member()
    people = [outsider, member, *(troupe.anybody() for _ in range(6))]
    ids = {user["id"] for user in people}
    assert len(ids) == len(people)
    assert ids.isdisjoint({(user.get("manager") or {}).get("id") for user in directory.users})
    assert outsider["id"] not in directory.members[other_group["id"]]
    assert member["id"] in directory.members[group["id"]]


def test_a_directory_that_is_too_small_is_refused_with_a_hint() -> None:
    with pytest.raises(CastingError, match="--users"):
        scenery(Directory((), (), (), (), {}), 1)


async def test_the_last_of_several_awaited_commits_gives_the_time(instance: InstanceServer, http: httpx.AsyncClient) -> None:
    servicenow = ServiceNow(http, instance.url)
    since = await servicenow.last_commit()

    def of(user_name: str) -> Seen:
        async def seen(commit: Commit) -> bool:
            rows = await servicenow.rows("sys_user", f"sys_id={commit.sys_id}", fields="user_name")
            return any(row["user_name"] == user_name for row in rows)

        return seen

    waiting = asyncio.create_task(servicenow.committed(since, [of("late"), of("early")], patience=10.0))
    await servicenow.insert("sys_user", [{"user_name": "early"}])
    await servicenow.insert("sys_user", [{"user_name": "nobody"}])
    between = time.time()
    await servicenow.insert("sys_user", [{"user_name": "late"}])
    at = await waiting
    assert at is not None
    assert at >= round(between, 3) - 0.001


async def test_a_commit_that_does_not_come_is_given_up(instance: InstanceServer, http: httpx.AsyncClient) -> None:
    async def never(_: Commit) -> bool:
        return False

    servicenow = ServiceNow(http, instance.url)
    assert await servicenow.committed(await servicenow.last_commit(), [never], patience=0.2) is None


def test_groups_and_memberships_are_told_apart_in_the_jobs_units() -> None:
    chain = {"completeGeneration": 1, "phase": "idle"}
    document = {
        "status": {
            "code": "Active",
            "quarantine": None,
            "progress": [{"units": "users", "completedUnits": 9}, {"units": "groups and members", "completedUnits": 50}],
        },
        "app": {
            "chains": {"users": chain, "groups": chain | {"phase": "settling"}},
            "queues": {"user-events": 2, "user-events-poison": 1},
            "outcomes": {"groups": {"created": 3, "matched": 1, "added": 40, "waiting": 6}},
            "escrows": {"record": 6},
        },
    }
    job = job_from(document)
    assert counts_of(job) == {"users": 9, "groups": 4, "memberships": 46}
    assert (job.complete, job.idle, job.queued, job.poisoned, job.is_quiet) == (True, False, 2, 1, False)


def test_a_second_run_starts_fresh(tmp_path: Path) -> None:
    with fresh_directory(tmp_path / "demo") as first:
        (first / "leftover").touch()
    with fresh_directory(tmp_path / "demo") as second:
        assert second == first
        assert not list(second.iterdir())


def test_two_runs_at_once_do_not_share_a_directory(tmp_path: Path) -> None:
    with fresh_directory(tmp_path / "demo") as first, fresh_directory(tmp_path / "demo") as second:
        assert first != second


def test_too_small_a_demonstration_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--users", "3"])
    assert "must be at least" in capsys.readouterr().err
