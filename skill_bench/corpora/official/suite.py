"""A task's data from the official corpora: ``superb``, all of it, or ``mini``, a fixed part."""

from __future__ import annotations

from pathlib import Path

from skill_bench.base.errors import UsageError
from skill_bench.corpora.data import Fold
from skill_bench.corpora.official.doctor import examine
from skill_bench.corpora.official.subset import mini_sizes, subset


def official_folds(suite: str, task: str, *, data_root: Path) -> tuple[tuple[Fold, ...], tuple[str, ...]]:
    """The folds, and notes on them.

    Raises:
        UnknownName: no corpus is known for the task.
        UsageError: the corpus is not complete; says what is missing and what to download. Incomplete data is no data
            of this suite, so nothing may start with it.
    """
    examination = examine(task, data_root)
    if examination.problems:
        raise UsageError(
            f"the {suite} suite needs complete corpora.\n{examination.text(data_root)}\n"
            f"See everything: skill-bench doctor --suite {suite} --data-root {data_root}"
        )
    notes = (f"{examination.corpus.title}, read in its official layout", *examination.notes)
    if suite == "superb":
        return examination.folds, notes
    sizes = mini_sizes()[task]
    shown = ", ".join(f"{name} {value}" for name, value in sizes.model_dump().items() if value not in (None, False))
    return subset(examination.folds, sizes), (*notes, f"the mini suite's part of it, by hashes of ids: {shown}")


def is_closed(task: str) -> bool:
    """Whether the task's targets are a closed set of labels."""
    return mini_sizes()[task].by_target and task != "asv"
