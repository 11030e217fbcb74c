"""One cell, for tests that want a single result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skill_bench.corpora.data import TaskData
from skill_bench.evaluation.cell_result import CellResult, run_cells
from skill_bench.evaluation.solving.cell import CellUpstream
from skill_bench.tasks import TaskSpec


def run_cell(
    upstream: CellUpstream, task: TaskSpec, data: TaskData, *, seed: int, cache_dir: Path, **options: Any
) -> CellResult:
    """`run_cells` with one seed."""
    return next(run_cells(upstream, task, data, seeds=(seed,), cache_dir=cache_dir, **options))
