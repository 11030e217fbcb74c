"""Diarization: the loss that does not care which output is which speaker, and segments from probabilities."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.ndimage import median_filter
from torch import Tensor


def losses(
    scores: Float[Tensor, "cells rows speakers"], labels: list[Float[Tensor, "frames speakers"]]
) -> Float[Tensor, " cells"]:
    """Binary cross-entropy per frame and speaker under the best order of speakers of each utterance.

    s3prl 0.4.18 ``downstream/diarization/utils.py`` (``pit_loss``), after Fujita et al. 2019 (arXiv 1909.05952).
    """
    total = scores.new_zeros(len(scores))
    for part, label in zip(torch.split(scores, [len(label) for label in labels], dim=1), labels, strict=True):
        orders = [
            F.binary_cross_entropy_with_logits(part, label[:, list(order)].expand_as(part), reduction="none")
            .mean(dim=2)
            .sum(dim=1)
            for order in permutations(range(label.shape[1]))
        ]
        total = total + torch.stack(orders).amin(dim=0)
    return total / sum(len(label) for label in labels)


def decide(
    scores: Float[Tensor, "frames speakers"], *, threshold: float, median_frames: int
) -> Bool[ndarray, "frames speakers"]:
    """Where each output is active: probability above the threshold, then a median filter over time.

    Beyond both ends the filter sees silence, as the one of s3prl's ``diarization/make_rttm.py``.
    """
    active = (scores.sigmoid() > threshold).cpu().numpy().astype(np.int8)
    return np.asarray(median_filter(active, size=(median_frames, 1), mode="constant", cval=0)).astype(bool)
