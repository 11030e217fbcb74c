"""How much each layer counts in its group."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skill_bench.records.similarity import Groups, Weights

LEAST_DISTANCE = 1e-3
"""Layers nearer to the others than this count alike: measures of finitely many frames tell no more apart."""


def inverse_distance(similarity: NDArray[np.float64], groups: Groups) -> Weights:
    """By one over the mean distance, 1 - similarity, to the other layers of the group; 1 on average.

    A layer that is unlike its group, as those are at the border to the next, tells less of it. The similarity itself
    would change next to nothing: it is about the same for all layers of a cluster, where distances differ by factors.
    Under CKA its mean over the group is the cosine between the layer's Gram matrix and the group's mean one, so this is
    nearness to the group's mean.

    Args:
        similarity: ``(layers, layers)``, 1 on the diagonal.
    """
    found = []
    for group in groups:
        if len(group) == 1:
            found.append((1.0,))
            continue
        distance = (1.0 - similarity[np.ix_(group, group)]).sum(1) / (len(group) - 1)
        weights = 1.0 / np.maximum(distance, LEAST_DISTANCE)
        found.append(tuple((weights / weights.mean()).tolist()))
    return tuple(found)
