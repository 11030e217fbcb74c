"""Batches of neighbours."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from skill_bench.base.in_order import neighbours


@given(st.lists(st.integers(1, 50)), st.integers(1, 100))
def test_every_item_is_in_one_batch_which_is_full_or_the_last(lengths: list[int], most: int) -> None:
    batches = list(neighbours(lengths, fits=lambda batch, item: sum(batch) + item <= most))
    assert [length for batch in batches for length in batch] == lengths
    assert all(batches)
    assert all(sum(batch) <= most or len(batch) == 1 for batch in batches)
    assert all(sum(batch) + after[0] > most for batch, after in pairwise(batches))


def test_no_items_are_no_batch() -> None:
    assert list(neighbours([], fits=lambda batch, item: True)) == []
