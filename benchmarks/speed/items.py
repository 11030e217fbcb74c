"""All items by name: measured one after the other, each stored as soon as it is finished."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from skill_bench.base import provenance
from skill_bench.base.documents import write_atomic
from skill_bench.base.errors import SkillBenchError, UnknownName, UsageError
from skill_bench.base.progress import Progress
from skill_bench.base.specs import Precision
from skill_bench.pretraining.pretrain import SMALL_TEACHER
from speed import distillation, encoders, end_to_end, forecasts, gpu, scale, training
from speed.contest import Candidates, hold
from speed.figures import Item, Measured, Speed
from speed.page import markdown as page_of

NAMES = (
    "teacher", "student", "distillation", "removal", "small-removal", "grid", "cache", "scale", "s3prl", "forecast",
    "recomputed", "gpu-fp32", "gpu-bf16", "gpu-busy", "gpu-distillation", "gpu-scores",
)  # fmt: skip


def measure(
    *,
    wanted: Sequence[str] | None,
    batch_size: int,
    utterance_seconds: float,
    rounds: int,
    hours: str,
    data_root: Path | None,
    cache_dir: Path,
    out: Path | None,
    markdown: Path | None,
    progress: Progress,
) -> str:
    """Measures some items, or all, and returns the page.

    Args:
        hours: hours of speech that ``scale`` extracts, separated by commas.
        out: a JSON file of all numbers; those it holds already from this machine stay.
        markdown: a file for the page.

    Raises:
        UnknownName: no item of that name.
        UsageError: hours that are no hours.
    """
    for name in wanted or ():
        if name not in NAMES:
            raise UnknownName("item", name, NAMES)
    loads = _hours_in(hours)
    out = out or (markdown.with_suffix(".json") if markdown else None)
    speed = _before(out)
    items = _items(batch_size, utterance_seconds, rounds, loads, data_root, cache_dir, progress)
    for name in wanted or NAMES:
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
    return page_of(speed)


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
    cache_dir: Path,
    progress: Progress,
) -> dict[str, Callable[[], Item]]:

    def contest(make: Callable[[], Candidates]) -> Callable[[], Item]:
        return lambda: hold(make(), rounds=rounds, progress=progress)

    def teacher() -> Candidates:
        return encoders.teacher(batch_size=batch_size, utterance_seconds=utterance_seconds)

    def student() -> Candidates:
        return encoders.student(batch_size=batch_size, utterance_seconds=utterance_seconds)

    def on_gpu(precision: Precision) -> Item:
        with gpu.extraction(precision, gpu.device()) as candidates:
            return hold(candidates, rounds=rounds, progress=progress)

    def recomputed() -> Item:
        with gpu.recomputed(torch.device("cuda" if torch.cuda.is_available() else "cpu")) as candidates:
            return hold(candidates, rounds=rounds, progress=progress)

    def scores() -> Item:
        return gpu.scores(str(gpu.device()), cache_dir=cache_dir, progress=progress)

    found: dict[str, Callable[[], Item]] = {
        "teacher": contest(teacher),
        "student": contest(student),
        "distillation": contest(distillation.against_straightforward),
        "removal": contest(distillation.before_and_after_removal),
        "small-removal": contest(lambda: distillation.before_and_after_removal(architecture=SMALL_TEACHER)),
        "grid": contest(training.grid),
        "cache": contest(training.upstream_every_step),
        "scale": lambda: scale.growth(progress=progress, hours=hours),
        "s3prl": lambda: end_to_end.against_s3prl(cache_dir=cache_dir, progress=progress, data_root=data_root),
        "forecast": lambda: forecasts.forecast_and_run(cache_dir=cache_dir, progress=progress, data_root=data_root),
        "recomputed": recomputed,
        "gpu-fp32": lambda: on_gpu("fp32"),
        "gpu-bf16": lambda: on_gpu("bf16"),
        "gpu-busy": lambda: gpu.busy(gpu.device()),
        "gpu-distillation": contest(lambda: gpu.distillation(gpu.device())),
        "gpu-scores": scores,
    }
    assert tuple(found) == NAMES
    return found
