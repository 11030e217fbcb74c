"""How alike a teacher's layers are: linear CKA of every pair, in one pass over the frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor


class LinearCKA:
    """Linear centred kernel alignment (Kornblith et al., arXiv 1905.00414, eq. 3-4) from Gram accumulators.

    Memory is ``(layers * dim)^2`` float64, whatever the number of frames.
    """

    def __init__(self, *, n_layers: int, dim: int) -> None:
        self.n_layers, self.dim = n_layers, dim
        size = n_layers * dim
        self._gram = torch.zeros(size, size, dtype=torch.float64)
        self._sum = torch.zeros(size, dtype=torch.float64)
        self.n_frames = 0

    def update(self, states: Sequence[Float[Tensor, "*batch frames dim"]]) -> None:
        """Adds the frames of one hidden state a layer; all layers see the same frames."""
        if len(states) != self.n_layers:
            raise ValueError(f"expected {self.n_layers} hidden states, found {len(states)}")
        frames = torch.cat([state.flatten(0, -2).to("cpu", torch.float64) for state in states], dim=1)
        self._gram += frames.T @ frames
        self._sum += frames.sum(0)
        self.n_frames += len(frames)

    def similarity(self) -> NDArray[np.float64]:
        """``(layers, layers)``: symmetric, 1 on the diagonal, within [0, 1].

        Raises:
            ValueError: fewer than two frames, or a layer whose frames are all equal.
        """
        if self.n_frames < 2:
            raise ValueError(f"similarity needs at least 2 frames, found {self.n_frames}")
        centred = self._gram - torch.outer(self._sum, self._sum) / self.n_frames
        blocks = centred.view(self.n_layers, self.dim, self.n_layers, self.dim)
        hsic = blocks.square().sum((1, 3))
        own = hsic.diagonal()
        if bool((own <= 0).any()):
            constant = [index for index, value in enumerate(own.tolist()) if value <= 0]
            raise ValueError(f"layers {constant} do not vary over the frames; their similarity is undefined")
        alike: NDArray[np.float64] = (hsic / torch.outer(own, own).sqrt()).clamp(0, 1).numpy()
        np.fill_diagonal(alike, 1.0)
        return (alike + alike.T) / 2
