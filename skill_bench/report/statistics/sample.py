"""A cell's test items as something that can be drawn again: values under weights on its units.

A unit is what is drawn as a whole: an utterance, a speaker of verification trials (on both sides of them), the pairs of
one query; or, where that is asked for, all utterances of one speaker. Units are ordered by fold, and each fold is
drawn on its own, so that its share stays what the protocol says.
A metric that is no ratio of counts has a function of weighted rows in `WEIGHTED`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from skill_bench.base.errors import RecordError
from skill_bench.metrics.scoring import FURTHER, SCORERS, Scorer
from skill_bench.records.record import Record
from skill_bench.report.statistics.search import SearchAtThreshold
from skill_bench.report.statistics.weighted import WEIGHTED, VerificationBySpeaker, Weighted

Prediction = Mapping[str, Any]
Predictions = Sequence[Prediction]
Weights = Float[ndarray, "draws units"]
_POOLED = "_pooled"
NOBODY = ""
"""Stands for the speaker of all rows without one: a keyword corpus's silence is cut from the same few noises."""
_OWN_UNITS = ("eer", "mtwv")
"""Metrics whose rows are pairs: of two recordings, of a query and a document."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One metric of one record, in percent or the metric's own unit.

    Attributes:
        units: (fold, name) of each unit, ordered by fold.
        fold_sizes: Units in each fold, in the same order.
        under: Values (draws,) for weights (draws, units); NaN where a draw has nothing to score.
        drawn: The same, as far from the value as it varies; ``under`` itself for most metrics.
        optimism: How much the value is higher than an unbiased one would be.
        unit: What a unit is: ``test item``, ``speaker``, ``query``.
        counts: Numerators and denominators (units,) of a ratio of counts; None for other metrics.
        mean_of_folds: The value is the unweighted mean of the folds' values.
        higher_is_better: Direction.
        highest: The largest value that the metric can have.
    """

    units: tuple[tuple[str, str], ...]
    fold_sizes: tuple[int, ...]
    under: Weighted
    drawn: Weighted
    optimism: float = 0.0
    unit: str = "test item"
    counts: tuple[Float[ndarray, " units"], Float[ndarray, " units"]] | None
    mean_of_folds: bool
    higher_is_better: bool
    highest: float

    @property
    def value(self) -> float:
        """The metric itself: every unit once."""
        return float(self.under(np.ones((1, len(self.units))))[0])

    @property
    def shares(self) -> tuple[int, ...]:
        """Units of each part that has a share of its own in the value: each fold, or all together."""
        return self.fold_sizes if self.mean_of_folds else (len(self.units),)

    @property
    def is_proportion(self) -> bool:
        """Whether every unit counts the same and lies between 0 and 1, as right and wrong labels do."""
        if self.counts is None:
            return False
        numerators, denominators = self.counts
        return bool((denominators == 1).all() and (numerators <= 1).all() and (numerators >= 0).all())


def knows_speakers(rows: Predictions, metric: str) -> bool:
    """Whether ``metric`` can be drawn by speaker.

    Not where who speaks is what is to be told: these speakers are the classes, others would be another task.
    """
    known = [row for row in rows if "speaker" in row]
    asked = all(row["target"] == row["speaker"] for row in known)
    return bool(known) and not asked and metric.removesuffix(_POOLED) not in _OWN_UNITS


def sample_of(record: Record, rows: Predictions, metric: str, *, by_speaker: bool = False) -> Sample:
    """The sample of ``metric`` from a record's predictions.

    Args:
        by_speaker: The units are speakers; for rows of which `knows_speakers` holds.

    Raises:
        RecordError: the metric cannot be computed from rows, or there are none; says which.
    """
    name = metric.removesuffix(_POOLED)
    scorer = (SCORERS.get(record.metric, {}) | FURTHER).get(name)
    where = f"{record.key.upstream} on {record.key.task}, seed {record.key.seed}"
    if scorer is None:
        raise RecordError(f"{where}: {metric} cannot be computed from predictions by this skill-bench.")
    if not rows:
        raise RecordError(f"{where}: its predictions are empty.")
    mean_of_folds = record.task_spec.get("aggregate") == "mean_of_folds" and not metric.endswith(_POOLED)
    together: dict[str, Any] = {
        "higher_is_better": scorer.higher_is_better,
        "highest": 100.0 if scorer.higher_is_better or scorer.share is None else np.inf,
    }
    if name == "eer":
        return _verification(rows, mean_of_folds=mean_of_folds, **together)
    by_unit = _units(rows, field="speaker" if by_speaker else "query" if name == "mtwv" else "id")
    found = {unit: by_unit[unit] for unit in sorted(by_unit, key=lambda unit: unit[0])}
    sizes = _sizes([*found])
    members = list(found.values())
    counts = None
    if scorer.share is not None:
        if not by_speaker and any(len(one) > 1 for one in members):
            raise RecordError(f"{where}: an utterance is there twice in one fold.")
        counts = _counts(members, scorer, stored=name == record.metric, where=where)
    elif name not in WEIGHTED:
        raise RecordError(f"{where}: no way is known to draw the test items of {metric} again.")
    mean_of_folds = mean_of_folds and len(sizes) > 1
    parts = _slices(sizes if mean_of_folds else (len(found),))
    functions = [_ratio(*(c[p] for c in counts)) if counts else WEIGHTED[name](members[p]) for p in parts]
    searches = [SearchAtThreshold(members[p]) for p in parts] if name == "mtwv" else []
    return Sample(
        units=tuple(found),
        fold_sizes=sizes,
        under=_mean_of(parts, functions),
        drawn=_mean_of(parts, [one.drawn for one in searches] or functions),
        optimism=float(np.mean([one.optimism for one in searches])) if searches else 0.0,
        unit="speaker" if by_speaker else "query" if searches else "test item",
        counts=counts,
        mean_of_folds=mean_of_folds,
        **together,
    )


def mean_of(samples: Sequence[Sample]) -> Sample:
    """One sample with the mean of the values of ``samples``, over the same units: one model, probed several times.

    Raises:
        ValueError: the units differ.
    """
    one = samples[0]
    if any(sample.units != one.units for sample in samples):
        raise ValueError("the samples must have the same test items")

    def under(weights: Weights) -> Float[ndarray, " draws"]:
        return np.asarray(np.mean([sample.under(weights) for sample in samples], axis=0))

    def drawn(weights: Weights) -> Float[ndarray, " draws"]:
        return np.asarray(np.mean([sample.drawn(weights) for sample in samples], axis=0))

    optimism = float(np.mean([sample.optimism for sample in samples]))
    pairs = [sample.counts for sample in samples if sample.counts is not None]
    counts = None
    if len(pairs) == len(samples) and all((d == pairs[0][1]).all() for _, d in pairs):
        counts = np.asarray(np.mean([n for n, _ in pairs], axis=0)), pairs[0][1]
    return replace(one, under=under, drawn=drawn, optimism=optimism, counts=counts)


def _verification(rows: Predictions, *, mean_of_folds: bool, **together: Any) -> Sample:
    """Trials, of which speakers are drawn; folds are told apart where each has its own share in the value."""
    folds: dict[str, list[Prediction]] = {}
    for row in rows:
        folds.setdefault(str(row["fold"]) if mean_of_folds else "all", []).append(row)
    parts = {fold: VerificationBySpeaker(folds[fold]) for fold in sorted(folds)}
    units = tuple((fold, name) for fold, part in parts.items() for name in part.names)
    slices = _slices(_sizes(units))
    return Sample(
        units=units,
        fold_sizes=_sizes(units),
        under=_mean_of(slices, [part.under for part in parts.values()]),
        drawn=_mean_of(slices, [part.drawn for part in parts.values()]),
        unit="speaker",
        counts=None,
        mean_of_folds=len(parts) > 1,
        **together,
    )


def _sizes(units: Sequence[tuple[str, str]]) -> tuple[int, ...]:
    """How many units each fold has; they are ordered by fold."""
    return tuple(Counter(fold for fold, _ in units).values())


def _slices(sizes: Sequence[int]) -> list[slice]:
    ends = np.cumsum(sizes).tolist()
    return [slice(end - n, end) for end, n in zip(ends, sizes, strict=True)]


def _units(rows: Predictions, *, field: str) -> dict[tuple[str, str], list[Prediction]]:
    found: dict[tuple[str, str], list[Prediction]] = {}
    for row in rows:
        name = row.get(field, NOBODY) if field == "speaker" else row[field]
        found.setdefault((str(row["fold"]), str(name)), []).append(row)
    return found


def _counts(
    units: Sequence[Predictions], scorer: Scorer, *, stored: bool, where: str
) -> tuple[Float[ndarray, " units"], Float[ndarray, " units"]]:
    """Counts of each unit: those that the rows carry for the task's own metric, else counted again."""

    def of(row: Prediction) -> tuple[float, float]:
        if stored:
            return row["numerator"], row["denominator"]
        assert scorer.share is not None
        ratio = scorer.share(row)
        return ratio.numerator, ratio.denominator

    counts = np.array([of(row) for rows in units for row in rows], dtype=np.float64)
    if not np.isfinite(counts).all():
        raise RecordError(f"{where}: a prediction has counts that are not finite.")
    unit = np.repeat(np.arange(len(units)), [len(rows) for rows in units])
    # Added up in the order of the rows.
    numerators, denominators = (np.bincount(unit, column, minlength=len(units)) for column in counts.T)
    return numerators, denominators


def _ratio(numerators: Float[ndarray, " units"], denominators: Float[ndarray, " units"]) -> Weighted:
    """The percentage of all counts together."""

    def under(weights: Weights) -> Float[ndarray, " draws"]:
        with np.errstate(invalid="ignore"):
            return np.asarray(100 * (weights @ numerators) / (weights @ denominators))

    return under


def _mean_of(parts: Sequence[slice], functions: Sequence[Weighted]) -> Weighted:
    """The unweighted mean of what each function gives for its part of the units."""

    def under(weights: Weights) -> Float[ndarray, " draws"]:
        values = [function(weights[:, part]) for part, function in zip(parts, functions, strict=True)]
        return np.asarray(np.mean(values, axis=0))

    return under
