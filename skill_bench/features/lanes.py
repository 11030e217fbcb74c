"""What extraction needs of a GPU: copies beside the computation, and how much audio it computes at a time.

On a CPU copies are plain, so that all the rest can be tested. CUDA's rules that matter here: a copy overlaps with
kernels only from or to pinned memory, in a stream of its own; memory that another stream than its maker's uses must be
marked (``record_stream``), or it is given out again too early; and an event says when one copy is done without waiting
for anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from skill_bench.base.sample_rate import SAMPLE_RATE_HZ

MOST_SECONDS = 600.0
"""Of padded audio: 30,000 rows of frames fill the largest GPU. More would only be more padding, and more to hold on the
host."""
LITTLE_SECONDS = 16.0
"""Where the probe itself finds no place."""
_PROBED_SECONDS, _PROBED_TOGETHER = (4.0, 16.0), 32.0
_FILLED = 0.75
"""Of what is free: results of the batch before are there too, and memory in pieces is not all of use."""


class Lanes(Protocol):
    """To a device and back."""

    def host(self, n: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """``(n,)`` of host memory that copies need not wait for."""
        ...

    def send(self, host: Tensor) -> Tensor:
        """A copy on the device; what is computed from now on waits for it there, the caller does not."""
        ...

    def fetch(self, found: Tensor) -> Callable[[], Tensor]:
        """Begins to copy ``found`` to the host once it is computed; what is returned waits for that and gives it."""
        ...

    def available_bytes(self) -> int:
        """Free memory of the device."""
        ...

    def peak_bytes(self, run: Callable[[], object]) -> int:
        """Most memory of the device that ``run`` has taken at one time, beyond what was taken before."""
        ...


class CudaLanes:
    """One stream up, one down, beside the one that computes."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._up, self._down = (torch.cuda.Stream(device) for _ in range(2))  # type: ignore[no-untyped-call]

    def host(self, n: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(n, dtype=dtype, pin_memory=True)

    def send(self, host: Tensor) -> Tensor:
        computing = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self._up):
            sent = host.to(self.device, non_blocking=True)
        computing.wait_stream(self._up)
        sent.record_stream(computing)
        return sent

    def fetch(self, found: Tensor) -> Callable[[], Tensor]:
        host = self.host(found.numel(), found.dtype)
        self._down.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._down):
            host.copy_(found, non_blocking=True)
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record(self._down)
        found.record_stream(self._down)

        def wait() -> Tensor:
            done.synchronize()
            return host

        return wait

    def available_bytes(self) -> int:
        free, _ = torch.cuda.mem_get_info(self.device)
        kept = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return free + kept

    def peak_bytes(self, run: Callable[[], object]) -> int:
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        run()
        return torch.cuda.max_memory_allocated(self.device) - before


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Device memory that an utterance takes: front end, states and linear layers grow with its length; a position bias,
    and attention where its scores are laid out, with the square."""

    per_second: float
    per_square_second: float

    def of(self, seconds: float) -> float:
        """Bytes for one utterance."""
        return self.per_second * seconds + self.per_square_second * seconds**2

    @classmethod
    def through(cls, first: tuple[float, float], second: tuple[float, float]) -> Cost:
        """Through two measurements, each seconds of an utterance and bytes that it takes."""
        (s, a), (t, b) = sorted((first, second))
        square = max(0.0, (b / t - a / s) / (t - s))
        return cls(per_second=max(a / s - square * s, 1.0), per_square_second=square)


@dataclass(frozen=True, kw_only=True)
class Room:
    """What fits into one batch."""

    seconds: float
    n_bytes: float | None = None
    cost: Cost | None = None

    def holds(self, n: int, seconds: float) -> bool:
        """Whether ``n`` utterances, padded to so many seconds, fit."""
        if self.cost is not None and self.n_bytes is not None and n * self.cost.of(seconds) > self.n_bytes:
            return False
        return n * seconds <= self.seconds


_costs: WeakKeyDictionary[object, Cost] = WeakKeyDictionary()
"""Of each model, so that it is probed once: the cost is the model's, the room is the moment's."""


def room_for(model: object, run: Callable[[list[Tensor]], object], *, lanes: Lanes) -> Room:
    """The room for batches of ``model``, which ``run`` computes from waves on the device."""
    if model not in _costs:
        _costs[model] = Cost.through(*(_measured(run, seconds, lanes) for seconds in _PROBED_SECONDS))
    return Room(seconds=MOST_SECONDS, n_bytes=_FILLED * lanes.available_bytes(), cost=_costs[model])


def _measured(run: Callable[[list[Tensor]], object], seconds: float, lanes: Lanes) -> tuple[float, float]:
    n, length = round(_PROBED_TOGETHER / seconds), round(seconds * SAMPLE_RATE_HZ)
    noise = lanes.host(n * length)
    torch.randn(n * length, out=noise, generator=torch.Generator().manual_seed(0))
    # Of different lengths, since padding takes memory too.
    waves = [wave[: length - number] for number, wave in enumerate(torch.split(lanes.send(noise), length))]
    run(waves)  # what is allocated once is not an utterance's
    return seconds, lanes.peak_bytes(lambda: run(waves)) / n
