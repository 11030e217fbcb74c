"""A score with what it was counted from; how many labels are right."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """``numerator`` of ``denominator``; without anything counted it has no value (never 0.0)."""

    numerator: float
    denominator: float

    @property
    def percent(self) -> float | None:
        """``100 * numerator / denominator``, or None when the denominator is 0."""
        return 100.0 * self.numerator / self.denominator if self.denominator else None

    def __add__(self, other: Ratio) -> Ratio:
        return Ratio(numerator=self.numerator + other.numerator, denominator=self.denominator + other.denominator)


def pooled(ratios: Iterable[Ratio]) -> Ratio:
    """All counts together: the score of the joined corpora."""
    return sum(ratios, start=Ratio(numerator=0, denominator=0))


def standard_error_percent(ratios: Sequence[Ratio]) -> float:
    """Standard error of the pooled rate when items are drawn anew, in points; one item each.

    The linearised ratio estimator (Cochran, Sampling Techniques, 1977, eq. 6.13), which for right or wrong items is
    the binomial one. Never below one unit of the denominator: items that are all right, or all wrong, do not show
    their noise. Infinite for fewer than two items or where nothing is counted.
    """
    together, n = pooled(ratios), len(ratios)
    if n < 2 or not together.denominator:
        return math.inf
    rate = together.numerator / together.denominator
    squares = sum((ratio.numerator - rate * ratio.denominator) ** 2 for ratio in ratios)
    return 100 * max(math.sqrt(n / (n - 1) * squares), 1.0) / together.denominator


def accuracy(*, targets: Sequence[str], predictions: Sequence[str]) -> Ratio:
    """Right labels of all labels. A label of several slots is right when all of them are.

    Raises:
        ValueError: the sequences differ in length.
    """
    right = sum(target == prediction for target, prediction in zip(targets, predictions, strict=True))
    return Ratio(numerator=right, denominator=len(targets))


def unweighted_accuracy(*, targets: Sequence[str], predictions: Sequence[str]) -> float | None:
    """Mean over the classes that occur of the percentage of their labels that are right; None without any.

    Raises:
        ValueError: the sequences differ in length.
    """
    occurring = Counter(targets)
    right = Counter(t for t, p in zip(targets, predictions, strict=True) if t == p)
    recalls = [100.0 * right[name] / count for name, count in occurring.items()]
    return sum(recalls) / len(recalls) if recalls else None
