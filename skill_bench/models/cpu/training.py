"""Training on a CPU: the same numbers and gradients as the plain modules, in less time and a third of the memory.

What is kept between forward and backward, and why (measured with ``skill-bench bench``):

- Feed-forward blocks keep what enters their GELU and compute GELU and gate again.
- Attention with a position bias keeps queries, keys, values and gates, and lays scores and bias out again for one
  utterance at a time.
- Channels, heads and units whose gates are shut in this update are not computed.
- The positional convolution, whose kernels are long, is a product of Fourier transforms in blocks: about a thirtieth of
  the multiply-adds. Transforms are computed again.

The front end's part is `skill_bench.models.cpu.front_end`.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from skill_bench.models.cpu.plain import is_plain

_BLOCK = 256
"""Length of the Fourier transforms of the positional convolution."""
_WORTH_PICKING = 0.95
LONG_FRAMES = 400
"""From so many frames on, the transforms of its kernels are worth their while."""


def applies(x: Tensor) -> bool:
    """Whether these functions are the way to compute now: gradients wanted, in full precision, on a CPU."""
    return (
        not is_plain()
        and torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
    )


def feed_forward(
    x: Float[Tensor, "*rows dim"], up: Any, down: Any, mask: Float[Tensor, " units"] | None
) -> Float[Tensor, "*rows dim"]:
    """Linear layers ``up`` and ``down`` with GELU and gates between them.

    Units whose gate is shut are left out: their weights have no gradient, nor has a gate that was clamped to 0.
    """
    units = None if mask is None else open_units(mask)
    if mask is None or units is None:
        return _apply(_FeedForward, x, up.weight, up.bias, down.weight, down.bias, mask)
    return _apply(_FeedForward, x, up.weight[units], up.bias[units], down.weight[:, units], down.bias, mask[units])


def open_units(mask: Float[Tensor, " units"]) -> Int[Tensor, " open"] | None:
    """Units whose gate is not shut; None if that is nearly all of them, which are not worth picking out.

    At least one, so that every parameter has a gradient, as several processes expect.
    """
    units = mask.detach().nonzero().flatten()
    if len(units) == 0:
        return torch.zeros(1, dtype=torch.long)
    return units if len(units) < _WORTH_PICKING * len(mask) else None


def attend(
    query: Float[Tensor, "batch heads frames width"],
    key: Float[Tensor, "batch heads frames width"],
    value: Float[Tensor, "batch heads frames width"],
    gate: Float[Tensor, "batch heads frames 1"],
    bias: Float[Tensor, "heads frames frames"],
) -> Float[Tensor, "batch heads frames width"]:
    """Scaled dot-product attention with a gated position bias."""
    return _apply(_Attention, query, key, value, gate, bias)


def convolve_long(
    x: Float[Tensor, "batch channels frames"],
    weight: Float[Tensor, "channels per_group kernel"],
    bias: Float[Tensor, " channels"],
) -> Float[Tensor, "batch channels frames"]:
    """Grouped ``conv1d`` with ``kernel // 2`` zeros on both sides, without the last frame of an even kernel."""
    return _apply(_LongConvolution, x, weight) + bias[:, None]


def _apply(function: type[torch.autograd.Function], *given: Tensor | None) -> Tensor:
    found: Tensor = function.apply(*given)  # type: ignore[no-untyped-call]
    return found


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, mask: Tensor | None) -> Tensor:
        raised = F.linear(x, w1, b1)
        ctx.save_for_backward(x, raised, w1, w2, mask)
        hidden = F.gelu(raised)
        return F.linear(hidden if mask is None else hidden.mul_(mask), w2, b2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, raised, w1, w2, mask = ctx.saved_tensors
        gradient = gradients[0].flatten(0, -2)
        rows, raised = x.flatten(0, -2), raised.flatten(0, -2)
        hidden, of_hidden, of_mask = F.gelu(raised), gradient @ w2, None
        if mask is not None:
            of_mask = torch.linalg.vecdot(hidden, of_hidden, dim=0)
            hidden.mul_(mask)
            of_hidden.mul_(mask)
        of_w2, of_b2 = gradient.T @ hidden, gradient.sum(0)
        del hidden
        of_raised = torch.ops.aten.gelu_backward(of_hidden, raised)
        del of_hidden
        return (of_raised @ w1).view_as(x), of_raised.T @ rows, of_raised.sum(0), of_w2, of_b2, of_mask


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, gate: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(query, key, value, gate, bias)
        attended = torch.empty_like(query)
        gated = torch.empty_like(bias)
        for i in range(len(query)):
            one = slice(i, i + 1)
            mask = torch.mul(gate[i], bias, out=gated)[None]
            attended[one] = F.scaled_dot_product_attention(query[one], key[one], value[one], attn_mask=mask)
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        query, key, value, gate, bias = ctx.saved_tensors
        of_query, of_key, of_value = (torch.empty_like(part) for part in (query, key, value))
        of_gate, of_bias = torch.empty_like(gate), torch.zeros_like(bias)
        scale = query.shape[-1] ** -0.5
        for i, gradient in enumerate(gradients[0]):
            scores = torch.baddbmm(gate[i] * bias, query[i], key[i].transpose(1, 2), alpha=scale)
            weights = torch.softmax(scores, dim=-1)
            torch.bmm(weights.transpose(1, 2), gradient, out=of_value[i])
            of_scores = torch.ops.aten._softmax_backward_data(
                gradient @ value[i].transpose(1, 2), weights, -1, weights.dtype
            )
            torch.sum(of_scores * bias, dim=-1, keepdim=True, out=of_gate[i])
            of_bias.addcmul_(of_scores, gate[i])
            of_query[i] = (of_scores @ key[i]).mul_(scale)
            of_key[i] = (of_scores.transpose(1, 2) @ query[i]).mul_(scale)
        return of_query, of_key, of_value, of_gate, of_bias


class _LongConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return blockwise(x, transformed(weight), kernel=weight.shape[2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            x, weight = (saved.detach().requires_grad_() for saved in ctx.saved_tensors)
            found = blockwise(x, transformed(weight), kernel=weight.shape[2])
            return torch.autograd.grad(found, (x, weight), gradients[0])


def transformed(
    weight: Float[Tensor, "channels per_group kernel"],
) -> Complex[Tensor, "frequencies groups per_group per_group"]:
    """What `blockwise` multiplies by: a matrix for every frequency and group."""
    per_group, kernel = weight.shape[1:]
    found = torch.fft.rfft(weight, n=_size(kernel))
    spectra: Tensor = found.view(-1, per_group, per_group, found.shape[-1]).permute(3, 0, 2, 1).contiguous()
    return spectra


def _size(kernel: int) -> int:
    return max(_BLOCK, 2 * kernel)


def blockwise(
    x: Float[Tensor, "batch channels frames"],
    right: Complex[Tensor, "frequencies groups per_group per_group"],
    *,
    kernel: int,
) -> Float[Tensor, "batch channels frames"]:
    """Overlap-save: each block of input gives the outputs that do not wrap around."""
    batch, channels, frames = x.shape
    n, groups, per_group, _ = right.shape
    size = _size(kernel)
    step = size - kernel + 1
    n_blocks = -(-frames // step)
    padded = F.pad(x, (kernel // 2, n_blocks * step + kernel - 1 - frames - kernel // 2))
    # A correlation: one factor is conjugated, the one of fewer numbers. It is undone below.
    spectra = torch.conj_physical(torch.fft.rfft(padded.unfold(2, size, step), n=size))
    left = spectra.view(batch, groups, per_group, n_blocks, n).permute(4, 1, 0, 3, 2)
    product = torch.conj_physical(torch.bmm(left.reshape(n * groups, batch * n_blocks, per_group), right.flatten(0, 1)))
    spread = product.view(n, groups, batch, n_blocks, -1).permute(2, 1, 4, 3, 0)
    blocks: Tensor = torch.fft.irfft(spread, n=size)[..., :step]
    return blocks.reshape(batch, channels, n_blocks * step)[..., :frames]
