"""Advisory file locks between processes; the system drops them when a process ends, however it ends."""

from __future__ import annotations

import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # no such locks on this system: processes then repeat each other's work, with the same result
    fcntl = None  # type: ignore[assignment]


class Lock:
    """A lock on a file of its own.

    Args:
        path: Made, with its folder, if it is not there.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)

    def share(self) -> None:
        """Holds the lock together with others that share it, and marks the time; waits for whoever has it alone."""
        assert self._file is not None
        os.utime(self._file)
        if fcntl is not None:
            fcntl.flock(self._file, fcntl.LOCK_SH)

    def take(self, *, wait: bool = False) -> bool:
        """Holds the lock alone; False if somebody holds it, unless asked to ``wait``."""
        if fcntl is None:
            return True
        assert self._file is not None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def release(self, *, remove: bool = False) -> None:
        """Gives the lock up; with ``remove``, deletes its file too."""
        if self._file is None:
            return
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self._file)
        self._file = None

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            self.release()
