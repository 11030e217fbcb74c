"""Can the tasks of a described suite be run? Each is read and checked as `evaluate` would, and nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from skill_bench.base.counted import counted
from skill_bench.base.errors import SkillBenchError
from skill_bench.corpora.audio.scan import scan
from skill_bench.corpora.data import TaskData
from skill_bench.corpora.load import load_task_data
from skill_bench.corpora.official.doctor import counts
from skill_bench.evaluation import kinds
from skill_bench.evaluation.task_files import load_task


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What was found of one task: its data, or the problem that stands in the way."""

    task: str
    data: TaskData | None
    problem: str | None = None

    def text(self) -> str:
        """Counts, hours and notes, or the problem."""
        lines = [f"{self.task}: {'complete' if self.problem is None else 'NOT COMPLETE'}"]
        if self.data is not None:
            found = ", ".join(f"{name} {n}" for name, n in counts(self.data.folds).items())
            folds = "" if len(self.data.folds) == 1 else f"{counted(len(self.data.folds), 'fold')}, tested on "
            lines.append(f"    {folds}{found}; {scan(self.data.utterances()).seconds / 3600:.2f} h")
            lines += [f"    {note}" for note in self.data.notes]
        lines += [f"    {line}" for line in (self.problem or "").splitlines()]
        return "\n".join(lines)


def examine(task: str, *, suite: str, data_root: Path, suite_file: Path | None, cache_dir: Path) -> Examined:
    """Reads a task's manifest and every file it names, and asks its kind whether that can be trained and tested on.

    Raises:
        UnknownName: no task of that name, or the suite.toml does not describe it.
    """
    spec, data = load_task(task).for_suite(suite), None
    try:
        data = load_task_data(suite, task, data_root=data_root, suite_file=suite_file, cache_dir=cache_dir)
        kinds.load(spec.kind).check(spec, data)
    except SkillBenchError as error:
        return Examined(task=task, data=data, problem=str(error))
    return Examined(task=task, data=data)
