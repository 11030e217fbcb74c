"""What each official corpus is, where it goes and how much of it there is: ``corpora.toml``, typed."""

from __future__ import annotations

import importlib
import pkgutil
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from pydantic import Field

from skill_bench.base.errors import UnknownName
from skill_bench.corpora.data import Fold
from skill_bench.corpora.described.tables import Strict
from skill_bench.corpora.official import readers

Reader = Callable[[Path], tuple[Fold, ...]]
"""From the corpus' folder to folds; raises DataError where the layout is not complete."""


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
