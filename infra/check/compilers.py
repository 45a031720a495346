"""The real tools, where this machine has them: ``terraform fmt`` and ``validate``, ``bicep build``, checkov."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from infra.check import bicep_lint, formatting, terraform_lint
from infra.check.findings import Finding, NotRun

#: Beside the project's own environment: checkov pins versions that the app's requirements contradict.
CHECKOV = Path(".venv/infra/bin/checkov")
SKIPS = Path(__file__).parent / "checkov_skips.json"
_TIMEOUT = 120


def check_format(root: Path) -> list[Finding]:
    """``terraform fmt``; without it, rules of our own, and a note that they stood in."""
    terraform = shutil.which("terraform")
    if terraform is None:
        found = formatting.check(root, terraform_lint.DIRECTORY)
        if found:
            return found
        raise NotRun("terraform is not installed; rules of our own found the form in order")
    answer = _run([terraform, "fmt", "-check", "-list=true", "-no-color", str(root / terraform_lint.DIRECTORY)])
    return [
        Finding(f"{terraform_lint.DIRECTORY}/{Path(line).name}", 0, "is not formatted: run terraform fmt")
        for line in answer.stdout.splitlines()
        if line.endswith(".tf")
    ] or (
        [] if answer.returncode == 0 else [Finding(terraform_lint.DIRECTORY, 0, answer.stderr.strip() or "terraform fmt failed")]
    )


def check_terraform(root: Path) -> list[Finding]:
    """``terraform init`` and ``validate``: needs the providers, that is the network."""
    terraform = shutil.which("terraform")
    if terraform is None:
        raise NotRun("terraform is not installed")
    with tempfile.TemporaryDirectory() as work:
        copy = Path(work) / "infra"
        shutil.copytree(root / "infra/terraform", copy / "terraform", ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        shutil.copytree(root / "infra/monitoring", copy / "monitoring")
        directory = f"-chdir={copy / 'terraform'}"
        answer = _run([terraform, directory, "init", "-backend=false", "-input=false", "-no-color"])
        if answer.returncode:
            raise NotRun("terraform init could not download the providers")
        answer = _run([terraform, directory, "validate", "-json"])
        diagnostics = json.loads(answer.stdout).get("diagnostics", [])
    return [
        Finding(
            f"{terraform_lint.DIRECTORY}/{one.get('range', {}).get('filename', '')}",
            one.get("range", {}).get("start", {}).get("line", 0),
            f"{one['summary']} {one.get('detail', '')}".strip(),
        )
        for one in diagnostics
        if one.get("severity") == "error"
    ]


def check_bicep(root: Path) -> list[Finding]:
    """``bicep build`` of the whole deployment."""
    bicep, az = shutil.which("bicep"), shutil.which("az")
    if bicep is not None:
        command = [bicep, "build", str(root / bicep_lint.DIRECTORY / "main.bicep"), "--stdout"]
    elif az is not None:
        command = [az, "bicep", "build", "--file", str(root / bicep_lint.DIRECTORY / "main.bicep"), "--stdout"]
    else:
        raise NotRun("bicep is not installed: nothing here was compiled")
    answer = _run(command)
    if answer.returncode == 0:
        return []
    return [Finding(bicep_lint.DIRECTORY, 0, line) for line in answer.stderr.splitlines() if "Error" in line]


def check_policies(root: Path) -> list[Finding]:
    """Policies of checkov on both, with each skip reasoned in checkov_skips.json; a skip that is no longer needed is a fault."""
    checkov = next((path for path in (root / CHECKOV, Path.cwd() / CHECKOV) if path.exists()), None)
    if checkov is None:
        raise NotRun("checkov is not installed: make infra-check installs it")
    skips: dict[str, dict[str, str]] = json.loads(SKIPS.read_text(encoding="utf-8"))
    frameworks = ["-d", str(root / "infra"), "--framework", "bicep", "terraform"]
    options = ["--compact", "--quiet", "--output", "json", "--skip-download"]
    answer = _run([str(checkov), *frameworks, *options], environment={"LOG_LEVEL": "ERROR"})
    try:
        reports: list[dict[str, Any]] = json.loads(answer.stdout)
    except ValueError:
        return [Finding("infra", 0, f"checkov gave no report: {answer.stderr.strip()[-300:]}")]
    found = []
    for report in reports:
        framework = report["check_type"]
        allowed = skips[framework]
        failed = {one["check_id"] for one in report["results"]["failed_checks"]}
        found += [
            Finding(f"infra{one['file_path']}", one["file_line_range"][0], f"{one['check_id']} {one['check_name']}")
            for one in report["results"]["failed_checks"]
            if one["check_id"] not in allowed
        ]
        found += [
            Finding("infra/check/checkov_skips.json", 0, f"{framework}: the skip of {check} is not needed any more")
            for check in sorted(set(allowed) - failed)
        ]
        found += [Finding(str(name), 0, "checkov cannot read it") for name in report["results"].get("parsing_errors") or []]
    return found


def _run(command: list[str], environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - fixed commands on the project's own files
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", **(environment or {})},
        )
    except subprocess.TimeoutExpired as error:
        raise NotRun(f"{Path(command[0]).name} did not answer within {_TIMEOUT} s") from error
