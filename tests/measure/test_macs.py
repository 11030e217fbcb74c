"""Multiply-adds against sums done by hand.

The challenge's published multiply-adds of HuBERT Base, from random weights.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from skill_bench.base import catalog
from skill_bench.measure.macs import CHALLENGE_LENGTHS_SAMPLES, challenge_macs, count
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import architecture, hubert_base, wavlm_base
from skill_bench.records.profile import Macs
from skill_bench.report.table.published import published_rows
from skill_bench.upstream.load import load_upstream

T, D, H = 7, 12, 3
PUBLISHED_GIGA = (149.26, 261.28, 422.37, 836.25)
# The published numbers have two digits; ours computes the positional convolution on T + 1 frames, too.
RELATIVE = 5e-4


def total(run: Callable[[], object]) -> int:
    return count(run).total


@pytest.mark.parametrize("bias", [True, False])
def test_linear(bias: bool) -> None:
    assert total(lambda: nn.Linear(D, 5, bias=bias)(torch.zeros(2, T, D))) == 2 * T * D * 5


@pytest.mark.parametrize(
    ("convolution", "shape", "expected"),
    [
        (nn.Conv1d(4, 6, 3, stride=2), (2, 4, 11), 2 * 5 * 4 * 6 * 3),
        (nn.Conv1d(4, 6, 3, padding=1, bias=False), (1, 4, 11), 11 * 4 * 6 * 3),
        (nn.Conv1d(4, 6, 3, groups=2), (1, 4, 11), 9 * 2 * 6 * 3),
        (nn.Conv1d(4, 6, 3, dilation=2), (1, 4, 11), 7 * 4 * 6 * 3),
        (nn.Conv2d(1, 6, (3, 5)), (1, 1, 8, 9), 6 * 5 * 6 * 15),
        (nn.ConvTranspose1d(4, 6, 3, stride=2), (1, 4, 5), 5 * 4 * 6 * 3),
    ],
)
def test_convolutions(convolution: nn.Module, shape: tuple[int, ...], expected: int) -> None:
    assert total(lambda: convolution(torch.zeros(shape))) == expected


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (lambda: torch.zeros(3, 4) @ torch.zeros(4, 5), 60),
        (lambda: torch.zeros(2, 3, 4) @ torch.zeros(2, 4, 5), 120),
        (lambda: torch.zeros(3, 4) @ torch.zeros(4), 12),
        (lambda: torch.zeros(4) @ torch.zeros(4), 4),
        (lambda: torch.einsum("bij,bjk->bik", torch.zeros(2, 3, 4), torch.zeros(2, 4, 5)), 120),
        (lambda: torch.baddbmm(torch.zeros(2, 3, 5), torch.zeros(2, 3, 4), torch.zeros(2, 4, 5)), 120),
        (lambda: torch.addmv(torch.zeros(3), torch.zeros(3, 4), torch.zeros(4)), 12),
    ],
)
def test_products(run: Callable[[], object], expected: int) -> None:
    assert total(run) == expected


def test_norms_activations_and_softmax_are_free() -> None:
    model = nn.Sequential(nn.LayerNorm(D), nn.GELU(), nn.Softmax(dim=-1), nn.Dropout())
    assert total(lambda: model(torch.zeros(1, T, D))) == 0


@pytest.mark.parametrize(("layers", "directions"), [(1, 1), (2, 2)])
def test_lstm(layers: int, directions: int) -> None:
    lstm = nn.LSTM(D, 5, num_layers=layers, bidirectional=directions == 2)
    inputs = [D, *[5 * directions] * (layers - 1)]
    expected = sum(directions * 2 * T * 4 * 5 * (n + 5) for n in inputs)
    assert total(lambda: lstm(torch.zeros(T, 2, D))) == expected


def test_gru() -> None:
    assert total(lambda: nn.GRU(D, 5)(torch.zeros(T, 2, D))) == 2 * T * 3 * 5 * (D + 5)


@pytest.mark.parametrize("masked", [False, True])
def test_fused_attention(masked: bool) -> None:
    query, key, value = (torch.zeros(1, H, T, 4) for _ in range(3))
    mask = torch.zeros(1, H, T, T) if masked else None
    counter = count(lambda: F.scaled_dot_product_attention(query, key, value, attn_mask=mask))
    assert counter.total == 2 * H * T * T * 4
    assert counter.attention_extra == 4 * H * T * T + 4 * T * H * 4


def test_attention_written_out_counts_like_fused_attention() -> None:
    query, key, value = (torch.zeros(H, T, 4) for _ in range(3))
    counter = count(lambda: torch.softmax(query @ key.transpose(1, 2), dim=-1) @ value)
    fused = count(lambda: F.scaled_dot_product_attention(query[None], key[None], value[None]))
    assert counter.total == fused.total
    assert counter.attention_extra == fused.attention_extra


def test_a_softmax_without_attention_adds_nothing() -> None:
    counter = count(lambda: nn.Linear(D, D)(torch.softmax(torch.zeros(1, T, D), dim=-1).relu() + 1)[:, :2])
    assert counter.total == T * D * D


def test_torchs_own_attention_is_not_hidden_by_its_fast_path() -> None:
    layer = nn.TransformerEncoderLayer(D, H, dim_feedforward=20, batch_first=True).eval()
    expected = 4 * T * D * D + 2 * T * T * D + 2 * T * D * 20
    assert torch.backends.mha.get_fastpath_enabled()
    assert total(lambda: layer(torch.zeros(1, T, D))) == expected
    assert torch.backends.mha.get_fastpath_enabled()


def test_the_same_with_and_without_gradients_wanted() -> None:
    model = nn.Linear(D, 5).requires_grad_(False)
    outside = total(lambda: model(torch.zeros(T, D)))
    with torch.inference_mode():
        assert total(lambda: model(torch.zeros(T, D))) == outside


def test_agrees_with_torchs_flop_counter() -> None:
    model = nn.Sequential(nn.Conv1d(1, 8, 10, stride=5), nn.GELU(), nn.Conv1d(8, 8, 3, stride=2, groups=2))
    wave = torch.zeros(1, 1, 4000)
    with FlopCounterMode(display=False) as flops:
        model(wave)
    assert 2 * total(lambda: model(wave)) == flops.get_total_flops()


class LooksAtValues(nn.Module):
    """Branches on a tensor's value, as padding masks make s3prl's upstreams do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 3)

    def forward(self, wave: Tensor) -> Tensor:
        hidden: Tensor = self.linear(wave[:, None])
        return hidden if bool((hidden == 0).any()) else self.linear(hidden[:, :1])


def test_code_that_looks_at_values_runs() -> None:
    model = LooksAtValues()
    found = challenge_macs(model, lengths_samples=tuple(range(10, 18)))
    assert found.total == 3 * sum(range(10, 18))


def test_buckets_of_eight() -> None:
    model = LooksAtValues()
    found = challenge_macs(model, lengths_samples=(*[10] * 8, *[20] * 8))
    assert found.buckets == (240, 480)
    assert found.superb_buckets == (240, 480)
    assert found.total == 720
    assert found.by_operation == {"matmul": 720}


def test_what_occurs_twice_is_encoded_once() -> None:
    encoded: list[int] = []

    def run(wave: Tensor) -> Tensor:
        encoded.append(len(wave))
        return wave[:, None] @ torch.zeros(1, 3)

    found = challenge_macs(run, lengths_samples=(10, 20, 10, 10, 30, 30, 20, 10))
    assert encoded == [10, 20, 30]
    assert found.total == 3 * (4 * 10 + 2 * 20 + 2 * 30)


def test_results_are_those_of_the_arguments_at_hand() -> None:
    """Shapes of results are remembered: with other strides, of another type and with other numbers they are others."""
    calls: list[Callable[[], Tensor]] = [
        lambda: torch.zeros(2, 3) @ torch.zeros(3, 4),
        lambda: torch.zeros(2, 3, dtype=torch.float64) @ torch.zeros(3, 4, dtype=torch.float64),
        lambda: torch.zeros(3, 2).T @ torch.zeros(3, 4),
        lambda: F.conv1d(torch.zeros(1, 2, 9), torch.zeros(4, 2, 3)),
        lambda: F.conv1d(torch.zeros(1, 2, 9), torch.zeros(4, 2, 3), stride=2),
        lambda: F.conv_transpose1d(torch.zeros(1, 2, 9), torch.zeros(2, 4, 3)),
    ]
    for _ in range(2):
        for call in calls:
            found: list[Tensor] = []
            count(lambda call=call, found=found: found.append(call()))  # type: ignore[misc]
            assert (found[0].shape, found[0].dtype) == (call().shape, call().dtype)
            assert not found[0].is_meta


def test_lengths_that_do_not_fill_buckets_are_refused() -> None:
    with pytest.raises(ValueError, match="3 lengths do not fill buckets of 8"):
        challenge_macs(LooksAtValues(), lengths_samples=(1, 2, 3))


def test_the_challenges_lengths() -> None:
    assert len(CHALLENGE_LENGTHS_SAMPLES) == 32
    assert list(CHALLENGE_LENGTHS_SAMPLES) == sorted(CHALLENGE_LENGTHS_SAMPLES)
    assert sum(CHALLENGE_LENGTHS_SAMPLES) / 16000 == pytest.approx(224.86, abs=0.005)


def test_what_hides_its_products_is_refused() -> None:
    layer = nn.MultiheadAttention(D, H, batch_first=True).eval()

    def fused() -> object:
        return torch._native_multi_head_attention(
            torch.zeros(1, T, D), torch.zeros(1, T, D), torch.zeros(1, T, D), D, H,
            layer.in_proj_weight, layer.in_proj_bias, layer.out_proj.weight, layer.out_proj.bias,
        )  # fmt: skip

    with pytest.raises(NotImplementedError, match="hides its matrix products"):
        count(fused)


@pytest.fixture(scope="module")
def ours() -> Macs:
    encoder = hubert_base().eval()
    return challenge_macs(lambda wave: encoder(wave[None]))


@pytest.mark.slow
def test_hubert_base_total(ours: Macs) -> None:
    assert ours.superb / 1e9 == pytest.approx(1669.16, rel=RELATIVE)
    assert ours.total / 1e9 == pytest.approx(1665.52, rel=RELATIVE)


@pytest.mark.slow
def test_hubert_base_buckets(ours: Macs) -> None:
    assert [n / 1e9 for n in ours.superb_buckets] == pytest.approx(PUBLISHED_GIGA, rel=RELATIVE)
    assert [n / 1e9 for n in ours.buckets] == pytest.approx((149.13, 260.97, 421.65, 833.77), rel=RELATIVE)


def test_hubert_base_like_torchaudios() -> None:
    wave = torch.zeros(1, CHALLENGE_LENGTHS_SAMPLES[0])
    mine, theirs = hubert_base().eval(), torchaudio.models.hubert_base().eval()
    ours, reference = count(lambda: mine(wave)), count(lambda: theirs.extract_features(wave))
    assert ours.total == pytest.approx(reference.total, rel=RELATIVE)
    assert ours.attention_extra == reference.attention_extra


def test_wavlm_adds_gates_and_nothing_else_to_hubert() -> None:
    wave = torch.zeros(1, CHALLENGE_LENGTHS_SAMPLES[0])
    hubert, wavlm = hubert_base().eval(), wavlm_base().eval()
    difference = count(lambda: wavlm(wave)).total - count(lambda: hubert(wave)).total
    # 12 layers, 64 frames, 12 heads: 64 inputs to 8 gate values.
    assert difference == 12 * 64 * 12 * 64 * 8


def test_fbank_costs_what_is_published() -> None:
    rows, _ = published_rows(catalog.folder("leaderboard") / "published")
    published = {row.system: row for row in rows}
    upstream = load_upstream("fbank")
    found = challenge_macs(lambda wave: upstream.hidden_states_by_torch([wave]))
    # Printed with four digits.
    assert found.superb / 1e9 == pytest.approx(published["FBANK"].values["macs_superb_giga"], abs=5e-5)


def test_counting_does_not_depend_on_values() -> None:
    encoder = Encoder(architecture(channels=16, dim=32, n_layers=2, n_heads=4, ffn_dim=64, position_groups=4)).eval()
    wave = torch.randn(1, 8000)
    with torch.no_grad(), FlopCounterMode(display=False) as executed:
        encoder(wave)
    ours = count(lambda: encoder(wave))
    # torch's own counter does not know the CPU's fused attention.
    assert 2 * (ours.total - ours.by_operation["attention"]) == executed.get_total_flops()


def test_fewer_heads_and_narrower_layers_cost_what_is_left() -> None:
    def macs(**changes: int) -> int:
        sizes = {"channels": 16, "dim": 32, "n_layers": 2, "n_heads": 4, "ffn_dim": 64, "position_groups": 4} | changes
        encoder = Encoder(architecture(**sizes)).eval()  # type: ignore[arg-type]
        wave: Tensor = torch.zeros(1, 8000)
        return count(lambda: encoder(wave)).total

    frames = 24
    assert macs() - macs(ffn_dim=40) == 2 * frames * 2 * 32 * 24
    assert macs(n_layers=3) - macs() == frames * (4 * 32 * 32 + 2 * 32 * 64) + 2 * frames * frames * 32
