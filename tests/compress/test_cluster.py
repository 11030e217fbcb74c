"""Groups of layers: hand-made cases, and that they always partition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_bench.compress.cluster import layer_groups
from skill_bench.errors import UsageError

# Layers 0 and 3 are twins, 1 and 2 are twins: only without the constraint may 0 join 3.
TWINS = np.array([[1.0, 0.2, 0.1, 0.9], [0.2, 1.0, 0.8, 0.3], [0.1, 0.8, 1.0, 0.2], [0.9, 0.3, 0.2, 1.0]])


def test_twins_join_wherever_they_are() -> None:
    assert layer_groups(TWINS, n_groups=2, contiguous=False) == ((0, 3), (1, 2))


def test_contiguous_groups_are_runs() -> None:
    assert layer_groups(TWINS, n_groups=2) == ((0,), (1, 2, 3))
    assert layer_groups(TWINS, n_groups=3) == ((0,), (1, 2), (3,))


@pytest.mark.parametrize("n_groups", [0, 5])
def test_impossible_numbers_of_groups_are_refused(n_groups: int) -> None:
    with pytest.raises(UsageError, match=f"{n_groups} groups of 4 layers: expected 1 to 4"):
        layer_groups(TWINS, n_groups=n_groups)


@given(seed=st.integers(0, 10_000), n_groups=st.integers(1, 9), contiguous=st.booleans())
@settings(max_examples=60, deadline=None)
def test_groups_partition_the_layers(seed: int, n_groups: int, contiguous: bool) -> None:
    random = np.random.default_rng(seed).uniform(size=(9, 9))
    similarity = (random + random.T) / 2
    np.fill_diagonal(similarity, 1.0)
    groups = layer_groups(similarity, n_groups=n_groups, contiguous=contiguous)
    assert sorted(layer for group in groups for layer in group) == list(range(9))
    if contiguous:
        assert len(groups) == n_groups
        assert [layer for group in groups for layer in group] == list(range(9))
