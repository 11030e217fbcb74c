"""What counts as a task or an upstream.

Where what is cached lies.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from skill_bench.base import catalog
from skill_bench.base.errors import SpecError, UnknownName, UsageError
from skill_bench.base.places import cache_folder
from skill_bench.cli.main import app


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


def test_list_shows_everything_by_its_title_in_columns() -> None:
    lines = CliRunner().invoke(app, ["list"], catch_exceptions=False).output.splitlines()
    kinds: tuple[catalog.Listed, ...] = ("tasks", "upstreams")
    for kind in kinds:
        names = catalog.names(kind)
        start = lines.index(f"{kind}:") + 1
        shown = lines[start : start + len(names)]
        assert [line.split()[0] for line in shown] == names
        column = 2 + max(map(len, names)) + 2
        assert all(line[column - 1] == " " and line[column] != " " for line in shown)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'title = "Jos\xe9"', r"ks\.toml:1: not UTF-8 \(byte 12\)"),
        (b"title = ", r"ks\.toml: cannot be read as TOML \("),
    ],
)
def test_a_file_that_cannot_be_listed_is_named(text: bytes, message: str, root: Path) -> None:
    (root / "ks.toml").write_bytes(text)
    with pytest.raises(SpecError, match=message):
        CliRunner().invoke(app, ["list"], catch_exceptions=False)


def test_a_mark_before_a_title_is_none_of_it(root: Path) -> None:
    (root / "ks.toml").write_bytes(b'\xef\xbb\xbftitle = "Keywords"')
    (root / "mine").mkdir()
    (root / "mine" / "upstream.toml").write_text("")
    assert "  ks  Keywords\n" in CliRunner().invoke(app, ["list"], catch_exceptions=False).output


def test_the_contests_of_speed_come_with_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_PACKAGE", tmp_path / "site-packages" / "skill_bench")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"no benchmarks: .* They come with a checkout of skill-bench"):
        catalog.benchmarks()
    checkout = Path(__file__).parents[2]
    monkeypatch.chdir(checkout)
    assert catalog.benchmarks() == checkout / "benchmarks"


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
