"""The norm over time from the waveform's windows, beside the norm of what the convolution gives."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from skill_bench.models.frontend import TimeNorm, centred, convolve_and_normalise


def layer(channels: int, kernel: int, stride: int, *, bias: bool, dtype: torch.dtype) -> tuple[nn.Conv1d, TimeNorm]:
    torch.manual_seed(0)
    conv, norm = nn.Conv1d(1, channels, kernel, stride, bias=bias), TimeNorm(channels)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return conv.to(dtype).requires_grad_(False), norm.to(dtype).requires_grad_(False)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(12, 400), min_size=1, max_size=4),
    st.integers(1, 10),
    st.integers(1, 6),
    st.booleans(),
    st.sampled_from([0.0, 5.0]),
)
def test_it_is_group_norm_of_each_utterance_alone(
    lengths: list[int], kernel: int, stride: int, bias: bool, offset: float
) -> None:
    conv, norm = layer(3, kernel, stride, bias=bias, dtype=torch.float64)
    waves = [torch.randn(n, dtype=torch.float64) + offset for n in lengths]
    padded, counts = nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor(lengths)
    n_frames = (counts - kernel) // stride + 1
    without_mean = centred(padded, counts)
    found = convolve_and_normalise(conv, norm.weight, norm.bias, norm.eps, without_mean, n_frames)
    for one, wave, n in zip(found, waves, n_frames.tolist(), strict=True):
        expected = F.group_norm(conv(wave[None, None]), 3, norm.weight, norm.bias, norm.eps)[0]
        torch.testing.assert_close(one[:, :n], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_an_offset_costs_float32_nothing(offset: float) -> None:
    conv, norm = layer(8, 10, 5, bias=False, dtype=torch.float32)
    wave = 0.01 * torch.randn(1, 16000)
    lengths, n_frames = torch.tensor([16000]), torch.tensor([(16000 - 10) // 5 + 1])
    expected = norm.double()(conv.double()(wave.double()[:, None]), None)
    given = centred(wave + offset, lengths)
    assert abs(float(given.mean())) < 1e-6
    found = convolve_and_normalise(conv.float(), norm.float().weight, norm.bias, norm.eps, given, n_frames)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-3 if offset else 2e-5)


def test_what_lies_behind_an_utterance_is_not_heard() -> None:
    conv, norm = layer(4, 10, 5, bias=True, dtype=torch.float32)
    waves, lengths = torch.randn(2, 900), torch.tensor([900, 500])
    n_frames = (lengths - 10) // 5 + 1
    other = waves.clone()
    other[1, 500:] = 7.0
    clean = waves * (torch.arange(900) < lengths[:, None])
    assert torch.equal(centred(clean, lengths)[1, 500:], torch.zeros(400))
    first = convolve_and_normalise(conv, norm.weight, norm.bias, norm.eps, waves, n_frames)
    second = convolve_and_normalise(conv, norm.weight, norm.bias, norm.eps, other, n_frames)
    assert torch.equal(first[1, :, : n_frames[1]], second[1, :, : n_frames[1]])
