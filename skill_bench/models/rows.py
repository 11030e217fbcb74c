"""Convolutions of one utterance as matrix products, in the layout (frames, channels)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor


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
    parts = _parts(x, rows, stride)
    view, span = next(parts)
    y = view @ rows[span]
    for view, span in parts:
        y.addmm_(view, rows[span])
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
