"""How much memory this process may still take."""

from __future__ import annotations

from pathlib import Path


def available_bytes(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Without harm to others: what Linux calls available, and free swap; less where a batch system or a container
    limits the process (cgroup v2). None where the system does not say.
    """
    system = _numbers(proc / "meminfo", ":")
    if "MemAvailable" not in system:
        return None
    found = 1024 * (system["MemAvailable"] + system.get("SwapFree", 0))
    own = next(
        (line.removeprefix("0::/") for line in _lines(proc / "self" / "cgroup") if line.startswith("0::/")), None
    )
    if own is not None:
        # A limit above holds for all that is below.
        for folder in (cgroups / own, *(cgroups / own).parents):
            if not folder.is_relative_to(cgroups):
                break
            if (limited := _left_below_limit(folder)) is not None:
                found = min(found, limited)
    return found


def _left_below_limit(folder: Path) -> int | None:
    limit, used = ("".join(_lines(folder / name)) for name in ("memory.max", "memory.current"))
    if not (limit.isdecimal() and used.isdecimal()):
        return None
    # Files that are kept in memory make room.
    return max(0, int(limit) - int(used) + _numbers(folder / "memory.stat", " ").get("file", 0))


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
