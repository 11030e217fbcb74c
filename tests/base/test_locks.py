"""Locks between processes, on file systems with locks and without."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from skill_bench.base import locks, markers

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
