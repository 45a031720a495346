"""Each check catches the fault that it is there for, and the project itself has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra.check import architecture, bicep_lint, compilers, deployment, formatting, monitoring, terraform_lint
from infra.check.__main__ import CHECKS
from infra.check.findings import NotRun
from tests.infra.conftest import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from infra.check.findings import Check, Finding
    from tests.infra.conftest import Plot

BICEP, TERRAFORM = "infra/bicep", "infra/terraform"
_SLOW = {"policies (checkov)", "terraform validate", "bicep build"}

FAULTS: list[tuple[Callable[[Path], list[Finding]], str, str, str, str]] = [
    # Bicep: syntax, symbols, modules, names
    (bicep_lint.check_syntax, f"{BICEP}/app.bicep", "kind: 'functionapp,linux'", "kind: 'functionapp,linux", "cannot be read"),
    (bicep_lint.check_syntax, f"{BICEP}/roles.bicep", "  name: vaultName\n}", "  name: vaultName\n", "is missing"),
    (bicep_lint.check_symbols, f"{BICEP}/app.bicep", "serverFarmId: plan.id", "serverFarmId: plann.id", "undefined symbol plann"),
    (bicep_lint.check_symbols, f"{BICEP}/app.bicep", "var signIn =", "var spare = 1\nvar signIn =", "var spare is not used"),
    (bicep_lint.check_symbols, f"{BICEP}/roles.bicep", "guid(vault.id", "giud(vault.id", "unknown function giud"),
    (bicep_lint.check_symbols, f"{BICEP}/network.bicep", "@description('Makes names unique.')\n", "", "token has no description"),
    (
        bicep_lint.check_symbols,
        f"{BICEP}/state.bicep",
        "  for name in queues: {\n    parent: queueService\n    name: name",
        "  for name in queues: {\n    parent: queueService\n    name: nome",
        "undefined symbol nome",
    ),
    (
        bicep_lint.check_symbols,
        f"{BICEP}/state.bicep",
        "resource vaultLock",
        "resource storageLock",
        "storageLock is declared twice",
    ),
    (
        bicep_lint.check_modules,
        f"{BICEP}/main.bicep",
        "    vaultName: state.outputs.vaultName\n    insightsName",
        "    vaultNam: state.outputs.vaultName\n    insightsName",
        "roles.bicep has no param vaultNam",
    ),
    (
        bicep_lint.check_modules,
        f"{BICEP}/main.bicep",
        "    graphBaseUrl: graphBaseUrl\n",
        "",
        "app.bicep needs param graphBaseUrl",
    ),
    (bicep_lint.check_modules, f"{BICEP}/main.bicep", "app.outputs.name", "app.outputs.nome", "module app has no output nome"),
    (bicep_lint.check_modules, f"{BICEP}/main.bicep", "'roles.bicep'", "'rolls.bicep'", "rolls.bicep does not exist"),
    (
        bicep_lint.check_names,
        f"{BICEP}/state.bicep",
        "minimumTlsVersion:",
        "minimumTlsVersionn:",
        "no property properties.minimumTlsVersionn",
    ),
    (bicep_lint.check_names, f"{BICEP}/app.bicep", "maximumInstanceCount: max", "maximumInstances: max", "maximumInstances"),
    (
        bicep_lint.check_names,
        f"{BICEP}/app.bicep",
        "'Microsoft.Web/sites@2024-04-01' = {",
        "'Microsoft.Web/sitez@2024-04-01' = {",
        "sitez",
    ),
    (bicep_lint.check_names, f"{BICEP}/app.bicep", "serverfarms@2024-04-01", "serverfarms@2099-01-01", "serverfarms@2099-01-01"),
    (bicep_lint.check_names, f"{BICEP}/monitoring.bicep", "useCommonAlertSchema", "useCommonSchema", "useCommonSchema"),
    (bicep_lint.check_names, f"{BICEP}/network.bicep", "serviceName: 'Microsoft.App", "serviceNam: 'Microsoft.App", "serviceNam"),
    (bicep_lint.check_names, f"{BICEP}/app.bicep", "excludedPaths", "excludePaths", "globalValidation.excludePaths"),
    (bicep_lint.check_names, f"{BICEP}/state.bicep", "accessTier: 'Hot'", "accessTier: { a: 1 }", "accessTier is a value"),
    # Terraform: syntax, symbols, names, form
    (terraform_lint.check_syntax, f"{TERRAFORM}/roles.tf", "locals {", "locals {{", "infra/terraform/roles.tf"),
    (
        terraform_lint.check_symbols,
        f"{TERRAFORM}/app.tf",
        "var.http_concurrency",
        "var.http_concurency",
        "undefined variable http_concurency",
    ),
    (terraform_lint.check_symbols, f"{TERRAFORM}/app.tf", "var.http_concurrency", "32", "variable http_concurrency is not used"),
    (terraform_lint.check_symbols, f"{TERRAFORM}/state.tf", "local.token", "local.tokn", "undefined local tokn"),
    (
        terraform_lint.check_symbols,
        f"{TERRAFORM}/app.tf",
        "azurerm_service_plan.main.id",
        "azurerm_service_plan.mian.id",
        "azurerm_service_plan.mian",
    ),
    (terraform_lint.check_symbols, f"{TERRAFORM}/app.tf", "  azure_cli ", "  spare = 1\n  azure_cli ", "local spare is not used"),
    (terraform_lint.check_names, f"{TERRAFORM}/app.tf", "resource_group_name =", "resource_group_nam =", "resource_group_nam"),
    (
        terraform_lint.check_names,
        f"{TERRAFORM}/app.tf",
        "minimum_tls_version ",
        "minimum_tlsversion ",
        "site_config.minimum_tlsversion",
    ),
    (
        terraform_lint.check_names,
        f"{TERRAFORM}/app.tf",
        "    instance_count =",
        "    instance_counts =",
        "always_ready.instance_counts",
    ),
    (terraform_lint.check_names, f"{TERRAFORM}/app.tf", "excluded_paths ", "exclude_paths ", "auth_settings_v2.exclude_paths"),
    (
        terraform_lint.check_names,
        f"{TERRAFORM}/monitoring.tf",
        'dynamic "email_receiver"',
        'dynamic "mail_receiver"',
        "mail_receiver",
    ),
    (
        terraform_lint.check_names,
        f"{TERRAFORM}/state.tf",
        '  sku_name                      = "standard"\n',
        "",
        "sku_name is missing",
    ),
    (
        terraform_lint.check_names,
        f"{TERRAFORM}/state.tf",
        '"azurerm_storage_queue" "main"',
        '"azurerm_storage_qeue" "main"',
        "azurerm_storage_qeue",
    ),
    (
        terraform_lint.check_names,
        f"{TERRAFORM}/app.tf",
        "keyVaultReferenceIdentity =",
        "keyVaultIdentity =",
        "body.properties.keyVaultIdentity",
    ),
    # Both against the app
    (
        architecture.check_settings,
        f"{BICEP}/app.bicep",
        "  DELETE_THRESHOLD: string(deleteThreshold)\n",
        "",
        "setting DELETE_THRESHOLD is missing",
    ),
    (
        architecture.check_settings,
        f"{TERRAFORM}/app.tf",
        "    CYCLE_SCHEDULE ",
        "    CYCEL_SCHEDULE ",
        "setting CYCLE_SCHEDULE is missing",
    ),
    (
        architecture.check_settings,
        f"{BICEP}/app.bicep",
        "  GRAPH_BASE_URL:",
        "  GRAPH_ACCESS_TOKEN: 'x'\n  GRAPH_BASE_URL:",
        "GRAPH_ACCESS_TOKEN is not one",
    ),
    (
        architecture.check_settings,
        f"{BICEP}/app.bicep",
        "'${secret}NOTIFICATION-CLIENT-STATE)'",
        "notificationUrl",
        "NOTIFICATION_CLIENT_STATE must be a reference",
    ),
    (
        architecture.check_settings,
        f"{TERRAFORM}/app.tf",
        'AzureWebJobsStorage                       = ""',
        'AzureWebJobsStorage                       = "AccountKey=x"',
        "AzureWebJobsStorage must stay empty",
    ),
    (
        architecture.check_settings,
        f"{BICEP}/app.bicep",
        "  AZURE_CLIENT_ID:",
        "  FUNCTIONS_WORKER_RUNTIME: 'python'\n  AZURE_CLIENT_ID:",
        "refuses the setting FUNCTIONS_WORKER_RUNTIME",
    ),
    (
        architecture.check_secrets,
        f"{BICEP}/state.bicep",
        "'SERVICENOW-API-KEY'",
        "'SERVICENOW-APIKEY'",
        "secret SERVICENOW-API-KEY is missing",
    ),
    (
        architecture.check_secrets,
        f"{BICEP}/main.bicep",
        "@secure()\nparam servicenowPassword",
        "param servicenowPassword",
        "param servicenowPassword must be @secure()",
    ),
    (architecture.check_storage, f"{BICEP}/state.bicep", "  'group-events-poison'\n", "", "queue group-events-poison is missing"),
    (architecture.check_storage, f"{TERRAFORM}/state.tf", '    "user-events",\n', "", "queue user-events is missing"),
    (architecture.check_storage, f"{BICEP}/state.bicep", "  'joins'\n", "", "table joins is missing"),
    (
        architecture.check_storage,
        f"{TERRAFORM}/state.tf",
        '    "owners",\n',
        '    "owners",\n    "olds",\n',
        "table olds is not one",
    ),
    (
        architecture.check_storage,
        f"{BICEP}/state.bicep",
        "for name in queues:",
        "for name in []:",
        "no resource makes the queues",
    ),
    (
        architecture.check_roles,
        f"{BICEP}/roles.bicep",
        "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
        "1a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
        "Storage Table Data Contributor is not assigned",
    ),
    (
        architecture.check_roles,
        f"{TERRAFORM}/roles.tf",
        "local.queue_data_contributor, ",
        "",
        "queue_data_contributor is declared and not assigned",
    ),
    (
        architecture.check_roles,
        f"{TERRAFORM}/roles.tf",
        "locals {",
        'locals {\n  owner = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"',
        "assigned and not needed",
    ),
    (
        architecture.check_limits,
        f"{TERRAFORM}/variables.tf",
        "default     = 500",
        "default     = 5000",
        "delete_threshold has the default 5000",
    ),
    (architecture.check_limits, f"{BICEP}/main.bicep", "@maxValue(32)", "@maxValue(64)", "maxValue 64"),
    (architecture.check_limits, f"{TERRAFORM}/variables.tf", '"basic", "api_key"]', '"basic"]', "choices of Bicep"),
    (
        architecture.check_limits,
        f"{TERRAFORM}/variables.tf",
        'variable "verify_schedule"',
        'variable "check_schedule"',
        "variable verify_schedule is missing",
    ),
    (
        architecture.check_instances,
        f"{BICEP}/app.bicep",
        "'function:groups'",
        "'function:group'",
        "always-ready group function:groups is missing",
    ),
    (architecture.check_instances, f"{TERRAFORM}/app.tf", '"3.13"', '"3.12"', "the runtime must be Python 3.13"),
    (
        architecture.check_instances,
        "functions/queues.py",
        'function_name("groups")',
        'function_name("groupz")',
        "groups, which is not a function",
    ),
    (architecture.check_instances, "host.json", "00:00:00.500", "00:01:00", "maxPollingInterval"),
    (architecture.check_sign_in, f"{BICEP}/app.bicep", "'/api/lifecycle', ", "", "anonymous path /api/lifecycle is missing"),
    (architecture.check_sign_in, f"{TERRAFORM}/app.tf", '"/api/health"]', '"/api/health", "/api/job"]', "/api/job is not one"),
    (architecture.check_sign_in, "functions/webhooks.py", "AuthLevel.ANONYMOUS", "AuthLevel.ADMIN", "is anonymous in"),
    (
        architecture.check_alerts,
        f"{TERRAFORM}/monitoring.tf",
        "alerts.json",
        "alarms.json",
        "does not read ../monitoring/alerts.json",
    ),
    (architecture.check_alerts, f"{BICEP}/monitoring.bicep", "severity: alert.severity", "severity: 3", "field severity"),
    # Monitoring
    (
        monitoring.check_alerts,
        "infra/monitoring/alerts.json",
        '"name": "quarantine"',
        '"name": "quarantined"',
        "alert quarantine is missing",
    ),
    (
        monitoring.check_alerts,
        "infra/monitoring/alerts.json",
        'the job is in quarantine\\"',
        'the job was quarantined\\"',
        "nothing logs",
    ),
    (
        monitoring.check_alerts,
        "shared/provisioning/quarantine.py",
        "the job is in quarantine (",
        "the job stands still (",
        "nothing logs 'the job is in quarantine'",
    ),
    (
        monitoring.check_alerts,
        "infra/monitoring/alerts.json",
        'Name == \\"cycle\\"',
        'Name == \\"cykle\\"',
        "no function is called cykle",
    ),
    (monitoring.check_alerts, "infra/monitoring/alerts.json", "| where Runs == 0", "| where (Runs == 0", "brackets do not match"),
    (monitoring.check_alerts, "infra/monitoring/alerts.json", '"AppRequests",', '"Requests",', "reads no table"),
    (
        monitoring.check_alerts,
        "infra/monitoring/alerts.json",
        "| where Success == false",
        "| where Sucess == false",
        "unknown column Sucess",
    ),
    (monitoring.check_alerts, "infra/monitoring/alerts.json", '"window": "PT30M"', '"window": "PT31M"', "window is not one"),
    (monitoring.check_alerts, "docs/operate.md", "### `throttling`", "### throttling", "what the alert throttling means"),
    (
        monitoring.check_workbook,
        "infra/monitoring/workbook.json",
        "goes back for",
        "went back for",
        "nothing logs 'went back for'",
    ),
    # What azd, the workflow and the package say
    (deployment.check_azure_yaml, "azure.yaml", "module: main", "module: mian", "mian.bicep is not a Bicep file"),
    (deployment.check_azure_yaml, "azure.yaml", "  app:", "  api:", "no function app is tagged as the service api"),
    (deployment.check_azure_yaml, "azure.yaml", "after_provision.sh", "after.sh", "after.sh is not a program"),
    (deployment.check_azure_yaml, "azure.yaml", "language: python", "langauge: python", "unknown word services.langauge"),
    (
        deployment.check_parameters,
        f"{BICEP}/main.parameters.json",
        '"servicePrincipalId"',
        '"principalId"',
        "no param principalId",
    ),
    (
        deployment.check_parameters,
        f"{BICEP}/example.parameters.json",
        '"servicenowInstanceUrl"',
        '"operatorEmail2"',
        "param servicenowInstanceUrl is missing",
    ),
    (
        deployment.check_parameters,
        f"{BICEP}/main.parameters.json",
        '"${SERVICENOW_PASSWORD}"',
        '"hunter2"',
        "the secret servicenowPassword stands",
    ),
    (deployment.check_workflow, ".github/workflows/deploy.yml", "needs: check", "needs: chek", "needs the job chek"),
    (
        deployment.check_workflow,
        ".github/workflows/deploy.yml",
        "azure/login@v2",
        "evil/login@v2",
        "unknown action evil/login@v2",
    ),
    (
        deployment.check_workflow,
        ".github/workflows/deploy.yml",
        "      id-token: write\n",
        "",
        "id-token: write",
    ),
    (
        deployment.check_workflow,
        ".github/workflows/deploy.yml",
        "${{ vars.AZURE_CLIENT_ID }}",
        "${{ secrets.AZURE_CLIENT_ID }}",
        "no secret is needed",
    ),
    (deployment.check_workflow, ".github/workflows/deploy.yml", "make package", "make pakage", "make pakage does not exist"),
    (deployment.check_workflow, ".github/workflows/deploy.yml", "contents: read", "contents: write", "contents: read"),
    (deployment.check_workflow, ".github/workflows/deploy.yml", "    environment: production\n", "", "can be approved"),
    (deployment.check_package, ".funcignore", "infra/\n", "", "would be deployed"),
    (deployment.check_package, ".funcignore", "docs/\n", "docs/\nshared/\n", "shared/ would not be deployed"),
]


def _fault_name(fault: tuple[Callable[[Path], list[Finding]], str, str, str, str]) -> str:
    return f"{fault[0].__name__}: {fault[1].rpartition('/')[2]} {fault[3][:24]!r}"


@pytest.mark.parametrize("fault", FAULTS, ids=_fault_name)
def test_a_planted_fault_is_caught(plot: Plot, fault: tuple[Callable[[Path], list[Finding]], str, str, str, str]) -> None:
    check, file, old, new, message = fault
    plot.plant(file, old, new)
    found = check(plot.root)
    assert found
    assert any(message in str(one) for one in found), found


@pytest.mark.parametrize("check", [check for check in CHECKS if check.title not in _SLOW], ids=lambda check: check.title)
def test_the_project_itself_has_no_fault(check: Check) -> None:
    try:
        assert check.run(PROJECT) == []
    except NotRun as why:
        pytest.skip(str(why))


def test_a_workbook_without_one_of_its_subjects_is_caught(plot: Plot) -> None:
    plot.plant("infra/monitoring/workbook.json", '"title": "Outcomes', '"title": "Results')
    plot.plant("infra/monitoring/workbook.json", '"title": "Outcomes', '"title": "Results')
    assert [one.message for one in monitoring.check_workbook(plot.root)] == ["nothing plots outcomes"]


def test_a_finding_names_the_line(plot: Plot) -> None:
    plot.plant("infra/bicep/state.bicep", "minimumTlsVersion:", "minimumTlsVersionn:")
    (finding,) = bicep_lint.check_names(plot.root)
    lines = (plot.root / finding.file).read_text(encoding="utf-8").splitlines()
    assert "minimumTlsVersionn" in lines[finding.line - 1]


def test_an_unformatted_file_is_caught_with_and_without_terraform(plot: Plot, monkeypatch: pytest.MonkeyPatch) -> None:
    plot.plant("infra/terraform/main.tf", "  tenant_id = data", "  tenant_id    = data")
    assert formatting.check(plot.root, TERRAFORM)
    try:
        assert compilers.check_format(plot.root)
    except NotRun as why:
        pytest.fail(f"unformatted, and yet: {why}")
    monkeypatch.setenv("PATH", "")
    assert compilers.check_format(plot.root)


def test_without_compilers_it_is_said_that_they_did_not_run(plot: Plot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    for check in (compilers.check_format, compilers.check_terraform, compilers.check_bicep):
        with pytest.raises(NotRun, match="is not installed"):
            check(plot.root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("locals {\n a = 1\n}\n", "indented by 1"),
        ("locals {\n  a = 1\n  bcd = 2\n}\n", "equals signs"),
        ("locals {\n  a = 1 \n}\n", "blank at the end"),
        ("locals {\n\ta = 1\n}\n", "tab"),
        ("locals {\n  a = 1\n}", "no end"),
    ],
)
def test_our_own_rules_of_form(text: str, message: str) -> None:
    assert any(message in found for _, found in formatting.faults(text))
