"""How many labels are right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from skill_bench.metrics.ratio import Ratio


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
