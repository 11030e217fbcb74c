"""What the number of each metric means: its unit and its direction, said here once."""

from __future__ import annotations

from dataclasses import dataclass

from skill_bench.records.record import PERCENT

TIMES_100 = "x100"
IN_POINTS = (PERCENT, TIMES_100)
"""Units in which a metric may enter a mean over tasks."""


def sign_of(unit: str) -> str:
    """As it is printed behind a number."""
    return "%" if unit == PERCENT else unit


@dataclass(frozen=True, kw_only=True)
class Scale:
    """``unit``: ``percent``, or ``x100`` for a value that is given times 100 and may be negative."""

    higher_is_better: bool
    unit: str = PERCENT


SCALES = {
    "accuracy": Scale(higher_is_better=True),
    "unweighted_accuracy": Scale(higher_is_better=True),
    "f1": Scale(higher_is_better=True),
    "mtwv": Scale(higher_is_better=True, unit=TIMES_100),
    "per": Scale(higher_is_better=False),
    "wer": Scale(higher_is_better=False),
    "cer": Scale(higher_is_better=False),
    "eer": Scale(higher_is_better=False),
    "der": Scale(higher_is_better=False),
}
"""By the metric's name in task files, records and columns."""
