"""With faults in its settings the app serves its health and touches nothing."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import aiohttp
import pytest
from azure.data.tables.aio import TableServiceClient
from azure.storage.queue.aio import QueueServiceClient

from function_app import build
from sandbox.azurite import Azurite
from sandbox.host.process import HostProcess
from sandbox.instance import InstanceServer
from sandbox.processes import REPOSITORY
from sandbox.tenant import TenantConfig, TenantServer
from sandbox.up import sandbox_settings
from shared.settings import SETTING_NAMES

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "do-not-print-me"


@pytest.mark.e2e
async def test_only_health_is_served_and_names_all_faults_and_nothing_is_contacted(tmp_path: Path) -> None:
    async with Azurite() as storage, TenantServer(TenantConfig()) as tenant, InstanceServer() as instance:
        settings = sandbox_settings(
            storage=storage.connection_string,
            tenant_url=tenant.url.removesuffix("/v1.0"),
            instance_url=instance.url,
            changes={
                "AzureFunctionsWebHost__hostid": "faulty",
                "SERVICENOW_CLIENT_ID": "",
                "SERVICENOW_CLIENT_SECRET": f"@Microsoft.KeyVault(SecretUri=https://contoso.vault.azure.net/secrets/{SECRET})",
                "NOTIFICATION_CLIENT_STATE": SECRET * 10,
                "PROVISIONING_SCOPE": "assigned",
                "CYCLE_SCHEDULE": "often",
                "OPERATOR_AUTH": "entra",
            },
        )
        async with (
            HostProcess(REPOSITORY, settings, keys_file=tmp_path / "keys.json") as host,
            aiohttp.ClientSession(host.url) as http,
        ):
            async with http.get("/api/health") as response:
                assert response.status == 503
                assert response.headers["Cache-Control"] == "no-store"
                health = await response.json()
            assert sorted(fault.split()[0] for fault in health["faults"]) == [
                "CYCLE_SCHEDULE",
                "NOTIFICATION_CLIENT_STATE",
                "OPERATOR_AUTH",
                "PROVISIONING_SCOPE",
                "SERVICENOW_CLIENT_ID",
                "SERVICENOW_CLIENT_SECRET",
            ]
            assert health["status"] == "misconfigured"

            async with http.get("/admin/functions", headers={"x-functions-key": host.keys["master"]}) as response:
                assert [function["name"] for function in await response.json()] == ["health"]
            for method, path in (
                ("POST", "notifications"),
                ("POST", "lifecycle"),
                ("GET", "job"),
                ("GET", "logs"),
                ("POST", "job/start"),
            ):
                async with http.request(method, f"/api/{path}", headers=host.headers) as response:
                    assert response.status == 404, path
            assert SECRET not in json.dumps(health) + host.logs()
            assert all(fault in host.logs() for fault in health["faults"]), "the operator's log says the same"

        assert not tenant.api.requests
        assert not instance.service.counters.http
        async with TableServiceClient.from_connection_string(storage.connection_string) as tables:
            assert [table.name async for table in tables.list_tables()] == []
        async with QueueServiceClient.from_connection_string(storage.connection_string) as queues:
            assert [queue.name async for queue in queues.list_queues()] == []


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """No setting of the machine's own, and a complete set to change."""
    for name in (*SETTING_NAMES, "WEBSITE_HOSTNAME", "AzureWebJobsStorage"):
        monkeypatch.delenv(name, raising=False)
    return sandbox_settings()


def names(app: object) -> set[str]:
    return {function.get_function_name() for function in app.get_functions()}  # type: ignore[attr-defined] # untyped library


def health_of(app: object) -> list[str]:
    (health,) = app.get_functions()  # type: ignore[attr-defined] # untyped library
    response = asyncio.run(health.get_user_function()(None))
    assert response.status_code == 503
    faults: list[str] = json.loads(response.get_body())["faults"]
    return faults


def test_an_empty_environment_leaves_health_alone(environment: dict[str, str]) -> None:
    del environment
    assert [fault.split()[0] for fault in health_of(build())] == [
        "AzureWebJobsStorage",
        "SERVICENOW_INSTANCE_URL",
        "SERVICENOW_AUTH",
    ]


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"synchronizationRules": 7}'])
def test_a_schema_that_cannot_be_used_is_a_fault_of_its_setting(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "schema.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    for name, value in {**environment, "PROVISIONING_SCHEMA": str(path)}.items():
        monkeypatch.setenv(name, value)
    faults = health_of(build())
    assert faults
    assert all(fault.startswith("PROVISIONING_SCHEMA cannot be used") for fault in faults)


def test_complete_settings_register_every_function(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert names(build()) >= {
        "health",
        "notifications",
        "lifecycle",
        "users",
        "groups",
        "cycle_events",
        "cycle",
        "subscriptions",
        "job",
        "job_start",
        "job_pause",
        "job_restart",
        "job_validate_credentials",
        "logs",
    }
