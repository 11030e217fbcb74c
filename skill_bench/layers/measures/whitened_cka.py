"""Linear CKA of whitened layers: every direction counts alike, not the few with most of the variance."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from skill_bench.layers.measures.cka import LinearCKA

THRESHOLD = 1e-8
"""Relative to the largest variance of a layer's directions: with less, mostly the rounding of float32 is left, as of
the direction that a LayerNorm takes away."""


class WhitenedCKA(LinearCKA):
    """Mean squared canonical correlation of two layers (Kornblith et al., arXiv 1905.00414, table 1, R2 of CCA).

    Linear CKA weighs directions by their variances, so that layers with a few large directions in common are alike
    whatever the others say. Whitened, it sees only which subspaces agree, and no invertible map of a layer changes it.
    Layers of ``p`` and ``q`` directions are divided by sqrt(p q). Chance is dim / frames: give many more frames than
    dimensions.
    """

    def similarity(self) -> NDArray[np.float64]:
        """``(layers, layers)``: symmetric, 1 on the diagonal, within [0, 1].

        Raises:
            ValueError: not more frames than dimensions, which makes all layers alike, or a layer that does not vary.
        """
        if self.n_frames <= self.dim:
            raise ValueError(
                f"whitened_cka needs more frames than the {self.dim} dimensions of a layer, and many more to tell "
                f"anything, found {self.n_frames}"
            )
        whitening = [_whitening(self.scatter(layer, layer)) for layer in range(self.n_layers)]
        constant = [layer for layer, directions in enumerate(whitening) if not directions.shape[1]]
        if constant:
            raise ValueError(f"layers {constant} do not vary over the frames; their similarity is undefined")
        alike = np.eye(self.n_layers)
        for i, own in enumerate(whitening):
            for j, other in enumerate(whitening[i + 1 :], start=i + 1):
                shared = float((own.T @ self.scatter(i, j) @ other).square().sum())
                alike[i, j] = alike[j, i] = min(1.0, shared / (own.shape[1] * other.shape[1]) ** 0.5)
        return alike


def _whitening(scatter: Float[Tensor, "dim dim"]) -> Float[Tensor, "dim directions"]:
    variance, directions = torch.linalg.eigh(scatter)
    kept = variance > THRESHOLD * variance[-1].clamp(min=0)
    whitening: Tensor = directions[:, kept] / variance[kept].sqrt()
    return whitening
