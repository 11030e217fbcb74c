"""Figures as files: SVG for papers, PNG to look at; the same figure gives the same SVG."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from skill_bench.base.documents import write_atomic
from skill_bench.base.escape import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 150


def words(text: str) -> str:
    """Text of a record as matplotlib shows it: no formula, and nothing that an SVG file cannot hold."""
    return one_line(text).replace("$", r"\$")


def save(figure: Figure, base: Path) -> list[Path]:
    """Writes ``<base>.svg`` and ``<base>.png``."""
    import matplotlib

    written = []
    for suffix, metadata in (("svg", {"Date": None}), ("png", {})):
        buffer = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": "skill-bench", "svg.fonttype": "path"}):
            figure.savefig(buffer, format=suffix, dpi=DOTS_PER_INCH, metadata=metadata)
        written.append(write_atomic(base.with_name(f"{base.name}.{suffix}"), buffer.getvalue()))
    return written
