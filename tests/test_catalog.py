"""What counts as a task or an upstream."""

from __future__ import annotations

from pathlib import Path

import pytest

from skill_bench import catalog
from skill_bench.errors import UnknownName


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(catalog, "folder", lambda kind: tmp_path)
    return tmp_path


def test_a_copy_that_an_installer_left_behind_is_no_upstream(root: Path) -> None:
    for name in ("mine", "~ine", ".mine"):
        (root / name).mkdir()
        (root / name / "upstream.toml").touch()
    assert catalog.names("upstreams") == ["mine"]


def test_a_near_name_is_suggested(root: Path) -> None:
    for name in ("ks", "~s"):
        (root / f"{name}.toml").touch()
    assert catalog.entry("tasks", "ks") == root / "ks.toml"
    with pytest.raises(UnknownName, match=r"'kss'.*ks"):
        catalog.entry("tasks", "kss")
