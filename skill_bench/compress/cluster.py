"""Groups of similar layers: agglomerative clustering of 1 - similarity."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from skill_bench.errors import UsageError

Linkage = Literal["average", "complete", "single"]
Groups = tuple[tuple[int, ...], ...]


def layer_groups(
    similarity: NDArray[np.float64], *, n_groups: int, linkage_method: Linkage = "average", contiguous: bool = True
) -> Groups:
    """Partition of the layers, each group sorted, groups in order of their first layer.

    Args:
        similarity: ``(layers, layers)``, symmetric, 1 on the diagonal.
        contiguous: only neighbouring clusters may merge, so that every group is a run of layers.

    Raises:
        UsageError: ``n_groups`` is not between 1 and the number of layers.
    """
    n_layers = len(similarity)
    if not 1 <= n_groups <= n_layers:
        raise UsageError(f"{n_groups} groups of {n_layers} layers: expected 1 to {n_layers}.")
    distance = 1.0 - similarity
    np.fill_diagonal(distance, 0.0)
    if contiguous:
        return _contiguous(distance, n_groups, linkage_method)
    labels = fcluster(linkage(squareform(distance, checks=False), linkage_method), n_groups, "maxclust")
    return tuple(
        sorted(tuple(int(i) for i in np.flatnonzero(labels == label)) for label in dict.fromkeys(labels.tolist()))
    )


def _contiguous(distance: NDArray[np.float64], n_groups: int, method: Linkage) -> Groups:
    # scipy's linkage knows no connectivity constraint; on a chain of layers greedy merging is this short.
    joins: dict[Linkage, Callable[[NDArray[np.float64]], np.float64]] = {
        "average": np.mean,
        "complete": np.max,
        "single": np.min,
    }
    join = joins[method]
    groups = [[layer] for layer in range(len(distance))]
    while len(groups) > n_groups:
        gaps = [float(join(distance[np.ix_(a, b)])) for a, b in itertools.pairwise(groups)]
        nearest = int(np.argmin(gaps))
        groups[nearest : nearest + 2] = [groups[nearest] + groups[nearest + 1]]
    return tuple(tuple(group) for group in groups)
