"""A confidence interval."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Interval:
    """From ``low`` to ``high`` in the unit of the metric; ``level`` 0.95 means 95 %. ``method`` says how."""

    low: float
    high: float
    level: float = 0.95
    method: str
