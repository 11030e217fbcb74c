"""Spoken-term search: the maximum term-weighted value.

``TWV(t) = 1 - mean_q P_miss(q, t) - beta * mean_q P_fa(q, t)`` with ``beta = C_fa / C_miss * (1 / P_target - 1)``
(NIST Spoken Term Detection 2006 evaluation plan), where a trial is a query and a document. P_target = 0.0008, C_fa = 1
and C_miss = 100, so beta = 12.49, stand in ``score-TWV-Cnxe.sh``, the scoring script that SUPERB calls (s3prl
``docs/superb.md``): read in the copy of QUESST 2015, whose README runs the scorer on data of 2013 with the effective
prior that follows from them, 0.0741289; the archive of 2014 was not opened. Queries that occur in no document are left
out, as by that scorer ("Removing unseen models metadata"): they have no miss rate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

_P_TARGET, _COST_FALSE_ALARM, _COST_MISS = 0.0008, 1.0, 100.0
BETA = _COST_FALSE_ALARM / _COST_MISS * (1 / _P_TARGET - 1)
"""What a false alarm of every query costs, beside a miss of every one."""


def maximum_term_weighted_value(
    *, queries: Sequence[str], present: Sequence[bool], scores: Sequence[float], beta: float = BETA
) -> float | None:
    """The best of `term_weighted_values`; at least 0, at most 1, and None where no query occurs anywhere.

    Args:
        queries, present, scores, beta: Of `term_weighted_values`.

    Raises:
        ValueError: the sequences differ in length, or a score is not finite.
    """
    _, values = term_weighted_values(queries=queries, present=present, scores=scores, beta=beta)
    # Without any detection everything is missed and nothing alarmed: 0.
    return max(0.0, float(values.max())) if values.size else None


def term_weighted_values(
    *, queries: Sequence[str], present: Sequence[bool], scores: Sequence[float], beta: float = BETA
) -> tuple[Float[ndarray, " thresholds"], Float[ndarray, " thresholds"]]:
    """Every threshold for all queries, the highest first, and the term-weighted value there.

    Args:
        queries: The query of each trial.
        present: Whether the trial's document contains it.
        scores: Trials with at least the threshold are detections.
        beta: The weight of false alarms.

    Returns:
        Nothing where no query occurs anywhere.

    Raises:
        ValueError: the sequences differ in length, or a score is not finite.
    """
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite")
    true_trials: dict[str, int] = defaultdict(int)
    false_trials: dict[str, int] = defaultdict(int)
    for query, is_there, _ in zip(queries, present, scores, strict=True):
        (true_trials if is_there else false_trials)[query] += 1
    if not true_trials:
        return np.array([]), np.array([])
    scored = [query in true_trials for query in queries]
    gains = np.array(
        [
            (1 / true_trials[query] if is_there else -beta / false_trials[query]) / len(true_trials)
            for query, is_there, counts in zip(queries, present, scored, strict=True)
            if counts
        ]
    )
    values = np.asarray(scores, dtype=np.float64)[scored]
    order = np.argsort(-values, kind="stable")
    last_of_ties = np.append(np.flatnonzero(np.diff(values[order])), values.size - 1)
    return values[order][last_of_ties], np.cumsum(gains[order])[last_of_ties]
