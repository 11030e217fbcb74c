"""One record in words: what was measured, how it was chosen, which layers it used."""

from __future__ import annotations

from collections.abc import Sequence

from skill_bench.metrics.scales import sign_of
from skill_bench.records.record import CurvePoint, Metric, Record
from skill_bench.report.table.entry import staleness

_BAR = 40


def describe(record: Record) -> list[str]:
    """Lines of text, without markup."""
    key = record.key
    lines = [
        f"{record.system.title} ({key.upstream}) on {key.task}, suite {key.suite}, protocol {key.protocol}, "
        f"seed {key.seed}, task version {key.task_version}"
    ]
    if record.error is not None:
        return [*lines, f"failed: {record.error.type}: {record.error.message}"]
    if (stale := staleness(record)) is not None:
        lines.append(stale)
    if record.rescored_from_version is not None:
        lines.append(f"rescored from version {record.rescored_from_version}")
    for name, metric in record.metrics.items():
        lines.append(f"  {name:<20} {_metric(metric)}{' (judges the task)' if name == record.metric else ''}")
    for fold, metrics in record.folds.items():
        lines.append(f"  fold {fold:<15} {_metric(metrics[record.metric])}")
    lines += _selection(record)
    lines += _layers(record.layer_weights)
    if record.data is not None:
        counts = f"{record.data.n_train} train, {record.data.n_dev} dev, {record.data.n_test} test utterances"
        lines.append(f"{counts}{', synthetic speech' if record.data.synthetic else ''}")
        lines += [f"  {note}" for note in record.data.notes]
    return lines


def _metric(metric: Metric) -> str:
    better = "higher is better" if metric.higher_is_better else "lower is better"
    if metric.value is None:
        return f"absent: {metric.reason}"
    counts = "" if metric.denominator is None else f" = {metric.numerator:g} / {metric.denominator:g}"
    return f"{metric.value:.2f} {sign_of(metric.unit)}{counts}, {better}"


def _selection(record: Record) -> list[str]:
    if record.selection is None:
        return []
    chosen, best = record.selection, _best(record)
    if chosen.layer is not None:
        lines = [f"layer {chosen.layer}, chosen by {chosen.metric} on dev:"]
    else:
        rate = "?" if chosen.learning_rate is None else f"{chosen.learning_rate:g}"
        lines = [f"learning rate {rate}, chosen by {chosen.metric}; best dev values:"]
    return lines + [
        f"  {label:<12} {'diverged' if p.value is None else f'{p.value:.2f}'}{f' at step {p.step}' if p.step else ''}"
        for label, p in best.items()
    ]


def _best(record: Record) -> dict[str, CurvePoint]:
    """The best dev point of every learning rate or layer."""
    assert record.selection is not None
    # What is chosen by is an error unless the task's own metric is better when higher.
    judged = record.metrics[record.metric]
    sign = 1 if judged.higher_is_better else -1
    found: dict[str, CurvePoint] = {}
    for point in record.selection.curve:
        label = f"layer {point.layer}" if point.layer is not None else f"{point.learning_rate:g}"
        label += f", {point.fold}" if point.fold else ""
        best = found.get(label)
        if best is None or best.value is None or (point.value is not None and sign * point.value > sign * best.value):
            found[label] = point
    return found


def _layers(weights: Sequence[float]) -> list[str]:
    """A bar a hidden state, the longest for the largest weight."""
    most = max(weights, default=0.0)
    if not 0 < most <= 1 or min(weights) < 0:  # no weights that a softmax gives
        return [f"weights of hidden states: {', '.join(f'{weight:g}' for weight in weights)}"] if weights else []
    return ["weight of each hidden state:"] + [
        f"  {i:>3} {weight:6.3f} {'█' * round(_BAR * weight / most)}".rstrip() for i, weight in enumerate(weights)
    ]
