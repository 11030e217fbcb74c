"""R2 on speakers that a regression has not seen, from moments alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from skill_bench.base.errors import DataError
from skill_bench.fidelity.ridge import PENALTIES, WHITENING_THRESHOLD, Moments, Ridge, total

PLAIN, WHITENED = 0, 1


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
