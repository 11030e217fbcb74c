"""Columns of a table: units in the names, and which direction is better."""

from __future__ import annotations

from dataclasses import dataclass

from skill_bench.metrics.scales import IN_POINTS, SCALES, sign_of
from skill_bench.records.record import Record

TASK_ORDER = ("pr", "asr", "asr_lm", "ks", "qbe", "sid", "asv", "sd", "ic", "sf", "er")
"""SUPERB's (arXiv 2105.01051, section 2): content, speaker, semantics, paralinguistics."""
_SHORT = {"accuracy": "acc", "mtwv": "MTWV", "f1": "F1"}


@dataclass(frozen=True, kw_only=True)
class Column:
    """One metric of one task. ``primary``: the metric by which the task is judged."""

    task: str
    metric: str
    unit: str
    higher_is_better: bool
    primary: bool = True

    @property
    def name(self) -> str:
        """For example ``ks_accuracy_percent``."""
        return f"{self.task}_{self.metric}_{self.unit}"

    @property
    def heading(self) -> str:
        """For example ``KS acc % ↑``."""
        return f"{self.label} {'↑' if self.higher_is_better else '↓'}"

    @property
    def label(self) -> str:
        """For example ``KS acc %``."""
        metric = _SHORT.get(self.metric, self.metric.replace("_", " ").upper())
        return f"{task_label(self.task)} {metric} {sign_of(self.unit)}"

    @property
    def has_points(self) -> bool:
        """Whether the unit lets it enter a mean: per cent, or a value that is given times 100 (MTWV)."""
        return self.unit in IN_POINTS

    def points(self, value: float) -> float:
        """``value`` with higher better: an error rate in percent enters as 100 minus it."""
        return value if self.higher_is_better else 100 - value


def columns_in(record: Record) -> list[Column]:
    """The metrics of a record, also those without a value."""
    return [
        Column(
            task=record.key.task,
            metric=name,
            unit=metric.unit,
            higher_is_better=metric.higher_is_better,
            primary=name == record.metric,
        )
        for name, metric in record.metrics.items()
    ]


def task_label(task: str) -> str:
    """For example ``ASR LM``."""
    return task.upper().replace("_", " ")


def in_order(task: str) -> tuple[int, str]:
    """Sorts tasks as SUPERB does, others behind them by name."""
    return TASK_ORDER.index(task) if task in TASK_ORDER else len(TASK_ORDER), task


def published_column(name: str) -> Column | None:
    """The metric that a column of a published table holds, or None: ``asr_lm_wer_percent`` -> task asr_lm, wer."""
    parts = name.rsplit("_", 2)
    if len(parts) != 3 or parts[1] not in SCALES:
        return None
    task, metric, unit = parts
    return Column(task=task, metric=metric, unit=unit, higher_is_better=SCALES[metric].higher_is_better)
