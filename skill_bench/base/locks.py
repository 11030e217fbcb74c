"""Locks between processes on files of a folder that they share: one holder alone, or several together.

The system's own (flock) where the file system has them: they end with their process, however it ends. Elsewhere
(Lustre, some NFS, Windows) `skill_bench.base.markers` does the same with files and a heartbeat.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skill_bench.base.markers import Markers

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
"""What flock says where a file system has none; NFS without a lock daemon says ENOLCK."""


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
        self._markers: Markers | None = None

    def share(self) -> None:
        """Holds the lock together with others that share it, and marks the time; waits for whoever has it alone."""
        assert self._file is not None
        os.utime(self._file)
        if fcntl is not None:
            try:
                return fcntl.flock(self._file, fcntl.LOCK_SH)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
        self._markers = self._markers or Markers(self.path)
        self._markers.share()

    def take(self, *, wait: bool = False) -> bool:
        """Holds the lock alone; False if somebody holds it, unless asked to ``wait``."""
        while self._take(wait=wait):
            if self._is_in_place():
                return True
            # Whoever held it has removed its file: others lock a new one, and so must this process.
            assert self._file is not None
            os.close(self._file)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        return False

    def _is_in_place(self) -> bool:
        assert self._file is not None
        try:
            return self._markers is not None or os.path.samestat(os.fstat(self._file), self.path.stat())
        except FileNotFoundError:
            return False

    def _take(self, *, wait: bool) -> bool:
        assert self._file is not None
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
            else:
                return True
        self._markers = self._markers or Markers(self.path)
        return self._markers.take(wait=wait)

    def release(self, *, remove: bool = False) -> None:
        """Gives the lock up; with ``remove``, deletes its file too."""
        if self._file is None:
            return
        if remove:
            self.path.unlink(missing_ok=True)
        if self._markers is not None:
            self._markers.release()
        os.close(self._file)
        self._file = None

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            self.release()


@contextmanager
def claim(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether this process, and no other, may do now what the file at ``path`` stands for; ``wait``: as soon as it may.

    A claim ends with its process, however that ends. The file is there while somebody holds it, or died with it.

    Raises:
        OSError: the file cannot be made.
    """
    lock = Lock(path)
    mine = lock.take(wait=wait)
    try:
        yield mine
    finally:
        lock.release(remove=mine)
