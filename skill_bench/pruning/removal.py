"""Prune as you go: units whose gates have stayed shut leave the student, its gates and the optimiser.

Everything that is kept stays what it was: weights, the optimiser's moments, gates and the random numbers of their
samples. Nothing is folded, since the gates go on changing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from skill_bench.models.architecture import Architecture
from skill_bench.models.encoder import Encoder
from skill_bench.pruning.gates import Gates, HardConcrete, each
from skill_bench.pruning.kept import Kept, Units
from skill_bench.pruning.prune import without


def opened(gates: Gates, architecture: Architecture) -> Kept:
    """Units that a sample has opened since the last removal, at least one a block; all where nothing is gated."""
    return _kept(gates, architecture, lambda kind, index, gate: gate.opened().cpu())


def left(gates: Gates, state: Mapping[str, Tensor], architecture: Architecture) -> Kept:
    """Units whose gates a state of ``gates`` still has.

    Raises:
        KeyError: it was written without removal.
    """

    def units(kind: str, index: int, gate: HardConcrete) -> Units:
        assert gate.unit is not None
        there = torch.isin(gate.unit.cpu(), state[f"{kind}.{index}.unit"].cpu())
        return there.nonzero().flatten()

    return _kept(gates, architecture, units)


@torch.no_grad()
def remove(student: Encoder, gates: Gates, kept: Kept, optimizer: torch.optim.Optimizer) -> Encoder:
    """The student of the kept units; ``gates`` and ``optimizer`` are changed to fit.

    New parameters take the place of the old ones in the optimiser, since processes attach to a parameter what belongs
    to its shape.
    """
    smaller = without(student, kept)
    architecture, new = student.architecture, dict(smaller.named_parameters())
    for name, parameter in student.named_parameters():
        _move(optimizer, parameter, new[name], partial(_of, kept, architecture, name))
    for kind, units in (("channels", kept.channels), ("heads", kept.heads), ("ffn", kept.ffn)):
        for gate, positions in zip(
            each(getattr(gates, kind)), units, strict=False
        ):  # no gates of this kind: nothing to keep
            old = gate.log_alpha
            _move(optimizer, old, gate.keep(positions), partial(_at, positions))
    return smaller


def _of(kept: Kept, architecture: Architecture, name: str, value: Tensor) -> Tensor:
    return kept.of(architecture, {name: value})[name]


def _at(positions: Units, value: Tensor) -> Tensor:
    return value[positions.to(value.device)]


def _kept(gates: Gates, architecture: Architecture, units: Callable[[str, int, HardConcrete], Units]) -> Kept:
    everything = Kept.everything(architecture)

    def of(kind: str, whole: Sequence[Units]) -> Sequence[Units]:
        return [units(kind, index, gate) for index, gate in enumerate(each(getattr(gates, kind)))] or whole

    return Kept(
        channels=of("channels", everything.channels), heads=of("heads", everything.heads), ffn=of("ffn", everything.ffn)
    )


def _move(
    optimizer: torch.optim.Optimizer, old: nn.Parameter, new: nn.Parameter, select: Callable[[Tensor], Tensor]
) -> None:
    state = optimizer.state.pop(old, None)
    for group in optimizer.param_groups:
        group["params"] = [new if parameter is old else parameter for parameter in group["params"]]
    if state is not None:
        optimizer.state[new] = {
            name: select(value) if isinstance(value, Tensor) and value.shape == old.shape else value
            for name, value in state.items()
        }
