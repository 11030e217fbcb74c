"""Speaker verification drawn by speaker, on both sides of a trial.

Trials share speakers: one whose voice is easily taken for others' spoils all trials of his, as the enrolled or as the
tested one. So speakers are drawn, and a trial counts the product of its two speakers' weights (the pigeonhole
bootstrap: Owen, Annals of Applied Statistics 2007, 1(2), 386-411), once where both are the same. That counts what a
pair of speakers has of its own three times, which is taken back for the most part, see :data:`_EXCESS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from skill_bench.report.statistics.weighted import Weighted, equal_error_rate

Rows = Sequence[Mapping[str, Any]]
SIDES = ("enrolment", "test")
_EXCESS = 1.5
"""Of the variance over pairs two parts in three are too much; half of a part stays, since the variance over few
speakers comes out too low (see the simulations in the tests)."""
_PAIR_DRAWS = 400
_SEED = 0


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
        return self._in_parts(weights, lambda w: np.where(own, w[:, first], w[:, first] * w[:, second]))

    def drawn(self, weights: Float[ndarray, "draws speakers"]) -> Float[ndarray, " draws"]:
        """:meth:`under`, as wide around the value as it varies with other speakers."""
        draws = self.under(weights)
        variance = float(np.nanvar(draws)) if len(draws) > 1 and not np.isnan(draws).all() else 0.0
        if not variance:
            return draws
        over_pairs = self._over_pairs()
        value = self.under(np.ones((1, len(self.names))))
        return np.asarray(
            value + (draws - value) * np.sqrt(max(variance - _EXCESS * over_pairs, over_pairs) / variance)
        )

    @cache  # noqa: B019 - one for each sample, gone with it
    def _over_pairs(self) -> float:
        """The variance when pairs of different speakers are drawn by themselves."""
        low, high = np.sort(self._sides, axis=0)
        _, pair = np.unique(low * len(self.names) + high, return_inverse=True)
        weights = np.random.default_rng(_SEED).exponential(size=(_PAIR_DRAWS, int(pair.max()) + 1))
        weights[:, pair[low == high]] = 1.0
        return float(np.nanvar(self._in_parts(weights, lambda w: w[:, pair])))

    def _in_parts(self, weights: Float[ndarray, "draws units"], of_trials: Weighted) -> Float[ndarray, " draws"]:
        parts = range(0, len(weights), 64)
        return np.concatenate([self._rate(of_trials(weights[start : start + 64])) for start in parts])
