"""The peak memory of a process, phase by phase.

Source: proc(5): VmHWM in ``/proc/PID/status`` is the peak resident set size; 5 written to ``/proc/PID/clear_refs`` resets it
to the present size.
"""

from __future__ import annotations

import re
from pathlib import Path

_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


def forget_peak(pid: int) -> None:
    """Begin a phase: the peak is the present size. Where that cannot be done, the peak since the start goes on."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def peak(pid: int) -> str:
    """The peak since the phase began, in MiB."""
    try:
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    except OSError:
        found = None
    return f"{int(found[1]) / 1024:.0f} MiB" if found else "not known here"
