"""What each kind asks for is what is extracted, and what a forecast counts.

Long training utterances: one cut that the id decides, or several that are drawn from.

What is chosen is chosen on dev, by each kind in its way; and what all kinds refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from fake_speech import FakeUpstream, class_data, sequence_data, tone_file, utterance
from kind_data import SETTINGS, conversations, documents, load_trained, run_cell
from torch import Tensor

from skill_bench.base import catalog
from skill_bench.base.errors import DataError
from skill_bench.corpora.data import Effects, Fold, Segment, TaskData, Utterance
from skill_bench.evaluation import kinds, probe, solve
from skill_bench.evaluation.kinds.diarization.problem import DiarizationProblem
from skill_bench.evaluation.kinds.retrieval import search
from skill_bench.evaluation.solving.requests import Request, cuts
from skill_bench.evaluation.solving.trained import CutSampler
from skill_bench.evaluation.task_files import load_task
from skill_bench.features.extract import Features, extract
from skill_bench.features.policy import cut
from skill_bench.records.profile import Band
from skill_bench.tasks import Decision, TaskSpec, TrainedSpec

Asked = tuple[list[str], bool, float | None, set[Effects | None]]
BUILD: dict[str, Callable[[Path], TaskData]] = {
    "ks": lambda folder: class_data(folder, task="ks"),
    "sid": lambda folder: class_data(folder, task="sid"),
    "pr": lambda folder: sequence_data(folder, task="pr", n_train=8),
    **{name: build for name, (build, _, _) in SETTINGS.items()},
}
NOTHING = Band(low=0, estimate=0, high=0)
CUT_SECONDS = {"sid": 0.2, "asv": 0.5}
CHANGED = {"ks": Effects(gain_db=-3.0), "asv": Effects(gain_db=-3.0, trim_silence=True), "qbe": Effects(gain_db=-3.0)}


def brief(name: str, protocol: str) -> TaskSpec:
    """Two steps; what is long is cut so that some of the tones are."""
    task = load_task(name).for_suite("demo", protocol=protocol)
    if not isinstance(task, TrainedSpec):
        return task
    settings: dict[str, Any] = {"steps": 2, "evaluate_every_steps": 1, "keep_best_after_steps": False}
    settings |= {"train_max_seconds": CUT_SECONDS.get(name)}
    narrow = SETTINGS[name][2] if name in SETTINGS else {}
    changed = {"protocol": task.protocol.model_copy(update=settings), "head": task.head.model_copy(update=narrow)}
    return task.model_copy(update=changed)


def expected(name: str, protocol: str, data: TaskData) -> list[Asked]:
    """By hand: frames or means of everything, or training's cuts and the rest."""
    pooled, effects = name in ("ks", "sid", "ic"), {CHANGED.get(name) if protocol == "s3prl" else None}
    if name not in CUT_SECONDS:
        return [([u.id for u in data.utterances()], pooled, None, effects)]
    train, longest = [], CUT_SECONDS[name]
    for u in data.folds[0].train:
        several = protocol == "s3prl" and (u.seconds or 0) > longest
        train += [u.id, *(f"{u.id} cut {k}" for k in (1, 2, 3) if several)]
    rest = [u.id for u in (*data.folds[0].dev, *data.folds[0].test)]
    return [(train, pooled, longest, effects), (rest, pooled, None, effects)]


def asked(utterances: Sequence[Utterance], pooled: bool, max_seconds: float | None) -> Asked:
    return [u.id for u in utterances], pooled, max_seconds, {u.effects for u in utterances}


def test_every_kind_is_asked_here() -> None:
    assert {load_task(name).kind for name in BUILD} == set(kinds.names())


@pytest.mark.parametrize("protocol", ["strict", "s3prl"])
@pytest.mark.parametrize("name", list(BUILD))
def test_what_is_requested_is_extracted_and_foretold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, protocol: str
) -> None:
    data, task, upstream = BUILD[name](tmp_path / "audio"), brief(name, protocol), FakeUpstream()
    wanted = expected(name, protocol, data)
    assert [asked(r.utterances, r.pooled, r.max_seconds) for r in solve.requests(task, data)] == wanted

    extracted: list[Asked] = []
    whole = vars(solve)["extract"]

    def extract(source: Any, utterances: Sequence[Utterance], **options: Any) -> Features:
        extracted.append(asked(utterances, options["pooled"], options["max_seconds"]))
        found: Features = whole(source, utterances, **options)
        return found

    monkeypatch.setattr(solve, "extract", extract)
    run_cell(upstream, task, data, seed=0, cache_dir=tmp_path / "cache")
    assert extracted == wanted
    assert sum(upstream.calls) == sum(len(ids) for ids, *_ in wanted), "the upstream hears nothing else"

    foretold: list[Asked] = []

    def count(_: probe.Prober, request: Request) -> Any:
        foretold.append(asked(request.utterances, request.pooled, request.max_seconds))
        return probe._Extraction(audio_seconds=0, seconds=NOTHING, disk_bytes=0, resident_bytes=0)

    monkeypatch.setattr(probe.Prober, "_extraction", count)
    monkeypatch.setattr(probe.Prober, "_training", lambda *_: NOTHING)
    probe.Prober(upstream=upstream, seeds=(0,), cache_dir=tmp_path / "probe").probe(task, data, data)
    assert foretold == wanted


def test_an_utterance_that_is_named_twice_is_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = class_data(tmp_path)
    kind = kinds.load("utterance")
    monkeypatch.setattr(kind, "requests", lambda task, data: [Request(utterances=data.utterances() * 2)])
    (request,) = solve.requests(load_task("ks"), data)
    assert request.utterances == list(data.utterances())


def short(protocol: str) -> TaskSpec:
    task = load_task("sid").for_suite("demo", protocol=protocol)
    settings = {"train_max_seconds": 0.2, "steps": 4, "evaluate_every_steps": 2, "batch_size": 4, "accumulate": 1}
    return task.model_copy(update={"protocol": task.protocol.model_copy(update=settings)})


def test_protocol_s3prl_has_several_cuts_of_what_is_long(tmp_path: Path) -> None:
    long, brief = (utterance(tone_file(tmp_path / f"{tones}.wav", tones), "A") for tones in ("ABCD", "A"))
    assert cuts(short("strict"), long) == (long,)
    assert cuts(short("s3prl"), brief) == (brief,)
    several = cuts(short("s3prl"), long)
    assert several[0] == long
    assert len({one.id for one in several}) == 4
    wave = torch.arange(7680.0)
    assert len({float(cut(wave, one, max_samples=3200)[0]) for one in several}) == 4


def test_every_cut_is_drawn_and_nothing_is_where_there_is_no_choice() -> None:
    generator = torch.Generator().manual_seed(0)
    found = torch.tensor(CutSampler([1, 3, 2]).draw([0, 1, 2] * 40, generator)).view(40, 3)
    assert [set(column.tolist()) for column in found.T] == [{0}, {1, 2, 3}, {4, 5}]
    before = generator.get_state()
    assert CutSampler([1, 1, 1]).draw([2, 0], generator) == [2, 0]
    assert torch.equal(generator.get_state(), before)


def test_each_cut_is_extracted_once(tmp_path: Path) -> None:
    data = class_data(tmp_path / "audio", task="sid")
    (fold,) = data.folds
    n_long = sum((u.seconds or 0) > 0.2 for u in fold.train)
    assert 0 < n_long < len(fold.train)
    n_parts = [len(part) for _, part in fold.splits()]
    for protocol, n_more in (("strict", 0), ("s3prl", 3 * n_long)):
        upstream = FakeUpstream(identity=protocol)
        found = run_cell(upstream, short(protocol), data, seed=0, cache_dir=tmp_path)
        assert sum(upstream.calls) == sum(n_parts) + n_more
        assert [row["id"] for row in found.predictions] == [u.id for u in fold.test]


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
