"""What a launch has started, kept beside the records (`skill-bench status` reads it), and what its jobs last said.

``OUT/launched/TIME/launch`` is the document; beside it lie what jobs say of their groups (``GROUP.claim`` while one is
at it, ``GROUP.tried``, ``GROUP.done``), and submitit's files with the jobs' logs.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from skill_bench.base.documents import Document
from skill_bench.base.locks import claim
from skill_bench.base.specs import Frozen
from skill_bench.evaluation.cell_record import CellRecord
from skill_bench.launch.options import Launcher
from skill_bench.records.record import version

FOLDER, FILE = "launched", "launch"  # no .json: what belongs to records is found by that name
FEW_LINES = 8
_MOST_BYTES = 2**14


class LaunchedCell(Frozen):
    """A cell that was missing. ``record`` is relative to the folder of records, ``before`` which file was there."""

    name: str
    record: str
    before: tuple[int, int] | None
    seconds: float | None

    def has_changed(self, out_dir: Path) -> bool:
        """Whether its record was written since."""
        return version(out_dir / self.record) != self.before


class LaunchedJob(Frozen):
    """A job: its id, and the files that end in what it last said."""

    id: str
    groups: tuple[str, ...]
    logs: tuple[str, ...]


class Launched(Document):
    """A launch."""

    kind: Literal["launch"] = "launch"
    launcher: Launcher
    host: str
    command: tuple[str, ...]
    started_at: str
    max_jobs: int
    cells: tuple[LaunchedCell, ...]
    jobs: tuple[LaunchedJob, ...] = ()


def launched_cell(cell: CellRecord, *, seconds: float | None) -> LaunchedCell:
    """A cell as the journal names it."""
    key = cell.key
    return LaunchedCell(
        name=f"{key.upstream}, {key.task}, seed {key.seed}",
        record=cell.path.relative_to(cell.plan.out_dir).as_posix(),
        before=cell.before,
        seconds=seconds,
    )


def is_held(path: Path) -> bool:
    """Whether a process is at the cell whose claim this is; one that was killed leaves the file, not the lock."""
    if not path.exists():
        return False
    try:
        with claim(path) as mine:
            return not mine
    except PermissionError:  # another user's
        return True


def launches(out_dir: Path) -> list[Path]:
    """The folders of launches of a folder of records, the latest last."""
    return sorted(path.parent for path in out_dir.glob(f"{FOLDER}/*/{FILE}"))


def end_of(log: Path, *, n_lines: int = FEW_LINES) -> list[str]:
    """The last lines of a log; none where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _MOST_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-n_lines:]


def last_words(logs: Iterable[Path]) -> str:
    """The ends of a job's logs, with their names; a sentence where they are empty."""
    found = [(log, end) for log in logs if (end := end_of(log))]
    if not found:
        return "it left no log"
    return "\n".join("\n".join([f"{log} ends:", *(f"  {line}" for line in end)]) for log, end in found)
