"""How many parameters a gated encoder has: the exact count, with expected sizes in place of sizes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from skill_bench.compress.gates import Gates
from skill_bench.models.architecture import Architecture

Size = float | Float[Tensor, ""]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Open units of every gated dimension: integers, or expectations with a gradient."""

    channels: list[Size]
    heads: list[Size]
    ffn: list[Size]

    @classmethod
    def of(cls, architecture: Architecture) -> Sizes:
        return cls(
            channels=[conv.channels for conv in architecture.convs],
            heads=[len(layer.heads) for layer in architecture.layers],
            ffn=[layer.ffn_dim for layer in architecture.layers],
        )

    @classmethod
    def expected(cls, gates: Gates) -> Sizes:
        return cls(
            channels=[gate.expected_open() for gate in gates.channels],  # type: ignore[operator]
            heads=[gate.expected_open() for gate in gates.heads],  # type: ignore[operator]
            ffn=[gate.expected_open() for gate in gates.ffn],  # type: ignore[operator]
        )

    @classmethod
    def kept(cls, gates: Gates) -> Sizes:
        """What evaluation leaves open, and pruning keeps."""
        return cls(
            channels=[gate.n_open() for gate in gates.channels],  # type: ignore[operator]
            heads=[gate.n_open() for gate in gates.heads],  # type: ignore[operator]
            ffn=[gate.n_open() for gate in gates.ffn],  # type: ignore[operator]
        )


def n_parameters(architecture: Architecture, sizes: Sizes) -> Size:
    """Parameters of an encoder of ``architecture`` whose gated dimensions have ``sizes``.

    With the integer sizes of an architecture this is the sum of numel of its :class:`Encoder`, exactly.
    """
    total: Size = 0.0
    before: Size = 1.0
    for index, (conv, channels) in enumerate(zip(architecture.convs, sizes.channels, strict=True)):
        total = total + before * channels * conv.kernel
        total = total + channels * int(architecture.conv_bias)
        normed = architecture.conv_norm == "layer_norm" or index == 0
        total = total + channels * (2 * int(normed))
        before = channels
    dim, inner = architecture.dim, architecture.head_dim
    total = total + before * int(architecture.channel_scale)
    total = total + before * 2 + (before + 1) * dim
    kernel = architecture.position_kernel
    total = total + dim * dim // architecture.position_groups * kernel + kernel + dim + 2 * dim
    relative = architecture.relative_position
    if relative is not None:
        total = total + relative.n_buckets * architecture.n_heads
    for heads, ffn in zip(sizes.heads, sizes.ffn, strict=True):
        total = total + 4 * dim
        if not _is_zero(heads):
            total = total + heads * (inner * (3 * (dim + 1) + dim)) + dim
            if relative is not None:
                total = total + 8 * (inner + 1) + architecture.n_heads
        if not _is_zero(ffn):
            total = total + ffn * (2 * dim + 1) + dim
    return total


def _is_zero(size: Size) -> bool:
    return not isinstance(size, Tensor) and size == 0


@torch.no_grad()
def settle(gates: Gates, architecture: Architecture, *, target: float) -> None:
    """Adds one constant to every gate's log_alpha, so that what pruning keeps meets the target.

    The multipliers oscillate around the target, and rounding to whole units moves the size too; both are taken out
    here, without changing which unit is worth more than another.
    """
    full = n_parameters(architecture, Sizes.of(architecture))
    learnt = [parameter.clone() for parameter in gates.parameters()]
    low, high = -20.0, 20.0
    for _ in range(50):
        shift = (low + high) / 2
        for parameter, value in zip(gates.parameters(), learnt, strict=True):
            parameter.copy_(value + shift)
        too_small = n_parameters(architecture, Sizes.kept(gates)) < (1 - target) * full
        low, high = (shift, high) if too_small else (low, shift)


class Lagrangian(nn.Module):
    """lambda1 (s - t) + lambda2 (s - t)^2, ascended in lambda (CoFi, arXiv 2204.00408, section 3.2)."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Parameter(Tensor([0.0]).squeeze())
        self.quadratic = nn.Parameter(Tensor([0.0]).squeeze())

    def forward(self, sparsity: Float[Tensor, ""], target: float) -> Float[Tensor, ""]:
        gap = sparsity - target
        return self.linear * gap + self.quadratic * gap.square()
