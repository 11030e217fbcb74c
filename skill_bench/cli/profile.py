"""``skill-bench profile``: what an upstream costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skill_bench.base.counted import counted
from skill_bench.base.filled import filled
from skill_bench.cli.options import Checkpoint, Device, OutDir, Upstream

if TYPE_CHECKING:
    from skill_bench.records.profile import Profile


def profile(
    upstream: Upstream,
    ckpt: Checkpoint = None,
    out: OutDir = Path("results"),
    batch_size: Annotated[int, typer.Option(min=1, help="Utterances side by side, for throughput and memory.")] = 1,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of these utterances.")] = 10.0,
    repeats: Annotated[int, typer.Option(min=1, help="Timed repeats after warm-up.")] = 5,
    device: Device = "cpu",
) -> None:
    """Measure parameters, multiply-adds of the challenge's 32 utterances, throughput, memory, file, cold start."""
    from skill_bench.api.profile import profile as measure

    measured = measure(
        upstream, ckpt=ckpt, batch_size=batch_size, utterance_seconds=seconds, n_repeats=repeats, device=device
    )
    path = measured.write(measured.path(out))
    for line in lines(measured):
        typer.echo(filled(line, hanging=13))
    typer.echo(f"written to {path}")


def lines(profile: Profile) -> list[str]:
    """The measurements as text, one a line; what is absent says why."""
    shown = [f"{profile.system.title} ({profile.system.name})"]
    if profile.parameters is not None:
        shown.append(f"parameters   {profile.parameters.total:,} ({profile.parameters.n_bytes / 1e6:.1f} MB in memory)")
    if profile.macs is not None:
        buckets = " / ".join(f"{value / 1e9:.2f}" for value in profile.macs.superb_buckets)
        shown.append(f"MACs         {profile.macs.total / 1e9:.2f} G")
        shown.append(f"MACs, SUPERB {profile.macs.superb / 1e9:.2f} G ({buckets})")
    if (speed := profile.throughput) is not None:
        shown.append(
            f"throughput   {speed.median:.1f} audio-seconds per second "
            f"(min {speed.minimum:.1f}, max {speed.maximum:.1f}; "
            f"{speed.batch_size} x {speed.utterance_seconds:g} s, "
            f"{speed.dtype}, {speed.device}, {counted(speed.n_threads, 'thread')})"
        )
    if (factor := profile.real_time_factor) is not None:
        shown.append(f"real time    factor {factor:.4f}, one thread")
    if (memory := profile.memory) is not None:
        shown.append(
            f"peak memory  {memory.peak_bytes / 2**20:.1f} MiB above the weights' {memory.weight_bytes / 2**20:.1f}"
        )
    if profile.disk_bytes is not None:
        shown.append(f"file         {profile.disk_bytes / 1e6:.2f} MB")
    if (start := profile.cold_start) is not None:
        shown.append(
            f"cold start   {start.median:.2f} s to the end of a first utterance of {start.utterance_seconds:g} s"
        )
    return shown + [f"{name}: {reason}" for name, reason in profile.reasons.items()]
