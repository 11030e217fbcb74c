"""Whether the memory is enough for the longest recordings: asked before they are read, not by being killed.

Memory that was freed goes back to the system, so that a long extraction holds no more than a short one.
glibc keeps what is freed for later; with utterances of ever other lengths that grew by a third over three hours of
audio (``skill-bench bench --only scale``).
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from skill_bench.base.errors import DataError
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.data import Utterance

Estimate = Callable[[int], int | None]
"""Bytes for so many samples; None where nobody knows."""


def estimate_of(upstream: object) -> Estimate:
    """What an upstream says that it takes; one that does not say is trusted."""
    found: Estimate = getattr(upstream, "utterance_bytes", lambda n_samples: None)
    return found


def too_long(
    utterances: Sequence[Utterance], *, estimate: Estimate, max_samples: int | None
) -> list[tuple[Utterance, int, int]]:
    """Utterances that do not fit into the memory alone, the longest first, with bytes needed and available.

    Args:
        utterances: Those to be extracted.
        estimate: Of the upstream.
        max_samples: What is heard of each; all of it where it is None.
    """
    needs = [(utterance, _needed(utterance, estimate, max_samples)) for utterance in utterances]
    available = available_bytes() if any(needed for _, needed in needs) else None
    if available is None:
        return []
    found = [(utterance, needed, available) for utterance, needed in needs if needed > available]
    return sorted(found, key=lambda one: -one[1])


def refusal(utterance: Utterance, *, needed: int, available: int, upstream: str) -> DataError:
    """The error that names it, and what can be done."""
    return DataError(
        f"utterance {utterance.id!r} ({utterance.path}, {utterance.source}): its {utterance.seconds:.0f} s at once "
        f"need {needed / 1e9:.3g} GB of memory in upstream {upstream!r}, and {available / 1e9:.3g} GB are available. "
        "Cut the recording into shorter ones, leave it out of the manifest, or take a machine with more memory."
    )


def at_once(batches: Sequence[Sequence[Utterance]], most: int, *, estimate: Estimate, max_samples: int | None) -> int:
    """How many of ``batches`` fit into the memory together, at least one and at most ``most``."""
    needed = max((_needed(u, estimate, max_samples) for batch in batches for u in batch), default=0)
    available = available_bytes() if needed else None
    return most if available is None else max(1, min(most, available // needed))


def _needed(utterance: Utterance, estimate: Estimate, max_samples: int | None) -> int:
    n_samples = round((utterance.seconds or 0.0) * SAMPLE_RATE_HZ)
    return estimate(n_samples if max_samples is None else min(n_samples, max_samples)) or 0


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


def return_to_system() -> None:
    """malloc_trim(3) where there is one; elsewhere nothing."""
    if (trim := _trim()) is not None:
        trim(0)


@cache
def _trim() -> Any:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
