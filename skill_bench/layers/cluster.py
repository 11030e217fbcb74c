"""Groups of similar layers: agglomerative clustering of a similarity matrix, with or without a chain constraint.

And how much each layer counts in its group.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from skill_bench.base.counted import counted
from skill_bench.base.errors import UsageError
from skill_bench.records.similarity import Groups, Largest, Linkage, Weights

AUTO_RANGE = range(2, 9)
"""Numbers of groups that ``auto`` tries."""
LEAST_DISTANCE = 1e-3
"""Layers nearer to the others than this count alike: measures of finitely many frames tell no more apart."""


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """What clustering gives.

    Attributes:
        groups: partition of the layers, each group sorted, groups in order of their first layer.
        tree: every merge, in scipy's form ``(layers - 1, 4)``: the two clusters, their distance, the new size.
        silhouettes: for ``auto``, the mean silhouette of each number of groups.
    """

    groups: Groups
    tree: NDArray[np.float64]
    silhouettes: dict[int, float]


def layer_groups(
    similarity: NDArray[np.float64],
    *,
    n_groups: int | Literal["auto"],
    linkage_method: Linkage = "average",
    contiguous: bool = True,
    largest: Largest = False,
) -> Groups:
    """The groups of :func:`cluster`."""
    found = cluster(
        similarity, n_groups=n_groups, linkage_method=linkage_method, contiguous=contiguous, largest=largest
    )
    return found.groups


def cluster(
    similarity: NDArray[np.float64],
    *,
    n_groups: int | Literal["auto"],
    linkage_method: Linkage = "average",
    contiguous: bool = True,
    largest: Largest = False,
) -> Clusters:
    """Clusters layers by 1 - similarity.

    ``ward`` needs Euclidean distances and takes sqrt(2 (1 - similarity)) instead: the distance of unit vectors whose
    inner products are the similarities. Such vectors exist where the matrix is positive semi-definite (Schoenberg),
    as those of cka, cosine and mutual_knn are: each is a sum of inner products.

    Args:
        similarity: ``(layers, layers)``, symmetric, 1 on the diagonal.
        n_groups: ``auto``: the number in :data:`AUTO_RANGE` with the largest mean silhouette (Rousseeuw 1987, doi
            10.1016/0377-0427(87)90125-7) under 1 - similarity; of equal ones the smallest.
        contiguous: only neighbouring clusters may merge, so that every group is a run of layers.
        largest: no group has more than this share of the layers, to the nearest whole number: of the merges until
            ``n_groups`` are left, only those are made after which so few groups can still hold all layers. Later merges
            are free, so that the tree is whole. False: no limit.

    Raises:
        UsageError: ``n_groups`` is not between 1 and the number of layers; ``ward`` where it is not valid; ``largest``
            without ``contiguous``, or so small that ``n_groups`` groups do not hold all layers.
    """
    n_layers = len(similarity)
    if n_groups != "auto" and not 1 <= n_groups <= n_layers:
        raise UsageError(
            f"{counted(n_groups, 'group')} of {counted(n_layers, 'layer')}: expected 1 to {n_layers}, or auto."
        )
    if n_groups == "auto" and n_layers < 3:
        raise UsageError(f"auto needs at least 3 layers to choose a number of groups, found {n_layers}.")
    numbers = [k for k in AUTO_RANGE if k < n_layers] if n_groups == "auto" else [n_groups]
    most = n_layers
    if largest is not False:
        most = _most_layers(largest, n_layers, numbers[-1], contiguous=contiguous)
    distance = 1.0 - similarity
    np.fill_diagonal(distance, 0.0)
    merged = _chord(similarity) if linkage_method == "ward" else distance
    trees = {k: _tree(merged, linkage_method, contiguous, k, most) for k in numbers if k * most >= n_layers}
    if n_groups != "auto":
        return Clusters(groups=cut(trees[n_groups], n_groups), tree=trees[n_groups], silhouettes={})
    silhouettes = {k: _silhouette(distance, cut(tree, k)) for k, tree in trees.items()}
    best = max(silhouettes, key=lambda k: (silhouettes[k], -k))
    return Clusters(groups=cut(trees[best], best), tree=trees[best], silhouettes=silhouettes)


def cut(tree: NDArray[np.float64], n_groups: int) -> Groups:
    """The clusters after all but the last ``n_groups - 1`` merges."""
    members: dict[int, tuple[int, ...]] = {layer: (layer,) for layer in range(len(tree) + 1)}
    for number, (a, b, _, _) in enumerate(tree[: len(tree) + 1 - n_groups]):
        members[len(tree) + 1 + number] = members.pop(int(a)) + members.pop(int(b))
    return tuple(sorted(tuple(sorted(group)) for group in members.values()))


def _most_layers(largest: float, n_layers: int, n_groups: int, *, contiguous: bool) -> int:
    """How many layers ``largest`` is; see :func:`cluster` for what is refused."""
    if not contiguous:
        raise UsageError("groups.largest limits runs of layers. Set groups.contiguous = true, or leave it out.")
    most = round(largest * n_layers)
    if most < 1:
        raise UsageError(
            f"groups.largest = {largest:g} of {n_layers} layers is less than one: expected {1 / n_layers:.3g} or more."
        )
    if most * n_groups < n_layers:
        raise UsageError(
            f"groups.largest = {largest:g} allows {most} of {n_layers} layers, and {n_groups} such groups do not hold "
            f"all: expected {math.ceil(n_layers / most)} groups or more, or groups.largest of "
            f"{math.ceil(n_layers / n_groups) / n_layers:.3g} or more."
        )
    return most


def _chord(similarity: NDArray[np.float64]) -> NDArray[np.float64]:
    smallest = float(np.linalg.eigvalsh(similarity)[0])
    if smallest < -1e-6 * len(similarity):
        raise UsageError(
            f"linkage ward needs Euclidean distances, and this similarity has none: its smallest eigenvalue is "
            f"{smallest:.3g}, expected 0 or more. Use average, complete or single."
        )
    return np.sqrt(np.clip(2.0 * (1.0 - similarity), 0.0, None))


def _silhouette(distance: NDArray[np.float64], groups: Groups) -> float:
    from sklearn.metrics import silhouette_score  # slow to import, and needed for auto alone

    labels = np.empty(len(distance), dtype=int)
    for label, group in enumerate(groups):
        labels[list(group)] = label
    return float(silhouette_score(distance, labels, metric="precomputed"))


def _tree(
    distance: NDArray[np.float64], method: Linkage, contiguous: bool, n_groups: int, most: int
) -> NDArray[np.float64]:
    if contiguous:
        return _chain_linkage(distance, method, n_groups, most)
    return linkage(squareform(distance, checks=False), method) if len(distance) > 1 else np.zeros((0, 4))


def _chain_linkage(distance: NDArray[np.float64], method: Linkage, n_groups: int, most: int) -> NDArray[np.float64]:
    """scipy's linkage where only neighbours on the chain of layers may merge, which scipy itself does not know.

    Merges may come at a smaller distance than the one before: a cluster can be near what it was not allowed to join.
    Until ``n_groups`` are left, no merge is made that leads away from so few groups of at most ``most`` layers; there
    always is one, since two neighbours share a group of any such end.
    """
    n_layers = len(distance)
    distance = distance.copy()
    chain = list(range(n_layers))  # rows of `distance`, in order of the layers
    names, sizes = list(range(n_layers)), [1] * n_layers
    tree = np.zeros((n_layers - 1, 4))
    for number in range(n_layers - 1):
        gaps = [distance[a, b] for a, b in itertools.pairwise(chain)]
        if len(chain) > n_groups:
            now = [sizes[row] for row in chain]
            ends = ([*now[:at], now[at] + now[at + 1], *now[at + 2 :]] for at in range(len(gaps)))
            gaps = [
                gap if _fewest_groups(end, most) <= n_groups else math.inf for gap, end in zip(gaps, ends, strict=True)
            ]
        at = int(np.argmin(gaps))
        a, b = chain[at], chain[at + 1]
        size = sizes[a] + sizes[b]
        tree[number] = names[a], names[b], distance[a, b], size
        for k in chain:
            if k not in (a, b):
                joined = _joined(method, distance[k, a], distance[k, b], distance[a, b], sizes[a], sizes[b], sizes[k])
                distance[k, a] = distance[a, k] = joined
        names[a], sizes[a] = n_layers + number, size
        del chain[at + 1]
    return tree


def _fewest_groups(sizes: Sequence[int], most: int) -> float:
    """How few runs of neighbouring clusters, none with more than ``most`` layers, hold them all."""
    n_groups, filled = 1, 0
    for size in sizes:
        if size > most:
            return math.inf
        if filled + size > most:
            n_groups, filled = n_groups + 1, 0
        filled += size
    return n_groups


def _joined(method: Linkage, to_a: float, to_b: float, a_to_b: float, n_a: int, n_b: int, n_k: int) -> float:
    """Distance of cluster k to the union of a and b (Lance and Williams 1967, doi 10.1093/comjnl/9.4.373)."""
    if method == "average":
        return (n_a * to_a + n_b * to_b) / (n_a + n_b)
    if method == "complete":
        return max(to_a, to_b)
    if method == "single":
        return min(to_a, to_b)
    total = (n_k + n_a) * to_a**2 + (n_k + n_b) * to_b**2 - n_k * a_to_b**2
    return float(np.sqrt(max(0.0, total) / (n_a + n_b + n_k)))


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
