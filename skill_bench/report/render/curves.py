"""Curves of a training: what the CSV logs of its stages hold, one after the other on one axis."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skill_bench.base.errors import DataError
from skill_bench.report.render.figure_files import save, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = {
    "loss": ("loss", "distance"),
    "L1 distance": ("l1",),
    "similarity and accuracy": ("cosine", "masked_accuracy", "visible_accuracy"),
    "sparsity": ("sparsity", "sparsity_target"),
    "multipliers": ("lambda_linear", "lambda_quadratic"),
    "norm of the gradients": ("gradient_norm",),
    "learning rate": ("learning_rate",),
}
_WINDOWS = 100
"""Noisy curves are shown as they are, pale, and as means over a hundredth of the training."""

Columns = dict[str, NDArray[np.float64]]


def write_curves(logs: Sequence[Path], base: Path, *, title: str) -> list[Path]:
    """``<base>.svg`` and ``<base>.png`` from the CSV logs of stages, in order."""
    return save(draw({path.stem: read_log(path) for path in logs}, title=title), base)


def read_log(path: Path) -> Columns:
    """The columns of a log, ``update`` among them.

    Raises:
        DataError: no lines.
    """
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise DataError(f"{path}: no updates. Training writes one line for each.")
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def draw(stages: dict[str, Columns], *, title: str) -> Figure:
    """A panel for each kind of number that some stage has."""
    from matplotlib.figure import Figure

    known = {name for columns in stages.values() for name in columns}
    panels = {label: names for label, names in PANELS.items() if known & set(names)}
    figure = Figure(figsize=(8, 1.7 * len(panels) + 0.6), layout="constrained")
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (label, names) in zip(grid, panels.items(), strict=True):
        start = 0.0
        for stage, columns in stages.items():
            for index, name in enumerate(name for name in names if name in columns):
                x, y = start + columns["update"], columns[name]
                axes.plot(x, y, color=f"C{index}", alpha=0.3, linewidth=0.8)
                window = max(1, len(y) // _WINDOWS)
                n_whole = len(y) // window * window
                means = y[:n_whole].reshape(-1, window).mean(1)
                middles = x[:n_whole].reshape(-1, window).mean(1)
                axes.plot(middles, means, color=f"C{index}", linewidth=1.2, label=name if not start else None)
            if start:
                axes.axvline(start, color="0.6", linewidth=0.8, linestyle=":")
            axes.annotate(stage, (start, 1), xycoords=("data", "axes fraction"), fontsize=7, va="bottom", color="0.4")
            start += columns["update"][-1] + 1
        axes.set_ylabel(label, fontsize=8)
        axes.tick_params(labelsize=7)
        if len(names) > 1:
            axes.legend(fontsize=7, frameon=False, loc="best")
    axes.set_xlabel("update", fontsize=8)
    figure.suptitle(words(title), fontsize=10)
    return figure
