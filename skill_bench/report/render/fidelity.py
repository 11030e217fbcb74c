"""How much of each layer of the teacher students keep, as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from skill_bench.records.fidelity import Fidelity
from skill_bench.report.table.table import Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KINDS: dict[Literal["whitened", "plain"], str] = {
    "whitened": "R2, each direction alike",
    "plain": "R2, by variance",
}
_SMALL = 7.5


def fidelity(section: Section) -> Figure | None:
    """Held-out R2 by layer of the teacher, a line a system with its band of confidence, a column of panels a corpus."""
    from matplotlib.figure import Figure

    corpora = {one.data_fingerprint: one.corpus for row in section.rows for one in row.fidelity}
    if not corpora:
        return None
    figure = Figure(figsize=(1.4 + 3.4 * len(corpora), 5.4), layout="constrained")
    panels = figure.subplots(len(_KINDS), len(corpora), squeeze=False, sharex="col")
    colours = {row.title: f"C{place}" for place, row in enumerate(row for row in section.rows if row.fidelity)}
    for across, (fingerprint, corpus) in enumerate(sorted(corpora.items(), key=lambda item: (item[1], item[0]))):
        for down, (kind, label) in enumerate(_KINDS.items()):
            axes = panels[down][across]
            for row in section.rows:
                for one in (one for one in row.fidelity if one.data_fingerprint == fingerprint):
                    _line(axes, one, kind, title=row.title, colour=colours[row.title])
            axes.set_ylabel(label if across == 0 else "", fontsize=9)
            axes.tick_params(labelsize=_SMALL)
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", color="0.9")
        panels[0][across].set_title(corpus, fontsize=9, loc="left")
        panels[-1][across].set_xlabel("teacher's layer", fontsize=9)
    lines = {line.get_label(): line for axes in panels[0] for line in axes.lines}
    figure.legend(lines.values(), [str(name) for name in lines], loc="outside lower center", ncols=2, fontsize=_SMALL)
    return figure


def _line(axes: Axes, one: Fidelity, kind: Literal["whitened", "plain"], *, title: str, colour: str) -> None:
    layers = one.readings[0].layers
    at = [layer.teacher_layer for layer in layers]
    found = [getattr(layer, kind) for layer in layers]
    axes.plot(at, [r2.value for r2 in found], "-o", markersize=3, linewidth=1.2, color=colour, label=title)
    axes.fill_between(at, [r2.low for r2 in found], [r2.high for r2 in found], color=colour, alpha=0.15, linewidth=0)
    axes.set_xticks(at, [f"h{layer}" for layer in at])
