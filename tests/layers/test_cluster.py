"""Groups of layers: hand-made cases, scipy, and that they always partition.

Weights within a group: by hand, and where they must be equal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, is_valid_linkage, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import silhouette_score

from skill_bench.base.errors import UsageError
from skill_bench.layers.cluster import cluster, inverse_distance, layer_groups
from skill_bench.records.similarity import LINKAGES, Groups, Linkage

# Layers 0 and 3 are twins, 1 and 2 are twins: only without the constraint may 0 join 3.
TWINS = np.array([[1.0, 0.2, 0.1, 0.9], [0.2, 1.0, 0.8, 0.3], [0.1, 0.8, 1.0, 0.2], [0.9, 0.3, 0.2, 1.0]])
# Three blocks of 3, 2 and 4 neighbours.
BLOCKS = 0.1 + 0.8 * (np.subtract.outer([0, 0, 0, 1, 1, 2, 2, 2, 2], [0, 0, 0, 1, 1, 2, 2, 2, 2]) == 0)
np.fill_diagonal(BLOCKS, 1.0)
# Layers 1, 2 and 3: mean distances to the other two are 0.1, 0.2 and 0.25.
ALIKE = np.array([[1.0, 0.5, 0.5, 0.5], [0.5, 1.0, 0.95, 0.85], [0.5, 0.95, 1.0, 0.65], [0.5, 0.85, 0.65, 1.0]])


def random_similarity(seed: int, n_layers: int = 9) -> NDArray[np.float64]:
    """Of random unit vectors: positive semi-definite, as the measures give."""
    vectors = np.random.default_rng(seed).normal(size=(n_layers, 4)) + 0.5
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found: NDArray[np.float64] = np.clip(vectors @ vectors.T, -1, 1)
    np.fill_diagonal(found, 1.0)
    return found


def from_scipy(similarity: NDArray[np.float64], n_groups: int, method: Linkage) -> Groups:
    distance = np.sqrt(2 * (1 - similarity)) if method == "ward" else 1 - similarity
    labels = fcluster(linkage(squareform(distance, checks=False), method), n_groups, "maxclust")
    return tuple(sorted(tuple(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())))


def test_twins_join_wherever_they_are() -> None:
    assert layer_groups(TWINS, n_groups=2, contiguous=False) == ((0, 3), (1, 2))


def test_contiguous_groups_are_runs() -> None:
    assert layer_groups(TWINS, n_groups=2) == ((0,), (1, 2, 3))
    assert layer_groups(TWINS, n_groups=3) == ((0,), (1, 2), (3,))


@pytest.mark.parametrize("method", LINKAGES)
@pytest.mark.parametrize("n_groups", [2, 3, 5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_free_groups_are_scipys(method: Linkage, n_groups: int, seed: int) -> None:
    similarity = random_similarity(seed)
    found = layer_groups(similarity, n_groups=n_groups, linkage_method=method, contiguous=False)
    assert found == from_scipy(similarity, n_groups, method)


@pytest.mark.parametrize("method", LINKAGES)
@given(gaps=st.lists(st.floats(0.01, 1.0), min_size=3, max_size=8, unique=True))
@settings(max_examples=25, deadline=None)
def test_on_a_line_the_chain_constraint_changes_nothing(method: Linkage, gaps: list[float]) -> None:
    """Points on a quarter circle in order: the nearest clusters are always neighbours, so scipy's merges are ours."""
    angles = np.cumsum([0.0, *gaps]) / sum(gaps) * 1.2
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1)
    similarity = np.clip(vectors @ vectors.T, -1, 1)
    np.fill_diagonal(similarity, 1.0)
    free = cluster(similarity, n_groups=2, linkage_method=method, contiguous=False)
    chain = cluster(similarity, n_groups=2, linkage_method=method, contiguous=True)
    np.testing.assert_allclose(np.sort(chain.tree[:, 2]), np.sort(free.tree[:, 2]), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", LINKAGES)
@pytest.mark.parametrize("contiguous", [True, False])
def test_blocks_are_found_by_every_linkage(method: Linkage, contiguous: bool) -> None:
    found = cluster(BLOCKS, n_groups="auto", linkage_method=method, contiguous=contiguous)
    assert found.groups == ((0, 1, 2), (3, 4), (5, 6, 7, 8))
    assert set(found.silhouettes) == set(range(2, 9))
    expected = silhouette_score(1 - BLOCKS, [0, 0, 0, 1, 1, 2, 2, 2, 2], metric="precomputed")
    assert found.silhouettes[3] == pytest.approx(expected)
    assert found.silhouettes[3] == pytest.approx(1 - 0.1 / 0.9)  # by hand: 0.1 within, 0.9 to the nearest other block


def test_the_tree_is_one_that_scipy_can_draw_and_cut() -> None:
    found = cluster(random_similarity(4), n_groups=3, contiguous=True)
    assert is_valid_linkage(found.tree)
    assert found.tree[-1, 3] == 9


@pytest.mark.parametrize("n_groups", [0, 5])
def test_impossible_numbers_of_groups_are_refused(n_groups: int) -> None:
    with pytest.raises(UsageError, match=f"{n_groups} groups of 4 layers: expected 1 to 4"):
        layer_groups(TWINS, n_groups=n_groups)


def test_auto_needs_something_to_choose_from() -> None:
    with pytest.raises(UsageError, match="auto needs at least 3 layers"):
        layer_groups(TWINS[:2, :2], n_groups="auto")


def test_ward_without_euclidean_distances_is_refused() -> None:
    impossible = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.9], [0.0, 0.9, 1.0]])  # 0 and 2 cannot both be so near 1
    with pytest.raises(UsageError, match=r"ward needs Euclidean distances.*eigenvalue is -0\.27.*Use average"):
        layer_groups(impossible, n_groups=2, linkage_method="ward")
    assert layer_groups(impossible, n_groups=3) == ((0,), (1,), (2,))


@given(
    seed=st.integers(0, 10_000),
    n_groups=st.one_of(st.integers(1, 9), st.just("auto")),
    method=st.sampled_from(LINKAGES),
    contiguous=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_groups_partition_the_layers(seed: int, n_groups: int, method: Linkage, contiguous: bool) -> None:
    groups = layer_groups(random_similarity(seed), n_groups=n_groups, linkage_method=method, contiguous=contiguous)
    assert sorted(layer for group in groups for layer in group) == list(range(9))
    if n_groups != "auto":  # type: ignore[comparison-overlap]
        assert len(groups) == n_groups
    if contiguous:
        assert [layer for group in groups for layer in group] == list(range(9))


@given(
    seed=st.integers(0, 10_000),
    n_groups=st.integers(1, 9),
    spare=st.integers(0, 5),
    method=st.sampled_from(LINKAGES),
)
@settings(max_examples=100, deadline=None)
def test_no_group_exceeds_its_share_and_there_are_as_many_as_asked(
    seed: int, n_groups: int, spare: int, method: Linkage
) -> None:
    most = min(9, -(-9 // n_groups) + spare)
    found = cluster(random_similarity(seed), n_groups=n_groups, linkage_method=method, largest=most / 9)
    assert [layer for group in found.groups for layer in group] == list(range(9))
    assert len(found.groups) == n_groups
    assert max(map(len, found.groups)) <= most
    assert is_valid_linkage(found.tree)
    assert found.tree[-1, 3] == 9


@pytest.mark.parametrize("n_groups", [2, 3, 6])
@pytest.mark.parametrize("seed", range(5))
def test_a_limit_that_no_group_meets_changes_nothing(seed: int, n_groups: int) -> None:
    similarity = random_similarity(seed)
    free = cluster(similarity, n_groups=n_groups)
    for largest in (1.0, max(map(len, free.groups)) / 9):
        assert np.array_equal(cluster(similarity, n_groups=n_groups, largest=largest).tree, free.tree)
    auto, limited = (cluster(similarity, n_groups="auto", largest=largest) for largest in (False, 1.0))
    assert (limited.groups, limited.silhouettes) == (auto.groups, auto.silhouettes)


def test_a_group_that_is_full_leaves_its_next_layer_to_the_neighbours() -> None:
    assert layer_groups(BLOCKS, n_groups=3) == ((0, 1, 2), (3, 4), (5, 6, 7, 8))
    assert layer_groups(BLOCKS, n_groups=3, largest=0.333) == ((0, 1, 2), (3, 4, 5), (6, 7, 8))
    # 0.4 of 9 is 3.6: to the nearest whole number.
    assert layer_groups(BLOCKS, n_groups=3, largest=0.4) == ((0, 1, 2), (3, 4), (5, 6, 7, 8))


def test_the_nearest_merge_is_not_made_where_too_many_groups_would_be_left() -> None:
    """Twins 1 2 and 3 4 of 0 to 5 in groups of two: one joined, 0 and its neighbour would be alone, four groups."""
    similarity = np.eye(6)
    for a, b, value in ((0, 1, 0.5), (1, 2, 0.9), (2, 3, 0.1), (3, 4, 0.8), (4, 5, 0.4)):
        similarity[a, b] = similarity[b, a] = value
    assert layer_groups(similarity, n_groups=3, largest=1 / 3) == ((0, 1), (2, 3), (4, 5))
    assert layer_groups(similarity, n_groups=4, largest=1 / 3) == ((0,), (1, 2), (3, 4), (5,))


def test_auto_tries_the_numbers_of_groups_that_hold_all_layers() -> None:
    found = cluster(BLOCKS, n_groups="auto", largest=0.333)
    assert set(found.silhouettes) == set(range(3, 9))
    assert max(map(len, found.groups)) == 3
    assert found.groups == cluster(BLOCKS, n_groups=len(found.groups), largest=0.333).groups


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"largest": 0.05}, r"groups\.largest = 0\.05 of 9 layers is less than one: expected 0\.111 or more"),
        (
            {"largest": 0.25},
            r"groups\.largest = 0\.25 allows 2 of 9 layers, and 4 such groups do not hold all: expected 5 groups or "
            r"more, or groups\.largest of 0\.333 or more",
        ),
        (
            {"largest": 0.5, "contiguous": False},
            r"groups\.largest limits runs of layers\. Set groups\.contiguous",
        ),
    ],
)
def test_impossible_limits_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        layer_groups(BLOCKS, n_groups=4, **options)


def test_a_layer_counts_by_one_over_its_mean_distance_to_the_others() -> None:
    alone, together = inverse_distance(ALIKE, ((0,), (1, 2, 3)))
    assert alone == (1.0,)
    # 10, 5 and 4, whose mean is 19 / 3.
    assert together == pytest.approx((30 / 19, 15 / 19, 12 / 19), rel=1e-12)


def test_only_the_layers_of_the_group_decide() -> None:
    changed = ALIKE.copy()
    changed[0, 1:] = changed[1:, 0] = 0.2
    assert inverse_distance(changed, ((0,), (1, 2, 3))) == inverse_distance(ALIKE, ((0,), (1, 2, 3)))


@given(values=st.lists(st.floats(-1, 1), min_size=15, max_size=15))
@settings(max_examples=30, deadline=None)
def test_weights_are_1_on_average_and_equal_in_groups_of_one_or_two(values: list[float]) -> None:
    similarity = np.eye(6)
    similarity[np.triu_indices(6, 1)] = values
    similarity = np.maximum(similarity, similarity.T)
    found = inverse_distance(similarity, ((0,), (1, 2), (3, 4, 5)))
    assert found[:2] == ((1.0,), (1.0, 1.0))
    assert np.mean(found[2]) == pytest.approx(1.0)
    assert min(found[2]) > 0


@pytest.mark.parametrize("similarity", [1.0, 0.7])
def test_layers_that_are_equally_alike_count_alike(similarity: float) -> None:
    same = np.full((4, 4), similarity)
    np.fill_diagonal(same, 1.0)
    (found,) = inverse_distance(same, ((0, 1, 2, 3),))
    assert found == pytest.approx((1.0,) * 4, rel=1e-12)
