"""Singular and plural."""

from __future__ import annotations

import pytest

from skill_bench.base.counted import counted


@pytest.mark.parametrize(
    ("n", "words", "expected"),
    [
        (0, ("thread",), "0 threads"),
        (1, ("thread",), "1 thread"),
        (2, ("thread",), "2 threads"),
        (1, ("file is damaged", "files are damaged"), "1 file is damaged"),
        (3, ("file is damaged", "files are damaged"), "3 files are damaged"),
    ],
)
def test_the_noun_follows_its_number(n: int, words: tuple[str, ...], expected: str) -> None:
    assert counted(n, *words) == expected
