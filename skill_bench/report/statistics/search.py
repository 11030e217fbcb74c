"""How the maximum term-weighted value varies, and by how much it is too good.

The threshold is chosen on the very queries that are scored, so that the maximum lies above what the best threshold
would give on others. Chosen without a query and scored on it alone, query by query, it lies below by about as much
(as with AIC, the optimism of a fit has an equal counterpart); half of the difference is the optimism.
It varies with the queries as the value at its threshold does, not as the maximum of each draw, which is optimistic
again; and with the documents, which all queries share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from skill_bench.metrics.search import BETA

Units = Sequence[Sequence[Mapping[str, Any]]]
_MOST_THRESHOLDS = 2048


class SearchAtThreshold:
    """The term-weighted value x 100 at the best threshold, under weights on the queries.

    Attributes:
        optimism: How much the maximum lies above an unbiased value.
    """

    def __init__(self, units: Units) -> None:
        counted = np.array([any(row["target"] == "present" for row in rows) for rows in units])
        self._counted = counted.astype(np.float64)
        flat = [row for rows, counts in zip(units, counted, strict=True) if counts for row in rows]
        query = np.repeat(np.arange(counted.sum()), [len(rows) for rows, c in zip(units, counted, strict=True) if c])
        self._own = np.zeros(len(units))
        self._widening, self.optimism = 1.0, 0.0
        if len(set(query.tolist())) < 2:
            return
        curves = _Curves(flat, query)
        chosen = curves.best()
        own, without = curves.at(chosen), curves.without_itself()
        n = len(own)
        self.optimism = 100 * float(own.mean() - without.mean()) / 2
        self._own[counted] = own
        over_queries = own.var(ddof=1) / n
        wanted = max(over_queries, without.var(ddof=1) / n) + curves.over_documents(chosen)
        self._widening = float(np.sqrt(wanted / over_queries)) if over_queries else 1.0

    def drawn(self, weights: Float[ndarray, "draws queries"]) -> Float[ndarray, " draws"]:
        """Values (draws,) at the one threshold; NaN where a draw has no query that occurs anywhere."""
        n = weights @ self._counted
        value = 100 * self._own.sum() / self._counted.sum() if self._counted.any() else np.nan
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(value + self._widening * (100 * (weights @ self._own) / n - value))


class _Curves:
    """What each query gains at each threshold; the first threshold accepts nothing."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], query: ndarray) -> None:
        self._query, n = query, int(query.max()) + 1
        self._present = np.array([row["target"] == "present" for row in rows])
        self._scores = np.array([row["score"] for row in rows], dtype=np.float64)
        n_true = np.bincount(query, weights=self._present, minlength=n)
        n_false = np.bincount(query, weights=~self._present, minlength=n)
        with np.errstate(divide="ignore"):
            self._gain = np.where(self._present, 1 / n_true[query], -BETA / n_false[query])
        _, self._document = np.unique([str(row["document"]) for row in rows], return_inverse=True)
        self._thresholds = np.unique(self._scores)[::-1]
        if len(self._thresholds) > _MOST_THRESHOLDS:
            # All scores matter for the maximum alone, which is not taken here: a fine grid beside it will do.
            best = self._thresholds[int(np.argmax(self._totals(self._thresholds))) - 1]
            grid = self._thresholds[:: len(self._thresholds) // _MOST_THRESHOLDS]
            self._thresholds = np.unique([*grid, best])[::-1]
        table = np.zeros((n, len(self._thresholds) + 1))
        np.add.at(table, (query, self._steps(self._thresholds)), self._gain)
        self._curves = np.cumsum(table[:, :-1], axis=1)
        self._curves = np.pad(self._curves, ((0, 0), (1, 0)))

    def best(self) -> int:
        return int(self._curves.sum(axis=0).argmax())

    def at(self, chosen: int) -> Float[ndarray, " queries"]:
        return np.asarray(self._curves[:, chosen])

    def without_itself(self) -> Float[ndarray, " queries"]:
        """Each query's value at the threshold that is best for the others."""
        others = self._curves.sum(axis=0) - self._curves
        return np.asarray(self._curves[np.arange(len(self._curves)), others.argmax(axis=1)])

    def over_documents(self, chosen: int) -> float:
        """What documents that attract or repel all queries add to the variance, times 100^2 left out."""
        if chosen == 0:
            return 0.0
        found = (self._scores >= self._thresholds[chosen - 1]).astype(np.float64)
        group = 2 * self._query + self._present
        mean = np.bincount(group, weights=found) / np.maximum(np.bincount(group), 1)
        left = self._gain * (found - mean[group])
        together = np.bincount(self._document, weights=left)
        return max(0.0, float((together**2).sum() - (left**2).sum()) / len(self._curves) ** 2)

    def _steps(self, thresholds: ndarray) -> ndarray:
        """The number of the first threshold that accepts each row; their number where none does."""
        return np.searchsorted(-thresholds, -self._scores, side="left")

    def _totals(self, thresholds: ndarray) -> ndarray:
        sums = np.bincount(self._steps(thresholds), weights=self._gain, minlength=len(thresholds) + 1)
        return np.concatenate([[0.0], np.cumsum(sums[:-1])])
