"""What is asked of CUDA for copies beside the computation, with a CUDA that notes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from skill_bench.features import lanes as module
from skill_bench.features.lanes import CudaLanes


class Stream:
    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def wait_stream(self, other: Stream) -> None:
        self.log.append(f"{self.name} waits for {other.name}")


class Cuda:
    """In place of ``torch.cuda``; memory is in bytes of no meaning."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.current, self._names = Stream("computing", self.log), iter(("up", "down"))
        self.allocated, self.most = 20, 0
        self.Stream = lambda device: Stream(next(self._names), self.log)
        self.Event = lambda: SimpleNamespace(
            record=lambda stream: self.log.append(f"event in {stream.name}"),
            synchronize=lambda: self.log.append("the host waits for the event"),
        )

    def current_stream(self, device: torch.device) -> Stream:
        return self.current

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before

    def mem_get_info(self, device: torch.device) -> tuple[int, int]:
        return 100, 1000

    def memory_reserved(self, device: torch.device) -> int:
        return 50

    def memory_allocated(self, device: torch.device) -> int:
        return self.allocated

    def reset_peak_memory_stats(self, device: torch.device) -> None:
        self.most = self.allocated

    def max_memory_allocated(self, device: torch.device) -> int:
        return self.most


class Copies(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes copies, in which stream, and whether the host waits."""

    def __init__(self, cuda: Cuda) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.cuda = cuda

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in ("_to_copy", "copy_"):
            goes_on = (kwargs or {}).get("non_blocking") or args[2:] == (True,)
            self.cuda.log.append(f"copy in {self.cuda.current.name}{'' if goes_on else ', waited for'}")
        return func(*args, **(kwargs or {}))


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    made = Cuda()

    def empty(n: int, *, dtype: torch.dtype, pin_memory: bool = False) -> torch.Tensor:
        made.log.append("pinned memory" if pin_memory else "memory")
        return torch.empty(n, dtype=dtype)

    def keep(tensor: torch.Tensor, stream: Stream) -> None:
        made.log.append(f"memory is kept for {stream.name}")

    monkeypatch.setattr(module, "torch", SimpleNamespace(cuda=made, empty=empty, float32=torch.float32))
    monkeypatch.setattr(torch.Tensor, "record_stream", keep)
    return made


def test_audio_goes_up_in_a_stream_of_its_own_that_the_computation_waits_for(cuda: Cuda) -> None:
    lanes = CudaLanes(torch.device("meta"))
    with Copies(cuda):
        sent = lanes.send(lanes.host(3))
    assert cuda.log == ["pinned memory", "copy in up", "computing waits for up", "memory is kept for computing"]
    assert (sent.device.type, sent.shape, sent.dtype) == ("meta", (3,), torch.float32)


def test_features_come_down_once_they_are_computed_and_nobody_waits_until_they_are_wanted(cuda: Cuda) -> None:
    lanes, found = CudaLanes(torch.device("cpu")), torch.arange(3).half()
    with Copies(cuda):
        wait = lanes.fetch(found)
    assert cuda.log == [
        "pinned memory", "down waits for computing", "copy in down", "event in down", "memory is kept for down",
    ]  # fmt: skip
    cuda.log.clear()
    assert torch.equal(wait(), found)
    assert cuda.log == ["the host waits for the event"]


def test_memory_that_torch_keeps_for_itself_is_free_and_a_peak_is_beyond_what_was_taken(cuda: Cuda) -> None:
    lanes = CudaLanes(torch.device("cpu"))
    assert lanes.available_bytes() == 100 + (50 - 20)
    assert lanes.peak_bytes(lambda: setattr(cuda, "most", 70)) == 70 - 20
