"""Locks made of files, for file systems without locks: a marker that its owner touches again and again.

``NAME.alone`` can be made by one process only (O_EXCL); ``NAME.shared-…`` stands for one of several. A marker that was
not touched for a minute belongs to nobody: its owner has died. Ages are told by the file system's own clock, since
those of two machines differ.
"""

from __future__ import annotations

import os
import re
import threading
import time
import uuid
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

_MARKER = re.compile(r"(?P<lock>.+)\.(alone|shared-[0-9a-f]{32})")
_PROBE = re.compile(r"\.[0-9a-f]{32}\.(now|dead)")
BEAT_SECONDS, STALE_SECONDS, POLL_SECONDS = 5.0, 60.0, 0.2


def is_marker(name: str, *, beside: Container[str]) -> bool:
    """Whether a file is the marker of a lock that lies ``beside`` it, or was made to tell a marker's age."""
    marker = _MARKER.fullmatch(name)
    return _PROBE.fullmatch(name) is not None or (marker is not None and marker["lock"] in beside)


class Markers:
    """The markers of one lock.

    Args:
        path: Of the lock; markers lie beside it.
    """

    def __init__(self, path: Path) -> None:
        self._alone = path.with_name(f"{path.name}.alone")
        self._shared = path.with_name(f"{path.name}.shared-{uuid.uuid4().hex}")
        self._pattern = f"{path.name}.shared-*"
        self._mine: Path | None = None
        self._owner = os.getpid()

    def share(self) -> None:
        """Holds the lock with others; waits for whoever has it alone."""
        while True:
            _make(self._shared)
            if not self._held(self._alone):
                return self._hold(self._shared)
            self._shared.unlink(missing_ok=True)  # else whoever is alone would have to wait too
            time.sleep(POLL_SECONDS)

    def take(self, *, wait: bool) -> bool:
        """Holds the lock alone; False if somebody holds it, unless asked to ``wait``."""
        while True:
            if self._take_now():
                self._hold(self._alone)
                return True
            if not wait:
                return False
            time.sleep(POLL_SECONDS)

    def release(self) -> None:
        """Takes the marker away; in a child made by fork nothing, since the marker is its parent's."""
        if self._mine is not None and os.getpid() == self._owner:
            _HEART.forget(self._mine)
            self._mine.unlink(missing_ok=True)
            self._mine = None

    def _take_now(self) -> bool:
        try:
            _make(self._alone)
        except FileExistsError:
            if self._held(self._alone):
                return False
            return self._take_now()
        others = [marker for marker in self._alone.parent.glob(self._pattern) if marker != self._shared]
        held = [self._held(marker) for marker in others]  # of all, so that all stale ones go
        if any(held):
            self._alone.unlink(missing_ok=True)
            return False
        return True

    def _hold(self, marker: Path) -> None:
        self.release()
        self._mine = marker
        _HEART.keep(marker)

    def _held(self, marker: Path) -> bool:
        """Whether a living process holds ``marker``; one of a dead process is removed, by one of those who find it."""
        probe = marker.with_name(f".{uuid.uuid4().hex}.now")
        try:
            _make(probe)
            age = probe.stat().st_mtime - marker.stat().st_mtime
            if age < STALE_SECONDS:
                return True
            # Renamed first: of two who find it stale one succeeds, and no new marker of that name is removed.
            os.rename(marker, probe.with_suffix(".dead"))
            probe.with_suffix(".dead").unlink(missing_ok=True)
        except FileNotFoundError:
            pass
        finally:
            probe.unlink(missing_ok=True)
        return False


class _Heart:
    """One thread a process, which touches all markers that the process holds."""

    def __init__(self) -> None:
        self._kept: set[Path] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def keep(self, marker: Path) -> None:
        with self._lock:
            self._kept.add(marker)
            if self._thread is None or not self._thread.is_alive():  # a child made by fork has no thread of its parent
                self._thread = threading.Thread(target=self._beat, name="lock markers", daemon=True)
                self._thread.start()

    def forget(self, marker: Path) -> None:
        with self._lock:
            self._kept.discard(marker)

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            with self._lock:
                kept = list(self._kept)
            for marker in kept:
                with suppress(OSError):  # released meanwhile, or a file system that will answer again
                    os.utime(marker)


_HEART = _Heart()


def _make(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
