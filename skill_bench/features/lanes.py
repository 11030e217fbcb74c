"""Copies between host and device beside the computation. On a CPU they are plain, so that all the rest can be tested.

CUDA's rules that matter here: a copy overlaps with kernels only from or to pinned memory, in a stream of its own;
memory that another stream than its maker's uses must be marked (``record_stream``), or it is given out again too early;
and an event says when one copy is done without waiting for anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


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
