"""``skill-bench similarity``: how alike the layers of a model are, and which groups that gives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skill_bench.base.counted import counted
from skill_bench.base.errors import UsageError
from skill_bench.cli.options import DataPaths, Device, Teacher, names_in
from skill_bench.cli.paths import file_to_write
from skill_bench.records.similarity import MEASURES, LayerSimilarity


def similarity(
    teacher: Teacher,
    data: DataPaths,
    measures: Annotated[str, typer.Option(help="Comma-separated: cka, cosine, mutual_knn, whitened_cka.")] = ",".join(
        MEASURES
    ),
    clusters: Annotated[str, typer.Option(help="Number of groups, or auto (largest mean silhouette).")] = "4",
    linkage: Annotated[str, typer.Option(help="average, complete, single or ward.")] = "average",
    contiguous: Annotated[bool, typer.Option(help="Only neighbouring layers form a group.")] = True,
    largest: Annotated[
        float | None, typer.Option(help="Share of the layers that no group exceeds; default: any.", min=0, max=1)
    ] = None,
    utterances: Annotated[int, typer.Option(help="Calibration utterances, chosen by hash.", min=1)] = 64,
    out: Annotated[
        Path,
        typer.Option(
            help="JSON file to write; figures lie beside it as NAME-MEASURE.svg, .png and .pdf.", callback=file_to_write
        ),
    ] = Path("similarity.json"),
    seed: Annotated[int, typer.Option(help="Of the choice of utterances, and of mutual_knn's frames.")] = 0,
    device: Device = "cpu",
) -> None:
    """Measure how alike the layers of a model are, and which groups SKILL would distil; one pass over the speech."""
    if clusters != "auto" and not clusters.isdecimal():
        raise UsageError(f"--clusters {clusters!r}: expected a number of groups, or auto.")
    if out.suffix != ".json":
        raise UsageError(f"--out {out}: expected a name ending in .json.")

    from skill_bench.api.similarity import similarity as measure
    from skill_bench.cli.console import ConsoleProgress
    from skill_bench.report.render.heat_map import write_figures

    with ConsoleProgress() as progress:
        found = measure(
            teacher,
            data,
            measures=names_in(measures) or [],
            n_groups="auto" if clusters == "auto" else int(clusters),
            linkage=linkage,
            contiguous=contiguous,
            largest=False if largest is None else largest,
            n_utterances=utterances,
            seed=seed,
            device=device,
            progress=progress,
        )
    for line in lines(found):
        typer.echo(line)
    for path in (found.write(out), *write_figures(found, out.with_suffix(""))):
        typer.echo(path)


def lines(found: LayerSimilarity) -> list[str]:
    """Each measure's matrix, silhouettes and groups as text."""
    shown = []
    for one in found.measures:
        shown.append(f"{one.measure}:")
        shown += ["  " + " ".join(f"{value:6.3f}" for value in row) for row in one.matrix]
        shown += [f"  {counted(int(k), 'group')}: silhouette {value:.3f}" for k, value in one.silhouettes.items()]
        shown.append(f"  groups: {[list(group) for group in one.groups]}")
    return shown
