"""Convolutions of one utterance as matrix products, in the layout (frames, channels)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

_LANES = 8
"""Matrix products over rows that begin in the middle of a vector register take up to 1.4 times as long."""
_FEW_CHANNELS = 128
"""Below, additions cost more than the products that they save."""


def with_full_lanes(
    weight: Float[Tensor, "channels in_channels kernel"], *, reads_wave: bool
) -> Float[Tensor, "more_channels more_in_channels kernel"]:
    """A convolution's weight with channels of zeros, up to a multiple of eight; a waveform stays one channel."""
    channels, in_channels, _ = weight.shape
    more_in, more = 0 if reads_wave else -in_channels % _LANES, -channels % _LANES
    return F.pad(weight, (0, 0, 0, more_in, 0, more)) if more_in or more else weight


def filled(x: Float[Tensor, "*rows channels"]) -> Float[Tensor, "*rows more_channels"]:
    """With as many channels of zeros as `with_full_lanes` adds."""
    missing = -x.shape[-1] % _LANES
    return F.pad(x, (0, missing)) if missing else x


def as_rows(weight: Float[Tensor, "channels in_channels kernel"]) -> Float[Tensor, "window channels"]:
    """A convolution's weight; rows in the order in which a window's values lie in memory."""
    return weight.permute(2, 1, 0).reshape(-1, len(weight))


def as_weight(rows: Float[Tensor, "window channels"], kernel: int) -> Float[Tensor, "channels in_channels kernel"]:
    """Inverse of `as_rows`."""
    return rows.view(kernel, -1, rows.shape[1]).permute(2, 1, 0).contiguous()


def n_outputs(n_inputs: int, *, kernel: int, stride: int) -> int:
    """Frames that a convolution without padding gives."""
    return (n_inputs - kernel) // stride + 1


def convolve(
    x: Float[Tensor, "in_frames in_channels"], rows: Float[Tensor, "window channels"], *, stride: int
) -> Float[Tensor, "frames channels"]:
    """``conv1d`` without padding and bias; ``x`` is contiguous."""
    if stride == 2 and len(rows) == 3 * x.shape[1] and x.shape[1] >= _FEW_CHANNELS:
        return _convolve_pairs(x, rows)
    parts = _parts(x, rows, stride)
    view, span = next(parts)
    y = view @ rows[span]
    for view, span in parts:
        y.addmm_(view, rows[span])
    return y


def _convolve_pairs(
    x: Float[Tensor, "in_frames in_channels"], rows: Float[Tensor, "three_in_channels channels"]
) -> Float[Tensor, "frames channels"]:
    """Kernel 3, stride 2, with five products where the definition has six (Winograd, 1980: F(2, 2)).

    Two outputs in a row read ``a b c d e``: ``aU + bV + cW`` and ``cU + dV + eW``. What they do with ``a c e`` takes
    three products: ``c(U + W)``, which they share, ``(a - c)U`` and ``(e - c)W``.
    """
    channels, step = x.shape[1], 2 * x.shape[1]
    u, v, w = rows.view(3, channels, -1)
    n_frames = n_outputs(len(x), kernel=3, stride=2)
    n_pairs = n_frames // 2
    a, c, e = (x.as_strided((n_pairs, channels), (2 * step, 1), x.storage_offset() + i * step) for i in range(3))
    y: Tensor = x.as_strided((n_frames, channels), (step, 1), x.storage_offset() + channels) @ v
    first, second = y[: 2 * n_pairs].view(n_pairs, 2, -1).unbind(1)
    common = c @ (u + w)
    first.add_(common).addmm_(a - c, u)
    second.add_(common).addmm_(e - c, w)
    if n_frames > 2 * n_pairs:
        y[-1].addmv_(u.T, x[2 * n_frames - 2]).addmv_(w.T, x[2 * n_frames])
    return y


def convolve_backward(
    gradient: Float[Tensor, "frames channels"],
    x: Float[Tensor, "in_frames in_channels"],
    rows: Float[Tensor, "window channels"],
    *,
    stride: int,
    into: Float[Tensor, "window channels"],
) -> Float[Tensor, "in_frames in_channels"]:
    """Gradient of ``x``; that of the weight is added to ``into``."""
    if len(rows) < stride * x.shape[1]:  # some frames are under no window
        found = torch.zeros_like(x)
    else:
        found = torch.empty_like(x)
        found[len(gradient) * stride :].zero_()  # what the first part below does not write
    for (view, span), (target, _) in zip(_parts(x, rows, stride), _parts(found, rows, stride), strict=True):
        into[span].addmm_(view.T, gradient)
        target.addmm_(gradient, rows[span].T, beta=0 if span.start == 0 else 1)
    return found


def _parts(x: Tensor, rows: Tensor, stride: int) -> Iterator[tuple[Float[Tensor, "frames part"], slice]]:
    """The windows under all output frames, as views, and the rows of the weight that belong to them.

    A matrix product takes rows that lie apart, not rows that overlap: longer windows are taken in parts. With one
    channel a whole window is so little that a copy of it is cheaper.
    """
    channels = x.shape[1]
    width, step = len(rows), stride * channels
    n_frames = n_outputs(len(x), kernel=width // channels, stride=stride)
    part = width if channels == 1 else step
    for start in range(0, width, part):
        end = min(start + part, width)
        yield x.as_strided((n_frames, end - start), (step, 1), x.storage_offset() + start), slice(start, end)
