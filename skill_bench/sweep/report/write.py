"""The page of evidence and its figures, from a folder of records and the grid that they are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from skill_bench.base.archive import find
from skill_bench.base.documents import write_atomic
from skill_bench.base.errors import UsageError
from skill_bench.records.similarity import SIMILARITY_FILE, LayerSimilarity
from skill_bench.report.render.heat_map import write_figures
from skill_bench.report.table.collect import collect, joined
from skill_bench.sweep.failed import Failed, read_failed
from skill_bench.sweep.grid import Grid, Job, read_grid
from skill_bench.sweep.recorded import same_students
from skill_bench.sweep.report.groups import Wanted
from skill_bench.sweep.report.page import write_up


def write_page(
    records: Sequence[Path], out: Path, *, grid: Path | None = None, title: str = "Evidence", pictures: bool = True
) -> list[Path]:
    """Writes the comparison of students: fidelity, means, ablation, each suite, layers of the teacher, gaps.

    Args:
        records: Folders or archives, as a :class:`skill_bench.sweep.drive.Drive` leaves them; those of one grid that
            lie apart are one comparison.
        out: The page, ending in .md; figures lie beside it.
        grid: Rows of it without records are said to be missing.
        title: The page's heading.
        pictures: Also SVG, PNG and PDF of the teacher's layers.

    Returns:
        The page, then the figures.

    Raises:
        UsageError: the name of the page ends otherwise, no place is given, or two hold a record of one cell.
        RecordError: an archive, predictions or the similarity cannot be trusted.
        SpecError: the grid is not valid.
    """
    if out.suffix != ".md":
        raise UsageError(f"--out {out}: expected a name ending in .md.")
    if not records:
        raise UsageError("no folder or archive of records was given, expected one at least (evidence/records).")
    collection = joined([collect(place) for place in records])
    failed, damaged = list[Failed](), list[str]()
    for place in records:
        found, problems = read_failed(place)
        failed += found
        damaged += problems
    path = next((path for place in records if (path := find(place, SIMILARITY_FILE)) is not None), None)
    similarity = None if path is None else LayerSimilarity.read(path)
    figures = []
    if similarity is not None and pictures:
        figures = write_figures(similarity, out.with_name(f"{out.stem}-layers"))
    design = expected = same = None
    if grid is not None:
        read, jobs = read_grid(grid)
        design, (expected, same) = read.design, asked_for(read, jobs, similarity)
    text = write_up(
        replace(collection, problems=(*collection.problems, *damaged)),
        similarity=similarity,
        figures=[Path(figure.name) for figure in figures],
        command="skill-bench evidence write",
        title=title,
        design=design,
        expected=expected,
        same=same,
        failed=failed,
    )
    return [write_atomic(out, text.encode()), *figures]


def asked_for(
    grid: Grid, jobs: Sequence[Job], similarity: LayerSimilarity | None
) -> tuple[dict[str, Wanted], dict[str, str]]:
    """What each row should have, without students that are the same as others; and rows of these, with the others'."""
    found = {} if similarity is None else same_students(jobs, similarity)
    same = {job.row.name: found[job.name].row.name for job in jobs if job.name in found}
    probes, corpora = grid.probe_seeds, tuple(one.corpus for one in grid.fidelity)
    alone = Wanted(seeds=(None,), tasks=grid.tasks, probe_seeds=probes)
    expected = dict.fromkeys(("teacher", *grid.upstreams), alone)
    left = [job for job in jobs if job.name not in found]
    for name in dict.fromkeys(job.row.name for job in left):
        own = [job for job in left if job.row.name == name]
        seeds = tuple(job.seed for job in own)
        expected[name] = Wanted(seeds=seeds, tasks=own[0].tasks, probe_seeds=probes, corpora=corpora)
    return expected, same
