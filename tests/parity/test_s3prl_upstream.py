"""A checkpoint of ours through s3prl's two entry points gives the encoder's own hidden states."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import skill_bench.s3prl  # noqa: F401  (puts the upstreams into s3prl's hub)
from skill_bench.models import checkpoint
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import WAVLM_POSITION, architecture

pytestmark = pytest.mark.filterwarnings("ignore")  # s3prl's own


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    small = architecture(
        channels=16, dim=32, n_layers=2, n_heads=4, ffn_dim=20, relative_position=WAVLM_POSITION,
        position_kernel=16, position_groups=4,
    )  # fmt: skip
    return Encoder(small).eval().requires_grad_(False)


@pytest.fixture
def saved(encoder: Encoder, tmp_path: Path) -> str:
    checkpoint.save(encoder, tmp_path / "student.safetensors", metadata={"title": "tiny"})
    return str(tmp_path / "student.safetensors")


WAVES = [torch.randn(8000, generator=torch.Generator().manual_seed(1)), torch.linspace(-1, 1, 3200)]


@pytest.mark.parametrize("name", ["skill", "dphubert"])
def test_hub_entry(encoder: Encoder, saved: str, name: str) -> None:
    from s3prl import hub

    states = getattr(hub, name)(ckpt=saved, model_config=None, refresh=False)(WAVES)["hidden_states"]
    assert len(states) == 3
    compared = 0
    for i, wave in enumerate(WAVES):
        for state, expected in zip(states, encoder(wave[None])[0], strict=True):
            torch.testing.assert_close(state[i, : expected.shape[1]], expected[0], rtol=1e-4, atol=1e-5)
            compared += 1
    assert compared == 6


def test_s3prl_upstream_and_featurizer(encoder: Encoder, saved: str) -> None:
    from s3prl.nn import Featurizer, S3PRLUpstream

    upstream = S3PRLUpstream("skill", path_or_url=saved)
    assert (upstream.num_layers, upstream.hidden_sizes, upstream.downsample_rates) == (3, [32] * 3, [320] * 3)
    states, lengths = upstream(torch.nn.utils.rnn.pad_sequence(WAVES, batch_first=True), torch.tensor([8000, 3200]))
    assert [length.tolist() for length in lengths] == [[25, 10]] * 3
    expected = encoder(WAVES[0][None])[0]
    # s3prl counts ceil(samples / 320) frames and repeats the last one; the convolutions give 24 of its 25.
    assert [state.shape[1] for state in expected] == [24] * 3
    for state, want in zip(states, expected, strict=True):
        torch.testing.assert_close(state[0, :24], want[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(state[0, 24], state[0, 23], rtol=0, atol=0)
    features, _ = Featurizer(upstream)(states, lengths)
    torch.testing.assert_close(features, torch.stack(states).mean(dim=0), rtol=1e-4, atol=1e-5)
