"""The client against the sandbox's instance, with its traps switched on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sandbox.instance.config import AccessRule, BusinessRule, CustomColumn, DataPolicy, InstanceConfig, RateLimitRule
from sandbox.instance.seed import seed_references
from sandbox.instance.server import InstanceServer
from shared.errors import (
    CredentialsError,
    NotFoundError,
    ProtocolError,
    ProvisioningError,
    RefusedError,
    ThrottledError,
    UnavailableError,
)
from shared.servicenow.checks import check_instance
from shared.servicenow.client import ServiceNowClient
from shared.servicenow.dictionary import load_dictionary, verify_columns
from shared.servicenow.gate import AdaptiveGate
from shared.servicenow.queries import all_of, any_of, equals, everything, one_of, starts_with
from shared.servicenow.records import UnreadableColumns
from shared.servicenow.references import Missing, Resolved, resolve_names
from shared.servicenow.refusals import RecordTakenError
from shared.servicenow.sys_ids import derived_sys_id
from shared.servicenow.writes import Delete, Deleted, Insert, NotProcessed, Refused, Unknown, Update, Written
from tests.servicenow.scripted import auth_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.servicenow.auth import Auth

CREDENTIALS = {
    "username": "entra.provisioning",
    "password": "provisioning",
    "client_id": "sandbox-client",
    "client_secret": "sandbox-secret",
    "api_key": "sandbox-api-key",
}


@pytest.fixture
async def server() -> AsyncIterator[InstanceServer]:
    async with InstanceServer(InstanceConfig()) as running:
        yield running


@pytest.fixture
async def client(server: InstanceServer) -> AsyncIterator[ServiceNowClient]:
    async with connected(server) as connection:
        yield connection


def connected(server: InstanceServer, auth: Auth | None = None, **options: Any) -> ServiceNowClient:
    return ServiceNowClient(server.url, auth or auth_of("basic", CREDENTIALS), gate=AdaptiveGate(4), **options)


def people(count: int, **values: str) -> list[Insert]:
    ids = [derived_sys_id("tenant", "sys_user", f"user{n}") for n in range(count)]
    return [Insert("sys_user", {"user_name": f"user{n}@contoso.com", **values}, sys_id=ids[n]) for n in range(count)]


@pytest.mark.parametrize("kind", ["basic", "oauth_client_credentials", "oauth_password", "api_key"])
async def test_every_kind_of_authentication_works(server: InstanceServer, kind: str) -> None:
    async with connected(server, auth_of(kind, CREDENTIALS)) as connection:
        assert await connection.sample("sys_user", equals("user_name", "entra.provisioning"), ["user_name"])


@pytest.mark.parametrize("kind", ["basic", "oauth_client_credentials", "oauth_password", "api_key"])
async def test_wrong_secrets_do_not_lock_the_account(server: InstanceServer, kind: str) -> None:
    wrong = {**CREDENTIALS, "password": "x", "client_secret": "x", "api_key": "x"}
    async with connected(server, auth_of(kind, wrong)) as connection:
        for _ in range(8):
            with pytest.raises(CredentialsError):
                await connection.sample("sys_user", everything())
    async with connected(server) as connection:
        assert await connection.sample("sys_user", everything())


async def test_created_users_are_found_changed_and_deleted(client: ServiceNowClient) -> None:
    created = await client.write(people(120, first_name="Ada", last_name="Lovelace"))
    assert all(isinstance(one, Written) and not one.dropped and not one.altered for one in created)
    names = [f"USER{n}@contoso.com" for n in range(120)]
    found = await client.select("sys_user", one_of("user_name", names), ["first_name"], page_size=7)
    assert len(found) == 120
    assert await client.count("sys_user", starts_with("user_name", "user")) == 120
    changed = await client.write([Update("sys_user", row["sys_id"], {"first_name": "", "title": "Dr"}) for row in found[:3]])
    assert all(isinstance(one, Written) and one.record["title"] == "Dr" and one.record["first_name"] == "" for one in changed)
    record = await client.get("sys_user", found[0]["sys_id"], ["title", "first_name"])
    assert record is not None
    assert (record["title"], record["first_name"]) == ("Dr", "")
    assert await client.get("sys_user", "0" * 32, ["title"]) is None


async def test_a_replayed_create_makes_one_user(client: ServiceNowClient) -> None:
    await client.write(people(3))
    again = await client.write(people(3))
    assert all(isinstance(one, Refused) and isinstance(one.error, RecordTakenError) for one in again)
    assert all(
        one.error.duplicate_sys_id for one in again if isinstance(one, Refused) and isinstance(one.error, RecordTakenError)
    )
    taken = await client.write([Insert("sys_user", {"user_name": "user0@contoso.com"}, sys_id=derived_sys_id("other"))])
    assert isinstance(taken[0], Refused)
    assert isinstance(taken[0].error, RecordTakenError)
    assert not taken[0].error.duplicate_sys_id
    assert await client.count("sys_user", starts_with("user_name", "user")) == 3


async def test_an_instance_that_ignores_own_sys_ids_is_seen_through(server: InstanceServer, client: ServiceNowClient) -> None:
    server.instance.configure(honour_sys_id=False)
    (written,) = await client.write(people(1))
    assert isinstance(written, Written)
    assert written.altered == {"sys_id": written.sys_id}


async def test_unknown_frozen_long_and_business_ruled_values_are_read_back(
    server: InstanceServer, client: ServiceNowClient
) -> None:
    frozen = AccessRule(
        "user_admin",
        insert=frozenset({"sys_user"}),
        update=frozenset({"sys_user"}),
        frozen_columns=frozenset({"sys_user.title"}),
    )
    provisioning = AccessRule("u_provisioning", frozen_columns=frozenset({"sys_user.title"}))
    (made,) = await client.write(people(1, title="Engineer"))
    assert isinstance(made, Written)
    server.instance.configure(access_rules=(frozen, provisioning))
    values = {"u_none": "x", "title": "Manager", "phone": "1" * 300, "active": "false", "locked_out": "false"}
    before = {"title": "Engineer"}
    (written,) = await client.write([Update("sys_user", made.sys_id, values, before=before)])
    assert isinstance(written, Written)
    assert set(written.dropped) == {"u_none", "title"}
    assert set(written.altered) >= {"phone"}


@pytest.mark.parametrize("mode", ["drop", "no_rows", "forbidden"])
async def test_a_query_on_an_unknown_column_never_returns_a_row(mode: Any) -> None:
    async with InstanceServer(InstanceConfig(invalid_query=mode)) as server, connected(server) as connection:
        try:
            found = await connection.select("sys_user", equals("u_entra_id", "abc"), ["user_name"])
        except (UnreadableColumns, RefusedError, ProtocolError):
            found = []
        assert found == []


async def test_rows_hidden_by_access_rules_do_not_end_the_paging(server: InstanceServer, client: ServiceNowClient) -> None:
    await client.write(people(60))
    hidden = one_of("user_name", [f"user{n}@contoso.com" for n in range(45)]).encode()
    rule = AccessRule("u_provisioning", hidden_rows=(("sys_user", hidden),))
    server.instance.configure(access_rules=(rule, AccessRule("user_admin", hidden_rows=(("sys_user", hidden),))))
    found = await client.select("sys_user", starts_with("user_name", "user"), ["user_name"], page_size=10)
    assert {row["user_name"] for row in found} == {f"user{n}@contoso.com" for n in range(45, 60)}


async def test_memberships_are_found_by_pairs_and_removed(client: ServiceNowClient) -> None:
    users = [one.sys_id for one in await client.write(people(3)) if isinstance(one, Written)]
    (group,) = await client.write([Insert("sys_user_group", {"name": "All Staff"})])
    assert isinstance(group, Written)
    members = [Insert("sys_user_grmember", {"user": user, "group": group.sys_id}) for user in users]
    assert all(isinstance(one, Written) and not one.dropped and not one.altered for one in await client.write(members))
    pairs = any_of(*(all_of(equals("user", user), equals("group", group.sys_id)) for user in users[:2]))
    found = await client.select("sys_user_grmember", pairs, ["user", "group"])
    assert {row["user"] for row in found} == set(users[:2])
    removed = await client.write([Delete("sys_user_grmember", row["sys_id"]) for row in found])
    assert removed == [Deleted(), Deleted()]
    (gone,) = await client.write([Delete("sys_user_grmember", found[0]["sys_id"])])
    assert isinstance(gone, Refused)
    assert isinstance(gone.error, NotFoundError)


async def test_rules_and_policies_refuse_by_name(server: InstanceServer, client: ServiceNowClient) -> None:
    server.instance.configure(business_rules=(BusinessRule("No robots", "sys_user", "first_name=Robot"),))
    (refused,) = await client.write(people(1, first_name="Robot"))
    assert isinstance(refused, Refused)
    assert "No robots" in refused.error.reason
    server.instance.configure(data_policies=(DataPolicy("sys_user", ("email",)),))
    (refused,) = await client.write(people(1, first_name="Ada"))
    assert isinstance(refused, Refused)
    assert "data policy" in refused.error.reason
    (refused,) = await client.write([Insert("cmn_department", {"name": "New"})])
    assert isinstance(refused, Refused)
    assert isinstance(refused.error, RefusedError)


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        ({"lose_answers_next": 1}, {Unknown}),
        ({"fail_next": 1}, {Unknown}),
        ({"ignore_next": 1}, {Unknown}),
        ({"cancel_next": 1}, {Unknown}),
        ({"cancel_next": 1, "cancel_body": "broken_json"}, {Unknown}),
        ({"cancel_next": 1, "cancel_status": 500}, {Unknown}),
        ({"throttle_next": 1}, {NotProcessed}),
        ({"hibernating": True}, {NotProcessed}),
        ({"maintenance": True}, {NotProcessed, Unknown}),
        ({"login_page": True}, {Unknown}),
    ],
)
@pytest.mark.parametrize("count", [1, 3])
async def test_faults_leave_no_outcome_claimed_that_is_not_proven(
    server: InstanceServer,
    client: ServiceNowClient,
    fault: dict[str, Any],
    kinds: set[type],
    count: int,
) -> None:
    server.instance.configure(**fault)
    outcomes = await client.write(people(count))
    assert {type(one) for one in outcomes} <= kinds


async def test_a_cut_batch_is_finished_by_sending_what_was_not_processed(
    server: InstanceServer, client: ServiceNowClient
) -> None:
    server.instance.configure(batch_item_limit=4)
    writes = people(10)
    outcomes = await client.write(writes)
    assert [type(one) for one in outcomes[:4]] == [Written] * 4
    assert isinstance(outcomes[4], Unknown)
    assert all(isinstance(one, NotProcessed) for one in outcomes[5:])
    server.instance.configure(batch_item_limit=None)
    again = await client.write(writes[4:])
    assert all(isinstance(one, Written) for one in again)
    assert await client.count("sys_user", starts_with("user_name", "user")) == 10


async def test_a_large_answer_with_broken_json_is_read_in_smaller_pages(server: InstanceServer, client: ServiceNowClient) -> None:
    await client.write(people(30))
    server.instance.configure(cancel_next=1, cancel_body="broken_json")
    found = await client.select("sys_user", starts_with("user_name", "user"), ["user_name"])
    assert len(found) == 30


async def test_a_rate_limit_is_respected(server: InstanceServer, client: ServiceNowClient) -> None:
    server.instance.configure(rate_limits=(RateLimitRule("few", 2),))
    for _ in range(2):
        await client.sample("sys_user", everything())
    with pytest.raises(ThrottledError) as caught:
        await client.sample("sys_user", everything())
    assert (caught.value.retry_after or 0) > 2


async def test_no_session_is_kept_so_nothing_is_ignored(server: InstanceServer, client: ServiceNowClient) -> None:
    server.instance.configure(session_waiters=0)
    outcomes = await client.write(people(200))
    assert all(isinstance(one, Written) for one in outcomes)


async def test_a_sleeping_instance_is_unavailable_for_every_kind_of_authentication(server: InstanceServer) -> None:
    server.instance.configure(hibernating=True)
    for kind in ("basic", "oauth_client_credentials"):
        async with connected(server, auth_of(kind, CREDENTIALS)) as connection:
            with pytest.raises(UnavailableError, match="hibernates"):
                await connection.sample("sys_user", everything())


async def test_names_are_resolved_to_the_one_row(server: InstanceServer, client: ServiceNowClient) -> None:
    seed_references(server.instance, departments=["Sales", "Research, Development", "Über^Sicht", "Legal"])
    found = await resolve_names(client, "cmn_department", "name", ["sales", "Research, Development", "Über^Sicht", "Nowhere"])
    assert isinstance(found["sales"], Resolved)
    assert not found["sales"].exact
    assert isinstance(found["Research, Development"], Resolved)
    assert isinstance(found["Über^Sicht"], Resolved)
    assert found["Nowhere"] == Missing("Nowhere")


async def test_the_dictionary_tells_types_lengths_and_references() -> None:
    config = InstanceConfig(custom_columns=(CustomColumn("sys_user", "u_entra_object_id", unique=True),))
    async with InstanceServer(config) as server, connected(server) as connection:
        loaded = await load_dictionary(connection, ["sys_user", "sys_user_group", "sys_user_grmember"])
        users = loaded["sys_user"]
        assert users.source == "sys_dictionary"
        assert users.columns["user_name"].max_length == 40
        assert users.columns["department"].reference == "cmn_department"
        assert "u_entra_object_id" in users
        assert verify_columns(users, written=["user_name"], references={"manager": "sys_user"}) == []
        assert [fault.column for fault in verify_columns(users, read=["u_none"])] == ["u_none"]


async def test_a_healthy_instance_has_no_error_and_a_blind_one_is_told(server: InstanceServer, client: ServiceNowClient) -> None:
    await client.write(people(1, active="false"))
    findings = await check_instance(client)
    assert [finding for finding in findings if finding.severity != "info"] == []
    server.instance.configure(hide_inactive_users=True)
    findings = await check_instance(client)
    assert [(finding.severity, finding.check) for finding in findings if finding.severity != "info"] == [
        ("warning", "inactive users")
    ]
    findings = await check_instance(client, columns={"sys_user": ["u_none"]})
    assert ("error", "columns of sys_user") in [(finding.severity, finding.check) for finding in findings]


async def test_an_instance_that_refuses_range_queries_or_our_credentials_is_told(server: InstanceServer) -> None:
    server.instance.configure(deny_range_queries=True)
    async with connected(server) as connection:
        findings = await check_instance(connection)
    assert ("error", "keyset paging") in [(finding.severity, finding.check) for finding in findings]
    server.instance.configure(refuse_credentials=True)
    async with connected(server) as connection:
        (only,) = await check_instance(connection)
    assert (only.severity, only.check) == ("error", "control query")


async def test_dynamic_creation_is_warned_of(server: InstanceServer, client: ServiceNowClient) -> None:
    await client.write(people(1, active="false"))
    server.instance.configure(dynamic_creation=frozenset({"sys_user.department"}))
    findings = await check_instance(client)
    told = [finding.message for finding in findings if finding.check == "dynamic creation"]
    assert len(told) == 1


async def test_errors_of_an_unreachable_instance_are_of_the_tree(server: InstanceServer) -> None:
    url = server.url
    await server.__aexit__(None, None, None)
    async with ServiceNowClient(url, auth_of("basic", CREDENTIALS), gate=AdaptiveGate(4)) as connection:
        with pytest.raises(ProvisioningError):
            await connection.sample("sys_user", everything())
        (result,) = await connection.write(people(1))
    assert isinstance(result, NotProcessed)
