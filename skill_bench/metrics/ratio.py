"""A score with what it was counted from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """``numerator`` of ``denominator``; without anything counted it has no value (never 0.0)."""

    numerator: float
    denominator: int

    @property
    def percent(self) -> float | None:
        """``100 * numerator / denominator``, or None when the denominator is 0."""
        return 100.0 * self.numerator / self.denominator if self.denominator else None

    def __add__(self, other: Ratio) -> Ratio:
        return Ratio(numerator=self.numerator + other.numerator, denominator=self.denominator + other.denominator)


def pooled(ratios: Iterable[Ratio]) -> Ratio:
    """All counts together: the score of the joined corpora."""
    return sum(ratios, start=Ratio(numerator=0, denominator=0))
