"""Metrics that are no ratio of counts, under weights on units: an integer weight is a repetition of the unit's rows.

Each entry of `WEIGHTED` takes the rows of each unit and returns a function of weights (draws, units) that gives the
values (draws,), NaN where a draw has nothing to score. With all weights 1 it is the metric of
`skill_bench.metrics.scoring`; tests compare both, and repeated rows with weights. A new metric of this sort needs an
entry here to get an interval.

Speaker verification is drawn by speaker, on both sides of a trial.
Trials share speakers: one whose voice is easily taken for others' spoils all trials of his, as the enrolled or as the
tested one. So speakers are drawn, and a trial counts the product of its two speakers' weights (the pigeonhole
bootstrap: Owen, Annals of Applied Statistics 2007, 1(2), 386-411), once where both are the same. That counts what a
pair of speakers has of its own three times, which is taken back for the most part, see :data:`_EXCESS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from skill_bench.metrics.search import BETA

Units = Sequence[Sequence[Mapping[str, Any]]]
Weighted = Callable[[Float[ndarray, "draws units"]], Float[ndarray, " draws"]]
_DRAWS_AT_ONCE = 64  # keeps draws x trials small for tens of thousands of trials
Rows = Sequence[Mapping[str, Any]]
SIDES = ("enrolment", "test")
_EXCESS = 1.5
"""Of the variance over pairs two parts in three are too much; half of a part stays, since the variance over few
speakers comes out too low (see the simulations in the tests)."""
_PAIR_DRAWS = 400
_SEED = 0


def equal_error_rate(units: Units) -> Weighted:
    """Percent; see `skill_bench.metrics.verification.equal_error_rate`."""
    unit_of, flat = _flat(units)
    same = np.array([row["target"] == "same" for row in flat])
    order, last_of_ties = _by_score(flat)
    unit_of, same = unit_of[order], same[order]

    def under(weights: Float[ndarray, "draws units"]) -> Float[ndarray, " draws"]:
        accepted_true = _accepted(weights[:, unit_of] * same, last_of_ties)
        accepted_false = _accepted(weights[:, unit_of] * ~same, last_of_ties)
        with np.errstate(invalid="ignore", divide="ignore"):
            accepted_true = accepted_true / accepted_true[:, -1:]
            accepted_false = accepted_false / accepted_false[:, -1:]
        surplus = (1 - accepted_true) - accepted_false
        after = np.argmax(surplus <= 0, axis=1)
        draw = np.arange(len(weights))
        high, low = surplus[draw, after - 1], surplus[draw, after]
        with np.errstate(invalid="ignore"):
            share = high / (high - low)
        start, end = accepted_false[draw, after - 1], accepted_false[draw, after]
        return np.where(np.isnan(surplus).any(axis=1), np.nan, 100 * (start + share * (end - start)))

    return _in_parts(under)


def term_weighted_value(units: Units) -> Weighted:
    """MTWV x 100; a unit is a query. See `skill_bench.metrics.search.maximum_term_weighted_value`."""
    unit_of, flat = _flat(units)
    present = np.array([row["target"] == "present" for row in flat])
    n_true = np.bincount(unit_of, weights=present, minlength=len(units))
    n_false = np.bincount(unit_of, weights=~present, minlength=len(units))
    counts = n_true > 0
    with np.errstate(divide="ignore"):
        gain = np.where(present, 1 / n_true[unit_of], -BETA / n_false[unit_of])
    gain = np.where(counts[unit_of], gain, 0.0)
    order, last_of_ties = _by_score(flat)
    unit_of, gain = unit_of[order], gain[order]

    def under(weights: Float[ndarray, "draws units"]) -> Float[ndarray, " draws"]:
        n_queries = weights @ counts.astype(np.float64)
        best = np.maximum(_accepted(weights[:, unit_of] * gain, last_of_ties).max(axis=1), 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(n_queries > 0, 100 * best / n_queries, np.nan)

    return _in_parts(under)


def unweighted_accuracy(units: Units) -> Weighted:
    """Percent: the mean over labels of the share that is right."""
    unit_of, flat = _flat(units)
    labels = sorted({str(row["target"]) for row in flat})
    label = np.array([labels.index(str(row["target"])) for row in flat])
    right = np.array([row["target"] == row["prediction"] for row in flat])
    members = np.zeros((len(units), len(labels)))
    hits = np.zeros_like(members)
    np.add.at(members, (unit_of, label), 1)
    np.add.at(hits, (unit_of, label), right)

    def under(weights: Float[ndarray, "draws units"]) -> Float[ndarray, " draws"]:
        n = weights @ members
        with np.errstate(invalid="ignore"):
            recalls = np.where(n > 0, (weights @ hits) / n, 0.0)
            return np.asarray(100 * recalls.sum(axis=1) / (n > 0).sum(axis=1))

    return under


WEIGHTED: dict[str, Callable[[Units], Weighted]] = {
    "eer": equal_error_rate,
    "mtwv": term_weighted_value,
    "unweighted_accuracy": unweighted_accuracy,
}


def _flat(units: Units) -> tuple[Int[ndarray, " rows"], list[Mapping[str, Any]]]:
    return np.repeat(np.arange(len(units)), [len(rows) for rows in units]), [row for rows in units for row in rows]


def _by_score(rows: Sequence[Mapping[str, Any]]) -> tuple[Int[ndarray, " rows"], Bool[ndarray, " rows"]]:
    """Rows from the highest score down, and which is the last of its score: equal ones are accepted together."""
    scores = np.array([row["score"] for row in rows], dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    return order, np.append(np.diff(scores[order]) != 0, True)


def _accepted(
    weights: Float[ndarray, "draws rows"], last_of_ties: Bool[ndarray, " rows"]
) -> Float[ndarray, "draws thresholds"]:
    """Sums from the top down to each threshold, beginning with none."""
    sums = np.cumsum(weights, axis=1)[:, last_of_ties]
    return np.pad(sums, ((0, 0), (1, 0)))


def _in_parts(under: Weighted) -> Weighted:
    def in_parts(weights: Float[ndarray, "draws units"]) -> Float[ndarray, " draws"]:
        starts = range(0, len(weights), _DRAWS_AT_ONCE)
        return np.concatenate([under(weights[start : start + _DRAWS_AT_ONCE]) for start in starts])

    return in_parts


def speakers_of(rows: Rows) -> dict[str, str]:
    """The speaker of every recording, called by the first of its recordings.

    Rows may name speakers (``enrolment_speaker``, ``test_speaker``). Where they do not, trials of the same speaker tie
    recordings together; what nothing ties to others is a speaker of its own.
    """
    parent: dict[str, str] = {}
    by_name: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    def tie(one: str, other: str) -> None:
        first, second = sorted((root(one), root(other)))
        parent[second] = first

    for row in rows:
        for side in SIDES:
            recording, name = str(row[side]), row.get(f"{side}_speaker")
            tie(recording, recording if name is None else by_name.setdefault(str(name), recording))
        if row["target"] == "same":
            tie(*(str(row[side]) for side in SIDES))
    return {name: root(name) for name in parent}


class VerificationBySpeaker:
    """The equal error rate of ``rows`` in percent under weights on ``names``, the speakers."""

    def __init__(self, rows: Rows) -> None:
        speaker = speakers_of(rows)
        self.names = tuple(sorted(set(speaker.values())))
        number = {name: i for i, name in enumerate(self.names)}
        self._sides: Int[ndarray, "2 trials"] = np.array(
            [[number[speaker[str(row[side])]] for row in rows] for side in SIDES]
        )
        self._rate = equal_error_rate([[row] for row in rows])

    def under(self, weights: Float[ndarray, "draws speakers"]) -> Float[ndarray, " draws"]:
        """Values (draws,); NaN where a draw has no trial of one kind."""
        first, second = self._sides
        own = first == second
        return self._rates(lambda w: np.where(own, w[:, first], w[:, first] * w[:, second]))(weights)

    def drawn(self, weights: Float[ndarray, "draws speakers"]) -> Float[ndarray, " draws"]:
        """:meth:`under`, as wide around the value as it varies with other speakers."""
        draws = self.under(weights)
        variance = float(np.nanvar(draws)) if len(draws) > 1 and not np.isnan(draws).all() else 0.0
        if not variance:
            return draws
        over_pairs = self._over_pairs
        value = self.under(np.ones((1, len(self.names))))
        return np.asarray(
            value + (draws - value) * np.sqrt(max(variance - _EXCESS * over_pairs, over_pairs) / variance)
        )

    @cached_property
    def _over_pairs(self) -> float:
        """The variance when pairs of different speakers are drawn by themselves."""
        low, high = np.sort(self._sides, axis=0)
        _, pair = np.unique(low * len(self.names) + high, return_inverse=True)
        weights = np.random.default_rng(_SEED).exponential(size=(_PAIR_DRAWS, int(pair.max()) + 1))
        weights[:, pair[low == high]] = 1.0
        return float(np.nanvar(self._rates(lambda w: w[:, pair])(weights)))

    def _rates(self, of_trials: Callable[[ndarray], ndarray]) -> Weighted:
        return _in_parts(lambda weights: self._rate(of_trials(weights)))
