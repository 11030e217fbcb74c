"""Where what is cached lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from skill_bench.base.errors import UsageError
from skill_bench.base.places import cache_folder


def test_a_folder_that_is_given_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path("/home/me/.cache/skill-bench")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "skill-bench"
    assert cache_folder(Path("mine")) == Path("mine")


def test_a_user_without_a_home_is_told_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(UsageError, match=r"this user has no home\. Give one with --cache-dir, or set XDG_CACHE_HOME"):
        cache_folder()
