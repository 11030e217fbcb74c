"""How long lists are shortened in messages."""

from __future__ import annotations

from pathlib import Path

from skill_bench.base.first_few import first_few


def test_short_lists_are_whole() -> None:
    assert first_few([]) == ""
    assert first_few(["a", 2, Path("c")]) == "a, 2, c"
    assert first_few("abcde") == "a, b, c, d, e"


def test_of_long_ones_the_rest_is_counted() -> None:
    assert first_few("abcdef") == "a, b, c, d, e and 1 more"
    assert first_few(iter("abcd"), most=2, separator="; ", more=", and {} more are") == "a; b, and 2 more are"
