"""One cell: one upstream on one task with one seed, from audio to a score with its evidence."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from skill_bench.corpora.data import Fold, TaskData, Utterance
from skill_bench.features.extract import Features, FeatureSource, extract
from skill_bench.metrics import accuracy, edits
from skill_bench.metrics.ratio import Ratio, mean_percent, pooled
from skill_bench.probes import heads
from skill_bench.probes.checks import check_data, sequence_notes
from skill_bench.probes.sequence import SequenceProblem
from skill_bench.probes.tokens import Tokens
from skill_bench.probes.training import DevPoint, GridResult, Trained, merit, train_grid
from skill_bench.probes.utterance import UtteranceProblem
from skill_bench.progress import Progress, Silent
from skill_bench.record import CurvePoint, Metric, Selection
from skill_bench.tasks import TaskSpec

_Problem = UtteranceProblem | SequenceProblem


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What a cell found.

    Attributes:
        task: The specification as it was used, resolved for the suite.
        metrics: The task's metric under ``task.metric``, and further ones.
        folds: The metric of each fold.
        selection: The chosen learning rate and every dev point.
        layer_weights: Weight of each hidden state, mean over folds; they add up to 1.
        predictions: One row a test utterance: id, fold, target, prediction, numerator, denominator.
        notes: Facts found on the way, to be recorded beside the data's own.
        n_resampled: Utterances whose file had another rate than 16 kHz.
        n_mixed_down: Utterances whose file had several channels.
        seconds: Wall-clock seconds of each stage.
    """

    task: TaskSpec
    metrics: dict[str, Metric]
    folds: dict[str, dict[str, Metric]]
    selection: Selection
    layer_weights: tuple[float, ...]
    predictions: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    n_resampled: int
    n_mixed_down: int
    seconds: dict[str, float]


def run_cell(
    upstream: FeatureSource,
    task: TaskSpec,
    data: TaskData,
    *,
    seed: int,
    cache_dir: Path,
    progress: Progress | None = None,
    device: str = "cpu",
) -> CellResult:
    """Extracts features, trains the grid of learning rates, chooses on dev, reads test once.

    Args:
        upstream: The frozen model.
        task: The task; its overrides for ``data.suite`` are applied here.
        data: Utterances in folds.
        seed: Decides initial heads, batches and masks. The same seed gives the same predictions.
        cache_dir: Where features are kept.
        progress: Receives the stages.
        device: Where the heads are trained, as torch names it.

    Raises:
        DataError: the data cannot be used; see `skill_bench.probes.checks` and `skill_bench.features.extract`.
    """
    task, progress = task.for_suite(data.suite), progress or Silent()
    tokens = None
    if task.target is not None:
        tokens = Tokens.of(task.target, texts=[utterance.target for utterance in data.utterances()])
    check_data(task, data, tokens=tokens)
    clock = _Clock()
    train, held_out = _features(upstream, task, data, cache_dir=cache_dir, progress=progress)
    clock.mark("features")
    problems: list[_Problem] = [
        _problem(task, fold, tokens=tokens, train=train, held_out=held_out, device=torch.device(device))
        for fold in data.folds
    ]
    results = [_train(problem, task, seed=seed, device=torch.device(device), progress=progress) for problem in problems]
    clock.mark("training")
    chosen = _choose(task, results)
    best = [result.trained[chosen] for result in results]
    texts = [problem.predict_test(b.parameters) for problem, b in zip(problems, best, strict=True)]
    clock.mark("test")
    rows = [row for fold, text in zip(data.folds, texts, strict=True) for row in _rows(task, fold, text)]
    metrics, folds = _metrics(task, data.folds, texts)
    layers = torch.stack([heads.layer_weights(b.parameters)[0].double() for b in best]).mean(dim=0)
    extracted = [train] if train is held_out else [train, held_out]
    return CellResult(
        task=task,
        metrics=metrics,
        folds=folds,
        selection=_selection(task, data.folds, results, best),
        layer_weights=tuple(layers.tolist()),
        predictions=tuple(rows),
        notes=_notes(data.folds, results, task, tokens=tokens, features=held_out),
        n_resampled=sum(f.n_resampled for f in extracted),
        n_mixed_down=sum(f.n_channels_averaged for f in extracted),
        seconds=clock.seconds,
    )


def _features(
    upstream: FeatureSource, task: TaskSpec, data: TaskData, *, cache_dir: Path, progress: Progress
) -> tuple[Features, Features]:
    """Features for training and for dev and test; the same object unless training utterances are cut."""
    if task.kind == "ctc":
        frames = extract(upstream, data.utterances(), pooled=False, cache_dir=cache_dir, progress=progress)
        return frames, frames
    if task.protocol.train_max_seconds is None:
        means = extract(upstream, data.utterances(), pooled=True, cache_dir=cache_dir, progress=progress)
        return means, means
    train = _unique(u for fold in data.folds for u in fold.train)
    held_out = _unique(u for fold in data.folds for u in (*fold.dev, *fold.test))
    return (
        extract(
            upstream, train, pooled=True, cache_dir=cache_dir, progress=progress,
            max_seconds=task.protocol.train_max_seconds,
        ),
        extract(upstream, held_out, pooled=True, cache_dir=cache_dir, progress=progress),
    )  # fmt: skip


def _problem(
    task: TaskSpec, fold: Fold, *, tokens: Tokens | None, train: Features, held_out: Features, device: torch.device
) -> _Problem:
    if tokens is None:
        return UtteranceProblem(task=task, fold=fold, train=train, held_out=held_out, device=device)
    return SequenceProblem(
        task=task, fold=fold, tokens=tokens, features=train, frame_counts=train.frame_counts, device=device
    )


def _train(problem: _Problem, task: TaskSpec, *, seed: int, device: torch.device, progress: Progress) -> GridResult:
    name = problem.fold.name
    with progress.stage(f"{task.name}: training {name}, seed {seed}", total=task.protocol.steps) as advance:
        return train_grid(
            problem,
            task.protocol,
            higher_is_better=task.higher_is_better,
            seed=seed,
            fold=name,
            device=device,
            advance=advance,
        )


def _choose(task: TaskSpec, results: Sequence[GridResult]) -> int:
    """Index of the learning rate with the best mean over folds of its best dev metric (then loss)."""
    sign = 1.0 if task.higher_is_better else -1.0

    def mean_merit(index: int) -> tuple[float, float]:
        merits = [merit(result.trained[index].dev, sign) for result in results]
        return (sum(m[0] for m in merits) / len(merits), sum(m[1] for m in merits) / len(merits))

    return max(range(len(task.protocol.learning_rates)), key=mean_merit)


def _metrics(
    task: TaskSpec, folds: Sequence[Fold], texts: Sequence[Sequence[str]]
) -> tuple[dict[str, Metric], dict[str, dict[str, Metric]]]:
    """Metrics over everything, and each fold's own."""
    ratios: dict[str, list[Ratio]] = {}
    per_fold: dict[str, dict[str, Metric]] = {}
    for fold, predictions in zip(folds, texts, strict=True):
        targets = [utterance.target for utterance in fold.test]
        per_fold[fold.name] = {}
        for name, function in _SCORES[task.metric].items():
            ratio = function(targets=targets, predictions=predictions)
            ratios.setdefault(name, []).append(ratio)
            per_fold[fold.name][name] = _metric(ratio, task)
    if task.aggregate == "corpus":
        return {name: _metric(pooled(found), task) for name, found in ratios.items()}, per_fold
    metrics = {f"{name}_pooled": _metric(pooled(found), task) for name, found in ratios.items()}
    for name, found in ratios.items():
        mean = mean_percent(found)
        metrics[name] = Metric(
            value=mean,
            reason="a fold has nothing to score" if mean is None else None,
            unit=task.unit,
            higher_is_better=task.higher_is_better,
        )
    return metrics, per_fold


_SCORES = {
    "accuracy": {"accuracy": accuracy.accuracy},
    "per": {"per": edits.word_error_rate},
    "wer": {"wer": edits.word_error_rate, "cer": edits.character_error_rate},
}


def _metric(ratio: Ratio, task: TaskSpec) -> Metric:
    return Metric.percent(ratio.numerator, ratio.denominator, higher_is_better=task.higher_is_better)


def _rows(task: TaskSpec, fold: Fold, texts: Sequence[str]) -> list[dict[str, Any]]:
    score = _SCORES[task.metric][task.metric]
    rows = []
    for utterance, text in zip(fold.test, texts, strict=True):
        ratio = score(targets=[utterance.target], predictions=[text])
        rows.append(
            {
                "id": utterance.id,
                "fold": fold.name,
                "target": utterance.target,
                "prediction": text,
                "numerator": ratio.numerator,
                "denominator": ratio.denominator,
            }
        )
    return rows


def _selection(
    task: TaskSpec, folds: Sequence[Fold], results: Sequence[GridResult], best: Sequence[Trained]
) -> Selection:
    several = len(folds) > 1

    def point(dev: DevPoint, fold: Fold) -> CurvePoint:
        return CurvePoint(
            learning_rate=dev.learning_rate,
            value=dev.value,
            reason="training diverged: the loss is not finite" if dev.value is None else None,
            step=dev.step,
            fold=fold.name if several else None,
        )

    return Selection(
        metric=task.metric,
        learning_rate=best[0].dev.learning_rate,
        per_fold={f.name: b.dev.learning_rate for f, b in zip(folds, best, strict=True)} if several else {},
        curve=tuple(point(dev, fold) for fold, result in zip(folds, results, strict=True) for dev in result.curve),
    )


def _notes(
    folds: Sequence[Fold],
    results: Sequence[GridResult],
    task: TaskSpec,
    *,
    tokens: Tokens | None,
    features: Features,
) -> tuple[str, ...]:
    notes = [f"features: {features.policy}"]
    for fold, result in zip(folds, results, strict=True):
        found = sequence_notes(fold, tokens=tokens, frame_counts=features.frame_counts) if tokens else []
        if result.steps < task.protocol.steps:
            found.append(f"training stopped after {result.steps} steps: no learning rate improved on dev any more")
        notes += [f"fold {fold.name}: {note}" if len(folds) > 1 else note for note in found]
    return tuple(notes)


def _unique(utterances: Any) -> list[Utterance]:
    found: Mapping[str, Utterance] = {utterance.id: utterance for utterance in utterances}
    return list(found.values())


class _Clock:
    """Wall-clock seconds of consecutive stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def mark(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage], self._last = now - self._last, now
