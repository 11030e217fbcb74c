"""What the number of each metric means: its unit and its direction, said here once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Scale:
    """``unit``: ``percent``, or ``x100`` for a value that is given times 100 and may be negative."""

    higher_is_better: bool
    unit: str = "percent"


SCALES = {
    "accuracy": Scale(higher_is_better=True),
    "unweighted_accuracy": Scale(higher_is_better=True),
    "f1": Scale(higher_is_better=True),
    "mtwv": Scale(higher_is_better=True, unit="x100"),
    "per": Scale(higher_is_better=False),
    "wer": Scale(higher_is_better=False),
    "cer": Scale(higher_is_better=False),
    "eer": Scale(higher_is_better=False),
    "der": Scale(higher_is_better=False),
}
"""By the metric's name in task files, records and columns."""
