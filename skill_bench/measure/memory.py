"""Peak memory of one forward, as the allocator sees it: the same quantity on CPU and GPU.

The resident set of a process is not used: it counts libraries, never shrinks, and hides what is allocated from memory
freed earlier. On a CPU torch's profiler lists every allocation, kernels' scratch space included, and their running sum
has a peak; on CUDA the allocator keeps that peak itself.

Of a whole process, there is the most that it has held at one time since a reset: what it needs to run.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from skill_bench.measure.throughput import Encode, noise
from skill_bench.records.profile import Memory

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def measure_memory(
    module: nn.Module,
    encode: Encode,
    *,
    batch_size: int = 1,
    utterance_seconds: float = 10.0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Memory:
    """Peak bytes allocated at one time by ``encode`` on noise, beyond weights and waveforms, and the weights' bytes."""
    device = torch.device(device)
    waves = noise(batch_size=batch_size, seconds=utterance_seconds, device=device, dtype=dtype)
    with torch.inference_mode():
        encode(waves)  # what is allocated once, such as tables and library handles, is not part of a forward
        on_gpu = device.type == "cuda"
        peak = peak_on_gpu(lambda: encode(waves), device) if on_gpu else peak_on_cpu(lambda: encode(waves))
    return Memory(
        peak_bytes=peak,
        weight_bytes=sum(t.numel() * t.element_size() for t in (*module.parameters(), *module.buffers())),
        batch_size=batch_size,
        utterance_seconds=utterance_seconds,
        dtype=str(dtype).removeprefix("torch."),
        device=device.type,
        method="torch.cuda.max_memory_allocated" if on_gpu else "torch.profiler allocations",
    )


def peak_on_gpu(run: Callable[[], object], device: torch.device) -> int:
    """Most bytes that ``run`` has allocated on ``device`` at one time beyond what was there before it."""
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def peak_on_cpu(run: Callable[[], object]) -> int:
    """Most bytes that ``run`` has allocated at one time beyond what was there before it."""
    with _quiet_kineto(), torch.autograd.profiler.profile(use_cpu=True, profile_memory=True) as profiler:
        run()
    assert profiler.kineto_results is not None
    events = [event for event in profiler.kineto_results.events() if event.name() == "[memory]"]
    allocated = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        allocated += event.nbytes()
        peak = max(peak, allocated)
    return peak


@contextmanager
def _quiet_kineto() -> Iterator[None]:
    """A CUDA build of torch on a machine without GPU writes an error line to stderr when profiling starts."""
    before = os.environ.get("KINETO_LOG_LEVEL")
    os.environ["KINETO_LOG_LEVEL"] = before or "5"
    try:
        yield
    finally:
        if before is None:
            del os.environ["KINETO_LOG_LEVEL"]


def resident_peak_bytes() -> int:
    """Linux: VmHWM of proc(5). Elsewhere the peak since the process began, which a reset does not lower."""
    try:
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak() -> None:
    """Linux: sets the peak to what is resident now (proc(5), clear_refs 5). Elsewhere, or where forbidden, nothing."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return
