"""What makes a fold untrainable, found before any training and said with names."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from skill_bench.corpora.data import Fold, TaskData, Utterance
from skill_bench.errors import DataError
from skill_bench.probes.tokens import Tokens
from skill_bench.tasks import TaskSpec

_SHOWN = 5


def check_data(task: TaskSpec, data: TaskData, *, tokens: Tokens | None) -> None:
    """Raises if a fold cannot be trained and tested.

    Raises:
        DataError: an empty part, an utterance in two parts, a class that training never sees, an empty or unknown
            target; names utterances and manifest lines.
    """
    if not data.folds:
        raise DataError(f"task {task.name!r}, suite {data.suite!r}: there is no fold. Check the suite's manifest.")
    for fold in data.folds:
        where = f"task {task.name!r}, suite {data.suite!r}, fold {fold.name!r}"
        for split, utterances in fold.splits():
            if not utterances:
                raise DataError(f"{where}: the {split} part is empty. Check the split column, or raise the limit.")
        _check_partition(fold, where)
        if tokens is None:
            _check_classes(fold, where)
        else:
            _check_tokens(fold, where, tokens)


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


def _check_classes(fold: Fold, where: str) -> None:
    known = {utterance.target for utterance in fold.train}
    if len(known) < 2:
        raise DataError(f"{where}: training has {len(known)} class ({', '.join(known)}); at least 2 are needed.")
    for split, utterances in (("dev", fold.dev), ("test", fold.test)):
        strange = [utterance for utterance in utterances if utterance.target not in known]
        if strange:
            names = sorted({utterance.target for utterance in strange})
            raise DataError(
                f"{where}: {_some(names)} in {split} but never in train (for example {_place(strange[0])}). "
                "A closed set needs every class in training: check the split column, or raise the limit."
            )


def _check_tokens(fold: Fold, where: str, tokens: Tokens) -> None:
    for split, utterances in fold.splits():
        for utterance in utterances:
            if not tokens.split(utterance.target):
                raise DataError(f"{where}: the target of {_place(utterance)} in {split} is empty.")
            unknown = sorted(tokens.unknown(utterance.target))
            if unknown:
                raise DataError(
                    f"{where}: {_some(unknown)} in the target of {_place(utterance)} in {split}; the task's "
                    f"vocabulary is {' '.join(repr(token) for token in tokens.vocabulary)}. Correct the manifest."
                )


def sequence_notes(fold: Fold, *, tokens: Tokens, frame_counts: Mapping[str, int]) -> list[str]:
    """Facts about a fold that do not stop training but belong to its numbers."""
    notes = []
    trained = {token for utterance in fold.train for token in tokens.split(utterance.target)}
    unseen = {token for utterance in fold.test for token in tokens.split(utterance.target)} - trained
    if unseen:
        notes.append(f"{_some(sorted(unseen))} in test but never in train: every occurrence is an error")
    short = [u for u in fold.train if _frames_needed(tokens.split(u.target)) > frame_counts[u.id]]
    if short:
        notes.append(
            f"{len(short)} of {len(fold.train)} training utterances have fewer frames than CTC needs for their "
            "target; nothing is learned from them"
        )
    return notes


def _frames_needed(target: Sequence[str]) -> int:
    """One frame a token and a blank between equal neighbours."""
    return len(target) + sum(a == b for a, b in itertools.pairwise(target))


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more are"


def _place(utterance: Utterance) -> str:
    return f"{utterance.id!r} ({utterance.source})"
