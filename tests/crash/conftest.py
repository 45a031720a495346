"""After a run with ``CRASH_EVERY_STEP=1``: how many calls each path has, and whether all cuts of it ended right."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print the table, longest path first."""
    if not os.environ.get("CRASH_EVERY_STEP"):
        return
    rows: dict[str, dict[str, int]] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            told = dict(report.user_properties)
            if "cuts" in told:
                row = rows.setdefault(str(told["path"]), {"calls": int(told["calls"]), "failed": 0})
                row[str(told["way"])] = int(told["cuts"])
                row["failed"] += outcome == "failed"
    terminalreporter.section("a crash and a stop at every step")
    terminalreporter.line(f"{'path':34}{'calls':>8}{'crashes':>9}{'stops':>8}  all of them end right")
    for path, row in sorted(rows.items(), key=lambda named: -named[1]["calls"]):
        right = "NO" if row["failed"] else "yes"
        terminalreporter.line(f"{path:34}{row['calls']:8}{row.get('crash', 0):9}{row.get('stop', 0):8}  {right}")
    sums = [sum(row.get(name, 0) for row in rows.values()) for name in ("calls", "crash", "stop")]
    terminalreporter.line(f"{'in all':34}{sums[0]:8}{sums[1]:9}{sums[2]:8}")
