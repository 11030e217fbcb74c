"""What makes a fold untrainable, found before any training and said with names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from skill_bench.base.errors import DataError, first_few
from skill_bench.corpora.data import Fold, TaskData, Utterance
from skill_bench.tasks import TaskSpec

Slots = Callable[[str], tuple[str, ...]]
"""The labels in a target."""


def one_slot(target: str) -> tuple[str, ...]:
    """A target that is one label."""
    return (target,)


def check_folds(task: TaskSpec, data: TaskData, *, trained: bool = True) -> Iterator[tuple[Fold, str]]:
    """Every fold, after its parts were found to be filled and disjoint, and how to name it in messages.

    Args:
        task: The task.
        data: Its data.
        trained: False where a task needs no training part, and may search dev and test in the same documents.

    Raises:
        DataError: no fold, an empty part, or an utterance in two parts.
    """
    if not data.folds:
        raise DataError(f"task {task.name!r}, suite {data.suite!r}: there is no fold. Check the suite's manifest.")
    for fold in data.folds:
        where = f"task {task.name!r}, suite {data.suite!r}, fold {fold.name!r}"
        for split, utterances in fold.splits():
            if not utterances and (trained or split != "train"):
                raise DataError(f"{where}: the {split} part is empty. Check the split column, or raise the limit.")
        if trained:
            _check_partition(fold, where)
        yield fold, where


def _check_partition(fold: Fold, where: str) -> None:
    seen: dict[str, str] = {}
    for split, utterances in fold.splits():
        for utterance in utterances:
            if utterance.id in seen:
                raise DataError(
                    f"{where}: utterance {utterance.id!r} ({utterance.source}) is in {seen[utterance.id]} and in "
                    f"{split}. Every utterance belongs to one part, once."
                )
            seen[utterance.id] = split


def check_classes(fold: Fold, where: str, *, slots: Slots = one_slot) -> None:
    """Every label of dev and test occurs in training, which has at least two targets.

    Raises:
        DataError: names the label and an utterance.
    """
    targets = {utterance.target for utterance in fold.train}
    if len(targets) < 2:
        raise DataError(f"{where}: training has {len(targets)} class ({', '.join(targets)}); at least 2 are needed.")
    known = {label for utterance in fold.train for label in enumerate(slots(utterance.target))}
    for split, utterances in (("dev", fold.dev), ("test", fold.test)):
        strange = [u for u in utterances if not known.issuperset(enumerate(slots(u.target)))]
        if strange:
            names = sorted(
                {label for u in strange for k, label in enumerate(slots(u.target)) if (k, label) not in known}
            )
            raise DataError(
                f"{where}: {some(names)} in {split} but never in train (for example {place(strange[0])}). "
                "A closed set needs every class in training: check the split column, or raise the limit."
            )


def some(names: Sequence[str]) -> str:
    """The first few of ``names``."""
    return first_few(map(repr, names), more=" and {} more are")


def place(utterance: Utterance) -> str:
    """Which utterance, and where its manifest line is."""
    return f"{utterance.id!r} ({utterance.source})"
