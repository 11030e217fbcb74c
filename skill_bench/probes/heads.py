"""Linear and LSTM heads: from features of several layers to logits, for every cell of a grid.

Rows are utterances (features averaged over time) or the frames of several utterances one after the other: there is
no padding that could change a result.

SpecAugment on features (Park et al. 2019) has the draws of s3prl 0.4.18 ``downstream/specaug.py``.
Time warping, then feature masks, then time masks, in which masked values become zero. Differences: numbers come from
a given generator, and all cells of a grid get the same warps and masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from skill_bench.probes import lstm
from skill_bench.probes.parameters import Parameters, apply_linear, linear, weighted_sum
from skill_bench.tasks import Head, SpecAugment

LAYER_SCORES = "layer_scores"


@dataclass(frozen=True, kw_only=True)
class Randomness:
    """What only training uses: a generator for dropout and masks, which are the same in every cell."""

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


def spec_augment(
    rows: Float[Tensor, "cells rows dim"], *, lengths: list[int], options: SpecAugment, generator: torch.Generator
) -> Float[Tensor, "cells rows dim"]:
    """Augmented features; ``lengths`` are the utterances' frames, one after the other in ``rows``."""
    longest, dim = max(lengths), rows.shape[-1]
    if options.time_warp_window > 0:
        utterances = torch.split(rows, lengths, dim=1)
        rows = torch.cat([_warp(u, window=options.time_warp_window, generator=generator) for u in utterances], dim=1)
    features = _masks(
        n=len(lengths), size=dim, n_masks=options.n_feature_masks, width=options.feature_mask_max_dims,
        generator=generator,
    )  # fmt: skip
    frames = _masks(
        n=len(lengths), size=longest, n_masks=options.n_time_masks, width=options.time_mask_max_frames,
        generator=generator,
    )  # fmt: skip
    counts = torch.tensor(lengths)
    masked = features.repeat_interleave(counts, dim=0) | frames[torch.arange(longest) < counts[:, None]][:, None]
    return rows.masked_fill(masked.to(rows.device), 0.0)


def _masks(*, n: int, size: int, n_masks: int, width: int, generator: torch.Generator) -> Bool[Tensor, "n size"]:
    """True inside ``n_masks`` stretches of less than ``width`` places for each of ``n`` utterances."""
    if n_masks == 0:
        return torch.zeros(n, size, dtype=torch.bool)
    length = torch.randint(0, width, (n, n_masks, 1), generator=generator)
    start = torch.randint(0, max(1, size - int(length.max())), (n, n_masks, 1), generator=generator)
    place = torch.arange(size)
    return ((start <= place) & (place < start + length)).any(dim=1)


def _warp(
    utterance: Float[Tensor, "cells frames dim"], *, window: int, generator: torch.Generator
) -> Float[Tensor, "cells frames dim"]:
    """Moves one point of time by at most ``window`` frames and stretches both sides to fit."""
    frames, dim = utterance.shape[1:]
    if frames - window <= window:
        return utterance
    centre = int(torch.randint(window, frames - window, (1,), generator=generator))
    warped = int(torch.randint(centre - window, centre + window, (1,), generator=generator)) + 1
    planes = utterance.unsqueeze(1)
    sides = [
        F.interpolate(side, (length, dim), mode="bicubic", align_corners=False)
        for side, length in ((planes[:, :, :centre], warped), (planes[:, :, centre:], frames - warped))
    ]
    return torch.cat(sides, dim=2).squeeze(1)
