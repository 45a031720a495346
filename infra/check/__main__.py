"""``python -m infra.check``: every check, one line each; 1 if one found a fault."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from infra.check import architecture, bicep_lint, compilers, deployment, monitoring, terraform_lint
from infra.check.findings import Check, NotRun

CHECKS = (
    Check("Bicep parses, by both parsers", bicep_lint.check_syntax),
    Check("Bicep symbols: none undefined, none unused", bicep_lint.check_symbols),
    Check("Bicep modules: parameters and outputs", bicep_lint.check_modules),
    Check("Bicep types, API versions and properties", bicep_lint.check_names),
    Check("Terraform parses", terraform_lint.check_syntax),
    Check("Terraform symbols: none undefined, none unused", terraform_lint.check_symbols),
    Check("Terraform attributes and blocks", terraform_lint.check_names),
    Check("Terraform format", compilers.check_format),
    Check("settings are those that the app reads", architecture.check_settings),
    Check("secrets have a place in the vault", architecture.check_secrets),
    Check("every queue and table is created", architecture.check_storage),
    Check("roles: all that are needed, no others", architecture.check_roles),
    Check("parameters, defaults and limits are the same", architecture.check_limits),
    Check("instances, runtime and host.json", architecture.check_instances),
    Check("sign-in leaves the webhooks open", architecture.check_sign_in),
    Check("both declare the same alerts and workbook", architecture.check_alerts),
    Check("alerts look for what is logged", monitoring.check_alerts),
    Check("workbook looks for what is logged", monitoring.check_workbook),
    Check("azure.yaml", deployment.check_azure_yaml),
    Check("parameter files", deployment.check_parameters),
    Check("workflow", deployment.check_workflow),
    Check("package: what runs, and nothing else", deployment.check_package),
    Check("policies (checkov)", compilers.check_policies),
    Check("terraform validate", compilers.check_terraform),
    Check("bicep build", compilers.check_bicep),
)


def main(root: Path) -> int:
    """Run all and print; 0 without faults. What did not run is said, and is no fault."""
    faults = 0
    for check in CHECKS:
        began = time.monotonic()
        try:
            found = sorted(check.run(root))
        except NotRun as why:
            print(f"not run  {check.title}: {why}")
            continue
        print(f"{'FAULT' if found else 'ok':<8} {check.title} ({time.monotonic() - began:.1f} s)")
        for finding in found:
            print(f"           {finding}")
        faults += len(found)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parents[2]))
