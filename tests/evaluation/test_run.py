"""One cell from audio to scores, on tones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fake_speech import FakeUpstream, class_data, sequence_data, tone_file, utterance
from kind_data import run_cell
from torch import Tensor

from skill_bench.base.errors import DataError
from skill_bench.base.provenance import collect
from skill_bench.corpora.data import Fold, TaskData
from skill_bench.evaluation.cell_result import CellResult, run_cells
from skill_bench.evaluation.task_files import load_task
from skill_bench.tasks import TaskSpec, TrainedSpec


def _short(name: str, **protocol: object) -> TaskSpec:
    """A task whose protocol takes a second."""
    task = load_task(name).for_suite("demo")
    settings = {"steps": 60, "evaluate_every_steps": 20, "patience_evaluations": None, "keep_best_after_steps": None}
    return task.model_copy(update={"protocol": task.protocol.model_copy(update=settings | protocol)})


def _run(task: TaskSpec, data: TaskData, cache: Path, *, seed: int = 0) -> CellResult:
    return run_cell(FakeUpstream(), task, data, seed=seed, cache_dir=cache)


def test_classification_learns_and_keeps_its_evidence(tmp_path: Path) -> None:
    data = class_data(tmp_path / "audio")
    (fold,) = data.folds
    known = replace(fold, test=(replace(fold.test[0], speaker="Ann"), *fold.test[1:]))
    data = replace(data, folds=(known,))
    found = _run(_short("ks", learning_rates=(0.01, 1e-9)), data, tmp_path)
    metric = found.metrics["accuracy"]
    assert metric.value == 100.0
    assert (metric.numerator, metric.denominator) == (6, 6)
    assert [row["id"] for row in found.predictions] == [u.id for u in data.folds[0].test]
    assert found.predictions[0] == {
        "id": "A0", "fold": "fold1", "target": "A", "prediction": "A", "numerator": 1, "denominator": 1,
        "speaker": "Ann",
    }  # fmt: skip
    assert not any("speaker" in row for row in found.predictions[1:]), "who speaks there is not known"
    assert found.selection.learning_rate == 0.01
    assert found.selection.per_fold == {}
    assert [(p.learning_rate, p.step) for p in found.selection.curve] == [
        (rate, step) for step in (20, 40, 60) for rate in (0.01, 1e-9)
    ]
    assert len(found.layer_weights) == 3
    assert sum(found.layer_weights) == pytest.approx(1)
    assert set(found.seconds) == {"features", "training", "test"}
    assert "features: mean-float32-v1" in found.notes


def test_folds_are_averaged_and_share_one_learning_rate(tmp_path: Path) -> None:
    data = class_data(tmp_path / "audio", task="er", folds=3)
    found = _run(_short("er", learning_rates=(0.01, 1e-4)), data, tmp_path)
    assert set(found.folds) == {"fold1", "fold2", "fold3"}
    per_fold = [fold["accuracy"].value for fold in found.folds.values()]
    mean, pooled = found.metrics["accuracy"], found.metrics["accuracy_pooled"]
    assert mean.value == pytest.approx(sum(v for v in per_fold if v is not None) / 3)
    assert mean.numerator is None
    assert pooled.denominator == 18
    assert pooled.numerator == sum(row["numerator"] for row in found.predictions)
    assert len(set(found.selection.per_fold.values())) == 1
    assert {point.fold for point in found.selection.curve} == {"fold1", "fold2", "fold3"}


@pytest.mark.parametrize(("name", "metric"), [("pr", "per"), ("asr", "wer")])
def test_sequences_are_learnt(tmp_path: Path, name: str, metric: str) -> None:
    data = sequence_data(tmp_path / "audio", task=name)
    steps = 200 if name == "pr" else 400
    task = _short(name, steps=steps, evaluate_every_steps=100, learning_rates=(0.01,), batch_size=8)
    if name == "asr":
        assert isinstance(task, TrainedSpec)
        head = task.head.model_copy(update={"projection_dim": 32, "hidden_dims": (32,)})
        task = task.model_copy(update={"head": head})
    found = _run(task, data, tmp_path)
    score = found.metrics[metric]
    assert score.value is not None
    assert score.value < 60
    assert score.numerator == sum(row["numerator"] for row in found.predictions)
    assert score.denominator == sum(len(u.target.split()) for u in data.folds[0].test)
    assert ("cer" in found.metrics) == (name == "asr")
    assert "features: frames-float16-v1" in found.notes


def test_heads_take_one_thread_and_upstreams_what_there_is(tmp_path: Path) -> None:
    heard: list[int] = []

    class Listening(FakeUpstream):
        def hidden_states(self, waves: list[Tensor]) -> list[Tensor]:
            heard.append(torch.get_num_threads())
            return super().hidden_states(waves)

    data = sequence_data(tmp_path / "audio", task="pr", n_train=8)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        task = _short("pr", steps=2, evaluate_every_steps=1, batch_size=4)
        cells = run_cells(Listening(), task, data, seeds=(0, 1), cache_dir=tmp_path)
        next(cells)
        assert set(heard) == {2}
        # What the record says.
        assert collect().n_threads == 1
        cells.close()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["sid", "pr", "asr"])
def test_same_seed_same_numbers_bit_for_bit(tmp_path: Path, name: str) -> None:
    data = class_data(tmp_path / "a") if name == "sid" else sequence_data(tmp_path / "a", task=name, n_train=8)
    task = _short(name, steps=6, evaluate_every_steps=2, batch_size=4)
    state = torch.random.get_rng_state()
    first, second = (_run(task, data, tmp_path) for _ in range(2))
    fresh, other = _run(task, data, tmp_path / "fresh"), _run(task, data, tmp_path, seed=1)
    for again in (second, fresh):
        assert again.predictions == first.predictions
        assert again.selection == first.selection
        assert again.layer_weights == first.layer_weights
    assert other.layer_weights != first.layer_weights
    assert torch.equal(state, torch.random.get_rng_state()), "the global generator was used"


@pytest.mark.parametrize("name", ["sid", "pr"])
def test_a_learning_rate_does_not_depend_on_the_rest_of_the_grid(tmp_path: Path, name: str) -> None:
    data = class_data(tmp_path / "a") if name == "sid" else sequence_data(tmp_path / "a", task=name, n_train=8)
    options = {"steps": 6, "evaluate_every_steps": 2, "batch_size": 4}
    grid = _run(_short(name, learning_rates=(0.1, 0.003), **options), data, tmp_path)
    alone = _run(_short(name, learning_rates=(0.003,), **options), data, tmp_path)
    from_grid = [p.value for p in grid.selection.curve if p.learning_rate == 0.003]
    assert from_grid == [p.value for p in alone.selection.curve]


def test_a_race_goes_on_with_the_best_only(tmp_path: Path) -> None:
    data = class_data(tmp_path / "audio", n_each=12)
    (fold,) = data.folds
    # Three utterances of dev could tell nothing apart.
    more = replace(fold, train=fold.train[1::2], dev=(*fold.dev, *fold.train[::2]))
    data = replace(data, folds=(more,))
    task = _short("ks", learning_rates=(1e-9, 0.01), keep_best_after_steps=30)
    found = _run(task, data, tmp_path)
    assert [(p.learning_rate, p.step) for p in found.selection.curve] == [
        (1e-9, 20), (0.01, 20), (1e-9, 30), (0.01, 30), (0.01, 40), (0.01, 60),
    ]  # fmt: skip
    assert (found.selection.learning_rate, found.selection.lost_race) == (0.01, (1e-9,))


def test_patience_stops_and_says_so(tmp_path: Path) -> None:
    task = _short("ks", learning_rates=(1e-12,), steps=500, evaluate_every_steps=5, patience_evaluations=3)
    found = _run(task, class_data(tmp_path / "audio"), tmp_path)
    steps = [p.step for p in found.selection.curve]
    assert steps[-1] is not None
    assert steps[-1] < 500
    assert any(note.startswith(f"training stopped after {steps[-1]} steps") for note in found.notes)


def test_a_diverged_learning_rate_has_no_value_and_is_not_chosen(tmp_path: Path) -> None:
    task = _short("ks", learning_rates=(1e30, 0.01))
    found = _run(task, class_data(tmp_path / "audio"), tmp_path)
    bad = [p for p in found.selection.curve if p.learning_rate == 1e30]
    assert bad
    assert all(p.value is None and "diverged" in (p.reason or "") for p in bad)
    assert found.selection.learning_rate == 0.01
    assert found.metrics["accuracy"].value == 100.0


def test_long_training_utterances_are_cut_for_training_only(tmp_path: Path) -> None:
    upstream = FakeUpstream()
    task = _short("sid", steps=2, evaluate_every_steps=2, train_max_seconds=0.2)
    run_cell(upstream, task, class_data(tmp_path / "audio"), seed=0, cache_dir=tmp_path)
    policies = {path.parent.name for path in (tmp_path / "features").rglob("*.safetensors")}
    assert policies == {"mean-float32-v1", "mean-float32-v1-max3200"}
    assert sum(upstream.calls) == 18


def _with_fold(data: TaskData, **parts: object) -> TaskData:
    return replace(data, folds=(replace(data.folds[0], **parts),))  # type: ignore[arg-type]


def test_unusable_data_is_refused_before_any_work(tmp_path: Path) -> None:
    data = class_data(tmp_path / "audio")
    fold = data.folds[0]
    stranger = replace(fold.test[0], id="new", target="Z", source="manifest.tsv:99")
    upstream = FakeUpstream()
    cases: list[tuple[TaskData, str]] = [
        (_with_fold(data, dev=()), r"task 'ks', suite 'demo', fold 'fold1': the dev part is empty"),
        (_with_fold(data, test=(*fold.test, stranger)), r"'Z' in test but never in train .*'new' \(manifest.tsv:99\)"),
        (_with_fold(data, test=fold.train[:1]), r"'A3' \(manifest.tsv:3\) is in train and in test"),
        (_with_fold(data, train=fold.train[:2]), r"training has 1 class \(A\); at least 2"),
        (replace(data, folds=()), r"there is no fold"),
    ]
    for case, message in cases:
        with pytest.raises(DataError, match=message):
            run_cell(upstream, load_task("ks"), case, seed=0, cache_dir=tmp_path)
    assert upstream.calls == []


def test_unknown_characters_and_empty_texts_are_refused(tmp_path: Path) -> None:
    data = sequence_data(tmp_path / "audio", task="asr", n_train=4)
    fold = data.folds[0]
    cases = [("AB7", r"'7' in the target of .*\(manifest.tsv:2\) in train; .*vocabulary is ' '"), ("", "is empty")]
    for text, message in cases:
        spoiled = _with_fold(data, train=(replace(fold.train[0], target=text), *fold.train[1:]))
        with pytest.raises(DataError, match=message):
            run_cell(FakeUpstream(), load_task("asr"), spoiled, seed=0, cache_dir=tmp_path)


def test_what_ctc_cannot_learn_is_noted(tmp_path: Path) -> None:
    data = sequence_data(tmp_path / "audio", task="pr", n_train=6)
    fold = data.folds[0]
    long_target = replace(fold.train[0], target=" ".join("AB" * 40))
    rare = utterance(tone_file(tmp_path / "audio" / "rare.wav", "AB"), "A Z")
    spoiled = _with_fold(data, train=(long_target, *fold.train[1:]), test=(rare,))
    found = _run(_short("pr", steps=2, evaluate_every_steps=2), spoiled, tmp_path)
    assert "1 of 6 training utterances have fewer frames than CTC needs" in " ".join(found.notes)
    assert "'Z' in test but never in train: every occurrence is an error" in found.notes


def test_resampled_files_are_counted(tmp_path: Path) -> None:
    data = class_data(tmp_path / "audio")
    tone_file(data.folds[0].train[0].path, "A", rate_hz=8000)
    found = _run(_short("ks", steps=2, evaluate_every_steps=2), data, tmp_path)
    assert (found.n_resampled, found.n_mixed_down) == (1, 0)


def test_folds_draw_different_numbers(tmp_path: Path) -> None:
    data = class_data(tmp_path / "audio", task="er")
    twice = replace(data, folds=(data.folds[0], Fold(**{**vars(data.folds[0]), "name": "again"})))
    found = _run(_short("er", steps=1, evaluate_every_steps=1, learning_rates=(0.1,)), twice, tmp_path)
    one = _run(_short("er", steps=1, evaluate_every_steps=1, learning_rates=(0.1,)), data, tmp_path)
    assert found.layer_weights != one.layer_weights
