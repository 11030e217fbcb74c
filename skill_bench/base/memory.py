"""How much memory this process may still take."""

from __future__ import annotations

import math
from pathlib import Path


def available_bytes(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Without harm to others: what Linux calls available, and free swap; less where a batch system or a container
    limits the process by cgroups. None where the system does not say.
    """
    system = _numbers(proc / "meminfo", ":")
    if "MemAvailable" not in system:
        return None
    found: float = 1024 * (system["MemAvailable"] + system.get("SwapFree", 0))
    for line in _lines(proc / "self" / "cgroup"):
        _, controllers, own = line.split(":", 2)
        if not controllers:
            found = min(found, _left_in(own, root=cgroups, names=("memory.max", "memory.current", "file")))
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache")
            found = min(found, _left_in(own, root=cgroups / "memory", names=names))
    return int(found)


def _left_in(group: str, *, root: Path, names: tuple[str, str, str]) -> float:
    """Below the tightest limit: one of a group above holds for all that is below. A container sees its own as root."""
    limit_name, used_name, cache_name = names
    found = math.inf
    for folder in (root / group.lstrip("/"), *(root / group.lstrip("/")).parents):
        if not folder.is_relative_to(root):
            break
        limit, used = ("".join(_lines(folder / name)) for name in (limit_name, used_name))
        if limit.isdecimal() and used.isdecimal():
            # Files that are kept in memory make room.
            kept = _numbers(folder / "memory.stat", " ").get(cache_name, 0)
            found = min(found, max(0, int(limit) - int(used) + kept))
    return found


def _numbers(file: Path, separator: str) -> dict[str, int]:
    pairs = (line.partition(separator) for line in _lines(file))
    return {
        name: int(value.split()[0]) for name, _, value in pairs if value.split()[:1] and value.split()[0].isdecimal()
    }


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
