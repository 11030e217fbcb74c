"""How alike the layers of a model are: one module a measure, all fed by the same single pass over the audio.

A measure keeps accumulators or a bounded sample, so its memory does not grow with the audio.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from skill_bench.layers.measures.cka import LinearCKA
from skill_bench.layers.measures.cosine import FramewiseCosine
from skill_bench.layers.measures.mutual_knn import MutualNeighbours
from skill_bench.layers.measures.whitened_cka import WhitenedCKA
from skill_bench.records.similarity import MeasureName


@runtime_checkable
class Measure(Protocol):
    """Similarity of every pair of layers over all frames it was shown."""

    n_frames: int

    def update(self, states: Sequence[Float[Tensor, "*batch frames dim"]]) -> None:
        """Adds the frames of one hidden state a layer; all layers see the same frames."""
        ...

    def similarity(self) -> NDArray[np.float64]:
        """``(layers, layers)``: symmetric, 1 on the diagonal, at most 1.

        Raises:
            ValueError: too few frames, or a layer for which the measure is undefined.
        """
        ...


def new_measure(name: MeasureName, *, n_layers: int, dim: int, seed: int) -> Measure:
    """An empty measure; ``seed`` decides which frames ``mutual_knn`` keeps."""
    if name == "cka":
        return LinearCKA(n_layers=n_layers, dim=dim)
    if name == "whitened_cka":
        return WhitenedCKA(n_layers=n_layers, dim=dim)
    if name == "cosine":
        return FramewiseCosine(n_layers=n_layers)
    return MutualNeighbours(n_layers=n_layers, dim=dim, seed=seed)
