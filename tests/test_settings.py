"""Settings: every fault at once, nothing guessed, no secret shown."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings as hypothesis_settings, strategies as st

from shared.settings import (
    CREDENTIALS,
    DEVELOPMENT_STORAGE,
    SETTING_NAMES,
    Settings,
    SettingsFaults,
    is_loopback,
    load_settings,
)

SECRET = "do-not-print-me"
COMPLETE = {
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "SERVICENOW_INSTANCE_URL": "https://contoso.service-now.com",
    "SERVICENOW_AUTH": "oauth_client_credentials",
    "SERVICENOW_CLIENT_ID": "client",
    "SERVICENOW_CLIENT_SECRET": SECRET,
}
LOCAL_GRAPH = {"GRAPH_BASE_URL": "http://127.0.0.1:7072/v1.0"}


def load(**changes: str) -> Settings:
    return load_settings({**COMPLETE, **changes})


def faults(environment: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(SettingsFaults) as caught:
        load_settings(environment)
    return caught.value.faults


def faults_with(**changes: str) -> tuple[str, ...]:
    return faults({**COMPLETE, **changes})


def test_empty_settings_name_everything_that_is_missing_at_once() -> None:
    found = faults({})

    assert [fault.split()[0] for fault in found] == ["AzureWebJobsStorage", "SERVICENOW_INSTANCE_URL", "SERVICENOW_AUTH"]
    assert all("set" in fault for fault in found), "each says what to do"


def test_blank_settings_are_missing_settings() -> None:
    assert faults(dict.fromkeys((*COMPLETE, *SETTING_NAMES), "  ")) == faults({})


def test_all_faults_of_all_kinds_come_together() -> None:
    found = faults_with(
        GRAPH_BASE_URL="http://graph.example.com",
        ENTRA_SERVICE_PRINCIPAL_ID="Our app!",
        PROVISIONING_SCOPE="some",
        SERVICENOW_AUTH="basic",
        SERVICENOW_MAX_CONCURRENCY="0",
        NOTIFICATION_URL="ftp://contoso.com",
        CYCLE_SCHEDULE="now and then",
        DELETE_THRESHOLD="many",
        OPERATOR_AUTH="entra",
        ALERT_EMAIL_FROM="sender@contoso.com",
    )

    named = sorted(fault.split()[0] for fault in found)
    assert named == [
        "ALERT_EMAIL_FROM",
        "CYCLE_SCHEDULE",
        "DELETE_THRESHOLD",
        "ENTRA_SERVICE_PRINCIPAL_ID",
        "GRAPH_BASE_URL",
        "NOTIFICATION_URL",
        "OPERATOR_AUTH",
        "PROVISIONING_SCOPE",
        "SERVICENOW_MAX_CONCURRENCY",
        "SERVICENOW_PASSWORD",
        "SERVICENOW_USERNAME",
    ]


@pytest.mark.parametrize("auth", CREDENTIALS)
def test_partial_credentials_name_each_missing_part(auth: str) -> None:
    needed = next(names for kind, names in CREDENTIALS.items() if kind == auth)
    without = {name: value for name, value in COMPLETE.items() if not name.startswith("SERVICENOW_CLIENT")}

    found = faults({**without, "SERVICENOW_AUTH": auth})

    assert [fault.split()[0] for fault in found] == list(needed)
    assert all(auth in fault for fault in found)
    complete = load_settings({**without, "SERVICENOW_AUTH": auth, **dict.fromkeys(needed, SECRET)})
    assert complete.servicenow.auth == auth


def test_an_unknown_kind_of_authentication_lists_the_known_ones() -> None:
    (fault,) = faults_with(SERVICENOW_AUTH="saml")
    assert all(kind in fault for kind in CREDENTIALS)


@pytest.mark.parametrize("name", ["SERVICENOW_CLIENT_SECRET", "NOTIFICATION_CLIENT_STATE", "AzureWebJobsStorage"])
def test_an_unresolved_key_vault_reference_is_a_fault_and_says_what_to_check(name: str) -> None:
    reference = "@Microsoft.KeyVault(SecretUri=https://contoso.vault.azure.net/secrets/one/)"
    found = faults_with(**{"NOTIFICATION_URL": "https://app.contoso.com", "NOTIFICATION_CLIENT_STATE": SECRET, name: reference})

    assert any(fault.startswith(f"{name} is an unresolved Key Vault reference") for fault in found)
    assert not any("contoso.vault" in fault for fault in found)


def test_no_setting_may_be_an_unresolved_reference() -> None:
    reference = "@Microsoft.KeyVault(VaultName=contoso;SecretName=one)"
    for name in SETTING_NAMES:
        found = faults_with(**{name: reference})
        assert any(fault.startswith(f"{name} is an unresolved Key Vault reference") for fault in found), name
        assert len([fault for fault in found if fault.startswith(f"{name} ")]) == 1, f"{name} is named once: {found}"


def test_defaults_are_those_of_the_contract() -> None:
    settings = load()

    assert settings.graph.base_url == "https://graph.microsoft.com/v1.0"
    assert settings.scope == "all"
    assert settings.delete_threshold == 500
    assert settings.servicenow.max_concurrency == 4
    assert settings.operator_auth == "keys"
    assert settings.schema_path == ""
    schedules = settings.schedules
    assert (schedules.cycle, schedules.subscriptions, schedules.verify) == ("0 */5 * * * *", "0 0 * * * *", "0 0 2 * * *")


def test_a_service_principal_makes_its_assignments_the_scope() -> None:
    principal = "eeeeeeee-0000-4000-8000-00000000000e"
    assert load(ENTRA_SERVICE_PRINCIPAL_ID=principal).scope == "assigned"
    assert load(ENTRA_SERVICE_PRINCIPAL_ID=principal, PROVISIONING_SCOPE="all").scope == "all"
    (fault,) = faults_with(PROVISIONING_SCOPE="assigned")
    assert "ENTRA_SERVICE_PRINCIPAL_ID" in fault


def test_a_fixed_token_is_for_a_local_tenant_only() -> None:
    assert load(**LOCAL_GRAPH, GRAPH_ACCESS_TOKEN=SECRET).graph.access_token == SECRET
    (fault,) = faults_with(GRAPH_ACCESS_TOKEN=SECRET)
    assert fault.startswith("GRAPH_ACCESS_TOKEN is accepted only when GRAPH_BASE_URL is a loopback address")
    (fault,) = faults_with(GRAPH_ACCESS_TOKEN=SECRET, GRAPH_BASE_URL="https://graph.microsoft.us/v1.0")
    assert SECRET not in fault


@pytest.mark.parametrize("name", ["GRAPH_BASE_URL", "SERVICENOW_INSTANCE_URL"])
def test_plain_http_is_for_loopback_only(name: str) -> None:
    for host in ("127.0.0.1:8080", "localhost", "[::1]:8080", "127.8.9.10"):
        load(**{name: f"http://{host}"})
    for host in ("contoso.com", "127.0.0.1.contoso.com", "localhost.contoso.com", "10.0.0.1"):
        (fault,) = faults_with(**{name: f"http://{host}"})
        assert fault.startswith(f"{name} must use https")


@pytest.mark.parametrize("url", ["contoso", "https://", "//contoso.com", "https://contoso.com:port", "https://contoso.com:99999"])
def test_what_is_no_url_is_a_fault(url: str) -> None:
    (fault,) = faults_with(SERVICENOW_INSTANCE_URL=url)
    assert fault.startswith("SERVICENOW_INSTANCE_URL is not a URL")


def test_a_url_with_credentials_is_refused_without_showing_them() -> None:
    (fault,) = faults_with(SERVICENOW_INSTANCE_URL=f"https://admin:{SECRET}@contoso.service-now.com")
    assert "credentials" in fault
    assert SECRET not in fault


def test_a_slash_at_the_end_of_a_url_does_not_matter() -> None:
    assert load(SERVICENOW_INSTANCE_URL="https://contoso.service-now.com/") == load()


def test_a_loopback_notification_url_means_no_subscriptions_with_the_real_graph_and_says_so() -> None:
    settings = load(NOTIFICATION_URL="http://127.0.0.1:7071")
    assert settings.notifications.url == ""
    assert "loopback" in settings.notifications.why_not

    local = load(**LOCAL_GRAPH, NOTIFICATION_URL="http://127.0.0.1:7071", NOTIFICATION_CLIENT_STATE=SECRET)
    assert local.notifications.url == "http://127.0.0.1:7071"
    assert local.notifications.why_not == ""


def test_without_a_notification_url_the_platforms_host_name_is_taken() -> None:
    settings = load(WEBSITE_HOSTNAME="contoso.azurewebsites.net", NOTIFICATION_CLIENT_STATE=SECRET)
    assert settings.notifications.url == "https://contoso.azurewebsites.net"
    assert load(WEBSITE_HOSTNAME="localhost:7071").notifications.url == ""
    assert "NOTIFICATION_URL is not set" in load().notifications.why_not


def test_notifications_need_a_secret_of_bounded_length() -> None:
    url = "https://app.contoso.com"
    (fault,) = faults_with(NOTIFICATION_URL=url)
    assert fault.startswith("NOTIFICATION_CLIENT_STATE is missing")
    (fault,) = faults_with(NOTIFICATION_URL=url, NOTIFICATION_CLIENT_STATE="x" * 129)
    assert "128" in fault
    (fault,) = faults_with(NOTIFICATION_URL=url, NOTIFICATION_CLIENT_STATE_PREVIOUS=SECRET)
    assert fault.startswith("NOTIFICATION_CLIENT_STATE is missing")
    both = load(NOTIFICATION_URL=url, NOTIFICATION_CLIENT_STATE="new", NOTIFICATION_CLIENT_STATE_PREVIOUS="old")
    assert both.notifications.client_states == ("new", "old")


def test_operators_sign_in_with_entra_only_behind_the_platforms_authentication() -> None:
    for platform in ({}, {"WEBSITE_AUTH_ENABLED": "false"}, {"WEBSITE_AUTH_ENABLED": "1"}):
        (fault,) = faults_with(OPERATOR_AUTH="entra", **platform)
        assert "forge" in fault
    assert load(OPERATOR_AUTH="entra", WEBSITE_AUTH_ENABLED="True").operator_auth == "entra"


@pytest.mark.parametrize("value", ["0 */5 * * *", "0 */5 * * * *", "30 0-10,20 2 1 JAN Mon"])
def test_schedules_are_ncrontab_expressions(value: str) -> None:
    assert load(CYCLE_SCHEDULE=value).schedules.cycle == value


@pytest.mark.parametrize("value", ["every minute", "* * * *", "* * * * * * *", "0 %MINUTES% * * * *", "0;1 * * * * *"])
def test_other_schedules_are_faults(value: str) -> None:
    (fault,) = faults_with(VERIFY_SCHEDULE=value)
    assert fault.startswith("VERIFY_SCHEDULE is ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVICENOW_MAX_CONCURRENCY", "0"),
        ("SERVICENOW_MAX_CONCURRENCY", "four"),
        ("SERVICENOW_MAX_CONCURRENCY", "4.5"),
        ("DELETE_THRESHOLD", "-1"),
        ("GRAPH_REPLICATION_GRACE", "-0.1"),
        ("GRAPH_REPLICATION_GRACE", "nan"),
        ("GRAPH_REPLICATION_GRACE", "inf"),
        ("DELETE_THRESHOLD", "9" * 5000),
    ],
)
def test_numbers_out_of_range_are_faults(name: str, value: str) -> None:
    (fault,) = faults_with(**{name: value})
    assert fault.startswith(f"{name} is ")


def test_the_abbreviation_for_local_storage_becomes_a_connection_string() -> None:
    assert load().storage.connection_string == DEVELOPMENT_STORAGE
    assert load(AzureWebJobsStorage="usedevelopmentstorage=TRUE;").storage.connection_string == DEVELOPMENT_STORAGE


def test_what_is_no_connection_string_is_a_fault_and_is_not_shown() -> None:
    (fault,) = faults_with(AzureWebJobsStorage=SECRET)
    assert fault.startswith("AzureWebJobsStorage is not a connection string")
    assert SECRET not in fault


def test_storage_may_be_named_by_account_or_by_endpoints() -> None:
    without = {name: value for name, value in COMPLETE.items() if name != "AzureWebJobsStorage"}
    by_account = load_settings({**without, "AzureWebJobsStorage__accountName": "contosofunc"}).storage
    assert by_account.connection_string == ""
    assert by_account.queue_endpoint == "https://contosofunc.queue.core.windows.net"
    assert by_account.table_endpoint == "https://contosofunc.table.core.windows.net"

    only_queue = {**without, "AzureWebJobsStorage__queueServiceUri": "https://q.contoso.com"}
    assert [fault.split()[0] for fault in faults(only_queue)] == ["AzureWebJobsStorage"]
    both = {**only_queue, "AzureWebJobsStorage__tableServiceUri": "https://t.contoso.com"}
    assert load_settings(both).storage.table_endpoint == "https://t.contoso.com"


def test_email_alerts_need_both_ends() -> None:
    (fault,) = faults_with(ALERT_EMAIL_TO="ops@contoso.com")
    assert "belong together" in fault
    assert load(ALERT_EMAIL_TO="ops@contoso.com", ALERT_EMAIL_FROM="app@contoso.com").alerts.email_to == "ops@contoso.com"


def test_no_secret_is_shown_by_settings() -> None:
    secrets = {
        "SERVICENOW_PASSWORD": f"{SECRET}-1",
        "SERVICENOW_CLIENT_SECRET": f"{SECRET}-2",
        "SERVICENOW_API_KEY": f"{SECRET}-3",
        "GRAPH_ACCESS_TOKEN": f"{SECRET}-4",
        "NOTIFICATION_CLIENT_STATE": f"{SECRET}-5",
        "NOTIFICATION_CLIENT_STATE_PREVIOUS": f"{SECRET}-6",
        "AzureWebJobsStorage": f"AccountName=contoso;AccountKey={SECRET}-7",
    }
    settings = load(**LOCAL_GRAPH, NOTIFICATION_URL="https://app.contoso.com", **secrets)
    assert settings.servicenow.client_secret == f"{SECRET}-2"
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings)


@given(st.dictionaries(st.sampled_from((*SETTING_NAMES, "WEBSITE_HOSTNAME")), st.text(max_size=40)))
@hypothesis_settings(max_examples=200, deadline=None)
def test_any_values_give_settings_or_faults(changes: dict[str, str]) -> None:
    with contextlib.suppress(SettingsFaults):
        load(**changes)


@given(st.text(alphabet="abcdefghijklmnop0123456789", min_size=12, max_size=200))
@hypothesis_settings(max_examples=50, deadline=None)
def test_no_fault_shows_a_secret(secret: str) -> None:
    names = [name for name in SETTING_NAMES if name.endswith(("PASSWORD", "SECRET", "API_KEY", "TOKEN", "STATE", "PREVIOUS"))]
    found = faults(dict.fromkeys(names, f"<{secret}>") | {"NOTIFICATION_URL": "https://app.contoso.com"})
    assert not any(f"<{secret}>" in fault for fault in found)


def test_loopback_is_this_machine_and_nothing_that_looks_like_it() -> None:
    assert all(map(is_loopback, ["http://localhost:1", "https://127.1.2.3", "http://[::1]/x"]))
    others = ["http://localhost.contoso.com", "http://127.0.0.1@contoso.com", "http://contoso.com/127.0.0.1", "", "127.0.0.1"]
    assert not any(map(is_loopback, others))
