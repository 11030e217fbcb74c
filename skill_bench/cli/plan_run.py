"""``skill-bench plan run``: hours, disk and memory of an evaluation, before it is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from skill_bench.base.counted import counted
from skill_bench.base.filled import filled
from skill_bench.cli.run_options import Asked, planned

if TYPE_CHECKING:
    from skill_bench.evaluation.forecast import Forecast
    from skill_bench.records.profile import Band


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
        for line in lines(one):
            typer.echo(filled(line))


def lines(found: Forecast) -> list[str]:
    """The forecast as text, one line a task."""
    shown = [f"{found.upstream} on {found.suite}, {counted(len(found.seeds), 'seed')}; minutes [least, most]"]
    for task in found.tasks:
        shown.append(
            f"  {task.task:<6} extraction {_band(task.features_seconds, 60)} of "
            f"{task.missing_audio_seconds / 3600:.2f} h of audio, training {_band(task.training_seconds, 60)}"
        )
        if task.recomputed_audio_seconds:
            shown.append(
                f"         frames that find no place are computed again at every use: "
                f"{task.recomputed_audio_seconds / 3600:.2f} h of audio, {_band(task.recomputed_seconds, 60)}"
            )
    disk = sum(task.disk_bytes for task in found.tasks)
    return [
        *shown,
        f"  hours {_band(found.seconds, 3600, digits=2)}, disk {disk / 1e9:.2f} GB, "
        f"peak memory {_band(found.peak_memory_bytes, 1e9)} GB",
    ]


def _band(band: Band, unit: float, *, digits: int = 1) -> str:
    low, estimate, high = (f"{value / unit:.{digits}f}" for value in (band.low, band.estimate, band.high))
    return f"{estimate} [{low}, {high}]"
