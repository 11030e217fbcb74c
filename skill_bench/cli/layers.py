"""``skill-bench similarity`` and ``groups``: how alike the layers of a teacher are, and how many groups they make."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skill_bench.base.counted import counted
from skill_bench.base.errors import UsageError
from skill_bench.base.filled import filled
from skill_bench.cli.options import DataPaths, Device, Teacher, names_in
from skill_bench.cli.paths import file_to_write
from skill_bench.cli.training import (
    Changes,
    Precision,
    RecipeName,
    TrainingDevice,
    WorkDir,
    launch,
    work_folder,
)
from skill_bench.records.similarity import MEASURES, LayerSimilarity

if TYPE_CHECKING:
    from skill_bench.sweep.number_of_groups import Tried


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
            help="JSON file to write; a figure lies beside it as NAME.svg, .png and .pdf.", callback=file_to_write
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
    for line in similarity_lines(found):
        typer.echo(line)
    for path in (found.write(out), *write_figures(found, out.with_suffix(""))):
        typer.echo(path)


def similarity_lines(found: LayerSimilarity) -> list[str]:
    """Each measure's matrix, silhouettes and groups as text."""
    shown = []
    for one in found.measures:
        shown.append(f"{one.measure}:")
        shown += ["  " + " ".join(f"{value:6.3f}" for value in row) for row in one.matrix]
        shown += [f"  {counted(int(k), 'group')}: silhouette {value:.3f}" for k, value in one.silhouettes.items()]
        shown.append(f"  groups: {[list(group) for group in one.groups]}")
    return shown


def groups(
    teacher: Teacher,
    data: DataPaths,
    held_out: Annotated[
        list[Path], typer.Option(help="Speech of speakers that are not in --data, as for --data; repeat for several.")
    ],
    out: Annotated[
        Path,
        typer.Option(help="The recipe to write, ending in .toml; `distill --recipe` takes it.", callback=file_to_write),
    ],
    recipe: RecipeName = "skill",
    numbers: Annotated[str, typer.Option(help="Of groups to try: 2-8, or 2,4,13.")] = "2-8",
    changes: Changes = [],  # noqa: B006 (typer reads it, nobody changes it)
    scale_updates: Annotated[float, typer.Option(help="Multiply every number of updates of the recipe.")] = 0.005,
    split: Annotated[str, typer.Option(help="Of --held-out, the part to hear; all: everything.")] = "dev",
    folds: Annotated[
        int, typer.Option(help="Of held-out speakers; each is predicted by regressions on the others.")
    ] = 5,
    work_dir: WorkDir = None,
    device: TrainingDevice = "auto",
    precision: Precision = "fp32",
) -> None:
    """Distil shortly with several numbers of groups; write the recipe with the one whose student keeps most."""
    if out.suffix != ".toml":
        raise UsageError(f"--out {out}: expected a name ending in .toml.")
    wanted = _numbers(numbers)

    from skill_bench.cli.console import ConsoleProgress
    from skill_bench.corpora.listing import list_audio
    from skill_bench.distillation.recipe import load_recipe, write_with_groups
    from skill_bench.models import checkpoint
    from skill_bench.sweep.number_of_groups import try_numbers

    short = load_recipe(recipe, changes=changes, scale_updates=scale_updates)
    folder = work_folder(work_dir, out)
    processes = launch(device=device, precision=precision)
    loaded = checkpoint.load(teacher)
    with ConsoleProgress(quiet=not processes.is_first) as progress:
        tried = try_numbers(
            loaded,
            list_audio(data),
            list_audio(held_out, split=None if split == "all" else split),
            recipe=short,
            numbers=wanted,
            folder=folder,
            n_folds=folds,
            processes=processes,
            progress=progress,
        )
    if not processes.is_first:
        return
    for line in trial_lines(tried):
        typer.echo(filled(line))
    reason = f"of {tried[0].fidelity.n_utterances} held-out utterances it kept most after short distillations"
    written = write_with_groups(out, extends=recipe, n_groups=tried[0].n_groups, reason=reason)
    typer.echo(f"written to {written}")


def trial_lines(tried: Sequence[Tried]) -> list[str]:
    """The best first: what it keeps, what each other keeps less on the same speakers, and its groups."""
    from skill_bench.fidelity.interval import difference

    best = tried[0]
    shown = [f"{'groups':<7} {'whitened R2':<12} {'less the best [95 % over speakers]':<35} layers"]
    for one in tried:
        less = difference(one.fidelity, best.fidelity)
        text = "" if one is best else f"{less.value:+.4f} [{less.low:+.4f}, {less.high:+.4f}]"
        layers = " ".join("-".join(map(str, dict.fromkeys((group[0], group[-1])))) for group in one.groups)
        shown.append(f"{one.n_groups:<7} {one.fidelity.readings[0].whitened.value:<12.4f} {text:<35} {layers}")
    return shown


def _numbers(text: str) -> list[int]:
    """``"2-8"`` or ``"2,4,13"``.

    Raises:
        UsageError: neither.
    """
    try:
        found = [
            number
            for part in text.split(",")
            for low, _, high in [part.partition("-")]
            for number in range(int(low), int(high or low) + 1)
        ]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise UsageError(f"--numbers {text!r}: expected numbers of groups such as 2-8 or 2,4,13.")
    return sorted(set(found))
