"""What counts where a model is deployed, beside one thread's throughput: its file, the wait for a first result."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from skill_bench.base.errors import SkillBenchError
from skill_bench.measure.throughput import noise
from skill_bench.models.arithmetic import threads
from skill_bench.records.profile import ColdStart

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


def measure_cold_start(
    load: Callable[[], nn.Module],
    device: torch.device,
    *,
    n_repeats: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> ColdStart:
    """Times loading a model together with its first utterance, on one CPU thread.

    Args:
        load: gives something with ``hidden_states(waves)``.
        device: where it is.
        clock: seconds; for tests.

    Raises:
        SkillBenchError: it is not on a CPU.
    """
    if device.type != "cpu":
        raise SkillBenchError(f"measured on a CPU, and the model is on {device.type}")
    waves: list[Tensor] = noise(batch_size=1, seconds=FIRST_SECONDS, device=device, dtype=torch.float32)
    found = []
    with torch.no_grad(), threads(1):
        for _ in range(n_repeats):
            start = clock()
            load().hidden_states(waves)  # type: ignore[operator]
            found.append(clock() - start)
    return ColdStart(median=statistics.median(found), seconds=tuple(found), utterance_seconds=FIRST_SECONDS)
