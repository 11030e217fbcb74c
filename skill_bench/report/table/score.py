"""Two scores of the whole SUPERB benchmark. A missing task makes either undefined: None, never a partial mean.

``superb_score`` is the public board's: per task 1000 * (s - fbank) / (sota - fbank), where s is the metric with higher
better (100 minus an error rate) and sota the best result when the board opened; slot filling counts once, as the mean
of its two metrics. Source: superbbenchmark's score code, of the SUPERB challenge at SLT 2022 (arXiv 2210.08634).
``overall_score`` is what distillation papers print: the mean of the eleven metrics, error rates as 100 minus them
(for example DPHuBERT, arXiv 2305.17651).
"""

from __future__ import annotations

from collections.abc import Mapping

from skill_bench.report.table.columns import published_column

WHOLE_SUPERB = ("official", "superb")
"""Suites of SUPERB's own corpora: on others the scores' anchors mean nothing."""

ANCHORS: dict[str, tuple[float, float]] = {
    "pr_per_percent": (17.99, 96.47),
    "asr_wer_percent": (76.82, 96.38),
    "ks_accuracy_percent": (41.3826674, 96.66),
    "ic_accuracy_percent": (9.649354219, 98.76),
    "sid_accuracy_percent": (20.058174, 90.3),
    "er_accuracy_percent": (48.23672168, 67.62),
    "qbe_mtwv_x100": (0.58, 7.36),
    "sf_f1_percent": (69.64, 89.81),
    "sf_cer_percent": (47.06, 78.24),
    "asv_eer_percent": (90.44, 94.89),
    "sd_der_percent": (89.95, 94.38),
}
"""Column -> (fbank, best), with higher better."""


def superb_score(values: Mapping[str, float | None]) -> float | None:
    """The public board's score of metrics by column name, or None where one is missing."""
    points = _points(values)
    if points is None:
        return None
    scores = {name: 1000 * (points[name] - low) / (high - low) for name, (low, high) in ANCHORS.items()}
    slot_filling = (scores.pop("sf_f1_percent") + scores.pop("sf_cer_percent")) / 2
    return (sum(scores.values()) + slot_filling) / (len(scores) + 1)


def overall_score(values: Mapping[str, float | None]) -> float | None:
    """The mean of the eleven metrics, higher better, or None where one is missing."""
    points = _points(values)
    return None if points is None else sum(points.values()) / len(points)


def _points(values: Mapping[str, float | None]) -> dict[str, float] | None:
    points = {}
    for name in ANCHORS:
        value, column = values.get(name), published_column(name)
        assert column is not None, name
        if value is None:
            return None
        points[name] = column.points(value)
    return points
