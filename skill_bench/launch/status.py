"""How far the launches of a folder of records are."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from skill_bench.base.errors import RecordError, SkillBenchError, UsageError
from skill_bench.launch.engine import Jobs, State
from skill_bench.launch.journal import FILE, Launched, LaunchedCell, is_held, last_words, launches
from skill_bench.launch.options import Launcher
from skill_bench.records.record import Record

CellState = Literal["done", "running", "waiting", "failed", "lost"]


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far one launch is.

    Attributes:
        folder: Of the launch.
        launched: What it started.
        cells: State of each cell. ``lost``: no job is left that could run it; the same command continues.
        jobs: Those that have not ended.
        hours_left: Of the cells that are not done, shared by as many jobs as may run at a time; None where neither a
            forecast nor a finished cell tells.
        problems: What each failed cell, and each job that ended too early, says.
    """

    folder: Path
    launched: Launched
    cells: Mapping[str, CellState]
    jobs: Mapping[str, State]
    hours_left: float | None
    problems: tuple[str, ...]

    def count(self, state: CellState) -> int:
        """Cells in a state."""
        return sum(one == state for one in self.cells.values())


def status(out_dir: Path, *, engines: Mapping[Launcher, Callable[[], Jobs]]) -> list[Status]:
    """The latest launch, and earlier ones that have jobs left.

    An earlier launch that this machine cannot ask about is named in the problems of the latest, unless it is over.

    Raises:
        UsageError: nothing was launched with this folder, or the latest elsewhere.
        SkillBenchError: SLURM does not answer.
    """
    found = launches(out_dir) or launches(out_dir / "records")  # of `evidence run`
    if not found:
        raise UsageError(f"{out_dir}: nothing was launched with it. Name the --out of a run with --launcher.")
    latest, earlier, unknown = _of(found[-1], engines), list[Status](), list[str]()
    for folder in found[:-1]:
        try:
            earlier.append(_of(folder, engines))
        except SkillBenchError as error:
            if any(not cell.has_changed(_out_dir(folder)) for cell in Launched.read(folder / FILE).cells):
                unknown.append(str(error))
    return [one for one in earlier if one.jobs] + [replace(latest, problems=(*latest.problems, *unknown))]


def _of(folder: Path, engines: Mapping[Launcher, Callable[[], Jobs]]) -> Status:
    launched = Launched.read(folder / FILE)
    if launched.launcher == "local" and launched.host != socket.gethostname():
        raise UsageError(f"{folder}: its jobs are processes of {launched.host}. Ask there.")
    jobs = engines[launched.launcher]().states([job.id for job in launched.jobs])
    out_dir = _out_dir(folder)
    cells: dict[str, CellState] = {}
    problems, taken = [], []
    for cell in launched.cells:
        record = _record(cell, out_dir)
        if record is None:
            at_it = "running" in jobs.values() and is_held((out_dir / cell.record).with_suffix(".claim"))
            cells[cell.name] = "running" if at_it else "waiting" if jobs else "lost"
        elif record.error is None:
            cells[cell.name] = "done"
            taken.append(sum(record.provenance.seconds.values()))
        else:
            cells[cell.name] = "failed"
            problems.append(f"{cell.name}: {record.error.message}")
    for job in launched.jobs:
        if job.id not in jobs and any(not (folder / f"{group}.done").exists() for group in job.groups):
            problems.append(f"job {job.id} ended early: {last_words(folder / log for log in job.logs)}")
    return Status(
        folder=folder, launched=launched, cells=cells, jobs=jobs, problems=tuple(problems),
        hours_left=_hours_left(launched, cells, taken),
    )  # fmt: skip


def _out_dir(folder: Path) -> Path:
    return folder.parent.parent


def _record(cell: LaunchedCell, out_dir: Path) -> Record | None:
    path = out_dir / cell.record
    try:
        return Record.read(path) if path.exists() and cell.has_changed(out_dir) else None
    except RecordError:
        return None  # whoever runs the cell is told


def _hours_left(launched: Launched, cells: Mapping[str, CellState], taken: list[float]) -> float | None:
    left = [cell for cell in launched.cells if cells[cell.name] not in ("done", "failed")]
    mean = sum(taken) / len(taken) if taken else None
    seconds = [mean if cell.seconds is None else cell.seconds for cell in left]
    if None in seconds:
        return None
    return sum(one for one in seconds if one is not None) / 3600 / min(launched.max_jobs, max(1, len(left)))
