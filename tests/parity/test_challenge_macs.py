"""The challenge's published multiply-adds of HuBERT Base, from random weights."""

from __future__ import annotations

import pytest
import torch
import torchaudio
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from skill_bench.base import catalog
from skill_bench.measure.macs import CHALLENGE_LENGTHS_SAMPLES, challenge_macs, count
from skill_bench.models.encoder import Encoder
from skill_bench.models.factories import architecture, hubert_base, wavlm_base
from skill_bench.records.profile import Macs
from skill_bench.report.table.published import published_rows
from skill_bench.upstream.load import load_upstream

PUBLISHED_GIGA = (149.26, 261.28, 422.37, 836.25)
# The published numbers have two digits; ours computes the positional convolution on T + 1 frames, too.
RELATIVE = 5e-4


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
