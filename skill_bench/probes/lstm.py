"""An LSTM, forward or in both directions, over utterances of different lengths; no padding effects, no packing.

torch's packed sequences give the same numbers, but their backward pass is several times slower on a CPU. Here the
backward direction runs over sequences reversed within their own length, so padding is always at the end, after
everything that is read.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from skill_bench.probes.parameters import Parameters, uniform

FORWARD, BOTH = ("forward",), ("forward", "backward")


def initial(
    name: str, *, inputs: int, hidden: int, generator: torch.Generator, directions: tuple[str, ...] = BOTH
) -> Parameters:
    """The four tensors a direction of a `torch.nn.LSTM` with one layer, initialised as it does."""
    bound = 1 / math.sqrt(hidden)
    parameters: Parameters = {}
    for direction in directions:
        for part, shape in (
            ("weight_ih", (4 * hidden, inputs)),
            ("weight_hh", (4 * hidden, hidden)),
            ("bias_ih", (4 * hidden,)),
            ("bias_hh", (4 * hidden,)),
        ):
            parameters[f"{name}.{direction}.{part}"] = uniform(*shape, bound=bound, generator=generator)
    return parameters


def apply(
    parameters: Parameters,
    name: str,
    rows: Float[Tensor, "cells rows inputs"],
    *,
    lengths: list[int],
    directions: tuple[str, ...] = BOTH,
) -> Float[Tensor, "cells rows outputs"]:
    """Outputs of the directions, one beside the other, at every row.

    Args:
        parameters: As `initial`, with a leading dimension ``cells``.
        name: The prefix given to `initial`.
        rows: Frames of all utterances, one after the other.
        lengths: Frames of each utterance.
        directions: As given to `initial`.
    """
    outputs = []
    for direction in directions:
        take, back = _positions(lengths, reverse=direction == "backward")
        take, back = take.to(rows.device), back.to(rows.device)
        weights = [
            parameters[f"{name}.{direction}.{part}"].unbind(0)
            for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        cells = []
        for cell_rows, *cell_weights in zip(rows.unbind(0), *weights, strict=True):
            padded = cell_rows.index_select(0, take.flatten()).view(*take.shape, -1)
            state = padded.new_zeros(1, len(lengths), cell_weights[1].shape[1])
            output, _, _ = torch.lstm(padded, (state, state), cell_weights, True, 1, 0.0, False, False, True)
            cells.append(output.reshape(-1, output.shape[-1]).index_select(0, back))
        outputs.append(torch.stack(cells))
    return torch.cat(outputs, dim=-1)


def _positions(lengths: list[int], *, reverse: bool) -> tuple[Int[Tensor, "batch longest"], Int[Tensor, " rows"]]:
    """Which row each padded place takes (padding takes row 0), and which padded place each row's output is at."""
    count = torch.tensor(lengths)
    longest = int(count.max())
    time = torch.arange(longest).expand(len(lengths), longest)
    inside = time < count[:, None]
    within = torch.where(inside, count[:, None] - 1 - time, 0) if reverse else torch.where(inside, time, 0)
    starts = count.cumsum(0) - count
    take = torch.where(inside, starts[:, None] + within, 0)
    back = (torch.arange(len(lengths))[:, None] * longest + within)[inside]
    return take, back
