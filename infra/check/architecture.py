"""Bicep, Terraform and the app's code say the same: settings, secrets, queues, tables, roles, limits, instances, alerts."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from infra.check import bicep_lint, terraform_lint
from infra.check.app_facts import anonymous_routes, function_names
from infra.check.bicep import Expression, properties, text_of
from infra.check.findings import Finding
from shared.events import QUEUES
from shared.settings import SETTING_NAMES
from shared.state.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from infra.check.bicep import BicepFile

BICEP, TERRAFORM = bicep_lint.DIRECTORY, terraform_lint.DIRECTORY
#: Read by the app, and never set in Azure: a fixed token is for a local tenant only.
LOCAL_ONLY = frozenset({"GRAPH_ACCESS_TOKEN"})
#: Settings that hold a secret: they may be references into the vault or empty, nothing else.
SECRETS = frozenset(
    {
        "SERVICENOW_PASSWORD",
        "SERVICENOW_CLIENT_SECRET",
        "SERVICENOW_API_KEY",
        "NOTIFICATION_CLIENT_STATE",
        "NOTIFICATION_CLIENT_STATE_PREVIOUS",
        "ALERT_WEBHOOK_URL",
    }
)
#: What the platform and the SDKs read (source: Azure Functions docs, "App settings reference" and "Identity-based connections").
HOST_SETTINGS = frozenset(
    {
        "AzureWebJobsStorage__credential",
        "AzureWebJobsStorage__clientId",
        "AzureWebJobsStorage__blobServiceUri",
        "AzureWebJobsStorage__queueServiceUri",
        "AzureWebJobsStorage__tableServiceUri",
        "AZURE_CLIENT_ID",
        "APPLICATIONINSIGHTS_CONNECTION_STRING",
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    }
)
#: The roles that the app needs, and no others (source: Azure docs, "Azure built-in roles").
ROLES = {
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Storage Queue Data Contributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "Storage Table Data Contributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
}
#: Graph and monitors call these without signing in.
ANONYMOUS_PATHS = frozenset({"/api/notifications", "/api/lifecycle", "/api/health"})
#: Settings that Flex Consumption refuses (source: Azure Functions docs, "Flex Consumption plan", deprecated settings).
REFUSED_BY_FLEX = frozenset(
    {
        "FUNCTIONS_WORKER_RUNTIME",
        "FUNCTIONS_EXTENSION_VERSION",
        "WEBSITE_RUN_FROM_PACKAGE",
        "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING",
        "WEBSITE_TIME_ZONE",
    }
)
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def check_settings(root: Path) -> list[Finding]:
    """Both declare exactly the settings that the app reads, secrets as references into the vault only."""
    wanted = set(SETTING_NAMES) - LOCAL_ONLY
    found = _differences("setting", wanted, _bicep_map(root, "appSettings"), f"{BICEP}/app.bicep")
    found += _differences("setting", wanted, _terraform_map(root, "app_settings"), f"{TERRAFORM}/app.tf")
    for place, host in (
        (f"{BICEP}/app.bicep", _bicep_map(root, "hostSettings")),
        (f"{TERRAFORM}/app.tf", _terraform_map(root, "host_settings")),
    ):
        present = {name: value for name, value in host.items() if name != "AzureWebJobsStorage"}
        found += _differences("setting", set(HOST_SETTINGS), present, place)
        found += [Finding(place, 0, f"Flex Consumption refuses the setting {name}") for name in host if name in REFUSED_BY_FLEX]
        if host.get("AzureWebJobsStorage"):
            found.append(Finding(place, 0, "AzureWebJobsStorage must stay empty: the storage account takes no keys"))
    for place, settings in (
        (f"{BICEP}/app.bicep", _bicep_map(root, "appSettings")),
        (f"{TERRAFORM}/app.tf", _terraform_map(root, "app_settings")),
    ):
        for name in SECRETS & set(settings):
            if f"secret}}{name.replace('_', '-')})" not in _text(settings[name]):
                found.append(Finding(place, 0, f"{name} must be a reference to the secret {name.replace('_', '-')}"))
    return found


def check_secrets(root: Path) -> list[Finding]:
    """Every secret that a setting refers to can be written: by Bicep, and by infra/secret.sh."""
    state = _bicep_file(root, "state.bicep")
    made = {
        state.value(value)
        for resource in (state.of("resource").values() if state else ())
        if resource.target.startswith("Microsoft.KeyVault/vaults/secrets@") and state is not None
        for body in state.objects(resource.body)
        for key, value, _ in properties(body)
        if key == "name"
    }
    wanted = {name.replace("_", "-") for name in SECRETS}
    found = _differences("secret", wanted, made, f"{BICEP}/state.bicep")
    script = (root / "infra/secret.sh").read_text(encoding="utf-8")
    found += [Finding("infra/secret.sh", 0, f"does not know the secret {name}") for name in sorted(wanted) if name not in script]
    main = _bicep_file(root, "main.bicep")
    for file in (one for one in (main, state) if one is not None):
        for name, param in file.of("param").items():
            secret = bool(re.search(r"(secret|password|apikey|clientstate(previous)?|webhookurl)$", name, re.IGNORECASE))
            if secret and not param.decorators.get("secure"):
                found.append(Finding(str(file.path.relative_to(root)), param.line, f"param {name} must be @secure()"))
    return found


def check_storage(root: Path) -> list[Finding]:
    """Every queue with its poison queue, and every table, is created by both; nothing else is."""
    queues = {name for queue in QUEUES for name in (queue, f"{queue}-poison")}
    found = []
    for what, wanted, bicep_name in (("queue", queues, "queues"), ("table", set(TABLES), "tables")):
        state = _bicep_file(root, "state.bicep")
        variable = state.of("var").get(bicep_name) if state else None
        in_bicep = state.value(variable.body) if state and variable else []
        found += _differences(what, wanted, in_bicep, f"{BICEP}/state.bicep")
        found += _differences(what, wanted, _terraform_local(root, bicep_name) or [], f"{TERRAFORM}/state.tf")
        found += _loops(root, what, bicep_name)
    return found


def _loops(root: Path, what: str, name: str) -> Iterator[Finding]:
    """The list must be what the resources are made from."""
    state = _bicep_file(root, "state.bicep")
    kind = {"queue": "queueServices/queues@", "table": "tableServices/tables@"}[what]
    resources = [one for one in (state.of("resource").values() if state else ()) if kind in one.target]
    if not any(f"in {name}:" in text_of(resource.node) for resource in resources):
        yield Finding(f"{BICEP}/state.bicep", 0, f"no resource makes the {what}s of {name}")
    blocks = [block for file in terraform_lint.files(root) for block in file.blocks("resource")]
    if not any(f"local.{name}" in str(block.body.get("for_each", "")) for block in blocks):
        yield Finding(f"{TERRAFORM}/state.tf", 0, f"no resource makes the {what}s of {name}")


def check_roles(root: Path) -> list[Finding]:
    """Both assign exactly the roles that the app needs."""
    found = []
    names = {role_id: name for name, role_id in ROLES.items()}
    bicep_text = (root / BICEP / "roles.bicep").read_text(encoding="utf-8")
    terraform_text = (root / TERRAFORM / "roles.tf").read_text(encoding="utf-8")
    for place, text, assignments in (
        (f"{BICEP}/roles.bicep", bicep_text, "resource "),
        (f"{TERRAFORM}/roles.tf", terraform_text, 'resource "azurerm_role_assignment"'),
    ):
        present = set(_GUID.findall(text))
        found += [Finding(place, 0, f"the role {names[one]} is not assigned") for one in sorted(set(names) - present)]
        found += [Finding(place, 0, f"the role {one} is assigned and not needed") for one in sorted(present - set(names))]
        declared = re.findall(r"^\s*(?:var )?(\w+)\s*= ['\"]" + _GUID.pattern, text, re.MULTILINE)
        body = text[text.find(assignments) :]
        found += [
            Finding(place, 0, f"the role {name} is declared and not assigned")
            for name in declared
            if not re.search(rf"\b{name}\b", body)
        ]
        if "Owner'" in text or re.search(r'"(Owner|Contributor)"', text):
            found.append(Finding(place, 0, "no role of the whole subscription or group may be assigned"))
    return found


def check_limits(root: Path) -> list[Finding]:
    """The same parameters with the same defaults, limits and choices; secrets are given to Bicep only."""
    main = _bicep_file(root, "main.bicep")
    if main is None:
        return [Finding(f"{BICEP}/main.bicep", 0, "is missing")]
    variables = {name: (file, body) for file in terraform_lint.files(root) for name, body in file.variables.items()}
    found = []
    wanted = {_snake(name): one for name, one in main.of("param").items() if not one.decorators.get("secure")}
    found += _differences("variable", set(wanted), variables, f"{TERRAFORM}/variables.tf")
    for name, param in wanted.items():
        if name not in variables:
            continue
        file, body = variables[name]
        default = main.value(param.body) if param.has_default else None
        if param.has_default and default != body.get("default"):
            line = file.line_of(rf'^variable "{name}"')
            found.append(Finding(file.name, line, f"{name} has the default {body.get('default')!r}, Bicep has {default!r}"))
        conditions = " ".join(str(entry.get("condition")) for entry in body.get("validation", []))
        limits = {
            "minValue": rf">= {param.decorators.get('minValue')}\b",
            "maxValue": rf"<= {param.decorators.get('maxValue')}\b",
            "minLength": rf">= {param.decorators.get('minLength')}\b",
            "maxLength": rf"<= {param.decorators.get('maxLength')}\b",
        }
        for decorator, pattern in limits.items():
            if decorator in param.decorators and not re.search(pattern, conditions):
                message = f"{name} does not have the {decorator} {param.decorators[decorator]} of Bicep"
                found.append(Finding(file.name, file.line_of(rf'^variable "{name}"'), message))
        choices = param.decorators.get("allowed")
        if choices and sorted(map(str, choices)) != sorted(_choices(conditions)):
            found.append(Finding(file.name, file.line_of(rf'^variable "{name}"'), f"{name} does not have the choices of Bicep"))
    return found


def check_instances(root: Path) -> list[Finding]:
    """Instances are kept ready for HTTP, users and groups; the runtime is the project's; host.json fits."""
    wanted = {"http", "function:users", "function:groups"}
    functions = function_names(root)
    found = [
        Finding("functions", 0, f"the infrastructure keeps instances ready for {name}, which is not a function")
        for name in sorted(wanted)
        if name != "http" and name.removeprefix("function:") not in functions
    ]
    app = _bicep_file(root, "app.bicep")
    in_bicep = re.findall(r"name: '([^']+)', instanceCount: alwaysReadyInstances", text_of(app.root)) if app else []
    found += _differences("always-ready group", wanted, in_bicep, f"{BICEP}/app.bicep")
    block = next((one for one in _resources(root, "azurerm_function_app_flex_consumption")), None)
    ready = block.body.get("always_ready", []) if block else []
    found += _differences("always-ready group", wanted, [one.get("name") for one in ready], f"{TERRAFORM}/app.tf")
    version = ".".join((root / ".python-version").read_text(encoding="utf-8").strip().split(".")[:2])
    if app and f"runtime: {{ name: 'python', version: '{version}' }}" not in text_of(app.root):
        found.append(Finding(f"{BICEP}/app.bicep", 0, f"the runtime must be Python {version}"))
    if block and block.body.get("runtime_version") != version:
        found.append(Finding(block.file, block.line, f"the runtime must be Python {version}"))
    return found + list(_host_json(root))


def _host_json(root: Path) -> Iterator[Finding]:
    queues = json.loads((root / "host.json").read_text(encoding="utf-8")).get("extensions", {}).get("queues", {})
    hours, minutes, seconds = (float(part) for part in queues.get("maxPollingInterval", "00:01:00").split(":"))
    if hours * 3600 + minutes * 60 + seconds > 1:
        yield Finding("host.json", 0, "maxPollingInterval must be at most a second: a change is to be seen within seconds")
    if queues.get("messageEncoding", "base64") != "base64":
        yield Finding("host.json", 0, "messageEncoding must be base64: that is what the app sends")
    if queues.get("batchSize", 16) + queues.get("newBatchThreshold", 8) > 24:  # noqa: PLR2004 - the default of the host
        yield Finding("host.json", 0, "batchSize and newBatchThreshold take too many messages: ServiceNow serves few at a time")


def check_sign_in(root: Path) -> list[Finding]:
    """Both leave exactly the webhooks and the health page open, and the app reads the same role."""
    found = []
    app = _bicep_file(root, "app.bicep")
    variable = app.of("var").get("anonymousPaths") if app else None
    in_bicep = app.value(variable.body) if app and variable else []
    found += _differences("anonymous path", set(ANONYMOUS_PATHS), in_bicep, f"{BICEP}/app.bicep")
    in_terraform = _terraform_local(root, "anonymous_paths") or []
    found += _differences("anonymous path", set(ANONYMOUS_PATHS), in_terraform, f"{TERRAFORM}/app.tf")
    missing = {f"/api/{route}" for route in anonymous_routes(root)} ^ ANONYMOUS_PATHS
    found += [
        Finding("functions", 0, f"{path} is anonymous in the code or in the infrastructure, not in both") for path in missing
    ]
    return found


def check_alerts(root: Path) -> list[Finding]:
    """Both make their alerts and the workbook from the same files."""
    found = []
    bicep = (root / BICEP / "monitoring.bicep").read_text(encoding="utf-8")
    terraform = (root / TERRAFORM / "monitoring.tf").read_text(encoding="utf-8")
    for place, text in ((f"{BICEP}/monitoring.bicep", bicep), (f"{TERRAFORM}/monitoring.tf", terraform)):
        found += [
            Finding(place, 0, f"does not read ../monitoring/{name}")
            for name in ("alerts.json", "workbook.json")
            if f"../monitoring/{name}" not in text
        ]
        found += [
            Finding(place, 0, f"does not use the field {field} of an alert")
            for field in ("name", "title", "description", "severity", "frequency", "window", "resolves", "query")
            if not re.search(rf"(alert|value)\.{field}\b", text) and not (field == "name" and "each.key" in text)
        ]
    return found


def _differences(what: str, wanted: set[str], present: Iterable[Any], place: str) -> list[Finding]:
    have = [str(one) for one in present]
    found = [Finding(place, 0, f"the {what} {name} is missing") for name in sorted(wanted - set(have))]
    found += [Finding(place, 0, f"the {what} {name} is not one that the app knows") for name in sorted(set(have) - wanted)]
    return found + [Finding(place, 0, f"the {what} {name} is there twice") for name in sorted(set(have)) if have.count(name) > 1]


def _bicep_file(root: Path, name: str) -> BicepFile | None:
    return next((file for file in bicep_lint.files(root) if file.path.name == name), None)


def _bicep_map(root: Path, variable: str) -> dict[str, Any]:
    file = _bicep_file(root, "app.bicep")
    declared = file.of("var").get(variable) if file else None
    value = file.value(declared.body) if file and declared else {}
    return value if isinstance(value, dict) else {}


def _terraform_local(root: Path, name: str) -> Any:
    return next((file.locals[name] for file in terraform_lint.files(root) if name in file.locals), None)


def _terraform_map(root: Path, name: str) -> dict[str, Any]:
    value = _terraform_local(root, name)
    return value if isinstance(value, dict) else {}


def _resources(root: Path, kind: str) -> Iterator[Any]:
    for file in terraform_lint.files(root):
        yield from (block for block in file.blocks("resource") if block.kind == kind)


def _text(value: Any) -> str:
    return value.text if isinstance(value, Expression) else str(value)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _choices(conditions: str) -> list[str]:
    listed = re.search(r"contains\(\[(.*?)\]", conditions)
    return [choice.strip().strip('"') for choice in listed[1].split(",")] if listed else []
