"""A device that is the host: what extraction on a GPU does, on a machine without one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from fake_speech import FakeUpstream
from torch import Tensor


class HostLanes:
    """Plain copies, and a log of what was begun and waited for.

    Attributes:
        log: ``send 0``, ``fetch 0``, ``wait 0``...: which batch, in the order in which it happened.
    """

    def __init__(self, device: torch.device | None = None, *, peaks: list[int] | None = None) -> None:
        self.log: list[str] = []
        self.peaks = peaks or []

    def host(self, n: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.full((n,), float("nan"), dtype=dtype)

    def send(self, host: Tensor) -> Tensor:
        self._note("send")
        return host.clone()

    def fetch(self, found: Tensor) -> Callable[[], Tensor]:
        number = self._note("fetch")

        def wait() -> Tensor:
            self.log.append(f"wait {number}")
            return found.clone()

        return wait

    def available_bytes(self) -> int:
        return 1000

    def peak_bytes(self, run: Callable[[], object]) -> int:
        run()
        return self.peaks.pop(0) if self.peaks else 1

    def _note(self, what: str) -> int:
        number = sum(line.startswith(what) for line in self.log)
        self.log.append(f"{what} {number}")
        return number


class ElsewhereUpstream(FakeUpstream):
    """Says that it is on a GPU.

    Attributes:
        most: Waves that it computes at a time; with more its memory is full.
    """

    device = torch.device("cuda")

    def __init__(self, *, most: int = 1000, poison: bool = False) -> None:
        super().__init__(poison=poison)
        self.most = most

    def hidden_states(self, waves: list[Tensor]) -> list[Tensor]:
        if len(waves) > self.most:
            raise torch.OutOfMemoryError
        return super().hidden_states(waves)
