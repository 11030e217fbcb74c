"""A task's data from the official corpora: ``superb``, all of it, or ``mini``, a fixed part.

The part is chosen by hashes of ids, so it is the same on every machine.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path

from skill_bench.base.errors import UsageError
from skill_bench.base.hashed import digest
from skill_bench.base.specs import Positive
from skill_bench.corpora.data import Fold, Utterance
from skill_bench.corpora.described.partition import limited, limited_search, limited_trials
from skill_bench.corpora.described.tables import Strict
from skill_bench.corpora.official.doctor import examine


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


class Sizes(Strict):
    """How much of a task's corpus: utterances of each split, documents of each search.

    Attributes:
        labels: So many of the targets (speakers, say), by a hash; None keeps all.
        by_target: Every target has its share.
        queries: Of dev and of test each.
    """

    train: int
    dev: Positive
    test: Positive
    labels: Positive | None = None
    by_target: bool = False
    queries: Positive | None = None


@cache
def mini_sizes() -> dict[str, Sizes]:
    """By task, from ``mini.toml``."""
    content = tomllib.loads((files(__package__) / "mini.toml").read_text(encoding="utf-8"))
    return {task: Sizes.model_validate(table) for task, table in content.items()}


def subset(folds: Sequence[Fold], sizes: Sizes) -> tuple[Fold, ...]:
    """The part of the folds that ``sizes`` says. Of several folds, ``test`` utterances of each make all their parts."""
    if len(folds) > 1:
        kept = {u.id for fold in folds for u in limited(fold.test, sizes.test, by_target=sizes.by_target)}
        return tuple(
            replace(fold, train=_of(fold.train, kept), dev=_of(fold.dev, kept), test=_of(fold.test, kept))
            for fold in folds
        )
    (fold,) = folds
    train = _labelled(fold.train, sizes.labels)
    known = {u.target for u in train}
    train = limited(train, sizes.train, by_target=sizes.by_target)
    if fold.trials:
        dev, dev_trials = limited_trials(fold.dev, fold.dev_trials, sizes.dev)
        test, trials = limited_trials(fold.test, fold.trials, sizes.test)
        return (replace(fold, train=train, dev=dev, test=test, dev_trials=dev_trials, trials=trials),)
    if fold.queries:
        dev, dev_queries = limited_search(fold.dev, fold.dev_queries, sizes.dev, n_queries=sizes.queries or sizes.dev)
        test, queries = limited_search(fold.test, fold.queries, sizes.test, n_queries=sizes.queries or sizes.test)
        return (replace(fold, train=train, dev=dev, test=test, dev_queries=dev_queries, queries=queries),)
    dev, test = (
        limited([u for u in part if sizes.labels is None or u.target in known], size, by_target=sizes.by_target)
        for part, size in ((fold.dev, sizes.dev), (fold.test, sizes.test))
    )
    return (replace(fold, train=train, dev=dev, test=test),)


def _labelled(part: Sequence[Utterance], labels: int | None) -> tuple[Utterance, ...]:
    if labels is None:
        return tuple(part)
    kept = set(sorted({u.target for u in part}, key=digest)[:labels])
    return tuple(u for u in part if u.target in kept)


def _of(part: Sequence[Utterance], kept: set[str]) -> tuple[Utterance, ...]:
    return tuple(u for u in part if u.id in kept)
