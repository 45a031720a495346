"""checkov finds what a policy forbids, where it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra.check import compilers
from tests.infra.conftest import PROJECT

if TYPE_CHECKING:
    from tests.infra.conftest import Plot


@pytest.mark.skipif(not (PROJECT / compilers.CHECKOV).exists(), reason="checkov is not installed: make infra-check installs it")
def test_a_policy_that_is_broken_is_caught_and_each_skip_is_still_needed(plot: Plot) -> None:
    plot.plant(
        "infra/terraform/state.tf", 'min_tls_version                   = "TLS1_2"', 'min_tls_version                   = "TLS1_0"'
    )
    plot.plant("infra/bicep/state.bicep", "minimumTlsVersion: 'TLS1_2'", "minimumTlsVersion: 'TLS1_0'")
    (plot.root / ".venv").symlink_to(PROJECT / ".venv")
    found = compilers.check_policies(plot.root)
    assert [one.file for one in found if "CKV_AZURE_44" in one.message] == [
        "infra/bicep/state.bicep",
        "infra/terraform/state.tf",
    ] or {one.file for one in found} == {"infra/bicep/state.bicep", "infra/terraform/state.tf"}
    assert not any("skip" in one.message for one in found)
