"""The rules: when is a task worse, when is a cost another? Records in, findings out; nothing is run.

A task fails if the model is worse beyond chance: the paired test of `skill_bench.report.statistics.paired`, one-sided,
with Holm's correction over all tasks and a mean, so that the probability of any false alarm is at most the level.
The mean over the tasks that count (`skill_bench.report.table.telling`) is tested beside them: a small loss everywhere
shows there first. A margin, if one is given, fails any task that is worse by more, shown to be so or not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from skill_bench.base.errors import RecordError
from skill_bench.guard.baseline import Costs
from skill_bench.guard.findings import Finding, Status
from skill_bench.records.record import Record
from skill_bench.report.comparison import compare_entries, p_text, signed
from skill_bench.report.statistics.paired import Comparison, Overall, holm, overall
from skill_bench.report.table.blocks import variant
from skill_bench.report.table.columns import Column
from skill_bench.report.table.entry import FoundRecord

ALL_TASKS, COUNTING = "all tasks", "tasks that count"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How strict a check is.

    Attributes:
        level: Probability of any false alarm over all tasks; 0 leaves the test out.
        margin_points: Fails a task that is worse by more points than this, significant or not; None for no margin.
        throughput_loss: Fails below this share of the baseline's ratio to the reference model: 0.3 allows 30 % less.
    """

    level: float = 0.05
    margin_points: float | None = None
    throughput_loss: float = 0.3

    def describe(self) -> str:
        """For the head of a report."""
        parts = []
        if self.level:
            parts.append(f"worse beyond a paired one-sided test at level {self.level:g} (Holm over tasks)")
        if self.margin_points is not None:
            parts.append(f"worse by more than {self.margin_points:g} points")
        return (
            f"A task fails if it is {' or '.join(parts) or 'missing'}; parameters and MACs must be equal; throughput "
            f"may lose {100 * self.throughput_loss:g} % beside the reference model."
        )


def judge_tasks(
    before: Mapping[str, Sequence[FoundRecord]],
    now: Mapping[str, Sequence[FoundRecord]],
    rules: Rules,
    *,
    left_out: Collection[str] = (),
) -> list[Finding]:
    """A finding for every task of ``now``, and for the mean of those that count if there are several.

    Args:
        before: The baseline's records of each task, one a seed.
        now: This run's.
        left_out: Tasks that do not count in a mean.
    """
    compared: dict[str, tuple[Column, Comparison]] = {}
    findings = []
    for task, entries in now.items():
        try:
            compared[task] = _compare(task, before.get(task, ()), entries)
        except RecordError as error:
            findings.append(Finding(name=task, status="error", before="", now="", message=str(error)))
    comparisons = [comparison for _, comparison in compared.values()]
    counting = [comparison for task, (_, comparison) in compared.items() if task not in left_out]
    mean = overall(counting) if len(counting) > 1 else None
    one_sided = [comparison.p_worse for comparison in comparisons] + ([mean.p_worse] if mean else [])
    corrected = holm(one_sided)
    findings += [
        _task(task, column, found, p, rules)
        for (task, (column, found)), p in zip(compared.items(), corrected, strict=False)
    ]
    name = COUNTING if len(counting) < len(comparisons) else ALL_TASKS
    return findings if mean is None else [*findings, _mean(name, mean, corrected[-1], rules)]


def judge_costs(before: Costs, now: Costs, rules: Rules) -> list[Finding]:
    """Counts exactly; throughput by its ratio to the reference model."""
    findings = [
        _exact("parameters", before.parameters, now.parameters),
        _exact("MACs", before.macs, now.macs),
    ]
    if before.throughput_ratio is None or now.throughput_ratio is None or before.reference != now.reference:
        return findings  # not asked for, or nothing to compare with
    least = before.throughput_ratio * (1 - rules.throughput_loss)
    slow = now.throughput_ratio < least
    findings.append(
        Finding(
            name="throughput",
            status="failed" if slow else "passed",
            before=f"{before.throughput_ratio:.2f} x {before.reference}",
            now=f"{now.throughput_ratio:.2f} x {now.reference}",
            message=f"{'below' if slow else 'not below'} {least:.2f} times the reference model, timed in this process",
        )
    )
    return findings


def _compare(task: str, before: Sequence[FoundRecord], now: Sequence[FoundRecord]) -> tuple[Column, Comparison]:
    if not before:
        raise RecordError(f"{task}: the baseline has no record of it. Add the task with --update.")
    failed = [entry.record for entry in now if entry.record.error is not None]
    if failed and failed[0].error is not None:
        raise RecordError(f"{task} failed: {failed[0].error.type}: {failed[0].error.message}")
    ours, theirs = {variant(entry.record) for entry in before}, {variant(entry.record) for entry in now}
    if ours != theirs:
        raise RecordError(
            f"{task}: the baseline was made with another task version, data or settings. Nothing can be said; make a "
            "new baseline with --update."
        )
    return _column(now[0].record), compare_entries(_column(now[0].record), before, now)


def _column(record: Record) -> Column:
    metric = record.metrics[record.metric]
    return Column(
        task=record.key.task, metric=record.metric, unit=metric.unit, higher_is_better=metric.higher_is_better
    )


def _task(task: str, column: Column, found: Comparison, p: float, rules: Rules) -> Finding:
    status, why = _status(found.difference, p, rules)
    return Finding(
        name=task,
        status=status,
        before=f"{found.a:.2f} ({column.heading})",
        now=f"{found.b:.2f}",
        message=f"{_points(found.difference, found.interval.low, found.interval.high)}, p = {p_text(p)}: {why}",
    )


def _mean(name: str, found: Overall, p: float, rules: Rules) -> Finding:
    status, why = _status(found.difference, p, rules)
    return Finding(
        name=name,
        status=status,
        before="mean of points",
        now=signed(found.difference, 2),
        message=f"{_points(found.difference, found.interval.low, found.interval.high)}, p = {p_text(p)}: {why}",
    )


def _status(difference: float, p: float, rules: Rules) -> tuple[Status, str]:
    if p < rules.level and difference < 0:
        return "failed", f"worse beyond chance at level {rules.level:g}"
    if rules.margin_points is not None and difference < -rules.margin_points:
        return "failed", f"worse by more than the margin of {rules.margin_points:g} points"
    return "passed", "not shown to be worse"


def _points(difference: float, low: float, high: float) -> str:
    return f"{signed(difference, 2)} points [{signed(low, 1)}, {signed(high, 1)}]"


def _exact(name: str, before: int | None, now: int | None) -> Finding:
    same = before == now
    return Finding(
        name=name,
        status="passed" if same else "failed",
        before="not counted" if before is None else f"{before:,}",
        now="not counted" if now is None else f"{now:,}",
        message="equal" if same else "changed. If that was meant, make a new baseline with --update",
    )
