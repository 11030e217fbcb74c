"""The convolutional front end: waveform -> frames, 20 ms apart.

The first norm of base models needs no pass over the convolution's output for mean or variance.
The first convolution of a base model makes the widest activations of all, 512 channels a fiftieth of the samples wide,
and each pass over them takes as long as a good part of a layer once products are made in half precision. Mean and
variance of a channel over an utterance follow from mean and covariance of the waveform's windows, ten numbers and a
hundred: with kernel w, they are w.m and w'Cw.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from skill_bench.models.architecture import Architecture, ConvNorm
from skill_bench.models.in_training import recomputed


def valid_positions(lengths: Int[Tensor, " batch"], size: int) -> Bool[Tensor, "batch size"]:
    """True where a position belongs to the utterance, False where it is padding."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def normalize_waveforms(
    waves: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"], eps: float
) -> Float[Tensor, "batch samples"]:
    """Each utterance to zero mean and unit (biased) variance over its own samples; padding becomes zero."""
    valid = valid_positions(lengths, waves.shape[1])
    count = lengths[:, None].to(waves.dtype)
    mean = (waves * valid).sum(1, keepdim=True) / count
    centred = (waves - mean) * valid
    variance = centred.square().sum(1, keepdim=True) / count
    return centred * torch.rsqrt(variance + eps)


def open_layer_norm(
    x: Float[Tensor, "batch frames channels"], norm: nn.LayerNorm | ChannelNorm, mask: Float[Tensor, " channels"]
) -> Float[Tensor, "batch frames channels"]:
    """LayerNorm over the channels whose mask is not zero, 0 elsewhere: what remains when the others are removed.

    DPHuBERT normalises over all channels while it learns the gates and over the open ones after pruning; here both see
    the open ones, so that pruning changes nothing.
    """
    is_open = (mask != 0).to(x.dtype)
    count = is_open.sum().clamp(min=1)
    centred = (x - (x * is_open).sum(2, keepdim=True) / count) * is_open
    scaled = centred * torch.rsqrt(centred.square().sum(2, keepdim=True) / count + norm.eps)
    return scaled * norm.weight + norm.bias * is_open


class TimeNorm(nn.Module):
    """GroupNorm with one group a channel, whose statistics see only the utterance, never its padding."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(
        self,
        x: Float[Tensor, "batch channels frames"],
        lengths: Int[Tensor, " batch"] | None,
        mask: Float[Tensor, " channels"] | None = None,
    ) -> Float[Tensor, "batch channels frames"]:
        """``mask`` changes nothing here: a channel's statistics are its own."""
        if lengths is None:
            return F.group_norm(x, x.shape[1], self.weight, self.bias, self.eps)
        valid = valid_positions(lengths, x.shape[2])[:, None]
        exact = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x  # sums of thousands of squares
        count = lengths[:, None, None].to(exact.dtype)
        mean = exact.masked_fill(~valid, 0.0).sum(2, keepdim=True) / count
        variance = (exact - mean).masked_fill(~valid, 0.0).square().sum(2, keepdim=True) / count
        scale = self.weight[:, None] * torch.rsqrt(variance + self.eps)
        return ((exact - mean) * scale + self.bias[:, None]).to(x.dtype)


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of every frame."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(
        self,
        x: Float[Tensor, "batch channels frames"],
        lengths: Int[Tensor, " batch"] | None,
        mask: Float[Tensor, " channels"] | None = None,
    ) -> Float[Tensor, "batch channels frames"]:
        if mask is not None:
            return open_layer_norm(x.transpose(1, 2), self, mask).transpose(1, 2)
        return F.layer_norm(x.transpose(1, 2), self.weight.shape, self.weight, self.bias, self.eps).transpose(1, 2)


class ConvLayer(nn.Module):
    """Convolution, norm (where there is one), GELU, gate (while pruning)."""

    def __init__(
        self, *, in_channels: int, channels: int, kernel: int, stride: int, bias: bool, norm: ConvNorm | None
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, channels, kernel, stride, bias=bias)
        self.norm = None if norm is None else (TimeNorm if norm == "group_norm" else ChannelNorm)(channels)

    def activated(
        self,
        x: Float[Tensor, "batch channels frames"],
        lengths: Int[Tensor, " batch"] | None,
        mask: Float[Tensor, " channels"] | None = None,
    ) -> Float[Tensor, "batch channels frames"]:
        """What follows the convolution; ``lengths`` in its frames."""
        if self.norm is not None:
            x = self.norm(x, lengths, mask)
        x = F.gelu(x)
        return x if mask is None else x * mask[:, None]

    def n_frames(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        return (torch.div(lengths - kernel, stride, rounding_mode="floor") + 1).clamp(min=0)


class FrontEnd(nn.Module):
    """Stack of convolutions; the frames of an utterance depend on its own samples alone."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        layers, in_channels = [], 1
        for index, shape in enumerate(architecture.convs):
            norm: ConvNorm | None = architecture.conv_norm
            if norm == "group_norm" and index > 0:
                norm = None
            layers.append(
                ConvLayer(
                    in_channels=in_channels,
                    channels=shape.channels,
                    kernel=shape.kernel,
                    stride=shape.stride,
                    bias=architecture.conv_bias,
                    norm=norm,
                )
            )
            in_channels = shape.channels
        self.layers = nn.ModuleList(layers)
        self.channel_scale = nn.Parameter(torch.ones(in_channels)) if architecture.channel_scale else None

    def forward(
        self,
        waves: Float[Tensor, "batch samples"],
        lengths: Int[Tensor, " batch"] | None,
        channel_masks: list[Float[Tensor, " _channels"] | None] | None = None,
    ) -> tuple[Float[Tensor, "batch frames last_channels"], Int[Tensor, " batch"] | None]:
        """``lengths`` None: no padding. ``channel_masks``: a gate for each channel of each convolution."""
        if lengths is not None and channel_masks is None and not torch.is_grad_enabled():
            return self._padded(waves, lengths)
        waves = self._converted(waves)
        masks = channel_masks or [None] * len(self.layers)
        if waves.device.type != "cpu":
            return self._frames(waves, lengths, masks)
        # Nothing else in an encoder is as wide: one utterance at a time takes a part of the memory, and no more time.
        each: Sequence[Tensor | None] = [None] * len(waves) if lengths is None else list(lengths[:, None])
        found = [self._frames(wave[None], own, masks) for wave, own in zip(waves, each, strict=True)]
        counts = [count for _, count in found if count is not None]
        return torch.cat([frames for frames, _ in found]), torch.cat(counts) if counts else None

    def _frames(
        self,
        waves: Float[Tensor, "batch samples"],
        lengths: Int[Tensor, " batch"] | None,
        masks: Sequence[Float[Tensor, " _channels"] | None],
    ) -> tuple[Float[Tensor, "batch frames last_channels"], Int[Tensor, " batch"] | None]:
        layers: Sequence[ConvLayer] = list(self.layers)  # type: ignore[arg-type]
        lengths = None if lengths is None else layers[0].n_frames(lengths)
        # The first convolution, ten multiply-adds a value, is computed again too.
        x = waves[:, None]
        entering: nn.Module = layers[0].conv
        for (before, layer), mask in zip(pairwise(layers), masks, strict=False):  # the last mask follows below
            x = recomputed(partial(_next, entering, before, layer, lengths, mask), x)
            entering = nn.Identity()
            lengths = None if lengths is None else layer.n_frames(lengths)
        x = layers[-1].activated(entering(x), lengths, masks[-1]).transpose(1, 2)
        return (x if self.channel_scale is None else x * self.channel_scale), lengths

    def _padded(
        self, waves: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch frames last_channels"], Int[Tensor, " batch"]]:
        """Utterances of different lengths, nothing kept for gradients: the first norm looks at the waveforms."""
        layers: Sequence[ConvLayer] = list(self.layers)  # type: ignore[arg-type]
        norm, n_frames = layers[0].norm, layers[0].n_frames(lengths)
        if isinstance(norm, TimeNorm):
            waves = self._converted(centred(waves, lengths))
            x = convolve_and_normalise(layers[0].conv, norm.weight, norm.bias, norm.eps, waves, n_frames)
            x = F.gelu(x)
        else:
            x = layers[0].activated(layers[0].conv(self._converted(waves)[:, None]), n_frames)
        for layer in layers[1:]:
            n_frames = layer.n_frames(n_frames)
            x = layer.activated(layer.conv(x), n_frames)
        x = x.transpose(1, 2)
        return (x if self.channel_scale is None else x * self.channel_scale), n_frames

    def _converted(self, waves: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch samples"]:
        """To the weights' half precision, so late, since waveforms are normalised in full."""
        dtype: torch.dtype = self.layers[0].conv.weight.dtype  # type: ignore[union-attr, assignment]
        return waves.to(dtype) if dtype in (torch.float16, torch.bfloat16) else waves


def _next(
    entering: nn.Module,
    before: ConvLayer,
    layer: ConvLayer,
    lengths: Int[Tensor, " batch"] | None,
    mask: Float[Tensor, " _channels"] | None,
    x: Float[Tensor, "batch _any_channels _any_frames"],
) -> Float[Tensor, "batch _channels _frames"]:
    """To the output of ``layer``; ``entering`` makes that of the one before it."""
    found: Tensor = layer.conv(before.activated(entering(x), lengths, mask))
    return found


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
