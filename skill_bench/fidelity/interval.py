"""What other speakers would change: the jackknife over groups of speakers. The regressions stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from scipy.stats import t as student_t

from skill_bench.base.errors import UsageError
from skill_bench.records.fidelity import R2, Fidelity

CONFIDENCE = 0.95


def interval(value: float, without: Sequence[float]) -> R2:
    """Of a value, from the same value without each group of speakers.

    Delete-one-group jackknife (Efron and Tibshirani, An Introduction to the Bootstrap, eq. 11.5), with Student's t.
    """
    half = float(student_t.ppf((1 + CONFIDENCE) / 2, len(without) - 1)) * jackknife_variance(without) ** 0.5
    return R2(value=value, low=value - half, high=value + half)


def jackknife_variance(without: Sequence[float]) -> float:
    """Of a value, from the same value without each group; it has one degree of freedom fewer than there are groups."""
    n, middle = len(without), fmean(without)
    return (n - 1) / n * sum((one - middle) ** 2 for one in without)


def difference(one: Fidelity, other: Fidelity) -> R2:
    """Mean whitened R2 of one student less that of another, paired by the groups of speakers.

    Raises:
        UsageError: they were not measured by the same teacher on the same speech in the same groups.
    """
    for what, own, its in (
        ("teachers", one.teacher.identity, other.teacher.identity),
        ("speech", one.data_fingerprint, other.data_fingerprint),
        ("settings", one.settings, other.settings),
    ):
        if own != its:
            raise UsageError(
                f"{one.student.name} and {other.student.name} have different {what}, so that their fidelity cannot be "
                "compared in pairs. Measure both in one pass: name each with --student."
            )
    a, b = one.readings[0], other.readings[0]
    without = [x - y for x, y in zip(a.whitened_without, b.whitened_without, strict=True)]
    return interval(a.whitened.value - b.whitened.value, without)
