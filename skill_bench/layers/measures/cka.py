"""Linear CKA of every pair of layers, in one pass over the frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor


class LinearCKA:
    """Linear centred kernel alignment (Kornblith et al., arXiv 1905.00414, eq. 3-4) from Gram accumulators.

    Memory is ``(layers * dim)^2 / 2`` float64, whatever the number of frames. Frames are taken relative to the mean of
    the first ones seen, so that dimensions with a large offset lose no digits when the means are subtracted at the end.
    """

    def __init__(self, *, n_layers: int, dim: int) -> None:
        self.n_layers, self.dim = n_layers, dim
        # Row block i holds layers i and above: the rest is its transpose.
        self._gram = [torch.zeros(dim, (n_layers - i) * dim, dtype=torch.float64) for i in range(n_layers)]
        self._sum = torch.zeros(n_layers * dim, dtype=torch.float64)
        self._origin: Tensor | None = None
        self.n_frames = 0

    def update(self, states: Sequence[Float[Tensor, "*batch frames dim"]]) -> None:
        """Adds the frames of one hidden state a layer; all layers see the same frames."""
        if len(states) != self.n_layers:
            raise ValueError(f"expected {self.n_layers} hidden states, found {len(states)}")
        frames = torch.cat([state.flatten(0, -2).to("cpu", torch.float64) for state in states], dim=1)
        if len(frames) == 0:
            return
        if self._origin is None:
            self._origin = frames.mean(0)
        frames = frames - self._origin
        for layer, gram in enumerate(self._gram):
            own = frames[:, layer * self.dim : (layer + 1) * self.dim]
            gram.addmm_(own.T, frames[:, layer * self.dim :])
        self._sum += frames.sum(0)
        self.n_frames += len(frames)

    def similarity(self) -> NDArray[np.float64]:
        """``(layers, layers)``: symmetric, 1 on the diagonal, within [0, 1].

        Raises:
            ValueError: fewer than two frames, or a layer whose frames are all equal.
        """
        if self.n_frames < 2:
            raise ValueError(f"similarity needs at least 2 frames, found {self.n_frames}")
        hsic = np.zeros((self.n_layers, self.n_layers))
        for i in range(self.n_layers):
            for j in range(i, self.n_layers):
                hsic[i, j] = hsic[j, i] = float(self.scatter(i, j).square().sum())
        own = hsic.diagonal()
        constant = [index for index, value in enumerate(own.tolist()) if value <= 0]
        if constant:
            raise ValueError(f"layers {constant} do not vary over the frames; their similarity is undefined")
        alike: NDArray[np.float64] = np.clip(hsic / np.sqrt(np.outer(own, own)), 0, 1)
        np.fill_diagonal(alike, 1.0)
        return alike

    def scatter(self, i: int, j: int) -> Float[Tensor, "dim dim"]:
        """Sum over frames of the products of layers ``i`` and ``j >= i``, each less its mean."""
        sums = self._sum.view(self.n_layers, self.dim)
        block = self._gram[i][:, (j - i) * self.dim : (j - i + 1) * self.dim]
        centred = block - torch.outer(sums[i], sums[j]) / self.n_frames
        return centred
