"""azure.yaml, the parameter files, the workflow and the package: valid, and speaking of things that exist."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml

from infra.check import bicep_lint
from infra.check.findings import Finding
from infra.package import packaged_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AZURE_YAML, WORKFLOW = "azure.yaml", ".github/workflows/deploy.yml"
PARAMETERS = "infra/bicep/main.parameters.json"
#: The words of azure.yaml that are used (source: Azure Developer CLI docs, "azure.yaml schema").
_AZURE_YAML = {
    "": {"name", "infra", "services", "hooks", "metadata"},
    "infra": {"provider", "path", "module"},
    "service": {"project", "language", "host"},
    "hook": {"shell", "run", "interactive", "continueOnError"},
}
_HOOKS = frozenset({"preprovision", "postprovision", "predeploy", "postdeploy", "preup", "postup"})
#: The actions that may run, with their inputs that are used (source: the action.yml of each).
_ACTIONS = {
    "actions/checkout@v4": {"persist-credentials"},
    "actions/setup-python@v5": {"python-version-file"},
    "actions/setup-node@v4": {"node-version"},
    "hashicorp/setup-terraform@v3": {"terraform_version", "terraform_wrapper"},
    "actions/upload-artifact@v4": {"name", "path", "if-no-files-found"},
    "actions/download-artifact@v4": {"name", "path"},
    "azure/login@v2": {"client-id", "tenant-id", "subscription-id"},
    "Azure/functions-action@v1": {"app-name", "package", "sku", "remote-build"},
}
_JOB_WORDS = frozenset({"needs", "if", "runs-on", "timeout-minutes", "permissions", "environment", "steps", "env", "strategy"})
_STEP_WORDS = frozenset({"name", "id", "uses", "with", "run", "env", "if"})
_PACKAGE_ROOTS = ("function_app.py", "host.json", "requirements.txt", "functions/", "shared/")


def check_azure_yaml(root: Path) -> list[Finding]:
    """Known words, hooks that can be run, a service that the function app is tagged with."""
    document = _yaml(root / AZURE_YAML)
    found = [Finding(AZURE_YAML, 0, f"unknown word {word}") for word in sorted(set(document) - _AZURE_YAML[""])]
    infra = document.get("infra", {})
    found += [Finding(AZURE_YAML, 0, f"unknown word infra.{word}") for word in sorted(set(infra) - _AZURE_YAML["infra"])]
    template = root / str(infra.get("path", "infra")) / f"{infra.get('module', 'main')}.bicep"
    if infra.get("provider") != "bicep" or not template.exists():
        found.append(Finding(AZURE_YAML, 0, f"{template.relative_to(root)} is not a Bicep file"))
    app = (root / "infra/bicep/app.bicep").read_text(encoding="utf-8")
    for name, service in document.get("services", {}).items():
        found += [
            Finding(AZURE_YAML, 0, f"unknown word services.{word}") for word in sorted(set(service) - _AZURE_YAML["service"])
        ]
        if (service.get("host"), service.get("language")) != ("function", "python"):
            found.append(Finding(AZURE_YAML, 0, f"{name} must be a Python function app"))
        if f"'azd-service-name': '{name}'" not in app:
            found.append(Finding(AZURE_YAML, 0, f"no function app is tagged as the service {name}"))
    for name, hook in document.get("hooks", {}).items():
        if name not in _HOOKS:
            found.append(Finding(AZURE_YAML, 0, f"unknown hook {name}"))
        found += [Finding(AZURE_YAML, 0, f"unknown word hooks.{word}") for word in sorted(set(hook) - _AZURE_YAML["hook"])]
        script = root / str(hook.get("run"))
        if not script.exists() or not script.stat().st_mode & 0o100:
            found.append(Finding(AZURE_YAML, 0, f"{hook.get('run')} is not a program"))
    return found


def check_parameters(root: Path) -> list[Finding]:
    """Every parameter file names parameters of main.bicep, and all that have no default; none holds a secret."""
    main = next(file for file in bicep_lint.files(root) if file.path.name == "main.bicep")
    params = main.of("param")
    found = []
    for path in sorted((root / "infra/bicep").glob("*.parameters.json")):
        name = str(path.relative_to(root))
        given = json.loads(path.read_text(encoding="utf-8"))["parameters"]
        found += [Finding(name, 0, f"main.bicep has no param {one}") for one in sorted(set(given) - set(params))]
        missing = [one for one, param in params.items() if not param.has_default and one not in given]
        found += [Finding(name, 0, f"param {one} is missing") for one in missing]
        for one, entry in given.items():
            value = entry.get("value", "")
            from_environment = isinstance(value, str) and re.fullmatch(r"\$\{[A-Z_]+\}", value)
            if one in params and params[one].decorators.get("secure") and not from_environment:
                found.append(Finding(name, 0, f"the secret {one} stands in the file"))
            if name == PARAMETERS and not from_environment:
                found.append(Finding(name, 0, f"{one} must come from the environment of azd"))
    return found


def check_workflow(root: Path) -> list[Finding]:
    """Known actions and inputs, least permissions, no stored credential, jobs that exist, targets that exist."""
    document = _yaml(root / WORKFLOW)
    found = []
    # YAML 1.1 reads the word "on" as true.
    words = {"on" if str(word) == "True" else word for word in document}
    found += [Finding(WORKFLOW, 0, f"{word} is missing") for word in ("name", "on", "permissions", "jobs") if word not in words]
    if document.get("permissions") != {"contents": "read"}:
        found.append(Finding(WORKFLOW, 0, "the workflow may have the permission contents: read, nothing else"))
    jobs = document.get("jobs", {})
    targets = set(re.findall(r"^([\w-]+):", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for name, job in jobs.items():
        found += [Finding(WORKFLOW, 0, f"{name}: unknown word {word}") for word in sorted(set(job) - _JOB_WORDS)]
        needs = job.get("needs", [])
        found += [
            Finding(WORKFLOW, 0, f"{name} needs the job {one}, which does not exist")
            for one in ([needs] if isinstance(needs, str) else needs)
            if one not in jobs
        ]
        if "timeout-minutes" not in job or "runs-on" not in job:
            found.append(Finding(WORKFLOW, 0, f"{name} must say where it runs and how long at most"))
        found += [Finding(WORKFLOW, 0, f"{name}: {fault}") for fault in _job_faults(job, targets)]
    order = {name: job.get("needs") for name, job in jobs.items()}
    if order.get("deploy") != "what-if" or order.get("what-if") != "check":
        found.append(Finding(WORKFLOW, 0, "deploy must wait for what-if, and that for check"))
    if not jobs.get("deploy", {}).get("environment"):
        found.append(Finding(WORKFLOW, 0, "deploy must run in an environment, so that it can be approved"))
    text = (root / WORKFLOW).read_text(encoding="utf-8")
    found += [
        Finding(WORKFLOW, 0, f"{path} does not exist")
        for path in sorted(set(re.findall(r"infra/[\w/.-]+\.(?:bicep|json)", text)))
        if not (root / path).exists()
    ]
    if "secrets." in text:
        found.append(Finding(WORKFLOW, 0, "no secret is needed: sign-in is federated and the vault keeps the others"))
    return found


def _job_faults(job: dict[str, Any], targets: set[str]) -> Iterator[str]:
    signs_in = False
    for step in job.get("steps", []):
        yield from (f"unknown word {word} in a step" for word in sorted(set(step) - _STEP_WORDS))
        if ("uses" in step) == ("run" in step):
            yield "a step must either use an action or run a command"
        action = step.get("uses")
        if action is not None and action not in _ACTIONS:
            yield f"unknown action {action}"
        elif action is not None:
            yield from (f"{action} has no input {word}" for word in sorted(set(step.get("with", {})) - _ACTIONS[action]))
        signs_in = signs_in or action == "azure/login@v2"
        for target in re.findall(r"\bmake ([\w-]+)", step.get("run", "")):
            if target not in targets:
                yield f"make {target} does not exist"
    if signs_in != (job.get("permissions", {}).get("id-token") == "write"):
        yield "the permission id-token: write belongs to the jobs that sign in to Azure, and to no other"


def check_package(root: Path) -> list[Finding]:
    """What is deployed is what runs: the app, its host.json and its requirements, and nothing else."""
    files = packaged_files(root)
    found = [Finding(".funcignore", 0, f"{file} would be deployed") for file in files if not file.startswith(_PACKAGE_ROOTS)]
    found += [
        Finding(".funcignore", 0, f"{part} would not be deployed")
        for part in _PACKAGE_ROOTS
        if not any(file.startswith(part) for file in files)
    ]
    return found


def _yaml(path: Path) -> dict[str, Any]:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document if isinstance(document, dict) else {}
