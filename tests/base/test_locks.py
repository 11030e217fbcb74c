"""Locks between processes, on file systems with locks and without.

What killed writers left goes, an hour later; nothing else does.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from skill_bench.base import locks, markers
from skill_bench.base.documents import write_atomic
from skill_bench.base.markers import Markers
from skill_bench.base.unfinished import remove_leftovers, unfinished_file, unfinished_folder

HOLD = """
import errno, fcntl, sys, time
from pathlib import Path
from skill_bench.base import locks, markers
markers.BEAT_SECONDS = 0.1
if sys.argv[2] == "without":
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")
    fcntl.flock = flock
lock = locks.Lock(Path(sys.argv[1]))
lock.share() if sys.argv[3] == "shared" else lock.take(wait=True)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture(params=["with", "without"])
def flock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file system with locks, and one without: flock as Lustre answers it."""
    monkeypatch.setattr(markers, "STALE_SECONDS", 1.0)
    monkeypatch.setattr(markers, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(markers, "POLL_SECONDS", 0.02)
    if request.param == "without":

        def refused(*_: object) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", refused)
    return str(request.param)


def elsewhere(path: Path, flock: str, how: str) -> subprocess.Popen[str]:
    """A process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), flock, how], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def test_one_holder_alone_or_several_together(tmp_path: Path, flock: str) -> None:
    first, second, third = (locks.Lock(tmp_path / "folder" / "lock") for _ in range(3))
    assert first.take()
    assert not second.take()
    first.release()
    second.share()
    third.share()
    fourth = locks.Lock(tmp_path / "folder" / "lock")
    assert not fourth.take()
    second.release()
    assert not fourth.take()
    third.release()
    assert fourth.take()
    fourth.release(remove=True)
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.parametrize("how", ["alone", "shared"])
def test_a_living_owner_keeps_it_and_a_killed_one_does_not(
    how: str, tmp_path: Path, flock: str, processes: list[subprocess.Popen[str]]
) -> None:
    owner = elsewhere(tmp_path / "lock", flock, how)
    processes.append(owner)
    lock = locks.Lock(tmp_path / "lock")
    end = time.monotonic() + 1.5 * markers.STALE_SECONDS
    while time.monotonic() < end:  # longer than an owner without a heartbeat would be believed
        assert not lock.take()
        time.sleep(0.1)
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    assert lock.take(wait=True)
    lock.release(remove=True)
    assert [path.name for path in tmp_path.iterdir()] == []


def test_what_only_looks_like_a_missing_lock_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", failing)
    with pytest.raises(OSError, match="Input/output error"):
        locks.Lock(tmp_path / "lock").take()


def test_a_stale_marker_is_taken_over_once(tmp_path: Path, flock: str) -> None:
    """However many find it."""
    if flock == "with":
        pytest.skip("the system ends locks with their processes")
    (tmp_path / "lock.alone").touch()
    os.utime(tmp_path / "lock.alone", (0, 0))
    found = [locks.Lock(tmp_path / "lock") for _ in range(8)]
    assert sum(lock.take() for lock in found) == 1


def test_whoever_waits_for_a_file_that_was_removed_locks_the_one_in_its_place(tmp_path: Path, flock: str) -> None:
    first, waiting = locks.Lock(tmp_path / "lock"), locks.Lock(tmp_path / "lock")
    assert first.take()
    first.release(remove=True)
    assert waiting.take()
    with locks.claim(tmp_path / "lock") as mine:
        assert not mine
    waiting.release(remove=True)
    with locks.claim(tmp_path / "lock") as mine:
        assert mine
    assert list(tmp_path.iterdir()) == []


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
