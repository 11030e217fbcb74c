"""What a record says about where it is from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from skill_bench.base import provenance


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "code.py").write_text("1\n")
    return folder


def test_outside_a_checkout_there_is_no_git_state(package: Path) -> None:
    assert provenance.git_state(package) is None


def test_a_checkout_around_site_packages_is_somebody_elses(package: Path, tmp_path: Path) -> None:
    git(tmp_path, "init")
    inner = tmp_path / "venv" / "site-packages" / "package"
    inner.mkdir(parents=True)
    assert provenance.git_state(inner) is None


def test_a_commit_is_named_and_changes_make_it_dirty(package: Path) -> None:
    root = package.parent
    git(root, "init")
    git(root, "add", ".")
    git(root, "commit", "-m", "first")
    clean = provenance.git_state(package)
    assert clean is not None
    assert len(clean.commit) == 40
    assert not clean.dirty
    (root / "untracked").write_text("")
    assert provenance.git_state(package) == clean
    (package / "code.py").write_text("2\n")
    changed = provenance.git_state(package)
    assert changed is not None
    assert (changed.commit, changed.dirty) == (clean.commit, True)


def test_without_git_there_is_no_git_state(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package.parent / ".git").mkdir()
    monkeypatch.setenv("PATH", "")
    assert provenance.git_state(package) is None


def test_collect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/opt/bin/skill-bench", "run", "--data-root", "/home/a/speech", "--out=/b/c"])
    found = provenance.collect(started_at="2026-01-01T00:00:00+00:00", seconds={"train": 1.5})
    assert found.command_line == (".../skill-bench", "run", "--data-root", ".../speech", "--out=.../c")
    assert found.seconds == {"train": 1.5}
    assert found.started_at == "2026-01-01T00:00:00+00:00"
    assert {"torch", "numpy", "pydantic"} <= set(found.packages)
    assert found.hardware.n_cores >= found.hardware.n_cores_usable >= 1


def test_gpus_are_not_asked_for_before_torch_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert provenance.hardware().gpus is None
    assert provenance.collect().n_threads is None
    assert "torch" not in sys.modules
