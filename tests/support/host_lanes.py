"""A device that is the host: extraction on a GPU, on a machine without one; and what a GPU would be waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from fake_speech import FakeUpstream
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_OF_VALUES = {
    "_local_scalar_dense", "is_nonzero", "equal", "nonzero", "nonzero_static", "masked_select", "unique_consecutive",
    "_unique2", "unique_dim", "bincount", "repeat_interleave",
}  # fmt: skip
"""Operations whose result the host needs, or whose shape depends on values."""


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


class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within, every operation that waits for the device is noted.

    With tensors on the meta device, which has no values, copies from and to the host are told from those on the device.

    Attributes:
        found: Their names, in order.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        tensors = [one for one in _flat((args, kwargs or {})) if isinstance(one, Tensor)]
        indexes = tensors[1:] if name in ("index", "index_put", "index_put_") else []
        if name in _OF_VALUES or any(index.dtype in (torch.bool, torch.uint8) for index in indexes):
            self.found.append(name)
        elif any(index.device != tensors[0].device for index in indexes):
            self.found.append(f"{name} by host numbers")
        given = func(*args, **(kwargs or {}))
        if name in ("_to_copy", "copy_") and not (kwargs or {}).get("non_blocking"):
            devices = {one.device.type for one in (*tensors, given)}
            if len(devices) > 1:
                self.found.append(f"{name} between {' and '.join(sorted(devices))}")
        return given


def _flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [found for one in value for found in _flat(one)]
    return [value]
