"""Runs what a baseline asks for, afresh: nothing that an earlier version of the code computed is used again."""

from __future__ import annotations

import re
import shutil
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from skill_bench.base.counted import counted
from skill_bench.base.errors import SkillBenchError, UsageError
from skill_bench.base.progress import Progress, Silent
from skill_bench.base.provenance import collect as provenance
from skill_bench.base.provenance import now
from skill_bench.evaluation.cell_record import EvaluatedUpstream
from skill_bench.evaluation.evaluate import evaluate, load_request
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.features.stored import folder_of, root_in
from skill_bench.guard.baseline import FILE, Baseline, Change, Costs, Settings, read_baseline
from skill_bench.guard.findings import CheckReport
from skill_bench.guard.judge import Rules, judge_costs, judge_tasks
from skill_bench.measure.profile import profile
from skill_bench.measure.throughput import NAME, throughput_ratio
from skill_bench.report.comparison import ONE_SEED
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import Collection, collect
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.load import RUN, load_collections
from skill_bench.report.table.telling import not_counted, why_not
from skill_bench.report.table.uncertainty import leads_of
from skill_bench.upstream.spec import NAME_DIGITS

Load = Callable[[UpstreamRequest], EvaluatedUpstream]


@dataclass(frozen=True, kw_only=True)
class RerunOptions:
    """Where a check finds its model and data.

    Attributes:
        cache_dir: Synthesised speech is kept here; features are extracted anew and removed.
        ckpt: Weights for the upstream.
        data_root, suite_file: Of suites other than demo.
        device: Where to compute.
        timed: Whether throughput is measured.
        load: Loads the upstream; for callers that have their own.
    """

    cache_dir: Path
    ckpt: Path | None = None
    data_root: Path | None = None
    suite_file: Path | None = None
    device: str = "cpu"
    timed: bool = True
    load: Load = load_request


def compare(
    folder: Path,
    *,
    place: RerunOptions,
    rules: Rules | None = None,
    upstream: str | None = None,
    tasks: tuple[str, ...] | None = None,
    progress: Progress | None = None,
) -> CheckReport:
    """Runs the baseline's settings with the model as it is now, and judges the difference.

    Args:
        folder: Of the baseline.
        place: Model and data.
        rules: When to fail.
        upstream: Another upstream than the baseline's.
        tasks: Fewer than the baseline's.

    Raises:
        UsageError: there is no baseline, it has no such task, or it is of given weights and none are given now.
        RecordError: the baseline was edited.
    """
    baseline, rules = read_baseline(folder), rules or Rules()
    settings = baseline.settings
    if tasks is not None and (unknown := set(tasks) - set(settings.tasks)):
        raise UsageError(
            f"{folder} has no {', '.join(sorted(unknown))}, only {', '.join(settings.tasks)}. Add tasks with --update."
        )
    wanted = settings.model_copy(update={"upstream": upstream or settings.upstream, "tasks": tasks or settings.tasks})
    before = collect(folder)
    model = _load(wanted, place)
    if upstream is None and place.ckpt is None:
        _require_own_weights(before, model, folder)
    with tempfile.TemporaryDirectory(prefix="skill-bench-check-") as temporary:
        _run(wanted, Path(temporary), place, progress or Silent(), model=model)
        after = collect(Path(temporary))
        left_out, why = _left_out(before, settings.suite, wanted.tasks)
        findings = judge_tasks(
            {task: _of(before.entries, task) for task in wanted.tasks},
            {task: _of(after.entries, task) for task in wanted.tasks},
            rules,
            left_out=left_out,
        )
    findings += judge_costs(baseline.costs, _costs(model, place), rules)
    same = model.system().identity == baseline.identity
    notes = [f"baseline of {baseline.provenance.started_at}: {baseline.reason}", *before.problems]
    notes += ["the model is the baseline's own: only code and data can differ"] if same else []
    notes += [ONE_SEED] if len(settings.seeds) == 1 else []
    notes += [f"a mean leaves out {why}"] if left_out else []
    return CheckReport(
        title=f"{wanted.upstream} on {settings.suite}",
        rules=rules.describe(),
        findings=tuple(findings),
        notes=tuple(notes),
    )


def update(
    folder: Path, settings: Settings, *, reason: str, place: RerunOptions, progress: Progress | None = None
) -> Baseline:
    """Runs ``settings`` and writes the folder as a baseline; an earlier one becomes a line of its history.

    Raises:
        UsageError: no reason, or the folder holds something else.
        SkillBenchError: a cell failed; the folder stays as it was.
    """
    if not reason.strip():
        raise UsageError("--update needs --reason TEXT: whoever meets the new numbers will want to know why.")
    history: tuple[Change, ...] = ()
    if (folder / FILE).is_file():
        earlier = read_baseline(folder)
        history = (*earlier.history, earlier.as_change())
    elif folder.is_file():
        raise UsageError(f"{folder} is a file, and a new baseline is a folder. Name one, or unpack the archive first.")
    elif folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty and holds no {FILE}. Name a folder of its own for the baseline.")
    started_at = now()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        fresh = Path(temporary) / "fresh"
        model = _load(settings, place)
        _run(settings, fresh, place, progress or Silent(), model=model, must_finish=True)
        baseline = Baseline(
            settings=settings,
            identity=model.system().identity,
            costs=_costs(model, place),
            reason=reason.strip(),
            history=history,
            provenance=provenance(started_at=started_at),
        )
        baseline.write(fresh / FILE)
        if folder.is_dir():
            folder.rename(Path(temporary) / "earlier")
        fresh.rename(folder)
    return baseline


def _load(settings: Settings, place: RerunOptions) -> EvaluatedUpstream:
    return place.load(UpstreamRequest(name=settings.upstream, ckpt=place.ckpt))


def _require_own_weights(before: Collection, model: EvaluatedUpstream, folder: Path) -> None:
    """Checks that the baseline is of the upstream's own weights, as ``model`` is: others put their hash into the name.

    Raises:
        UsageError: it is of others, and a check would hold one model against another.
    """
    of_others = re.compile(rf"{re.escape(model.name)}-[0-9a-f]{{{NAME_DIGITS}}}")
    for record in before.records:
        if of_others.fullmatch(record.key.upstream):
            raise UsageError(
                f"{folder} is of {record.key.upstream}: {model.name} with weights that --ckpt gave. Give --ckpt again, "
                f"or --upstream {model.name} to hold its own weights against them."
            )


def _run(
    settings: Settings,
    out_dir: Path,
    place: RerunOptions,
    progress: Progress,
    *,
    model: EvaluatedUpstream,
    must_finish: bool = False,
) -> None:
    # Features of an earlier version of the code would hide what the change did: this identity is nobody else's.
    own, model.identity = model.identity, f"{model.identity} {uuid.uuid4()}"
    features = folder_of(model.identity, root=root_in(place.cache_dir))
    try:
        outcome = evaluate(
            Plan(
                upstreams=[UpstreamRequest(name=settings.upstream, ckpt=place.ckpt)],
                suite=settings.suite,
                protocol=settings.protocol,
                tasks=settings.tasks,
                seeds=settings.seeds,
                limit=settings.limit,
                out_dir=out_dir,
                cache_dir=place.cache_dir,
                data_root=place.data_root,
                suite_file=place.suite_file,
                device=place.device,
                profile=False,
            ),
            progress=progress,
            load=lambda _: model,
        )
    finally:
        model.identity = own
        shutil.rmtree(features, ignore_errors=True)
    if must_finish and outcome.failures:
        listed = "\n".join(f"  {failure.task} seed {failure.seed}: {failure.error}" for failure in outcome.failures)
        raise SkillBenchError(f"no baseline was written, {counted(len(outcome.failures), 'cell')} failed:\n{listed}")


def _costs(model: EvaluatedUpstream, place: RerunOptions) -> Costs:
    if not isinstance(model, torch.nn.Module):
        return Costs(parameters=model.system().n_parameters, macs=None, throughput_ratio=None, reference=NAME)
    model = model.to(place.device)
    found = profile(model, system=model.system(), timed=False)
    return Costs(
        parameters=None if found.parameters is None else found.parameters.total,
        macs=None if found.macs is None else found.macs.superb,
        throughput_ratio=throughput_ratio(model.hidden_states, device=place.device) if place.timed else None,
        reference=NAME,
    )


def _left_out(baseline: Collection, suite: str, tasks: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Those of ``tasks`` that do not count in a mean, and why.

    As the teacher and the controls that come with the package say, where they were tested on the baseline's data.
    """
    if len(tasks) == 1:
        return (), ""
    for section in build([baseline, *load_collections(suite=suite)]).sections:
        if any(row.origin == RUN for row in section.rows):
            leads = leads_of(section)
            if left_out := not_counted(tasks, leads):
                return left_out, why_not(left_out, leads)
    return (), ""


def _of(entries: tuple[FoundRecord, ...], task: str) -> list[FoundRecord]:
    """Whatever its name: a baseline is of one system, which may have been another checkpoint."""
    return [entry for entry in entries if entry.record.key.task == task]
