"""Which hidden states the heads use: the learnt weights of the sum, against equal ones."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from skill_bench.report.render.figure_files import Datasets, Spec
from skill_bench.report.render.rows import Named
from skill_bench.report.table.columns import in_order, task_label
from skill_bench.report.table.table import SystemRow

Weights = Mapping[str, Float[ndarray, " states"]]
CELL_HEIGHT = 22
_CHOSE_ONE = 0.999
_PLAIN = alt.Axis(labelAngle=0, labelOverlap=True, domain=False, ticks=False)


def layer_weights(row: SystemRow) -> Weights:
    """By task, in SUPERB's order, the mean over a row's records of the layer weights; empty for a single state."""
    found: dict[str, list[tuple[float, ...]]] = {}
    for entry in row.entries:
        if len(entry.record.layer_weights) > 1:
            found.setdefault(entry.record.key.task, []).append(entry.record.layer_weights)
    return {task: np.mean(np.array(found[task]), axis=0) for task in sorted(found, key=in_order)}


def weights_map(named: Named, *, width: int = 560) -> Spec | None:
    """Tasks by hidden states; colours say how many times the weight is that of equal weights. None without weights.

    Two colours meet at 1, equal weights, and end at 0 and at 3 in every figure, so that figures can be compared. A task
    that searched for its one best state has no weights to compare, and a mark there.
    """
    found = layer_weights(named.row)
    if not found:
        return None
    cells = [
        {
            "row": named.number, "task": task_label(task), "state": f"h{state}", "weight": float(weight),
            "times": float(weight) * len(weights), "alone": bool(weights.max() > _CHOSE_ONE),
        }
        for task, weights in found.items()
        for state, weight in enumerate(weights)
    ]  # fmt: skip
    states = [f"h{state}" for state in range(max(len(weights) for weights in found.values()))]
    data = Datasets()
    base = alt.Chart(data(cells)).encode(
        alt.X("state:N").sort(states).title("hidden state").axis(_PLAIN),
        alt.Y("task:N").sort([task_label(task) for task in found]).title(None).axis(_PLAIN),
        tooltip=[
            alt.Tooltip("task:N"), alt.Tooltip("state:N", title="hidden state"),
            alt.Tooltip("weight:Q", format=".3f"), alt.Tooltip("times:Q", title="times equal weights", format=".2f"),
        ],
    )  # fmt: skip
    summed = base.transform_filter("!datum.alone").mark_rect().encode(
        alt.Color("times:Q")
        .scale(range="diverging", domain=[0, 1, 3], clamp=True, interpolate="rgb")
        .legend(title="times equal weights", orient="right", values=[0, 0.5, 1, 2, 3], format="~g")
    )  # fmt: skip
    chosen = base.transform_filter("datum.alone && datum.weight > 0.5").mark_point(
        size=70, style="whisker", filled=True
    )
    return data.of(alt.layer(summed, chosen).properties(width=width, height=CELL_HEIGHT * len(found)))
