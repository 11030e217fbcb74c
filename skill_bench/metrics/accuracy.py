"""How many labels are right."""

from __future__ import annotations

from collections.abc import Sequence

from skill_bench.metrics.ratio import Ratio


def accuracy(*, targets: Sequence[str], predictions: Sequence[str]) -> Ratio:
    """Right labels of all labels.

    Raises:
        ValueError: the sequences differ in length.
    """
    right = sum(target == prediction for target, prediction in zip(targets, predictions, strict=True))
    return Ratio(numerator=right, denominator=len(targets))
