"""Ridge regression from a student's state to a teacher's, and what it leaves unexplained of other frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skill_bench.fidelity.moments import Moments

PENALTIES = tuple(10.0**power for power in range(-8, 0))
"""Relative to the mean variance of the student's dimensions."""
WHITENING_THRESHOLD = 1e-8
"""Relative to the largest variance of a direction of the teacher. States are float32: of a direction with less, as the
one that a LayerNorm takes away, mostly rounding is left."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Ridge:
    """Fits for every penalty at once, from the eigenvectors of the student's scatter.

    Attributes:
        x, y: Means of the training frames.
        axes: ``(dim_x, dim_x)``, eigenvectors as columns.
        scatter: ``(dim_x,)``, eigenvalues.
        projected: ``(dim_x, dim_y)``, products of student (along ``axes``) and teacher.
        precision: ``(dim_y, dim_y)``, inverse of the teacher's covariance within the directions that are kept: the sum
            of squares of whitened residuals is the trace of this times their scatter.
        whitened: ``projected @ precision``.
        n_directions: How many are kept.
    """

    x: Matrix
    y: Matrix
    axes: Matrix
    scatter: Matrix
    projected: Matrix
    precision: Matrix
    whitened: Matrix
    n_directions: int

    @classmethod
    def fit(cls, train: Moments, *, whitening_threshold: float = WHITENING_THRESHOLD) -> Ridge:
        """From the moments of the training frames.

        Raises:
            ValueError: a state of them does not vary.
        """
        x, y = train.x / train.n, train.y / train.n
        centred = train.about(x, y)
        scatter, axes = np.linalg.eigh(centred.xx)
        variance, directions = np.linalg.eigh(centred.yy / train.n)
        for who, most in (("student", scatter[-1]), ("teacher", variance[-1])):
            if not most > 0:
                raise ValueError(f"the {who}'s state is the same in all frames")
        kept = variance > whitening_threshold * variance[-1]
        whitening = directions[:, kept] / np.sqrt(variance[kept])
        projected, precision = axes.T @ centred.xy, whitening @ whitening.T
        return cls(
            x=x,
            y=y,
            axes=axes,
            scatter=scatter.clip(0),
            projected=projected,
            precision=precision,
            whitened=projected @ precision,
            n_directions=int(kept.sum()),
        )

    def weights(self, penalty: float) -> Matrix:
        """``(dim_x, dim_y)`` along `axes`: minimises the squared error plus ``penalty`` times the mean eigenvalue of
        the scatter times the squared weights (scikit-learn's ``Ridge(alpha=penalty * trace / dim_x)``)."""
        return self.projected * self._shrinkage(penalty)

    def squares(self, held_out: Moments, penalties: Sequence[float]) -> Matrix:
        """``(penalties + 1, 2)``: sums of squared residuals for each penalty, as they are and whitened.

        Last, those of the teacher about the training frames' mean, which is what a student that says nothing leaves.
        """
        centred = held_out.about(self.x, self.y)
        xx, xy = self.axes.T @ centred.xx @ self.axes, self.axes.T @ centred.xy
        whole = np.array([np.trace(centred.yy), np.sum(centred.yy * self.precision)])
        found = []
        for penalty in penalties:
            # The trace of (y - x W)'(y - x W) P, for a symmetric P, term by term.
            shrinkage = self._shrinkage(penalty)
            rest = xx @ (self.projected * shrinkage) - 2 * xy
            found.append(whole + [np.sum(fit * shrinkage * rest) for fit in (self.projected, self.whitened)])
        return np.array([*found, whole])

    def _shrinkage(self, penalty: float) -> Matrix:
        shrinkage: Matrix = 1 / (self.scatter + penalty * self.scatter.mean())
        return shrinkage[:, None]
