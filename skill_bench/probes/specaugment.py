"""SpecAugment on features (Park et al. 2019), with the draws of s3prl 0.4.18 ``downstream/specaug.py``.

Time warping, then feature masks, then time masks, in which masked values become zero. Differences: numbers come from
a given generator, and all cells of a grid get the same warps and masks.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from skill_bench.tasks import SpecAugment


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
