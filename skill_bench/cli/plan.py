"""``skill-bench plan``: what a long run will take, before it is started."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skill_bench.base.counted import counted
from skill_bench.base.filled import filled
from skill_bench.cli.options import DataPaths, Teacher, commands
from skill_bench.cli.paths import file_to_write
from skill_bench.cli.run_options import Asked, planned
from skill_bench.cli.training import (
    Changes,
    MaxSeconds,
    Precision,
    RecipeName,
    ScaleUpdates,
    TrainingDevice,
    launch,
)

if TYPE_CHECKING:
    from skill_bench.distillation.forecast import TrainingForecast
    from skill_bench.evaluation.forecast import Forecast
    from skill_bench.records.profile import Band

app = commands("Say how many hours, how much memory and disk a long run takes, from a short probe.")


@app.callback()
def plan() -> None:
    """Say how many hours, how much memory and disk a long run takes, from a short probe."""


@app.command("run")
@planned
def plan_run(asked: Asked) -> None:
    """Probe this machine and say what a run takes; its records will hold forecast and truth.

    Give the options of the run. Features that are in the cache already cost nothing; what the probe extracts stays.
    """
    from skill_bench.cli.console import ConsoleProgress
    from skill_bench.evaluation.evaluate import forecast

    with ConsoleProgress() as progress:
        found = forecast(asked(), progress=progress)
    for one in found:
        for line in run_lines(one):
            typer.echo(filled(line))


@app.command("distill")
def plan_distill(
    teacher: Teacher,
    data: DataPaths,
    recipe: RecipeName = "skill",
    changes: Changes = [],  # noqa: B006 (typer reads it, nobody changes it)
    scale_updates: ScaleUpdates = 1.0,
    devices: Annotated[int, typer.Option(help="Devices that will share each batch; one is probed.", min=1)] = 1,
    device: TrainingDevice = "auto",
    precision: Precision = "fp32",
    max_seconds_per_device: MaxSeconds = None,
    updates: Annotated[int, typer.Option(help="Real updates of each stage to run; the first is warm-up.", min=2)] = 6,
    out: Annotated[Path | None, typer.Option(help="Also write the forecast as JSON.", callback=file_to_write)] = None,
) -> None:
    """Run some real updates of each stage and say what the whole distillation takes on this machine."""
    from skill_bench.distillation.recipe import load_recipe

    chosen = load_recipe(recipe, changes=changes, scale_updates=scale_updates)

    from skill_bench.cli.console import ConsoleProgress
    from skill_bench.corpora.listing import list_audio
    from skill_bench.distillation.forecast import forecast
    from skill_bench.models import checkpoint

    processes = launch(device=device, precision=precision, max_seconds_per_device=max_seconds_per_device)
    loaded = checkpoint.load(teacher)
    with ConsoleProgress() as progress:
        found = forecast(
            loaded,
            list_audio(data),
            recipe=chosen,
            processes=processes,
            devices=devices,
            n_updates=updates,
            progress=progress,
        )
    for line in training_lines(found):
        typer.echo(filled(line, hanging=13))
    if out is not None:
        typer.echo(found.write(out))


def training_lines(found: TrainingForecast) -> list[str]:
    """The forecast as text, one a line."""
    shared = "" if found.devices == 1 else f", 1 of {found.devices} that share each batch (their exchange not seen)"
    shown = [
        f"probed on {found.device}, {found.precision}{shared}",
        f"speech       {counted(found.n_utterances, 'utterance')}, {found.speech_hours:.2f} hours",
        f"preparation  {found.preparation_seconds / 60:.1f} minutes",
    ]
    for stage in found.stages:
        shown.append(
            f"{stage.name:<12} {_band(stage.hours, 1)} hours: {counted(stage.n_updates, 'update')} of "
            f"{_band(stage.seconds_per_update, 1)} s ({stage.n_timed} timed), "
            f"{stage.audio_seconds_per_second:.1f} audio-seconds per second"
        )
    return [
        *shown,
        f"hours        {_band(found.hours, 1)}",
        f"peak memory  {_band(found.peak_memory_bytes, 2**20, digits=0)} MiB, {found.memory_is}",
        f"disk         {found.disk_bytes / 2**20:.0f} MiB while it runs",
        f"student      {found.n_parameters:,} parameters",
    ]


def run_lines(found: Forecast) -> list[str]:
    """The forecast as text, one line a task."""
    shown = [f"{found.upstream} on {found.suite}, {counted(len(found.seeds), 'seed')}; minutes [least, most]"]
    for task in found.tasks:
        shown.append(
            f"  {task.task:<6} extraction {_band(task.features_seconds, 60, digits=1)} of "
            f"{task.missing_audio_seconds / 3600:.2f} h of audio, training {_band(task.training_seconds, 60, digits=1)}"
        )
        if task.recomputed_audio_seconds:
            shown.append(
                f"         frames that find no place are computed again at every use: "
                f"{task.recomputed_audio_seconds / 3600:.2f} h of audio, {_band(task.recomputed_seconds, 60, digits=1)}"
            )
    disk = sum(task.disk_bytes for task in found.tasks)
    return [
        *shown,
        f"  hours {_band(found.seconds, 3600)}, disk {disk / 1e9:.2f} GB, "
        f"peak memory {_band(found.peak_memory_bytes, 1e9, digits=1)} GB",
    ]


def _band(band: Band, unit: float, *, digits: int = 2) -> str:
    low, estimate, high = (f"{value / unit:.{digits}f}" for value in (band.low, band.estimate, band.high))
    return f"{estimate} [{low}, {high}]"
