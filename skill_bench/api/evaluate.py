"""A model on the tasks of a suite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from torch import nn

from skill_bench.api.models import Model, as_upstream, borrowed
from skill_bench.api.results import Results
from skill_bench.base.catalog import DEFAULT_SUITE
from skill_bench.base.errors import SkillBenchError
from skill_bench.base.places import Names, cache_folder, names
from skill_bench.base.progress import Progress
from skill_bench.corpora.load import tasks_of
from skill_bench.evaluation import evaluate as cells
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.records.record import DEFAULT_PROTOCOL, Record, find_record
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.load import RUN, load_collections


def evaluate(
    model: Model,
    *,
    suite: str = DEFAULT_SUITE,
    tasks: Names | None = None,
    seeds: int | Sequence[int] = 1,
    protocol: str = DEFAULT_PROTOCOL,
    data_root: str | Path | None = None,
    suite_file: str | Path | None = None,
    limit: int | None = None,
    out: str | Path = "results",
    cache_dir: str | Path | None = None,
    ckpt: str | Path | None = None,
    name: str | None = None,
    downsample_rate: int | None = None,
    device: str | None = None,
    profile: Literal["timed", "counted", False] = "counted",
    progress: Progress | None = None,
) -> Results:
    """Evaluates a model as ``skill-bench run`` does: finished cells stay in ``out``, and the same call continues.

    Args:
        model: Name of an upstream, ``hf:ORG/MODEL``, path of an upstream folder or a checkpoint; a torch module or any
            function that takes a ``(1, samples)`` float32 waveform at 16 kHz and gives hidden states, each
            ``(1, frames, dim)``. A module is put into evaluation mode meanwhile; nothing of it is changed.
        suite: A name of `skill-bench list`; all but ``demo`` need ``data_root``.
        tasks: Names, or one name; all that the suite has by default.
        seeds: How many, or which ones.
        protocol: ``strict`` or ``s3prl``.
        data_root: Folder of the suite's corpora.
        suite_file: Its suite.toml, if it lies elsewhere.
        limit: At most so many utterances of each split.
        out: Folder of records.
        cache_dir: Folder of features and synthesised speech.
        ckpt: Weights for a named upstream.
        name: What records call a module or a function; its own name and digits of its identity by default.
        downsample_rate: Of a module or function, samples from one frame to the next; found by default.
        device: ``cpu``, ``cuda``, ``cuda:1``; by default where a module is, else the CPU.
        profile: What its costs hold: ``counted`` parameters and multiply-adds, or ``timed`` also throughput and memory.
        progress: Receives stages.

    Raises:
        UsageError: it cannot be carried out as it was asked for.
        SkillBenchError: no cell has a result; says why. Where some have, the others are in ``failures``.
    """
    root, file = (None if path is None else Path(path) for path in (data_root, suite_file))
    with borrowed(model):
        upstream = as_upstream(model, ckpt=ckpt, name=name, downsample_rate=downsample_rate, device=device)
        is_function = not isinstance(model, str | Path | nn.Module)
        plan = Plan(
            upstreams=[UpstreamRequest(name=upstream.name)],
            suite=suite,
            protocol=protocol,
            tasks=tasks_of(suite, data_root=root, suite_file=file) if tasks is None else names(tasks),
            seeds=list(range(seeds)) if isinstance(seeds, int) else list(seeds),
            out_dir=Path(out),
            cache_dir=cache_folder(None if cache_dir is None else Path(cache_dir)),
            data_root=root,
            suite_file=file,
            limit=limit,
            device=device or _place_of(upstream),
            profile=False if is_function else profile,  # what a function holds is not known
        )
        outcome = cells.evaluate(plan, progress=progress, load=lambda request: upstream)
    failures = tuple(f"{failure.name}: {failure.error}" for failure in outcome.failures)
    if failures and not outcome.records:
        raise SkillBenchError("no cell has a result:\n" + "\n".join(f"  {failure}" for failure in failures))
    return Results(
        collections=tuple(load_collections(plan.out_dir, suite=suite, tasks=plan.tasks)),
        own=tuple(_found(record, plan.out_dir) for record in outcome.records),
        failures=failures,
    )


def _place_of(upstream: nn.Module) -> str:
    return next((str(tensor.device) for tensor in upstream.state_dict().values()), "cpu")


def _found(record: Record, out_dir: Path) -> FoundRecord:
    return FoundRecord(record=record, file=find_record(out_dir, record.key), origin=RUN)
