"""Weights within a group: by hand, and where they must be equal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_bench.layers.cluster import inverse_distance

# Layers 1, 2 and 3: mean distances to the other two are 0.1, 0.2 and 0.25.
ALIKE = np.array([[1.0, 0.5, 0.5, 0.5], [0.5, 1.0, 0.95, 0.85], [0.5, 0.95, 1.0, 0.65], [0.5, 0.85, 0.65, 1.0]])


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
