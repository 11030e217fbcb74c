"""Seconds of audio encoded per second: warm-up, then repeats, each waited for.

One CPU thread, for whatever model: ours take one for each utterance, and a rate should not depend on a machine's cores.

Beside it, what counts where a model is deployed: its file, the wait for a first result.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from skill_bench.base.errors import SkillBenchError
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.models.arithmetic import threads
from skill_bench.records.profile import ColdStart, Throughput

Encode = Callable[[list[Tensor]], object]
"""Encodes a list of waveforms (samples,); what it returns is dropped."""
FIRST_SECONDS = 1.0
"""Length of the utterance that a cold start ends with."""


def noise(*, batch_size: int, seconds: float, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    """``batch_size`` waveforms of seeded noise; silence would be kind to kernels that skip denormals and zeros."""
    generator = torch.Generator().manual_seed(0)
    n = round(seconds * SAMPLE_RATE_HZ)
    return [(0.1 * torch.randn(n, generator=generator)).to(device, dtype) for _ in range(batch_size)]


def measure_throughput(
    encode: Encode,
    *,
    batch_size: int = 1,
    utterance_seconds: float = 10.0,
    n_warmup: int = 1,
    n_repeats: int = 5,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    clock: Callable[[], float] = time.perf_counter,
) -> Throughput:
    """Times ``encode`` on ``n_repeats`` batches of noise, after ``n_warmup`` that do not count.

    Args:
        encode: the module behind it is on ``device``.
        clock: seconds; for tests.
    """
    device = torch.device(device)
    waves = noise(batch_size=batch_size, seconds=utterance_seconds, device=device, dtype=dtype)
    batch_seconds = []
    with torch.inference_mode(), threads(1):
        for repeat in range(n_warmup + n_repeats):
            _wait(device)
            start = clock()
            encode(waves)
            _wait(device)
            if repeat >= n_warmup:
                batch_seconds.append(clock() - start)
    rates = [batch_size * utterance_seconds / seconds for seconds in batch_seconds]
    return Throughput(
        median=statistics.median(rates),
        minimum=min(rates),
        maximum=max(rates),
        batch_seconds=tuple(batch_seconds),
        n_warmup=n_warmup,
        batch_size=batch_size,
        utterance_seconds=utterance_seconds,
        dtype=str(dtype).removeprefix("torch."),
        device=device.type,
        n_threads=1,
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


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
