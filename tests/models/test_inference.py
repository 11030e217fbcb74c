"""The fast path gives what the plain one gives, for any shape and any lengths."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_architectures import architectures, awake

from skill_bench.models import factories
from skill_bench.models.architecture import Architecture
from skill_bench.models.cpu import inference, rows
from skill_bench.models.cpu.plain import plain_path
from skill_bench.models.encoder import Encoder, pad


def assert_same_states(encoder: Encoder, waves: list[torch.Tensor], *, tolerance: float) -> None:
    with torch.no_grad():
        plain, counts = encoder(*pad(waves))
    fast = inference.hidden_states(encoder, waves)
    assert len(fast) == len(waves)
    for i, (states, count) in enumerate(zip(fast, counts.tolist(), strict=True)):
        expected = torch.stack([layer[i, :count] for layer in plain])
        assert states.shape == expected.shape
        torch.testing.assert_close(states, expected, rtol=tolerance, atol=tolerance)


@settings(max_examples=60, deadline=None)
@given(
    shape=architectures(),
    lengths=st.lists(st.integers(400, 6000), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
    pieces=st.sampled_from([(1, 3), (4, 7), (200, 512)]),
    few_channels=st.sampled_from([1, 128]),
)
def test_states_equal_those_of_the_plain_path(
    shape: Architecture, lengths: list[int], seed: int, pieces: tuple[int, int], few_channels: int
) -> None:
    with torch.random.fork_rng(devices=[]), pytest.MonkeyPatch.context() as patch:
        torch.manual_seed(seed)
        patch.setattr(inference, "_PIECE_FRAMES", pieces[0])
        patch.setattr(inference, "_PIECE_ROWS", pieces[1])
        patch.setattr(rows, "_FEW_CHANNELS", few_channels)
        waves = [torch.randn(n).double() * 0.1 + 0.05 for n in lengths]
        # In float64, since norms over two channels may amplify a float32 rounding a thousandfold.
        assert_same_states(awake(Encoder(shape)).double(), waves, tolerance=1e-8)


def test_silence_and_a_constant_offset() -> None:
    torch.manual_seed(0)
    shape = factories.architecture(channels=8, dim=16, n_layers=2, n_heads=2, ffn_dim=8, position_groups=4)
    waves = [torch.zeros(1000), torch.full((2000,), 0.5), 0.3 + 1e-4 * torch.randn(3000)]
    encoder = awake(Encoder(shape))
    fast = inference.hidden_states(encoder, waves)
    encoder.double()  # the plain path loses digits here, the fast one must not
    for wave, states in zip(waves, fast, strict=True):
        expected = torch.stack(encoder(wave[None].double())[0])[:, 0].float()
        torch.testing.assert_close(states, expected, rtol=1e-4, atol=1e-4)


def test_long_utterances_and_short_ones_do_not_depend_on_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    shape = factories.architecture(channels=8, dim=16, n_layers=1, n_heads=2, ffn_dim=8, position_groups=4)
    monkeypatch.setattr(inference, "LONG_FRAMES", 20)
    encoder = awake(Encoder(shape)).double()
    waves = [torch.randn(n).double() for n in (3000, 9000, 12000)]
    assert_same_states(encoder, waves, tolerance=1e-9)
    together = inference.hidden_states(encoder, waves)
    for wave, states in zip(waves, together, strict=True):
        torch.testing.assert_close(inference.hidden_states(encoder, [wave])[0], states, rtol=1e-12, atol=1e-12)


def test_kept_transforms_follow_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    shape = factories.architecture(channels=8, dim=16, n_layers=1, n_heads=2, ffn_dim=8, position_groups=4)
    monkeypatch.setattr(inference, "LONG_FRAMES", 2)
    encoder, other = awake(Encoder(shape)).double(), awake(Encoder(shape)).double()
    waves = [torch.randn(4000).double()]
    assert_same_states(encoder, waves, tolerance=1e-9)
    encoder.load_state_dict(other.state_dict())
    assert_same_states(encoder, waves, tolerance=1e-9)
    encoder.float()
    assert_same_states(encoder, [waves[0].float()], tolerance=1e-3)


def test_full_width_layers() -> None:
    torch.manual_seed(0)
    shape = factories.architecture(
        channels=512, dim=768, n_layers=1, n_heads=12, ffn_dim=3072, relative_position=factories.WAVLM_POSITION
    )
    # Sums of up to some thousand float32 terms in another order.
    assert_same_states(awake(Encoder(shape)), [0.1 * torch.randn(32000), 0.1 * torch.randn(16000)], tolerance=1e-4)


def test_it_applies_without_gradients_only() -> None:
    torch.manual_seed(0)
    encoder = Encoder(
        factories.architecture(channels=8, dim=16, n_layers=1, n_heads=2, ffn_dim=8, position_groups=4)
    ).eval()
    assert not inference.applies(encoder)
    with torch.no_grad():
        assert inference.applies(encoder)
        with plain_path():
            assert not inference.applies(encoder)
        assert inference.applies(encoder)
        assert not inference.applies(encoder.train())
        assert not inference.applies(encoder.eval().double())
