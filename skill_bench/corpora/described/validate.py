"""Faults of chosen data that no single line of a manifest shows; found before anything is extracted or trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

from skill_bench.base.errors import DataError, first_few
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.audio.decode import MIN_SAMPLES
from skill_bench.corpora.data import Fold, Trial, Utterance

_SLACK_SECONDS = 0.05


def validate(folds: Sequence[Fold], *, where: str, disjoint_speakers: bool) -> None:
    """Checks every fold.

    Args:
        folds: What was chosen.
        where: File and table, or suite and task, for messages.
        disjoint_speakers: No speaker of train may be in dev or test, and none of dev in test.

    Raises:
        DataError: an id that two different utterances have, a cut without length, a turn without length or beyond the
            audio, a trial that names an absent utterance or one against itself, trials of one kind only, a query whose
            id stands in no document, speakers in two parts that must share none; names what and where.
    """
    for fold in folds:
        place = f"{where}, fold {fold.name!r}" if len(folds) > 1 else where
        _check_ids(fold, place)
        for utterance in (*fold.train, *fold.dev, *fold.test, *fold.dev_queries, *fold.queries):
            _check_lengths(utterance, place)
        for name, part, trials in (("dev", fold.dev, fold.dev_trials), ("test", fold.test, fold.trials)):
            _check_trials(trials, part, name, place)
        for name, documents, queries in (("dev", fold.dev, fold.dev_queries), ("test", fold.test, fold.queries)):
            _check_queries(documents, queries, name, place)
        if disjoint_speakers:
            _check_speakers(fold, place)


def _check_ids(fold: Fold, where: str) -> None:
    seen: dict[str, tuple[str, Utterance]] = {}
    parts = [*fold.splits(), ("the dev queries", fold.dev_queries), ("the queries", fold.queries)]
    for name, part in parts:
        for utterance in part:
            before, first = seen.setdefault(utterance.id, (name, utterance))
            if first is utterance:
                continue
            # Spoken terms of dev and test may be looked for in the same documents.
            if fold.queries and (before, name) == ("dev", "test") and first.path == utterance.path:
                continue
            raise DataError(
                f"{where}: the id {utterance.id!r} ({utterance.source}) in {name} occurs already in {before} "
                f"({first.source}). Every utterance belongs to one part, once; give ids that differ."
            )


def _check_lengths(utterance: Utterance, where: str) -> None:
    place = f"{where}: {utterance.id!r} ({utterance.source})"
    if utterance.n_frames is not None and utterance.n_frames <= 0:
        raise DataError(f"{place} is cut to {utterance.n_frames} frames; a segment needs a length.")
    if utterance.seconds is not None and utterance.seconds * SAMPLE_RATE_HZ < MIN_SAMPLES - 1:
        raise DataError(
            f"{place} has {utterance.seconds} s; at least {MIN_SAMPLES / SAMPLE_RATE_HZ} s are needed. Remove it."
        )
    for turn in utterance.segments:
        if turn.start_seconds < 0 or turn.end_seconds <= turn.start_seconds:
            raise DataError(
                f"{place}: a turn of {turn.speaker!r} from {turn.start_seconds} to {turn.end_seconds} s has no length."
            )
        if utterance.seconds is not None and turn.end_seconds > utterance.seconds + _SLACK_SECONDS:
            raise DataError(
                f"{place}: a turn of {turn.speaker!r} ends at {turn.end_seconds:.2f} s, but the audio has "
                f"{utterance.seconds:.2f} s. Check that the reference belongs to this recording."
            )


def _check_trials(trials: Sequence[Trial], part: Sequence[Utterance], name: str, where: str) -> None:
    ids = {utterance.id for utterance in part}
    absent = sorted({end for trial in trials for end in (trial.enrolment, trial.test)} - ids)
    if absent:
        raise DataError(
            f"{where}: trials of {name} name {_some(absent)} which {name} does not hold. Complete the data."
        )
    if trials and len({trial.same for trial in trials}) < 2:
        kind = "same" if trials[0].same else "different"
        raise DataError(f"{where}: all trials of {name} are of {kind} speakers; an error rate needs both kinds.")


def _check_queries(documents: Sequence[Utterance], queries: Sequence[Utterance], name: str, where: str) -> None:
    ids = {query.id for query in queries}
    strange = sorted({query for document in documents for query in document.target.split()} - ids) if ids else []
    if strange:
        raise DataError(f"{where}: documents of {name} hold {_some(strange)} among no queries of {name}.")


def _check_speakers(fold: Fold, where: str) -> None:
    heard = {name: {u.speaker for u in part if u.speaker} for name, part in fold.splits()}
    for first, second in combinations(heard, 2):
        if both := heard[first] & heard[second]:
            raise DataError(
                f"{where}: {_some(sorted(both))} heard in {first} and in {second}, which must share no speaker. "
                "Split by speaker, or set disjoint_speakers = false if that is meant."
            )


def _some(names: Iterable[str]) -> str:
    return first_few(map(repr, names), more=" and {} more,")
