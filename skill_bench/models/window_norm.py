"""A convolution over waveforms and its norm over time, without a pass over its output for mean or variance.

The first convolution of a base model makes the widest activations of all, 512 channels a fiftieth of the samples wide,
and each pass over them takes as long as a good part of a layer once products are made in half precision. Mean and
variance of a channel over an utterance follow from mean and covariance of the waveform's windows, ten numbers and a
hundred: with kernel w, they are w.m and w'Cw.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


def centred(waves: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]) -> Float[Tensor, "batch samples"]:
    """Each utterance without its mean, which the norm would remove: a large offset then costs no precision."""
    valid = torch.arange(waves.shape[1], device=waves.device) < lengths[:, None]
    mean = waves.sum(1, dtype=torch.float64) / lengths
    return (waves - mean[:, None]).to(waves.dtype) * valid


def convolve_and_normalise(
    conv: nn.Conv1d,
    weight: Float[Tensor, " channels"],
    bias: Float[Tensor, " channels"],
    eps: float,
    waves: Float[Tensor, "batch samples"],
    n_frames: Int[Tensor, " batch"],
) -> Float[Tensor, "batch channels frames"]:
    """GroupNorm with one group a channel, over each utterance's own frames, of ``conv(waves)``.

    Args:
        conv: Reads one channel.
        weight: The norm's factors.
        bias: The norm's offsets.
        eps: Of the norm.
        waves: Zeros behind shorter utterances.
        n_frames: Of each utterance; what lies behind them is no use.
    """
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    windows = waves.double().unfold(1, kernel, stride)
    valid = (torch.arange(windows.shape[1], device=waves.device) < n_frames[:, None])[:, :, None]
    count = n_frames[:, None, None].double()
    mean = (windows * valid).sum(1, keepdim=True) / count
    deviation = (windows - mean) * valid
    covariance = deviation.transpose(1, 2) @ deviation / count
    kernels = conv.weight[:, 0].double()
    variance = ((kernels @ covariance) * kernels).sum(2).clamp(min=0)
    scale = weight * torch.rsqrt(variance + eps)
    # The convolution's own bias shifts values and mean alike.
    shift = bias - (mean[:, 0] @ kernels.T) * scale
    found = F.conv1d(waves[:, None], conv.weight, stride=stride)
    return torch.addcmul(shift[:, :, None].to(found.dtype), found, scale[:, :, None].to(found.dtype))
