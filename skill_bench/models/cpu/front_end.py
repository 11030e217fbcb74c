"""The front end of base models while it is trained on a CPU: convolutions as matrix products, little kept.

Between forward and backward only what enters each GELU is kept, of the first convolution nothing: its output, ten
multiply-adds a value, is computed again. Its GroupNorm is folded into its weights, and its gradient follows from the
product of the waveform's windows with one gradient, all else from the windows' mean and covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from skill_bench.models.cpu.rows import as_rows, as_weight, convolve, convolve_backward, filled, with_full_lanes
from skill_bench.models.cpu.training import open_units

_gelu_ = torch.ops.aten.gelu_


@dataclass(frozen=True, kw_only=True)
class _Shape:
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    eps: float
    gated: bool


def front_end(
    waves: Float[Tensor, "batch samples"],
    weights: Sequence[Float[Tensor, "_channels _in_channels _kernel"]],
    strides: Sequence[int],
    norm: Any,
    masks: Sequence[Float[Tensor, " _channels"]] | None,
) -> Float[Tensor, "batch frames channels"]:
    """Convolutions without bias, each with GELU and gates; ``norm`` over time after the first.

    Channels whose gate is shut are left out, as units are in `skill_bench.models.cpu.training.feed_forward`.
    """
    shape = _Shape(
        kernels=tuple(weight.shape[2] for weight in weights),
        strides=tuple(strides),
        eps=norm.eps,
        gated=masks is not None,
    )
    gain, offset, weights = norm.weight, norm.bias, list(weights)
    gates = [waves.new_ones(())] * len(weights)
    if masks is not None:
        gates = list(masks)
        for index, mask in enumerate(masks[:-1]):  # of the last, whoever reads the frames expects every channel
            units = open_units(mask)
            if units is not None:
                weights[index], weights[index + 1] = weights[index][units], weights[index + 1][:, units]
                gates[index] = mask[units]
                gain, offset = (gain[units], offset[units]) if index == 0 else (gain, offset)
        gates = [filled(gate) for gate in gates]
    wide = [with_full_lanes(weight, reads_wave=index == 0) for index, weight in enumerate(weights)]
    found: Tensor = _FrontEnd.apply(  # type: ignore[no-untyped-call]
        shape, waves, filled(gain), filled(offset), *wide, *gates
    )
    return found[..., : len(weights[-1])]


class _FrontEnd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, shape: _Shape, waves: Tensor, gain: Tensor, offset: Tensor, *rest: Tensor) -> Tensor:
        n = len(shape.kernels)
        rows, gates = [as_rows(weight) for weight in rest[:n]], rest[n:]
        entering: list[Tensor] = []
        outputs = []
        for wave in waves:
            first = _First(shape, wave, rows[0], gain, offset)
            x = _gelu_(first.entering())
            x = x.mul_(gates[0]) if shape.gated else x
            for index in range(1, n):
                z = convolve(x, rows[index], stride=shape.strides[index])
                entering.append(z)
                x = F.gelu(z)
                x = x.mul_(gates[index]) if shape.gated else x
            outputs.append(x)
        ctx.shape = shape
        ctx.save_for_backward(waves, gain, offset, *rest, *entering)
        return torch.stack(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        shape, n = ctx.shape, len(ctx.shape.kernels)
        waves, gain, offset, *rest = ctx.saved_tensors
        rows, gates, entering = [as_rows(weight) for weight in rest[:n]], rest[n : 2 * n], rest[2 * n :]
        of_rows = [torch.zeros_like(weight) for weight in rows]
        of_gates = [torch.zeros_like(gate) for gate in gates]
        of_gain, of_offset = torch.zeros_like(gain), torch.zeros_like(offset)
        for number, (wave, gradient) in enumerate(zip(waves, gradients[0], strict=True)):
            first = _First(shape, wave, rows[0], gain, offset)
            held = [first.entering(), *entering[number * (n - 1) : (number + 1) * (n - 1)]]
            activated: Tensor | None = None
            for index in range(n - 1, 0, -1):
                gradient = _through_gelu(gradient, held[index], gates[index], of_gates[index], activated, shape.gated)
                activated = F.gelu(held[index - 1])
                x = activated * gates[index - 1] if shape.gated else activated
                gradient = convolve_backward(gradient, x, rows[index], stride=shape.strides[index], into=of_rows[index])
            gradient = _through_gelu(gradient, held[0], gates[0], of_gates[0], activated, shape.gated)
            first.add_gradients(gradient, of_rows[0], of_gain, of_offset)
        of_weights = [as_weight(value, kernel) for value, kernel in zip(of_rows, shape.kernels, strict=True)]
        return None, None, of_gain, of_offset, *of_weights, *(of_gates if shape.gated else [None] * n)


def _through_gelu(
    gradient: Tensor, entered: Tensor, gate: Tensor, of_gate: Tensor, activated: Tensor | None, gated: bool
) -> Tensor:
    """Gradient before the GELU from that after the gate."""
    if gated:
        activated = F.gelu(entered) if activated is None else activated
        of_gate += torch.linalg.vecdot(gradient, activated, dim=0)
        gradient = gradient * gate
    found: Tensor = torch.ops.aten.gelu_backward(gradient, entered)
    return found


class _First:
    """First convolution and GroupNorm of one utterance; statistics in float64, from the waveform's windows.

    The waveform's mean, which the norm would remove, is taken off first, so that an offset costs no precision.
    """

    def __init__(self, shape: _Shape, wave: Tensor, rows: Tensor, gain: Tensor, offset: Tensor) -> None:
        self.wave = wave - wave.mean()
        self.windows = self.wave.unfold(0, shape.kernels[0], shape.strides[0])
        self.rows, self.gain, self.offset = rows.double(), gain.double(), offset
        self.mean = self.windows.mean(dim=0, dtype=torch.float64)
        second = torch.zeros(len(rows), len(rows), dtype=torch.float64)
        for part in torch.split(self.windows, 1 << 16):
            centred = part.double() - self.mean
            second.addmm_(centred.T, centred)
        self.covariance = second / len(self.windows)
        variance = ((self.covariance @ self.rows) * self.rows).sum(dim=0).clamp(min=0)
        self.inverse = torch.rsqrt(variance + shape.eps)

    def entering(self) -> Float[Tensor, "frames channels"]:
        """What enters the GELU."""
        scale = self.gain * self.inverse
        shift = self.offset.double() - (self.mean @ self.rows) * scale
        found: Tensor = torch.addmm(shift.to(self.wave.dtype), self.windows, (self.rows * scale).to(self.wave.dtype))
        return found

    def add_gradients(
        self, gradient: Float[Tensor, "frames channels"], of_rows: Tensor, of_gain: Tensor, of_offset: Tensor
    ) -> None:
        """Adds the gradients of weight, gain and offset.

        With y = window * rows, h = (y - mean) inverse and z = gain h + offset, over n frames:
        dy = gain inverse (dz - mean(dz) - h mean(dz h)); all products with windows reduce to their moments.
        """
        product, total = (self.windows.T @ gradient).double(), gradient.sum(dim=0, dtype=torch.float64)
        centred = product - self.mean[:, None] * total  # sum over frames of (window - its mean) dz
        along = (self.rows * centred).sum(dim=0) * self.inverse  # sum of dz h
        # sum of (window - its mean) h = n covariance rows inverse
        moment = self.covariance @ self.rows * self.inverse
        of_rows += (self.gain * self.inverse * (centred - moment * along)).to(of_rows.dtype)
        of_gain += along.to(of_gain.dtype)
        of_offset += total.to(of_offset.dtype)
