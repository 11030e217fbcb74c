"""R2 on speakers that a regression has not seen, from moments alone.

Speakers come in groups of about equal length, and groups in folds: no speaker is on both sides of a test.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from skill_bench.base.counted import counted
from skill_bench.base.errors import DataError, UsageError
from skill_bench.base.hashed import digest
from skill_bench.corpora.data import Utterance
from skill_bench.fidelity.ridge import PENALTIES, WHITENING_THRESHOLD, Moments, Ridge, total

LEAST_FOLDS = 3
"""One to test on, and two of which each chooses the penalty for the other."""
PLAIN, WHITENED = 0, 1


@dataclass(frozen=True, kw_only=True)
class Speakers:
    """Attributes:
    group_of: By utterance id.
    fold_of: By group.
    n_speakers: A file whose speaker is unknown counts as one.
    n_unknown: How many such files there are.
    """

    group_of: Mapping[str, int]
    fold_of: tuple[int, ...]
    n_speakers: int
    n_unknown: int


def divide(utterances: Sequence[Utterance], *, n_folds: int, n_groups: int) -> Speakers:
    """At most ``n_groups`` groups of whole speakers, each in one of ``n_folds`` folds, whatever the utterances' order.

    The longest first, each to the group (fold) with the least speech; a hash of the name decides between equals.

    Raises:
        UsageError: fewer than 3 folds, or fewer groups than folds.
        DataError: fewer speakers than folds.
    """
    if n_folds < LEAST_FOLDS or n_groups < n_folds:
        raise UsageError(
            f"{counted(n_folds, 'fold')} of {counted(n_groups, 'group')} of speakers: expected at least {LEAST_FOLDS} "
            "folds, and as many groups as folds or more. Change --folds or --groups."
        )
    seconds: dict[str, float] = defaultdict(float)
    for utterance in utterances:
        seconds[_speaker(utterance)] += utterance.seconds or 0.0
    if len(seconds) < n_folds:
        raise DataError(
            f"{counted(len(seconds), 'speaker')} for {n_folds} folds: expected at least one speaker a fold. Give "
            f"speech of more speakers, or lower --folds (at least {LEAST_FOLDS})."
        )
    group_of = _balanced(seconds, min(n_groups, len(seconds)))
    lengths: dict[str, float] = defaultdict(float)
    for name, group in group_of.items():
        lengths[str(group)] += seconds[name]
    fold_of = _balanced(lengths, n_folds)
    return Speakers(
        group_of={utterance.id: group_of[_speaker(utterance)] for utterance in utterances},
        fold_of=tuple(fold_of[str(group)] for group in range(len(lengths))),
        n_speakers=len(seconds),
        n_unknown=sum(utterance.speaker is None for utterance in utterances),
    )


def _speaker(utterance: Utterance) -> str:
    return f"file {utterance.id}" if utterance.speaker is None else f"speaker {utterance.speaker}"


def _balanced(lengths: Mapping[str, float], n_parts: int) -> dict[str, int]:
    # The second entry spreads names without a length.
    parts = [(0.0, 0, part) for part in range(n_parts)]
    found = {}
    for name in sorted(lengths, key=lambda name: (-lengths[name], digest(name))):
        total, n_names, part = heapq.heappop(parts)
        found[name] = part
        heapq.heappush(parts, (total + lengths[name], n_names + 1, part))
    return found


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What is left of each group's frames by regressions that were fitted without its fold; first plain, then whitened.

    Attributes:
        errors: ``(2, groups)``, sums of squared residuals.
        totals: ``(2, groups)``, sums of squares about the training frames' mean.
        penalties: ``(2, folds)``, chosen within the other folds.
        n_directions: Fewest that were whitened in a fold.
    """

    errors: NDArray[np.float64]
    totals: NDArray[np.float64]
    penalties: NDArray[np.float64]
    n_directions: int

    def r2(self) -> NDArray[np.float64]:
        """``(2,)``, over all groups."""
        found: NDArray[np.float64] = 1 - self.errors.sum(1) / self.totals.sum(1)
        return found

    def without(self) -> NDArray[np.float64]:
        """``(2, groups)``, `r2` without each group."""
        errors, totals = self.errors.sum(1, keepdims=True), self.totals.sum(1, keepdims=True)
        found: NDArray[np.float64] = 1 - (errors - self.errors) / (totals - self.totals)
        return found


def held_out(
    groups: Sequence[Moments],
    fold_of: Sequence[int],
    *,
    penalties: tuple[float, ...] = PENALTIES,
    whitening_threshold: float = WHITENING_THRESHOLD,
) -> HeldOut:
    """Each fold's groups, predicted by a regression on the other folds.

    Its penalty is the one that does best where each of those other folds is predicted by the remaining ones, for the
    plain and the whitened R2 apart.

    Args:
        groups: Moments of each group of speakers.
        fold_of: The fold of each.

    Raises:
        DataError: fewer training frames than dimensions, or a state that does not vary.
    """
    n_folds = max(fold_of) + 1
    folds = [total(own for own, at in zip(groups, fold_of, strict=True) if at == fold) for fold in range(n_folds)]

    @cache
    def without(*left_out: int) -> Ridge:
        return _fit(total(fold for at, fold in enumerate(folds) if at not in left_out), whitening_threshold)

    errors, totals = np.zeros((2, len(groups))), np.zeros((2, len(groups)))
    chosen = np.zeros((2, n_folds))
    for fold in range(n_folds):
        inner = np.zeros((len(penalties) + 1, 2))
        for other in (at for at in range(n_folds) if at != fold):
            inner += without(*sorted((fold, other))).squares(folds[other], penalties)
        chosen[:, fold] = [penalties[index] for index in inner[:-1].argmin(0)]
        for group in (at for at, own in enumerate(fold_of) if own == fold):
            plain, whitened, whole = without(fold).squares(groups[group], chosen[:, fold].tolist())
            errors[:, group], totals[:, group] = (plain[PLAIN], whitened[WHITENED]), whole
    return HeldOut(
        errors=errors,
        totals=totals,
        penalties=chosen,
        n_directions=min(without(fold).n_directions for fold in range(n_folds)),
    )


def _fit(train: Moments, whitening_threshold: float) -> Ridge:
    if train.n <= len(train.x):
        raise DataError(
            f"{train.n:g} frames to fit a regression from {len(train.x)} dimensions: expected more frames than "
            "dimensions, and many more to learn anything from it. Give more speech."
        )
    try:
        return Ridge.fit(train, whitening_threshold=whitening_threshold)
    except ValueError as error:
        raise DataError(
            f"{error}: there is nothing to predict. Give speech instead of silence, or another model."
        ) from (error)
