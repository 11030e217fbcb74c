"""What counts where a model is deployed: its file, one thread of a CPU, the wait for a first result."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from skill_bench.base.errors import SkillBenchError
from skill_bench.measure.throughput import Encode, measure_throughput, noise
from skill_bench.models.threads import threads
from skill_bench.records.profile import ColdStart, Throughput

FIRST_SECONDS = 1.0
"""Length of the utterance that a cold start ends with."""


def disk_bytes(module: nn.Module) -> int:
    """Size of the file that an upstream was loaded from.

    Raises:
        SkillBenchError: it was not loaded from a file.
    """
    found: int | None = getattr(module, "disk_bytes", None)
    if found is None:
        raise SkillBenchError("it has no file of its own")
    return found


def measure_one_thread(encode: Encode, *, device: torch.device, n_repeats: int) -> Throughput:
    """Throughput of one utterance of 10 s at a time on one CPU thread.

    Raises:
        SkillBenchError: the module is not on a CPU.
    """
    _require_cpu(device)
    with threads(1):
        return measure_throughput(encode, n_repeats=n_repeats)


def measure_cold_start(
    load: Callable[[], nn.Module],
    *,
    device: torch.device,
    n_repeats: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> ColdStart:
    """Times loading a model together with its first utterance.

    Args:
        load: gives something with ``hidden_states(waves)``.
        device: where the module is that others measure.
        clock: seconds; for tests.

    Raises:
        SkillBenchError: the module is not on a CPU.
    """
    _require_cpu(device)
    waves: list[Tensor] = noise(batch_size=1, seconds=FIRST_SECONDS, device=device, dtype=torch.float32)
    found = []
    with torch.no_grad():
        for _ in range(n_repeats):
            start = clock()
            load().hidden_states(waves)  # type: ignore[operator]
            found.append(clock() - start)
    return ColdStart(
        median=statistics.median(found),
        seconds=tuple(found),
        utterance_seconds=FIRST_SECONDS,
        n_threads=torch.get_num_threads(),
    )


def _require_cpu(device: torch.device) -> None:
    if device.type != "cpu":
        raise SkillBenchError(f"measured on a CPU, and the model is on {device.type}")
