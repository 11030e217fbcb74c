"""The estimate of an utterance's memory, beside what is allocated."""

from __future__ import annotations

import pytest
import torch

from skill_bench.measure.memory import peak_on_cpu
from skill_bench.models.architecture import RelativePosition
from skill_bench.models.cpu import inference
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import architecture
from skill_bench.models.memory import utterance_bytes

BIAS = RelativePosition(n_buckets=64, max_distance=256)


def made(**changes: object) -> Encoder:
    shape = {"channels": 8, "dim": 48, "n_layers": 2, "n_heads": 6, "ffn_dim": 96, "position_kernel": 16}
    return Encoder(architecture(**shape | changes)).eval()  # type: ignore[arg-type]


def peak(encoder: Encoder, n_samples: int) -> int:
    waves = [torch.randn(n_samples, generator=torch.Generator().manual_seed(0))]
    with torch.inference_mode():
        inference.hidden_states(encoder, waves)
        return peak_on_cpu(lambda: inference.hidden_states(encoder, waves))


@pytest.mark.parametrize(("n_heads", "n_frames"), [(6, 1500), (12, 1000)])
def test_a_position_bias_takes_what_is_said(n_heads: int, n_frames: int) -> None:
    encoder = made(n_heads=n_heads, relative_position=BIAS)
    n_samples = n_frames * 320 + 80
    assert encoder.architecture.n_frames(n_samples) == n_frames
    estimate = utterance_bytes(encoder.architecture, n_samples)
    assert estimate == 4 * (3 * n_frames * 48 + 2 * n_heads * n_frames**2)
    found = peak(encoder, n_samples)
    assert estimate <= found, "what fits is not refused"
    assert found <= 1.15 * estimate  # the rest does not grow with the square of the length


def test_without_a_bias_no_scores_are_held() -> None:
    encoder, n_samples = made(), 2000 * 320 + 80
    scores = 4 * 6 * 2000**2
    estimate = utterance_bytes(encoder.architecture, n_samples)
    assert estimate <= peak(encoder, n_samples) < scores
