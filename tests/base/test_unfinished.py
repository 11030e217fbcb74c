"""What killed writers left goes, an hour later; nothing else does."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from skill_bench.base.documents import write_atomic
from skill_bench.base.markers import Markers
from skill_bench.base.unfinished import remove_leftovers, unfinished_file, unfinished_folder


def age(path: Path, *, hours: float = 2.0) -> None:
    """As if nothing of it had been changed for so long."""
    then = time.time() - hours * 3600
    for one in (path, *path.rglob("*")):
        os.utime(one, (then, then))


def left_file(folder: Path) -> Path:
    descriptor, path = unfinished_file(folder / "record.json")
    os.write(descriptor, b"{")
    os.close(descriptor)
    return path


def left_folder(folder: Path) -> Path:
    path = unfinished_folder(folder / "demo-1")
    (path / "wav").mkdir()
    (path / "wav" / "a.flac").write_bytes(b"abc")
    return path


def left_marker(folder: Path) -> Path:
    (folder / "in_use").touch()
    markers = Markers(folder / "in_use")
    markers.share()
    [path] = folder.glob("in_use.shared-*")
    copied = path.with_name(path.name[:-1] + ("0" if path.name[-1] != "0" else "1"))
    copied.touch()
    markers.release()
    return copied


def left_alone(folder: Path) -> Path:
    (folder / ".lock").touch()
    (folder / ".lock.alone").touch()
    return folder / ".lock.alone"


@pytest.mark.parametrize("make", [left_file, left_folder, left_marker, left_alone])
def test_what_was_left_goes_after_an_hour(make: object, tmp_path: Path) -> None:
    assert callable(make)
    folder = tmp_path / "suite" / "model"
    folder.mkdir(parents=True)
    path: Path = make(folder)
    others = set(folder.iterdir()) - {path}
    assert remove_leftovers(tmp_path) == 0, "its writer may still live"
    age(path, hours=0.9)
    assert remove_leftovers(tmp_path) == 0
    age(path)
    assert remove_leftovers(tmp_path, below=False) == 0, "only in the folder itself"
    assert remove_leftovers(tmp_path) == 1
    assert set(folder.iterdir()) == others


def test_a_folder_in_which_something_is_new_is_still_written(tmp_path: Path) -> None:
    path = left_folder(tmp_path)
    age(path)
    (path / "wav" / "a.flac").write_bytes(b"more")
    assert remove_leftovers(tmp_path) == 0
    age(path)
    assert remove_leftovers(tmp_path) == 1


@pytest.mark.parametrize(
    "name",
    [
        "record.json", ".record.json", "record.tmp", ".record.tmp", ".record.json.abc.tmp",
        "x.record.json.abcdefgh.tmp", ".record.json.ABCDEFGH.tmp",
        "in_use", "take.alone", "x.shared-0123456789abcdef0123456789abcdef", "a.claim",
    ],
)  # fmt: skip
def test_other_files_stay_whatever_their_age(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    age(tmp_path / name)
    assert remove_leftovers(tmp_path) == 0
    assert (tmp_path / name).exists()


def test_a_folder_that_is_not_there_has_no_leftovers(tmp_path: Path) -> None:
    assert remove_leftovers(tmp_path / "gone") == 0


def test_what_is_made_may_be_read_as_the_user_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        descriptor, file = unfinished_file(tmp_path / "a")
        os.close(descriptor)
        folder = unfinished_folder(tmp_path / "b")
        written = write_atomic(tmp_path / "c", b"")
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file, folder, written)] == [0o640, 0o750, 0o640]
