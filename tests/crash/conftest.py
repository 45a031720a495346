"""After a run with ``CRASH_EVERY_STEP=1``: how many calls each path has, and how many cuts of it ended right."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print the table, longest path first."""
    if not os.environ.get("CRASH_EVERY_STEP"):
        return
    rows = []
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            told = dict(report.user_properties)
            if "cuts" in told:
                rows.append((int(told["calls"]), str(told["path"]), int(told["cuts"]), outcome))
    terminalreporter.section("a crash at every step")
    terminalreporter.line(f"{'path':34}{'calls':>8}{'cuts':>8}  all of them end right")
    for calls, path, cuts, outcome in sorted(rows, reverse=True):
        terminalreporter.line(f"{path:34}{calls:8}{cuts:8}  {'yes' if outcome == 'passed' else 'NO'}")
    terminalreporter.line(f"{'in all':34}{sum(row[0] for row in rows):8}{sum(row[2] for row in rows):8}")
