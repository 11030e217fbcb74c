"""What a model costs."""

from __future__ import annotations

from pathlib import Path

from skill_bench.api.models import Model, as_upstream, borrowed
from skill_bench.measure.profile import profile as measure
from skill_bench.records.profile import Profile
from skill_bench.upstream.interface import Upstream


def profile(
    model: Model,
    *,
    ckpt: str | Path | None = None,
    name: str | None = None,
    batch_size: int = 1,
    utterance_seconds: float = 10.0,
    n_repeats: int = 5,
    timed: bool = True,
    device: str | None = None,
) -> Profile:
    """Parameters, multiply-adds of the challenge's 32 utterances, throughput, peak memory; of a file, a cold start.

    Args:
        model: As for `skill_bench.evaluate`.
        ckpt: Weights for a named upstream.
        name: What the profile calls a model that has no name.
        batch_size: Utterances side by side, for throughput and memory.
        utterance_seconds: Length of each.
        n_repeats: Timed repeats, after warming up.
        timed: False leaves out throughput and memory.
        device: ``cpu``, ``cuda``, ``cuda:1``; by default where a module is, else the CPU.
    """

    def load() -> Upstream:
        return as_upstream(model, ckpt=ckpt, name=name, device=device)

    with borrowed(model):
        upstream = load()
        return measure(
            upstream,
            system=upstream.system(),
            load=load if isinstance(model, str | Path) else None,
            timed=timed,
            batch_size=batch_size,
            utterance_seconds=utterance_seconds,
            n_repeats=n_repeats,
        )
