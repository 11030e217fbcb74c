"""How much of each layer of the teacher students keep, as a figure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

import altair as alt

from skill_bench.records.fidelity import R2
from skill_bench.report.render.figure_files import Datasets, Row, Spec, words
from skill_bench.report.render.rows import Named

_WIDTH = 300
_KINDS = {"whitened": "R2, each direction alike", "plain": "R2, by variance"}


def fidelity(rows: Sequence[Named], *, width: int | None = None, stacked: bool = False) -> Spec | None:
    """Held-out R2 by layer of the teacher, a line a system with its band of confidence, a column of panels a corpus.

    Several trainings of one recipe are one line, their mean, without a band.

    Args:
        width: Of the panels of a row together, in pixels; by default each has 300.
        stacked: Panels are one below the other, where there is no room beside each other.
    """
    points = [point for named in rows for point in _points(named)]
    corpora = sorted({(point["corpus"], point["data"]) for point in points})
    if not corpora:
        return None
    own = [named for named in rows if named.row.fidelity]
    lines = alt.Color("label:N").scale(domain=[named.label for named in own]).legend(orient="bottom", columns=2)
    states = [f"h{state}" for state in sorted({point["layer"] for point in points})]
    panels, data = [], Datasets()
    across = 1 if stacked else len(corpora)
    for kind, title in _KINDS.items():
        beside = []
        for corpus, fingerprint in corpora:
            found = [
                {**point, "state": f"h{point['layer']}"}
                for point in points
                if (point["data"], point["kind"]) == (fingerprint, kind)
            ]
            base = alt.Chart(data(found)).encode(
                alt.X("state:N").sort(states).title("teacher's layer").axis(labelAngle=0, labelOverlap=True),
                alt.Y("value:Q").title(title).scale(zero=False),
                lines,
                tooltip=[alt.Tooltip("label:N"), alt.Tooltip("state:N"), alt.Tooltip("value:Q", format=".3f")],
            )
            band = base.transform_filter("isValid(datum.low)").mark_area(opacity=0.15).encode(
                alt.Y("low:Q"), alt.Y2("high:Q"), alt.Detail("row:N")
            )  # fmt: skip
            line = base.mark_line(point={"size": 20}).encode(alt.Detail("row:N"))
            beside.append(
                alt.layer(*([band] if any("low" in point for point in found) else []), line).properties(
                    width=_WIDTH if width is None else width // across, height=180, title=words(corpus)
                )
            )
        panels.append(alt.vconcat(*beside) if stacked else alt.hconcat(*beside))
    return data.of(alt.vconcat(*panels))


def _points(named: Named) -> list[Row]:
    found: dict[tuple[str, str, str, int], list[R2]] = defaultdict(list)
    for one in named.row.fidelity:
        for layer in one.readings[0].layers:
            for kind in _KINDS:
                found[one.corpus, one.data_fingerprint, kind, layer.teacher_layer].append(getattr(layer, kind))
    return [
        {
            **named.identity, "corpus": corpus, "data": data, "kind": kind, "layer": layer,
            "value": fmean(r2.value for r2 in several),
            **({"low": several[0].low, "high": several[0].high} if len(several) == 1 else {}),
        }
        for (corpus, data, kind, layer), several in found.items()
    ]  # fmt: skip
