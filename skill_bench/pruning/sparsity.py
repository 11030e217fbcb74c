"""How many parameters a gated encoder has: the exact count, with expected sizes in place of sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from skill_bench.base.errors import UsageError
from skill_bench.models.architecture import Architecture
from skill_bench.pruning.gates import Gates, each
from skill_bench.pruning.options import Sparsity

Size = float | Float[Tensor, ""]


@dataclass(frozen=True, kw_only=True)
class Block:
    """An attention or feed-forward block: its heads or units, and whether it is there (1, 0 or a probability)."""

    units: Size
    present: Size

    @classmethod
    def of(cls, units: int, *, is_open: bool = True) -> Block:
        return cls(units=units if is_open else 0, present=float(is_open and units > 0))


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Open units of every gated dimension: integers, or expectations with a gradient."""

    channels: list[Size]
    attention: list[Block]
    feed_forward: list[Block]

    @classmethod
    def of(cls, architecture: Architecture) -> Sizes:
        return cls(
            channels=[conv.channels for conv in architecture.convs],
            attention=[Block.of(len(layer.heads)) for layer in architecture.layers],
            feed_forward=[Block.of(layer.ffn_dim) for layer in architecture.layers],
        )

    @classmethod
    def expected(cls, gates: Gates, architecture: Architecture) -> Sizes:
        """Expectations over the samples of ``gates``; dimensions without gates keep their size."""
        whole = cls.of(architecture)
        return cls(
            channels=[gate.open_probability().sum() for gate in each(gates.channels)] or whole.channels,
            attention=_expected(gates.heads, gates.attention_blocks, whole.attention),
            feed_forward=_expected(gates.ffn, gates.ffn_blocks, whole.feed_forward),
        )

    @classmethod
    def kept(cls, gates: Gates, architecture: Architecture) -> Sizes:
        """What evaluation leaves open, and pruning keeps."""
        whole = cls.of(architecture)
        return cls(
            channels=[gate.n_open() for gate in each(gates.channels)] or whole.channels,
            attention=_kept(gates.heads, gates.attention_blocks, whole.attention),
            feed_forward=_kept(gates.ffn, gates.ffn_blocks, whole.feed_forward),
        )

    @classmethod
    def smallest(cls, gates: Gates, architecture: Architecture) -> Sizes:
        """What is left where every gate that may shut is shut."""
        whole = cls.of(architecture)
        shut = [Block.of(0)] * len(architecture.layers)
        return cls(
            channels=[gate.min_open for gate in each(gates.channels)] or whole.channels,
            attention=shut if len(gates.heads) or len(gates.attention_blocks) else whole.attention,
            feed_forward=shut if len(gates.ffn) or len(gates.ffn_blocks) else whole.feed_forward,
        )


def gated_shape(architecture: Architecture, gates: Gates) -> Architecture:
    """What the size formula counts: a pruned encoder also has the factors that the last channels' gates leave."""
    return replace(architecture, channel_scale=architecture.channel_scale or len(gates.channels) > 0)


def require_reachable(architecture: Architecture, options: Sparsity, *, full_size: int) -> None:
    """Checks that gates of these kinds can remove as much as ``options.target`` says.

    Raises:
        UsageError: they cannot; says how much they can.
    """
    gates = Gates(architecture, options)
    least = n_parameters(gated_shape(architecture, gates), Sizes.smallest(gates, architecture))
    reachable = 1 - float(least) / full_size
    if reachable < options.target:
        raise UsageError(
            f"sparsity.target = {options.target:g} cannot be reached: with everything shut that has gates, "
            f"{reachable:.3f} of the teacher's parameters are gone. Lower the target, or give more kinds of "
            "units a drop rate."
        )


def _expected(unit_gates: nn.ModuleList, block_gates: nn.ModuleList, whole: list[Block]) -> list[Block]:
    blocks = whole
    if len(unit_gates):
        probabilities = [gate.open_probability() for gate in each(unit_gates)]
        blocks = [Block(units=p.sum(), present=1 - (1 - p).prod()) for p in probabilities]
    if len(block_gates):
        # Gates are independent, so the expectation of a product is the product of expectations.
        is_open = [gate.open_probability().squeeze() for gate in each(block_gates)]
        blocks = [Block(units=p * b.units, present=p * b.present) for p, b in zip(is_open, blocks, strict=True)]
    return blocks


def _kept(unit_gates: nn.ModuleList, block_gates: nn.ModuleList, whole: list[Block]) -> list[Block]:
    units = [gate.n_open() for gate in each(unit_gates)] or [int(block.units) for block in whole]
    is_open = [gate.n_open() > 0 for gate in each(block_gates)] or [True] * len(whole)
    return [Block.of(n, is_open=o) for n, o in zip(units, is_open, strict=True)]


def n_parameters(architecture: Architecture, sizes: Sizes) -> Size:
    """Parameters of an encoder of ``architecture`` whose gated dimensions have ``sizes``.

    With the integer sizes of an architecture this is the sum of numel of its :class:`Encoder`, exactly; with
    expectations it is the expectation of that sum over the gates, which are independent of each other.
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
    total = total + before * (2 * int(architecture.projection_norm)) + (before + 1) * dim
    total = total + architecture.n_position_parameters + 2 * dim
    relative = architecture.relative_position
    position_gate = 0
    if relative is not None:
        total = total + relative.n_buckets * architecture.n_heads
        position_gate = 8 * (inner + 1) + architecture.n_heads
    for attention, feed_forward in zip(sizes.attention, sizes.feed_forward, strict=True):
        total = total + 4 * dim
        total = total + attention.units * (inner * (3 * (dim + 1) + dim)) + attention.present * (dim + position_gate)
        total = total + feed_forward.units * (2 * dim + 1) + feed_forward.present * dim
    return total


@torch.no_grad()
def settle(gates: Gates, architecture: Architecture, *, target: float, full_size: Size) -> None:
    """Adds one constant to every unit's log_alpha, so that what pruning keeps meets the target.

    The multipliers oscillate around the target, and rounding to whole units moves the size too; both are taken out
    here, without changing which unit is worth more than another. Gates of whole blocks stay: one block is more than
    the tolerance.

    Args:
        full_size: what ``target`` is a share of.
    """
    units = [p for kind in (gates.channels, gates.heads, gates.ffn) for p in kind.parameters()]
    learnt = [parameter.clone() for parameter in units]
    low, high = -20.0, 20.0
    for _ in range(50):
        shift = (low + high) / 2
        for parameter, value in zip(units, learnt, strict=True):
            parameter.copy_(value + shift)
        too_small = n_parameters(architecture, Sizes.kept(gates, architecture)) < (1 - target) * full_size
        low, high = (shift, high) if too_small else (low, shift)


@torch.no_grad()
def hold(
    gates: Iterable[nn.Parameter], sparsity: Callable[[], Float[Tensor, ""]], *, target: float, most: float
) -> None:
    """Adds one constant to every log_alpha, so that the expected sparsity comes to ``target``.

    Which unit is worth more than another stays as it is.

    Args:
        sparsity: of ``gates``, with a gradient.
        most: largest constant.
    """
    moved = list(gates)
    with torch.enable_grad():
        found = sparsity()
        slopes = torch.autograd.grad(found, moved)
    slope = torch.stack([of_gate.double().sum() for of_gate in slopes]).sum()
    shift = towards(target, found, slope, most=most)
    for parameter in moved:
        parameter.add_(shift)


def towards(
    target: float, sparsity: Float[Tensor, "*runs"], slope: Float[Tensor, "*runs"], *, most: float
) -> Float[Tensor, "*runs"]:
    """The constant of :func:`hold`: one step of Newton's; 0 where every gate has decided.

    Args:
        slope: of ``sparsity``, at a constant that is added to every gate.
        most: largest constant.
    """
    return torch.where(slope < 0, ((target - sparsity) / slope).clamp(-most, most), 0.0)


class Lagrangian(nn.Module):
    """lambda1 (s - t) + lambda2 (s - t)^2, ascended in lambda (CoFi, arXiv 2204.00408, section 3.2)."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Parameter(Tensor([0.0]).squeeze())
        self.quadratic = nn.Parameter(Tensor([0.0]).squeeze())

    def forward(self, sparsity: Float[Tensor, ""], target: float) -> Float[Tensor, ""]:
        gap = sparsity.float() - target
        return self.linear * gap + self.quadratic * gap.square()
