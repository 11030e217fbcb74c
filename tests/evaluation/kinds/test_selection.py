"""What is chosen is chosen on dev, by each kind in its way; and what all kinds refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from fake_speech import FakeUpstream, class_data
from kind_data import conversations, documents, load_trained, run_cell
from torch import Tensor

from skill_bench.base import catalog
from skill_bench.base.errors import DataError
from skill_bench.corpora.data import Fold, Segment, TaskData
from skill_bench.evaluation import kinds
from skill_bench.evaluation.kinds.diarization.problem import DiarizationProblem
from skill_bench.evaluation.kinds.retrieval import search
from skill_bench.evaluation.task_files import load_task
from skill_bench.features.extract import extract
from skill_bench.tasks import Decision


def diarization(folder: Path, decision: Decision) -> DiarizationProblem:
    data = conversations(folder / "audio")
    frames = extract(FakeUpstream(), data.utterances(), pooled=False, cache_dir=folder)
    return DiarizationProblem(
        task=load_trained("sd").for_suite("demo"), decision=decision, fold=data.folds[0], features=frames,
        frame_counts=frames.frame_counts, frame_seconds=0.02, device=torch.device("cpu"),
    )  # fmt: skip


@pytest.mark.parametrize(("selected_on", "threshold"), [("dev", 0.9), ("test", 0.3)])
def test_diarization_takes_the_threshold_that_is_best_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, selected_on: Literal["dev", "test"], threshold: float
) -> None:
    decision = Decision(thresholds=(0.3, 0.6, 0.9), median_frames=(1,), selected_on=selected_on)
    problem = diarization(tmp_path, decision)

    def scores(*, active: float, silent: float, part: Any) -> list[Tensor]:
        """Logits of two probabilities."""
        return [torch.from_numpy(problem._active(u)).double().mul(active - silent).add(silent).logit() for u in part]

    monkeypatch.setattr(problem, "_all_scores", lambda _, part: scores(active=0.95, silent=0.7, part=part))
    test = scores(active=0.5, silent=0.1, part=problem.fold.test)
    assert problem._decide({}, test) == (threshold, 1)


def test_diarization_learns_rounded_frames_and_is_scored_by_the_times_that_are_stated(tmp_path: Path) -> None:
    problem = diarization(tmp_path, Decision(thresholds=(0.5,), median_frames=(1,)))
    times = (
        Segment(speaker="b", start_seconds=0.031, end_seconds=0.1),
        Segment(speaker="a", start_seconds=0.089, end_seconds=0.2),
    )
    utterance = replace(problem.fold.test[0], segments=times)
    assert problem._times(utterance) == [(1, 1.55, 5.0), (0, 4.45, 10.0)]
    active = problem._active(utterance)
    assert np.flatnonzero(active[:, 1]).tolist() == [2, 3, 4]
    assert np.flatnonzero(active[:, 0])[:2].tolist() == [4, 5]
    # Logits that find exactly the rounded frames: what rounding added and took away is an error.
    exact = torch.from_numpy(np.where(active, 1.0, -1.0))
    errors = problem._errors(utterance, exact, (0.5, 1))
    assert errors.numerator == pytest.approx(0.45 + 0.45)
    assert errors.denominator == pytest.approx(3.45 + 5.55)


def test_one_pair_is_taken_without_looking(tmp_path: Path) -> None:
    problem = diarization(tmp_path, Decision(thresholds=(0.4,), median_frames=(3,)))
    assert problem._decide({}, []) == (0.4, 3)


def test_retrieval_takes_the_layer_that_is_best_on_dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = vars(search)["_search"]
    best = {True: 2, False: 1}

    def spoilt(*args: Any, dev: bool) -> list[dict[str, Any]]:
        """One layer finds everything on dev, another on test; the others find the opposite."""
        rows: list[dict[str, Any]] = whole(*args, dev=dev)
        right = 1.0 if args[-1] == best[dev] else -1.0
        return [row | {"score": right if row["target"] == "present" else -right} for row in rows]

    monkeypatch.setattr(search, "_search", spoilt)
    task = load_task("qbe").for_suite("demo")
    found = run_cell(FakeUpstream(), task, documents(tmp_path / "audio"), seed=0, cache_dir=tmp_path)
    assert (found.selection.layer, found.layer_weights) == (2, (0, 0, 1))
    assert [point.value for point in found.selection.curve] == [0, 0, 100]
    assert found.metrics["mtwv"].value == 0, "test is read with dev's choice"


@pytest.mark.parametrize("kind", kinds.names())
def test_every_kind_refuses_data_without_a_fold_or_without_a_test_part(tmp_path: Path, kind: str) -> None:
    task = next(task for task in map(load_task, catalog.names("tasks")) if task.kind == kind)
    nothing = TaskData(task=task.name, suite="demo", synthetic=True, folds=(), fingerprint="f", notes=())
    check = kinds.load(kind).check
    with pytest.raises(DataError, match=rf"task '{task.name}', suite 'demo': there is no fold\. Check the suite's"):
        check(task, nothing)
    fold = class_data(tmp_path).folds[0]
    parts = Fold(name="all", train=fold.train, dev=fold.dev, test=())
    with pytest.raises(DataError, match=r"fold 'all': the test part is empty\. Check the split column"):
        check(task, replace(nothing, folds=(parts,)))


def test_one_class_is_no_task(tmp_path: Path) -> None:
    data = class_data(tmp_path)
    fold = data.folds[0]
    alike = tuple(u for u in fold.train if u.target == "A")
    with pytest.raises(DataError, match=r"training has 1 class \(A\); at least 2 are needed"):
        kinds.load("utterance").check(load_task("ks"), replace(data, folds=(replace(fold, train=alike),)))
