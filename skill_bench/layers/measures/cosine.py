"""Mean cosine between the same frame in two layers, in one pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor


class FramewiseCosine:
    """Mean over frames of the cosine between two layers' vectors.

    It compares directions in one shared space, which residual connections give a Transformer's layers: unlike CKA it
    changes when one layer alone is rotated. Frames whose vector is zero in a layer have no direction and are left out
    of that layer's pairs. Memory is ``layers^2`` float64.
    """

    def __init__(self, *, n_layers: int) -> None:
        self.n_layers = n_layers
        self._sum = torch.zeros(n_layers, n_layers, dtype=torch.float64)
        self._count = torch.zeros(n_layers, n_layers, dtype=torch.float64)
        self.n_frames = 0

    def update(self, states: Sequence[Float[Tensor, "*batch frames dim"]]) -> None:
        """Adds the frames of one hidden state a layer; all layers see the same frames."""
        if len(states) != self.n_layers:
            raise ValueError(f"expected {self.n_layers} hidden states, found {len(states)}")
        vectors = torch.stack([state.flatten(0, -2).to("cpu", torch.float64) for state in states], dim=1)
        norms = vectors.norm(dim=2, keepdim=True)
        there = (norms > 0).to(torch.float64)
        units = vectors / torch.where(norms > 0, norms, 1.0)
        self._sum += torch.einsum("fid,fjd->ij", units, units)
        self._count += there.squeeze(2).T @ there.squeeze(2)
        self.n_frames += len(vectors)

    def similarity(self) -> NDArray[np.float64]:
        """``(layers, layers)``: symmetric, 1 on the diagonal, within [-1, 1].

        Raises:
            ValueError: no frame in which both layers of a pair are not zero.
        """
        if self.n_frames == 0:
            raise ValueError("similarity needs at least 1 frame, found 0")
        if bool((self._count == 0).any()):
            empty = sorted({int(i) for i in (self._count == 0).nonzero()[:, 0]})
            raise ValueError(f"layers {empty} share no frame without zero vectors; their similarity is undefined")
        alike: NDArray[np.float64] = (self._sum / self._count).clamp(-1, 1).numpy()
        np.fill_diagonal(alike, 1.0)
        return (alike + alike.T) / 2
