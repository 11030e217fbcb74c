"""Seconds of audio encoded per second: warm-up, then repeats, each waited for.

One CPU thread, for whatever model: ours take one for each utterance, and a rate should not depend on a machine's cores.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.models.arithmetic import threads
from skill_bench.records.profile import Throughput

Encode = Callable[[list[Tensor]], object]
"""Encodes a list of waveforms (samples,); what it returns is dropped."""


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
