"""The most memory that this process has held at one time since a reset, libraries included: what it needs to run."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident_peak_bytes() -> int:
    """Linux: VmHWM of proc(5). Elsewhere the peak since the process began, which a reset does not lower."""
    try:
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak() -> None:
    """Linux: sets the peak to what is resident now (proc(5), clear_refs 5). Elsewhere, or where forbidden, nothing."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return
