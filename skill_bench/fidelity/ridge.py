"""Ridge regression from a student's state to a teacher's, and what it leaves unexplained of other frames.

All that it needs, of any hours of speech, are sums over frames of states and of their products.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

State = tuple[int, int]
"""Number of a model, and of one of its layers."""
PENALTIES = tuple(10.0**power for power in range(-8, 0))
"""Relative to the mean variance of the student's dimensions."""
WHITENING_THRESHOLD = 1e-8
"""Relative to the largest variance of a direction of the teacher. States are float32: of a direction with less, as the
one that a LayerNorm takes away, mostly rounding is left."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Sums over the frames of some speakers, x of a student's layer and y of a teacher's.

    Attributes:
        n: Number of frames.
        x, y: ``(dim_x,)`` and ``(dim_y,)``, sums.
        xx, xy, yy: ``(dim_x, dim_x)``, ``(dim_x, dim_y)``, ``(dim_y, dim_y)``, sums of products.
    """

    n: float
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    xx: NDArray[np.float64]
    xy: NDArray[np.float64]
    yy: NDArray[np.float64]

    def about(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> Moments:
        """The same frames with ``x`` and ``y``, of the sums' shapes, subtracted from each."""
        return Moments(
            n=self.n,
            x=self.x - self.n * x,
            y=self.y - self.n * y,
            xx=self.xx - np.outer(self.x, x) - np.outer(x, self.x - self.n * x),
            xy=self.xy - np.outer(self.x, y) - np.outer(x, self.y - self.n * y),
            yy=self.yy - np.outer(self.y, y) - np.outer(y, self.y - self.n * y),
        )


def total(parts: Iterable[Moments]) -> Moments:
    """Of several groups of speakers together."""
    parts = list(parts)

    def of(name: str) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.sum([getattr(part, name) for part in parts], axis=0)
        return found

    return Moments(n=sum(part.n for part in parts), x=of("x"), y=of("y"), xx=of("xx"), xy=of("xy"), yy=of("yy"))


class RunningMoments:
    """Adds utterances to float64 sums, one set for each group of speakers.

    Memory is ``8 n_groups sum(dim_a dim_b)`` bytes over the products that are needed, whatever the number of frames.
    Frames are taken relative to the mean of the first ones seen, so that dimensions with a large offset lose no digits
    when means are subtracted; R2 does not depend on it.

    Args:
        dims: Width of every state that is needed.
        pairs: (student's state, teacher's state) to be regressed.
    """

    def __init__(
        self, *, dims: Mapping[State, int], pairs: Iterable[tuple[State, State]], n_groups: int, device: torch.device
    ) -> None:
        self.pairs = tuple(dict.fromkeys(pairs))
        used = tuple(dict.fromkeys(state for pair in self.pairs for state in pair))
        products = dict.fromkeys([*((state, state) for state in used), *self.pairs])

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(n_groups, *shape, dtype=torch.float64, device=device)

        self.n_frames = [0] * n_groups
        self._sums = {state: zeros(dims[state]) for state in used}
        self._products = {(a, b): zeros(dims[a], dims[b]) for a, b in products}
        self._origins: dict[State, Tensor] = {}

    def update(self, group: int, states: Mapping[State, Float[Tensor, "frames dim"]]) -> None:
        """Adds the frames of one utterance, the same number of each state; states of no pair are passed over."""
        frames = {state: states[state].to(sums.device, torch.float64) for state, sums in self._sums.items()}
        (n_frames,) = {len(own) for own in frames.values()}
        if n_frames == 0:
            return
        if not self._origins:
            self._origins = {state: own.mean(0) for state, own in frames.items()}
        frames = {state: own - self._origins[state] for state, own in frames.items()}
        for state, own in frames.items():
            self._sums[state][group] += own.sum(0)
        for (a, b), products in self._products.items():
            products[group].addmm_(frames[a].T, frames[b])
        self.n_frames[group] += n_frames

    def of(self, student: State, teacher: State) -> list[Moments]:
        """A pair's moments, one for each group."""
        x, y = self._sums[student].cpu().numpy(), self._sums[teacher].cpu().numpy()
        xx, xy, yy = (
            self._products[a, b].cpu().numpy() for a, b in ((student, student), (student, teacher), (teacher, teacher))
        )
        return [Moments(n=n, x=x[g], y=y[g], xx=xx[g], xy=xy[g], yy=yy[g]) for g, n in enumerate(self.n_frames)]


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
        """That of scikit-learn's ``Ridge(alpha=penalty * trace / dim_x)``."""
        shrinkage: Matrix = 1 / (self.scatter + penalty * self.scatter.mean())
        return shrinkage[:, None]
