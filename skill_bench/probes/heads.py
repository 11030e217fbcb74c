"""Linear and LSTM heads: from features of several layers to logits, for every cell of a grid.

Rows are utterances (features averaged over time) or the frames of several utterances one after the other: there is
no padding that could change a result.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.probes import lstm
from skill_bench.probes.parameters import Parameters, apply_linear, linear, weighted_sum
from skill_bench.probes.specaugment import spec_augment
from skill_bench.tasks import Head, SpecAugment

LAYER_SCORES = "layer_scores"


@dataclass(frozen=True, kw_only=True)
class Randomness:
    """What only training uses: a generator for dropout and masks, re-seeded equally for every cell."""

    generator: torch.Generator
    spec_augment: SpecAugment | None = None


def initial(head: Head, *, n_layers: int, dim: int, n_outputs: int, generator: torch.Generator) -> Parameters:
    """Parameters of one cell. Layer scores start at zero: all layers weigh the same (s3prl ``Featurizer``)."""
    parameters: Parameters = {LAYER_SCORES: torch.zeros(n_layers)}
    width = dim
    if head.projection_dim:
        parameters |= linear("projection", inputs=dim, outputs=head.projection_dim, generator=generator)
        width = head.projection_dim
    directions = _directions(head)
    for i, hidden in enumerate(head.hidden_dims):
        parameters |= lstm.initial(f"lstm{i}", inputs=width, hidden=hidden, generator=generator, directions=directions)
        width = len(directions) * hidden
    return parameters | linear("output", inputs=width, outputs=n_outputs, generator=generator)


def logits(
    head: Head,
    parameters: Parameters,
    features: Float[Tensor, "*seeds layers rows dim"],
    *,
    lengths: list[int],
    randomness: Randomness | None = None,
) -> Float[Tensor, "cells rows outputs"]:
    """Logits of every row in every cell.

    Args:
        head: Which head.
        parameters: As `initial`, with the leading dimension of `parameters.repeat`.
        features: Layers of all rows; see `parameters.weighted_sum` for a leading dimension.
        lengths: Rows of each utterance; they add up to ``rows``.
        randomness: Given in training, None in evaluation.
    """
    rows = weighted_sum(parameters[LAYER_SCORES], features)
    if randomness is not None and randomness.spec_augment is not None:
        rows = spec_augment(rows, lengths=lengths, options=randomness.spec_augment, generator=randomness.generator)
    if head.projection_dim:
        rows = apply_linear(parameters, "projection", rows)
    for i in range(len(head.hidden_dims)):
        rows = lstm.apply(parameters, f"lstm{i}", rows, lengths=lengths, directions=_directions(head))
        if randomness is not None and head.dropout > 0:
            # One mask for all cells: the result of a learning rate does not depend on the rest of the grid.
            kept = torch.rand(rows.shape[1:], generator=randomness.generator) >= head.dropout
            rows = rows * (kept.to(rows) / (1 - head.dropout))
    return apply_linear(parameters, "output", rows)


def _directions(head: Head) -> tuple[str, ...]:
    return lstm.FORWARD if head.type == "lstm" else lstm.BOTH


def layer_weights(parameters: Parameters) -> Float[Tensor, "cells layers"]:
    """How much each layer weighs; every row adds up to 1."""
    return parameters[LAYER_SCORES].detach().softmax(dim=-1)
