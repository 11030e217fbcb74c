"""What training reports: a CSV line an update, and TensorBoard's event files where asked for."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from skill_bench.base.documents import write_atomic
from skill_bench.base.errors import MissingExtra

Log = Mapping[str, float]


class TrainingLog:
    """``folder/name.csv``; lines of updates that will be made again are dropped when it is opened.

    Raises:
        MissingExtra: TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: Path, name: str, *, updates_done: int, tensorboard: bool = False) -> None:
        self.path = folder / f"{name}.csv"
        _forget_after(self.path, updates_done)
        self._events = _events(folder / "tensorboard" / name, updates_done) if tensorboard else None

    def append(self, log: Log) -> None:
        """One line; ``log["update"]`` numbers it from 0."""
        new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(log), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(log)
        if self._events is not None:
            for key, value in log.items():
                if key != "update":
                    self._events.add_scalar(key, value, int(log["update"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._events is not None:
            self._events.close()


def _forget_after(path: Path, updates_done: int) -> None:
    if not path.exists():
        return
    header, *lines = path.read_text().splitlines(keepends=True) or [""]
    kept = [line for line in lines if line.endswith("\n") and int(line.split(",", 1)[0]) < updates_done]
    if kept:
        write_atomic(path, (header + "".join(kept)).encode())
    else:
        path.unlink()


def _events(folder: Path, updates_done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtra("tensorboard", extra="tensorboard", purpose="--tensorboard") from error
    return SummaryWriter(folder, purge_step=updates_done)
