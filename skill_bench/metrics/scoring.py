"""From stored predictions to metrics: the one way, for a run that just ended and for a record that is rescored.

A row is one JSON object a test item. Every row has ``id``, ``fold``, ``target``, and ``numerator`` and
``denominator`` of the task's metric (null where a metric has no share of single items). Besides these:

==================  =================================================================================================
labels, texts       ``prediction``
diarization         ``target`` and ``prediction`` as ``[speaker, start, end]`` in frames (the target's may lie between
                    two), ``n_frames``, ``frame_seconds``; ``missed``, ``false_alarm``, ``confused`` in frames
verification        a trial: ``enrolment``, ``test``, ``target`` "same" or "different", ``score``; since they are
                    written, ``enrolment_speaker`` and ``test_speaker``
spoken-term search  a pair: ``query``, ``document``, ``target`` "present" or "absent", ``score``
==================  =================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skill_bench.metrics import diarization, slots
from skill_bench.metrics.edits import character_error_rate, word_error_rate
from skill_bench.metrics.ratio import Ratio, accuracy, pooled, unweighted_accuracy
from skill_bench.metrics.scales import SCALES
from skill_bench.metrics.search import maximum_term_weighted_value
from skill_bench.metrics.verification import equal_error_rate
from skill_bench.records.record import Metric

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """One metric of `SCALES`. Either ``share`` is given, the counts of one row, or ``value``, of all rows together.

    ``parts``: counts behind a row's share that the row keeps by name.
    """

    name: str
    share: Callable[[Row], Ratio] | None = None
    value: Callable[[Sequence[Row]], float | None] | None = None
    parts: Callable[[Row], Mapping[str, float]] = lambda _: {}

    @property
    def higher_is_better(self) -> bool:
        """Direction."""
        return SCALES[self.name].higher_is_better

    def of(self, rows: Sequence[Row]) -> Metric:
        """The metric over rows."""
        if self.share is not None:
            ratio = pooled(self.share(row) for row in rows)
            return Metric.percent(ratio.numerator, ratio.denominator, higher_is_better=self.higher_is_better)
        assert self.value is not None
        return self.metric(self.value(rows))

    def metric(self, value: float | None, *, reason: str = "nothing to score") -> Metric:
        """A value of this metric that has no counts."""
        return Metric(
            value=value,
            reason=None if value is not None else reason,
            unit=SCALES[self.name].unit,
            higher_is_better=self.higher_is_better,
        )


def score(
    metric: str, rows: Sequence[Row], *, further: Sequence[str] = (), mean_of_folds: bool = False
) -> tuple[dict[str, Metric], dict[str, dict[str, Metric]]]:
    """Metrics over everything, and of each fold.

    Args:
        metric: The task's metric, a key of `SCORERS`.
        rows: Test predictions of all folds.
        further: More metrics of the same rows, keys of `FURTHER`.
        mean_of_folds: The unweighted mean of the folds, as SUPERB averages ER; the score of all rows together is
            then under ``<metric>_pooled``.
    """
    scorers = SCORERS[metric] | {name: FURTHER[name] for name in further}
    by_fold: dict[str, list[Row]] = {}
    for row in rows:
        by_fold.setdefault(str(row["fold"]), []).append(row)
    folds = {fold: {name: s.of(own) for name, s in scorers.items()} for fold, own in by_fold.items()}
    together = {name: scorer.of(rows) for name, scorer in scorers.items()}
    if not mean_of_folds:
        return together, folds
    metrics = {f"{name}_pooled": found for name, found in together.items()}
    for name, scorer in scorers.items():
        values = [found[name].value for found in folds.values()]
        known = [value for value in values if value is not None]
        mean = sum(known) / len(known) if known and len(known) == len(values) else None
        metrics[name] = scorer.metric(mean, reason="a fold has nothing to score")
    return metrics, folds


def with_counts(metric: str, row: Row) -> dict[str, Any]:
    """The row with its share of the task's metric as ``numerator`` and ``denominator``."""
    scorer = SCORERS[metric][metric]
    ratio = None if scorer.share is None else scorer.share(row)
    return {
        **row,
        **scorer.parts(row),
        "numerator": None if ratio is None else ratio.numerator,
        "denominator": None if ratio is None else ratio.denominator,
    }


def _diarization_errors(row: Row) -> diarization.DiarizationErrors:
    return diarization.segment_errors(reference=row["target"], found=row["prediction"])


def _kinds_of_errors(row: Row) -> Mapping[str, float]:
    errors = _diarization_errors(row)
    return {"missed": errors.missed, "false_alarm": errors.false_alarm, "confused": errors.confused}


def _of_texts(function: Callable[..., Ratio]) -> Callable[[Row], Ratio]:
    """A row's share under a function of many targets and predictions."""
    return lambda row: function(targets=[row["target"]], predictions=[row["prediction"]])


def _unweighted_accuracy(rows: Sequence[Row]) -> float | None:
    return unweighted_accuracy(targets=[r["target"] for r in rows], predictions=[r["prediction"] for r in rows])


def _equal_error_rate(rows: Sequence[Row]) -> float | None:
    return equal_error_rate(same=[r["target"] == "same" for r in rows], scores=[r["score"] for r in rows])


def _term_weighted_value(rows: Sequence[Row]) -> float | None:
    value = maximum_term_weighted_value(
        queries=[r["query"] for r in rows],
        present=[r["target"] == "present" for r in rows],
        scores=[r["score"] for r in rows],
    )
    return None if value is None else 100 * value


def _by_name(*scorers: Scorer) -> dict[str, Scorer]:
    return {scorer.name: scorer for scorer in scorers}


SCORERS: dict[str, dict[str, Scorer]] = {
    "accuracy": _by_name(Scorer(name="accuracy", share=_of_texts(accuracy))),
    "per": _by_name(Scorer(name="per", share=_of_texts(word_error_rate))),
    "wer": _by_name(
        Scorer(name="wer", share=_of_texts(word_error_rate)), Scorer(name="cer", share=_of_texts(character_error_rate))
    ),
    "f1": _by_name(
        Scorer(name="f1", share=lambda row: slots.slot_type_f1(target=row["target"], prediction=row["prediction"])),
        Scorer(
            name="cer", share=lambda row: slots.slot_value_edits(target=row["target"], prediction=row["prediction"])
        ),
    ),
    "eer": _by_name(Scorer(name="eer", value=_equal_error_rate)),
    "der": _by_name(Scorer(name="der", share=lambda row: _diarization_errors(row).rate, parts=_kinds_of_errors)),
    "mtwv": _by_name(Scorer(name="mtwv", value=_term_weighted_value)),
}
"""By the metric that judges a task: that metric, and others that its predictions always give."""

FURTHER: dict[str, Scorer] = _by_name(Scorer(name="unweighted_accuracy", value=_unweighted_accuracy))
"""Metrics of labels that a task may ask for."""
