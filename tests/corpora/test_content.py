"""Hashes of contents: of the bytes, remembered while a file does not change, asked again when it does."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from skill_bench.corpora.audio import content
from skill_bench.corpora.audio.content import content_hashes


def test_hashes_are_of_the_bytes_and_by_path(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a", "b", "c")]
    for file, data in zip(files, (b"one", b"two", b"one"), strict=True):
        file.write_bytes(data)
    found = content_hashes([*files, files[0]], cache_dir=tmp_path / "cache")
    assert found == {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert found[files[0]] == found[files[2]] != found[files[1]]


def test_only_changed_files_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = content._hash

    def counted(path: Path) -> str:
        read.append(path.name)
        return original(path)

    monkeypatch.setattr(content, "_hash", counted)
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"12345")
    second.write_bytes(b"67890")
    before = content_hashes([first, second], cache_dir=tmp_path / "cache")
    assert content_hashes([second, first], cache_dir=tmp_path / "cache") == before
    assert sorted(read) == ["first", "second"]
    stat = first.stat()
    first.write_bytes(b"54321")  # as many bytes
    os.utime(first, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as rsync and cp -p leave it: its ctime tells
    after = content_hashes([first, second], cache_dir=tmp_path / "cache")
    assert read[2:] == ["first"]
    assert after[second] == before[second]
    assert after[first] == hashlib.sha256(b"54321").hexdigest()


def test_a_missing_file_is_an_error_and_nothing_is_remembered(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"x")
    with pytest.raises(FileNotFoundError):
        content_hashes([file, tmp_path / "absent"], cache_dir=tmp_path / "cache")
    assert set(content_hashes([file], cache_dir=tmp_path / "cache")) == {file}


@pytest.mark.parametrize("damage", [b"", b"no database", None])
def test_a_damaged_memo_is_made_anew(damage: bytes | None, tmp_path: Path) -> None:
    file, cache = tmp_path / "a", tmp_path / "cache"
    file.write_bytes(b"x")
    before = content_hashes([file], cache_dir=cache)
    (memo,) = cache.glob("*.sqlite")
    memo.write_bytes(memo.read_bytes()[:100] + b"\xff" * 5000 if damage is None else damage)
    for _ in range(2):
        assert content_hashes([file], cache_dir=cache) == before
    assert content._recall(memo, {file: content._state(file)}) == before, "the second call read the new memo"


def test_without_a_place_for_the_memo_files_are_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, cache = tmp_path / "a", tmp_path / "cache"
    file.write_bytes(b"x")
    cache.write_text("a file, where a folder would be")
    assert content_hashes([file], cache_dir=cache) == {file: hashlib.sha256(b"x").hexdigest()}
    assert "nothing can be kept there" in caplog.text
