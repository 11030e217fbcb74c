"""Figures of a distillation: similarity of the teacher's layers, and curves of both stages."""

from __future__ import annotations

from pathlib import Path

from skill_bench.records.similarity import SIMILARITY_FILE, LayerSimilarity
from skill_bench.report.render.curves import write_curves
from skill_bench.report.render.heat_map import write_figures


def write_distilled(folder: Path, *, title: str) -> list[Path]:
    """Draws what the work folder of a distillation holds; returns the paths of the curves."""
    if (similarity := folder / SIMILARITY_FILE).is_file():
        write_figures(LayerSimilarity.read(similarity), folder / "similarity")
    logs = [folder / f"{stage}.csv" for stage in ("joint", "final")]
    return list(write_curves([log for log in logs if log.exists()], folder / "curves", title=title))
