"""Similarity of layers as a picture: dendrogram above, heat map below, groups framed. SVG and PNG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from skill_bench.records.similarity import LayerSimilarity, Similarity
from skill_bench.report.render.figure_files import save, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {
    "cka": "linear CKA",
    "cosine": "frame-wise cosine",
    "mutual_knn": "mutual nearest neighbours",
    "whitened_cka": "whitened CKA",
}
_INCHES_PER_LAYER = 0.36


def draw(similarity: Similarity, *, title: str) -> Figure:
    """One measure. Layers stand in the order of the dendrogram's leaves."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
    from scipy.cluster.hierarchy import dendrogram

    matrix = np.array(similarity.matrix)
    n_layers = len(matrix)
    side = max(3.2, _INCHES_PER_LAYER * n_layers)
    figure = Figure(figsize=(side + 1.2, side + 1.4), layout="constrained")
    top, below = figure.subplots(2, 1, gridspec_kw={"height_ratios": (1, 4)})
    leaves = list(range(n_layers))
    if n_layers > 1:
        tree = np.array(similarity.tree)
        leaves = dendrogram(tree, ax=top, color_threshold=0, above_threshold_color="0.35", no_labels=True)["leaves"]
        top.set_xlim(0, 10 * n_layers)  # scipy puts leaf i at 10 i + 5
    top.spines[["top", "right", "bottom"]].set_visible(False)
    top.set_ylabel("distance")
    top.set_title(words(title), fontsize=10)
    labels = [f"h{layer}" for layer in leaves]
    lowest = min(0.0, float(matrix.min()))
    image = below.imshow(matrix[np.ix_(leaves, leaves)], cmap="viridis", vmin=lowest, vmax=1.0, aspect="auto")
    below.set_xticks(range(n_layers), labels, fontsize=8)
    below.set_yticks(range(n_layers), labels, fontsize=8)
    for start, length in _runs(leaves, similarity.groups):
        below.add_patch(
            Rectangle((start - 0.5, start - 0.5), length, length, fill=False, edgecolor="white", linewidth=2)
        )
    figure.colorbar(image, ax=below, orientation="horizontal", shrink=0.6, label=TITLES[similarity.measure])
    return figure


def write_figures(found: LayerSimilarity, base: Path) -> list[Path]:
    """``<base>-<measure>.svg`` and ``.png`` of every measure; the same content gives the same SVG."""
    written = []
    for one in found.measures:
        figure = draw(one, title=f"{found.model}: {TITLES[one.measure]}, linkage {found.linkage}")
        written += save(figure, base.with_name(f"{base.name}-{one.measure}"))
    return written


def _runs(leaves: list[int], groups: tuple[tuple[int, ...], ...]) -> list[tuple[int, int]]:
    """(first place, length) of each group in the order of the leaves; groups are subtrees, so each is one run."""
    place = {layer: index for index, layer in enumerate(leaves)}
    return [(min(place[layer] for layer in group), len(group)) for group in groups]
