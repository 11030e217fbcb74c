"""The estimate of an utterance's memory, beside what the process holds."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import pytest
import torch

from skill_bench.features.memory import return_to_system
from skill_bench.measure.memory import reset_peak, resident_peak_bytes
from skill_bench.models.architecture import Architecture, LayerShape, RelativePosition
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import architecture
from skill_bench.models.runtime import Runtime
from skill_bench.models.size import utterance_bytes

BIAS = RelativePosition(n_buckets=64, max_distance=256)
N_FRAMES = 2500
N_SAMPLES = N_FRAMES * 320 + 80


def shape(*, channels: int = 2, relative_position: RelativePosition | None = None) -> Architecture:
    return architecture(
        channels=channels,
        dim=48,
        n_layers=2,
        n_heads=12,
        ffn_dim=96,
        position_kernel=16,
        relative_position=relative_position,
    )


def pruned(whole: Architecture) -> Architecture:
    return whole.with_layers((LayerShape(heads=(1, 4), ffn_dim=96), LayerShape(heads=(4, 7), ffn_dim=96)))


CASES = {
    "position bias": (shape(relative_position=BIAS), 4 * (3 * N_FRAMES * 48 + 14 * N_FRAMES**2)),
    "pruned": (pruned(shape(relative_position=BIAS)), 4 * (3 * N_FRAMES * 48 + 5 * N_FRAMES**2)),
    "no bias": (shape(), 4 * (3 * N_FRAMES * 48 + 2 * N_FRAMES**2)),
    "front end": (shape(channels=96), 4 * 2 * 96 * (N_SAMPLES // 5 - 1)),
}


def held(name: str) -> tuple[int, int]:
    """Bytes that a process holds more at the peak of one long recording, and after it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    # mallopt(3): what is large leaves the process when it is freed, so that its peak is what is alive at one time.
    ctypes.CDLL(None).mallopt(-3, 2**20)
    waves, made = [torch.randn(N_SAMPLES)], Runtime(Encoder(CASES[name][0]).eval())
    with torch.inference_mode():
        made.hidden_states(waves)
        return_to_system()
        reset_peak()
        before = resident_peak_bytes()
        made.hidden_states(waves)
    peak = resident_peak_bytes()
    return_to_system()
    reset_peak()
    return peak - before, resident_peak_bytes() - before


@pytest.fixture(scope="module")
def fresh_process() -> Iterator[ProcessPoolExecutor]:
    """In a process of its own: earlier tests leave gaps, which would be taken first and not be seen."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        yield process


@pytest.mark.skipif(sys.platform != "linux", reason="the peak can be reset on Linux alone")
@pytest.mark.parametrize("name", CASES)
def test_an_utterance_takes_what_is_said(name: str, fresh_process: ProcessPoolExecutor) -> None:
    model, expected = CASES[name]
    assert model.n_frames(N_SAMPLES) == N_FRAMES
    estimate = utterance_bytes(model, N_SAMPLES)
    assert estimate == expected
    found, left = fresh_process.submit(held, name).result()
    assert left < 0.1 * found, "a long recording's memory is given back"
    # What fits is not refused (a few pages that were there before are not seen); the rest is small.
    assert 0.85 * found < estimate < 1.02 * found


def test_longer_recordings_are_for_the_layers_to_hold() -> None:
    model = shape(channels=96, relative_position=BIAS)
    assert utterance_bytes(replace(model, relative_position=None), 80 * 16_000) < utterance_bytes(model, 80 * 16_000)
