"""Lines that fit a terminal."""

from __future__ import annotations

import pytest

from skill_bench.base.filled import filled


def test_long_lines_go_on_further_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert filled("  one two three four", columns=12) == "  one two\n    three\n    four"
    assert filled("  name  what it is", columns=14, hanging=8) == "  name  what\n        it is"
    assert filled("  one  two", columns=10) == "  one  two", "what fits stays as it is"
    monkeypatch.setenv("COLUMNS", "11")
    assert filled("some words that wrap") == "some words\n  that wrap"


def test_what_is_copied_is_not_broken() -> None:
    path = "/a/long-folder/with-hyphens/of-a-name.json"
    assert filled(f"    {path}", columns=20) == f"    {path}"
    assert filled(f"written to {path}", columns=20) == f"written to\n  {path}"
