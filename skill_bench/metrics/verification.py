"""Speaker verification: the equal error rate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def equal_error_rate(*, same: Sequence[bool], scores: Sequence[float]) -> float | None:
    """Percentage at which as many false trials are accepted as true ones are rejected; None without both kinds.

    The point where the straight lines between the points of the ROC curve cross "false acceptance = false rejection":
    what s3prl 0.4.18 solves for numerically (``metric/common.py`` ``compute_eer``), here exactly. Trials with equal
    scores are accepted together.

    Raises:
        ValueError: the sequences differ in length, or a score is not finite.
    """
    truth, values = np.asarray(same, dtype=bool), np.asarray(scores, dtype=np.float64)
    if truth.shape != values.shape:
        raise ValueError(f"{truth.size} labels for {values.size} scores")
    if not np.isfinite(values).all():
        raise ValueError("a score is not finite")
    if truth.all() or not truth.any():
        return None
    order = np.argsort(-values, kind="stable")
    last_of_ties = np.append(np.flatnonzero(np.diff(values[order])), values.size - 1)
    accepted_true = np.append(0, np.cumsum(truth[order])[last_of_ties]) / truth.sum()
    accepted_false = np.append(0, np.cumsum(~truth[order])[last_of_ties]) / (~truth).sum()
    surplus = (1 - accepted_true) - accepted_false
    after = int(np.argmax(surplus <= 0))
    before = after - 1
    share = surplus[before] / (surplus[before] - surplus[after])
    return float(100 * (accepted_false[before] + share * (accepted_false[after] - accepted_false[before])))


def equal_error_noise(percent: float, *, same: Sequence[bool]) -> float:
    """Standard error of an equal error rate in points, trials as independent: that of the mean of two binomial rates.

    Trials share utterances and speakers, so the noise is rather larger. Never below one trial of the rarer kind.
    """
    rate, kinds = percent / 100, (sum(same), len(same) - sum(same))
    spread = math.sqrt(max(rate * (1 - rate), 0.0) * sum(1 / n for n in kinds)) / 2
    return 100 * max(spread, 1 / min(kinds))
