"""Similarity of layers as a picture: dendrogram above, heat map below, groups framed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import altair as alt

from skill_bench.base.counted import counted
from skill_bench.records.similarity import LayerSimilarity, Similarity
from skill_bench.report.render.figure_files import Datasets, Row, Spec, save, words

TITLES = {
    "cka": "linear CKA",
    "cosine": "frame-wise cosine",
    "mutual_knn": "mutual nearest neighbours",
    "whitened_cka": "whitened CKA",
}
Merges = Sequence[Sequence[float]]
"""As scipy writes a tree: two nodes, the distance at which they merge, and how many leaves then belong together."""
_TREE_PIXELS = 90
_MOST_PIXELS = 480
_LARGEST_CELL = 34
_BESIDE, _BESIDE_PIXELS = 2, 200
"""Of all measures: so many in a line, which then fills a paper's page."""
_ROUNDING = 1e-9


def draw(similarity: Similarity, *, title: str, most_pixels: int = _MOST_PIXELS) -> Spec:
    """One measure. Layers stand in the order of the dendrogram's leaves, colours go from 0 (or below) to 1."""
    data = Datasets()
    return data.of(_chart(similarity, data, title=title, legend=TITLES[similarity.measure], most_pixels=most_pixels))


def write_figures(found: LayerSimilarity, base: Path) -> list[Path]:
    """``<base>`` as SVG, PNG and PDF: every measure; the same content gives the same SVG."""
    data = Datasets()
    most = _MOST_PIXELS if len(found.measures) == 1 else _BESIDE_PIXELS
    charts = [_chart(one, data, title=TITLES[one.measure], legend=None, most_pixels=most) for one in found.measures]
    title = alt.TitleParams(words(f"{found.model}: linkage {found.linkage}"))
    return save(data.of(alt.concat(*charts, columns=_BESIDE).properties(title=title)), base)


def _chart(
    similarity: Similarity, data: Datasets, *, title: str, legend: str | None, most_pixels: int
) -> alt.VConcatChart:
    matrix = similarity.matrix
    order = leaves(similarity.tree, len(matrix))
    labels = [f"h{layer}" for layer in order]
    side = min(most_pixels, _LARGEST_CELL * len(matrix))
    cells = [
        {"a": f"h{a}", "b": f"h{b}", "similarity": round(matrix[a][b], 4)} for a in range(len(matrix)) for b in order
    ]
    lowest = min(0.0, min(min(line) for line in matrix))
    frames = _frames(order, similarity.groups)
    axis = alt.Axis(labelAngle=0, labelOverlap=True, domain=False, ticks=False)
    heat = alt.Chart(data(cells)).mark_rect().encode(
        alt.X("b:N").sort(labels).title(None).axis(axis),
        alt.Y("a:N").sort(labels).title(None).axis(axis),
        alt.Color("similarity:Q").scale(range="heatmap", domain=[lowest, 1], interpolate="rgb").legend(
            title=legend, orient="right"
        ),
        tooltip=[alt.Tooltip("a:N"), alt.Tooltip("b:N"), alt.Tooltip("similarity:Q", format=".3f")],
    )  # fmt: skip
    ends = alt.Scale(domain=[0, len(matrix)], nice=False)
    framed = alt.Chart(data(frames)).mark_rect(style="frame", fillOpacity=0).encode(
        alt.X("from:Q").scale(ends).axis(None), alt.X2("to:Q"),
        alt.Y("from:Q").scale(domain=[0, len(matrix)], nice=False, reverse=True).axis(None), alt.Y2("to:Q"),
    )  # fmt: skip
    below = alt.layer(heat, framed).resolve_scale(x="independent", y="independent").properties(width=side, height=side)
    parts = [below]
    if len(similarity.tree):
        parts.insert(0, _dendrogram(similarity.tree, order, ends, side, data))
    name = alt.TitleParams(words(title), subtitle=inversions(similarity.tree))
    chart: alt.VConcatChart = alt.vconcat(*parts, spacing=2).properties(title=name).resolve_scale(color="independent")
    return chart


def leaves(tree: Merges, n_layers: int) -> list[int]:
    """The layers from left to right, so that no lines of the dendrogram cross."""
    below = {n_layers + number: [int(merge[0]), int(merge[1])] for number, merge in enumerate(tree)}

    def of(node: int) -> list[int]:
        return [leaf for child in below[node] for leaf in of(child)] if node in below else [node]

    return of(n_layers + len(tree) - 1) if len(tree) else list(range(n_layers))


def inversions(tree: Merges) -> str:
    """A sentence where clusters merge at a smaller distance than one of them was made at; else nothing.

    Linkage of neighbours alone allows that: two clusters that are near may not be neighbours yet.
    """
    n_leaves = len(tree) + 1
    lower = [
        number
        for number, merge in enumerate(tree)
        if any(child >= n_leaves and tree[int(child) - n_leaves][2] > merge[2] + _ROUNDING for child in merge[:2])
    ]
    if not lower:
        return ""
    return f"{counted(len(lower), 'inversion')}: a merge lower than one inside it"


def _dendrogram(tree: Merges, order: list[int], ends: alt.Scale, side: int, data: Datasets) -> alt.Chart:
    at: dict[int, tuple[float, float]] = {layer: (place + 0.5, 0.0) for place, layer in enumerate(order)}
    corners: list[Row] = []
    for number, (a, b, distance, *_) in enumerate(tree):
        (left, low), (right, other) = at[int(a)], at[int(b)]
        at[len(order) + number] = ((left + right) / 2, float(distance))
        path = [(left, low), (left, distance), (right, distance), (right, other)]
        corners += [
            {"merge": number, "step": step, "x": round(x, 4), "y": round(float(y), 5)}
            for step, (x, y) in enumerate(path)
        ]
    lines: alt.Chart = alt.Chart(data(corners)).mark_line(style="tree").encode(
        alt.X("x:Q").scale(ends.copy()).axis(None),
        alt.Y("y:Q").title("distance").axis(tickCount=3),
        alt.Order("step:Q"), alt.Detail("merge:N"),
    ).properties(width=side, height=_TREE_PIXELS)  # fmt: skip
    return lines


def _frames(order: list[int], groups: Sequence[Sequence[int]]) -> list[Row]:
    """Groups are subtrees, so that each is one run of leaves."""
    place = {layer: index for index, layer in enumerate(order)}
    firsts = [(min(place[layer] for layer in group), len(group)) for group in groups]
    return [{"from": first, "to": first + length} for first, length in firsts]
