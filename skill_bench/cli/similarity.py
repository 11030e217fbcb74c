"""``skill-bench similarity``: how alike the layers of a model are, and which groups that gives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skill_bench.base.errors import UnknownName, UsageError
from skill_bench.cli.options import DataPaths, Device, Teacher, names_in
from skill_bench.cli.paths import file_to_write
from skill_bench.records.similarity import LINKAGES, MEASURES


def similarity(
    teacher: Teacher,
    data: DataPaths,
    measures: Annotated[str, typer.Option(help="Comma-separated: cka, cosine, mutual_knn.")] = ",".join(MEASURES),
    clusters: Annotated[str, typer.Option(help="Number of groups, or auto (largest mean silhouette).")] = "4",
    linkage: Annotated[str, typer.Option(help="average, complete, single or ward.")] = "average",
    contiguous: Annotated[bool, typer.Option(help="Only neighbouring layers form a group.")] = True,
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
    """Similarity between all layers of a model, and the groups SKILL would distil. One pass over the speech."""
    chosen = [name for name in MEASURES if name in (names_in(measures) or [])]
    if unknown := set(names_in(measures) or []) - set(MEASURES):
        raise UnknownName("measure", sorted(unknown)[0], MEASURES)
    if not chosen:
        raise UsageError(f"--measures {measures!r}: expected one or more of {', '.join(MEASURES)}.")
    if linkage not in LINKAGES:
        raise UnknownName("linkage", linkage, LINKAGES)
    if clusters != "auto" and not clusters.isdecimal():
        raise UsageError(f"--clusters {clusters!r}: expected a number of groups, or auto.")
    if out.suffix != ".json":
        raise UsageError(f"--out {out}: expected a name ending in .json.")

    from skill_bench.cli.console import ConsoleProgress
    from skill_bench.corpora.listing import list_audio
    from skill_bench.layers.measure import measure
    from skill_bench.models import checkpoint
    from skill_bench.report.render.heat_map import write_figures

    loaded = checkpoint.load(teacher)
    loaded.encoder.to(device)
    with ConsoleProgress() as progress:
        found = measure(
            loaded,
            list_audio(data),
            name=teacher.stem,
            measures=chosen,
            n_groups="auto" if clusters == "auto" else int(clusters),
            linkage=linkage,
            contiguous=contiguous,
            n_utterances=utterances,
            seed=seed,
            progress=progress,
        )
    for one in found.measures:
        typer.echo(f"{one.measure}:")
        for row in one.matrix:
            typer.echo("  " + " ".join(f"{value:6.3f}" for value in row))
        for k, value in one.silhouettes.items():
            typer.echo(f"  {k} groups: silhouette {value:.3f}")
        typer.echo(f"  groups: {[list(group) for group in one.groups]}")
    for path in (found.write(out), *write_figures(found, out.with_suffix(""))):
        typer.echo(path)
