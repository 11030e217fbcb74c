"""Is an official corpus complete? Layout, lists, counts, every file's header, hours; and what to download if not.

What each corpus is, where it goes and how much of it there is, ``corpora.toml`` says.
"""

from __future__ import annotations

import importlib
import pkgutil
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from pydantic import Field

from skill_bench.base.errors import DataError, UnknownName, first_few
from skill_bench.corpora.audio.scan import scan
from skill_bench.corpora.data import Fold, Utterance
from skill_bench.corpora.described.tables import Strict
from skill_bench.corpora.described.validate import validate
from skill_bench.corpora.official import readers

Reader = Callable[[Path], tuple[Fold, ...]]
"""From the corpus' folder to folds; raises DataError where the layout is not complete."""
# Segments are cut by rounding and dropped files show in the counts; this is for another or a cut version.
_HOURS_TOLERANCE = 0.02
_PROBLEM_LINES = 12


class Download(Strict):
    """An archive or page, and the folder under the data root that it goes into."""

    url: str
    into: str
    note: str = ""


class Corpus(Strict):
    """One corpus.

    Attributes:
        folder: Under the data root.
        source: Who states the counts.
        hours: Of speech, where that is stated.
        utterances: Expected counts by task and by what `skill_bench.corpora.official.doctor.counts` calls them.
    """

    title: str
    folder: str
    licence: str
    source: str
    downloads: list[Download]
    utterances: dict[str, dict[str, int]]
    hours: float | None = Field(default=None, gt=0)


@dataclass(frozen=True, kw_only=True)
class OfficialTask:
    """A task of the suite: its corpus and what reads it."""

    task: str
    corpus: Corpus
    read: Reader

    def expected(self) -> dict[str, int]:
        """Counts that the whole corpus has; empty where nobody states them."""
        return self.corpus.utterances.get(self.task, {})


@cache
def corpora() -> dict[str, Corpus]:
    """Every corpus by name."""
    content = tomllib.loads((files(__package__) / "corpora.toml").read_text(encoding="utf-8"))
    return {name: Corpus.model_validate(table) for name, table in content.items()}


@cache
def official_tasks() -> dict[str, OfficialTask]:
    """Every task that some reader reads, by name."""
    found = {}
    for module in pkgutil.iter_modules(readers.__path__):
        reader = importlib.import_module(f"{readers.__name__}.{module.name}")
        for task, read in reader.TASKS.items():
            found[task] = OfficialTask(task=task, corpus=corpora()[reader.CORPUS], read=read)
    return found


def official_task(task: str) -> OfficialTask:
    """One task.

    Raises:
        UnknownName: no reader reads it.
    """
    tasks = official_tasks()
    if task not in tasks:
        raise UnknownName("task of the superb suite", task, tasks)
    return tasks[task]


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What was found of one task's corpus.

    Attributes:
        task: Its name.
        corpus: What it reads.
        folds: The utterances; empty where they could not be read.
        found: Counts, named as in ``corpora.toml``.
        hours: Of all files, each once; None where they could not be read.
        notes: Facts to record: files that are resampled, channels that are averaged.
        problems: Sentences; none means that the corpus is complete.
    """

    task: str
    corpus: Corpus
    folds: tuple[Fold, ...]
    found: dict[str, int]
    hours: float | None
    notes: tuple[str, ...]
    problems: tuple[str, ...]

    def text(self, data_root: Path) -> str:
        """Some lines to show: counts beside those expected, problems, and what to download where."""
        expected = official_task(self.task).expected()
        names = dict.fromkeys((*expected, *self.found))
        counts = [_count(name, self.found.get(name), expected.get(name)) for name in names]
        lines = [f"{self.task}: {self.corpus.title}: {'complete' if not self.problems else 'NOT COMPLETE'}"]
        if self.folds:
            hours = "" if self.hours is None else f"; {self.hours:.1f} h"
            lines.append(f"    {', '.join(counts)}{hours}")
        lines += [f"    {line}" for problem in self.problems for line in _shortened(problem).splitlines()]
        if self.problems:
            lines += [f"    get {d.url}\n      into {data_root / d.into}{f' ({d.note})' if d.note else ''}"
                      for d in self.corpus.downloads]  # fmt: skip
            lines.append(f"    licence: {self.corpus.licence}; counts: {self.corpus.source}")
        return "\n".join(lines)


def examine(task: str, data_root: Path) -> Examination:
    """Reads a task's corpus and opens every file of it. Cheap beside any training: headers and ends of files.

    Raises:
        UnknownName: no corpus is known for the task.
    """
    official = official_task(task)
    corpus, folder = official.corpus, data_root / official.corpus.folder
    found: dict[str, int] = {}
    hours: float | None = None
    notes: tuple[str, ...] = ()
    problems: list[str] = []
    folds: tuple[Fold, ...] = ()
    try:
        folds = official.read(folder)
        found = counts(folds)
        problems += [
            f"{name}: found {found.get(name, 0)}, expected {wanted} ({corpus.source})"
            for name, wanted in official.expected().items()
            if found.get(name, 0) != wanted
        ]
        validate(folds, where=f"superb, {task}", disjoint_speakers=task == "asv")
        summary = scan(_utterances(folds))
        hours, notes = summary.seconds / 3600, summary.notes()
        if corpus.hours is not None and abs(hours - corpus.hours) > _HOURS_TOLERANCE * corpus.hours:
            problems.append(f"{hours:.2f} h of audio, expected {corpus.hours} h ({corpus.source})")
    except DataError as error:
        problems.append(str(error))
    return Examination(
        task=task, corpus=corpus, folds=folds, found=found, hours=hours, notes=notes, problems=tuple(problems)
    )


def counts(folds: Sequence[Fold]) -> dict[str, int]:
    """Utterances by split, or by fold's test part where there are several folds; trials and queries too.

    Silence that is cut from noise recordings is no utterance of a corpus. Where dev is drawn from train, their sum
    ``train and dev`` counts.
    """
    if len(folds) > 1:
        return {fold.name: len(fold.test) for fold in folds}
    (fold,) = folds
    found = {name: sum(u.start_frame is None for u in part) for name, part in fold.splits()}
    if fold.trials:
        return {
            "train and dev": found["train"] + found["dev"],
            "test": found["test"],
            "trials": len(fold.trials),
        }
    if fold.queries:
        return {"documents": found["test"], "dev queries": len(fold.dev_queries), "queries": len(fold.queries)}
    return found


def _utterances(folds: Sequence[Fold]) -> list[Utterance]:
    return [
        u for fold in folds for part in (fold.train, fold.dev, fold.test, fold.dev_queries, fold.queries) for u in part
    ]


def _count(name: str, found: int | None, expected: int | None) -> str:
    if expected is None:
        return f"{name} {found}"
    return f"{name} {found} of {expected}" if found != expected else f"{name} {found}"


def _shortened(problem: str) -> str:
    return first_few(problem.splitlines(), most=_PROBLEM_LINES, separator="\n", more="\n  and {} more lines")
