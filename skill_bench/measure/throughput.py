"""Seconds of audio encoded per second: warm-up, then repeats, each waited for.

One CPU thread, for whatever model: ours take one for each utterance, and a rate should not depend on a machine's cores.

Beside it, what counts where a model is deployed: its file, the wait for a first result.

The reference is a model to time others against: PyTorch's own Transformer layers and nothing of ours.
A slowdown of this package's code cannot slow it, and a slow machine slows both, so the ratio of two throughputs
measured in turn tells one from the other.
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
NAME = "reference-v3"
_SAMPLES_PER_FRAME, _WIDTH = 320, 256


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


class ReferenceModel(nn.Module):
    """A linear front end of 20 ms frames and four Transformer layers of width 256, seeded."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.frontend = nn.Linear(_SAMPLES_PER_FRAME, _WIDTH)
            layer = nn.TransformerEncoderLayer(_WIDTH, nhead=4, dim_feedforward=4 * _WIDTH, batch_first=True)
            self.layers = nn.TransformerEncoder(layer, num_layers=4, enable_nested_tensor=False)
        self.eval()

    @torch.no_grad()
    def hidden_states(self, waves: list[Tensor]) -> list[Tensor]:
        """One utterance (samples,) after the other, to (frames, 256)."""
        return [self.layers(self.frontend(self._frames(wave))[None])[0] for wave in waves]

    @staticmethod
    def _frames(wave: Tensor) -> Tensor:
        n = len(wave) // _SAMPLES_PER_FRAME
        return wave[: n * _SAMPLES_PER_FRAME].reshape(n, _SAMPLES_PER_FRAME)


def throughput_ratio(
    encode: Encode, *, device: torch.device | str = "cpu", utterance_seconds: float = 10.0, n_rounds: int = 5
) -> float:
    """How many times as fast as the reference model ``encode`` is: the best of each over rounds that time both in turn.

    The best, because what else a machine of continuous integration does can slow a round, and cannot speed it up.
    """
    reference = ReferenceModel().to(device)
    rounds = [
        [
            measure_throughput(one, utterance_seconds=utterance_seconds, n_repeats=2, device=device).maximum
            for one in (encode, reference.hidden_states)
        ]
        for _ in range(n_rounds)
    ]
    own, its = (max(best) for best in zip(*rounds, strict=True))
    return float(own / its)
