"""``skill-bench bench``: how fast extraction and training are here, against others and against the machine's floor."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skill_bench.cli.options import CacheDir
from skill_bench.errors import SkillBenchError, UnknownName, UsageError

if TYPE_CHECKING:
    from skill_bench.progress import Progress
    from skill_bench.speed.figures import Item, Speed

NAMES = (
    "teacher",
    "student",
    "distillation",
    "removal",
    "small-removal",
    "grid",
    "cache",
    "scale",
    "s3prl",
    "forecast",
)


def bench(
    batch_size: Annotated[int, typer.Option(help="Utterances in one batch of extraction.", min=1)] = 4,
    utterance_seconds: Annotated[float, typer.Option(help="Length of each.", min=0.1)] = 10.0,
    rounds: Annotated[int, typer.Option(help="Timed rounds, after one that warms up.", min=1)] = 3,
    threads: Annotated[int | None, typer.Option(help="CPU threads; torch's choice by default.", min=1)] = None,
    only: Annotated[str | None, typer.Option(help=f"Some of {','.join(NAMES)}; the others stay as they are.")] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Recorded speech (suite local) for the comparison with s3prl; else demo speech.")
    ] = None,
    hours: Annotated[str, typer.Option(help="Hours of speech that scale extracts, one run each.")] = "0.1,1,3",
    cache_dir: CacheDir = None,
    out: Annotated[
        Path | None, typer.Option(help="All numbers as JSON; default: beside --markdown. Finished items stay in it.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="Also write the page to this file.")] = None,
) -> None:
    """Measure the speed of this machine's skill-bench; about a quarter of an hour on two cores.

    Every item is stored as soon as it is finished; with --only, those measured before are kept.
    """
    import torch

    from skill_bench import provenance
    from skill_bench.cli.console import ConsoleProgress
    from skill_bench.cli.options import names_in
    from skill_bench.schema import write_atomic
    from skill_bench.speed.figures import Measured
    from skill_bench.speed.page import markdown as page_of

    wanted = names_in(only) or list(NAMES)
    for name in wanted:
        if name not in NAMES:
            raise UnknownName("item", name, NAMES)
    loads = _hours_in(hours)
    if threads is not None:
        torch.set_num_threads(threads)
    out = out or (markdown.with_suffix(".json") if markdown else None)
    speed = _before(out)
    with ConsoleProgress() as progress:
        items = _items(batch_size, utterance_seconds, rounds, loads, data_root, cache_dir, progress)
        for name in wanted:
            started_at, load = provenance.now(), os.getloadavg()[0] if hasattr(os, "getloadavg") else None
            start, reasons = time.perf_counter(), {key: value for key, value in speed.reasons.items() if key != name}
            measured = dict(speed.items)
            try:
                measured[name] = Measured(
                    item=items[name](),
                    started_at=started_at,
                    seconds=time.perf_counter() - start,
                    n_threads=torch.get_num_threads(),
                    load_average=load,
                )
            except SkillBenchError as error:
                progress.note(f"{name}: not measured: {error}")
                reasons[name] = str(error)
            order = [known for known in NAMES if known in measured]
            speed = speed.model_copy(update={"items": {key: measured[key] for key in order}, "reasons": reasons})
            if out is not None:
                speed.write(out)
            if markdown is not None:
                write_atomic(markdown, page_of(speed).encode())
    typer.echo(page_of(speed))


def _hours_in(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(0.01 <= number <= 1000 for number in found):
        raise UsageError(f"--hours {text}: expected hours of speech, such as 0.1,1,3, each between 0.01 and 1000.")
    return found


def _before(out: Path | None) -> Speed:
    """What ``out`` holds already, if this machine measured it; else nothing."""
    from skill_bench import provenance
    from skill_bench.speed.figures import Speed

    now = provenance.collect(started_at=provenance.now())
    if out is not None and out.exists():
        found = Speed.read(out)
        if found.provenance.hardware == now.hardware and found.provenance.packages == now.packages:
            return found.model_copy(update={"provenance": now})
    return Speed(items={}, provenance=now)


def _items(
    batch_size: int,
    utterance_seconds: float,
    rounds: int,
    hours: tuple[float, ...],
    data_root: Path | None,
    cache_dir: Path | None,
    progress: Progress,
) -> dict[str, Callable[[], Item]]:
    from skill_bench.compress.teacher import SMALL_TEACHER
    from skill_bench.speed import distillation, encoders, end_to_end, foresight, scale, training
    from skill_bench.speed.contest import Candidates, hold
    from skill_bench.user_cache import cache_folder

    def contest(make: Callable[[], Candidates]) -> Callable[[], Item]:
        return lambda: hold(make(), rounds=rounds, progress=progress)

    def teacher() -> Candidates:
        return encoders.teacher(batch_size=batch_size, utterance_seconds=utterance_seconds)

    def student() -> Candidates:
        return encoders.student(batch_size=batch_size, utterance_seconds=utterance_seconds)

    found: dict[str, Callable[[], Item]] = {
        "teacher": contest(teacher),
        "student": contest(student),
        "distillation": contest(distillation.against_straightforward),
        "removal": contest(distillation.before_and_after_removal),
        "small-removal": contest(lambda: distillation.before_and_after_removal(architecture=SMALL_TEACHER)),
        "grid": contest(training.grid),
        "cache": contest(training.upstream_every_step),
        "scale": lambda: scale.growth(progress=progress, hours=hours),
        "s3prl": lambda: end_to_end.journeys(cache_dir=cache_folder(cache_dir), progress=progress, data_root=data_root),
        "forecast": lambda: foresight.foresight(
            cache_dir=cache_folder(cache_dir), progress=progress, data_root=data_root
        ),
    }
    assert tuple(found) == NAMES
    return found
