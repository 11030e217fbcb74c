"""Mutual nearest neighbours: do two layers agree which frames are alike?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

N_NEIGHBOURS = 10
MAX_FRAMES = 2_000


class MutualNeighbours:
    """Mean share of a frame's ``n_neighbours`` nearest frames that two layers have in common.

    Source: Huh et al., arXiv 2405.07987, mutual nearest-neighbour alignment (github.com/minyoungg/platonic-rep); near
    means a large cosine, as there. Neighbours need all pairs of frames, so a uniform sample of at most ``max_frames``
    is kept: every frame draws a number from a generator seeded with ``seed``, and the frames with the smallest numbers
    stay (a bottom-k sample), whatever the chunks they come in. Memory is ``max_frames * layers * dim`` float32 plus
    ``layers * max_frames^2`` bytes.
    """

    def __init__(
        self, *, n_layers: int, dim: int, seed: int, n_neighbours: int = N_NEIGHBOURS, max_frames: int = MAX_FRAMES
    ) -> None:
        if not 1 <= n_neighbours < max_frames:
            raise ValueError(f"n_neighbours must be 1 to {max_frames - 1}, found {n_neighbours}")
        self.n_layers, self.n_neighbours, self.max_frames = n_layers, n_neighbours, max_frames
        self._generator = torch.Generator().manual_seed(seed)
        self._draws = torch.zeros(0, dtype=torch.float64)
        self._sample = torch.zeros(0, n_layers, dim)
        self.n_frames = 0

    def update(self, states: Sequence[Float[Tensor, "*batch frames dim"]]) -> None:
        """Adds the frames of one hidden state a layer; all layers see the same frames."""
        if len(states) != self.n_layers:
            raise ValueError(f"expected {self.n_layers} hidden states, found {len(states)}")
        new = torch.stack([state.flatten(0, -2).to("cpu", torch.float32) for state in states], dim=1)
        draws = torch.rand(len(new), generator=self._generator, dtype=torch.float64)
        self.n_frames += len(new)
        if len(self._draws) == self.max_frames:
            chosen = draws < self._draws[-1]
            new, draws = new[chosen], draws[chosen]
        kept = torch.cat([self._draws, draws]).sort(stable=True)
        order = kept.indices[: self.max_frames]
        self._draws, self._sample = kept.values[: self.max_frames], torch.cat([self._sample, new])[order]

    def similarity(self) -> NDArray[np.float64]:
        """``(layers, layers)``: symmetric, 1 on the diagonal, within [0, 1].

        Raises:
            ValueError: not more frames than neighbours.
        """
        if len(self._sample) <= self.n_neighbours:
            raise ValueError(f"similarity needs more than {self.n_neighbours} frames, found {len(self._sample)}")
        near = [self._neighbours(self._sample[:, layer]) for layer in range(self.n_layers)]
        alike = np.eye(self.n_layers)
        for i in range(self.n_layers):
            for j in range(i + 1, self.n_layers):
                shared = int((near[i] & near[j]).sum())
                alike[i, j] = alike[j, i] = shared / (self.n_neighbours * len(self._sample))
        return alike

    def _neighbours(self, frames: Float[Tensor, "frames dim"]) -> Bool[Tensor, "frames frames"]:
        units = F.normalize(frames.double(), dim=1)
        cosine = (units @ units.T).fill_diagonal_(-2.0)
        return torch.zeros_like(cosine, dtype=torch.bool).scatter_(1, cosine.topk(self.n_neighbours).indices, True)
