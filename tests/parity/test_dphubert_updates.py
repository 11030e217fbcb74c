"""The joint stage gives, update by update, what DPHuBERT's own modules give: stored, and run where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import dphubert_updates
import pytest
from dphubert_updates import N_UPDATES, QUANTITIES, RAMP, Update

# float64 on both sides. Another order of sums grows over the updates, as Adam divides gradients by their own size.
RTOL = 1e-9


@pytest.fixture(scope="module")
def ours() -> list[Update]:
    return dphubert_updates.ours()


def agrees(a: list[Update], b: list[Update]) -> None:
    assert len(a) == len(b) == N_UPDATES
    for name, difference in dphubert_updates.largest_differences(a, b).items():
        assert difference < RTOL, name


def test_every_update_is_the_stored_one(ours: list[Update]) -> None:
    agrees(ours, dphubert_updates.stored()["theirs"])


def test_what_is_stored_is_a_training() -> None:
    """Every quantity moves: constants would agree as well."""
    found = dphubert_updates.stored()["theirs"]
    for name in QUANTITIES:
        assert len({update[name] for update in found}) >= N_UPDATES - 1, name
    assert found[-1]["sparsity"] > found[0]["sparsity"] + 0.05
    assert abs(found[RAMP]["linear multiplier"]) > 0.1


def test_every_update_is_theirs(ours: list[Update]) -> None:
    root = os.environ.get("SKILL_BENCH_DPHUBERT")
    if not root:
        pytest.skip("SKILL_BENCH_DPHUBERT is not set: no checkout of pyf98/DPHuBERT to compare with")
    theirs = dphubert_updates.theirs(Path(root))
    agrees(ours, theirs)
    agrees(theirs, dphubert_updates.stored()["theirs"])
