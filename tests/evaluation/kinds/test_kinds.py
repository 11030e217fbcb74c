"""Each further kind of task from tones to a score, and what data it refuses."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fake_speech import RATE_HZ, TONES_HZ, FakeUpstream, tone_file, utterance

from skill_bench.base.errors import DataError
from skill_bench.corpora.data import Fold, Segment, TaskData, Trial, Utterance
from skill_bench.evaluation.cell_result import CellResult, run_cell
from skill_bench.evaluation.task_files import load_task
from skill_bench.tasks import TaskSpec, TrainedSpec

Build = Callable[[Path], TaskData]


def _data(task: str, fold: Fold) -> TaskData:
    return TaskData(task=task, suite="demo", synthetic=True, folds=(fold,), fingerprint="f", notes=())


def intents(folder: Path) -> TaskData:
    """Two tones, the first for the action, the second for the object."""
    found = [
        utterance(tone_file(folder / f"{a}{b}{i}.wav", a + b, seed=i), f"{a}|{b}|none", line=i + 2)
        for i in range(6)
        for a in "AB"
        for b in "CD"
    ]
    return _data("ic", Fold(name="all", train=tuple(found[:12]), dev=tuple(found[12:16]), test=tuple(found[16:])))


def slot_texts(folder: Path) -> TaskData:
    """Letters with the last one in a slot."""
    draw, found = random.Random(0), []
    for i in range(40):
        first, last = draw.choice("AB"), draw.choice("CD")
        slot = {"C": "see", "D": "dee"}[last]
        path = tone_file(folder / f"sf{i}.wav", f"{first} {last}", seed=i)
        found.append(utterance(path, f"{first} B-{slot} {last} E-{slot}", line=i + 2))
    return _data("sf", Fold(name="all", train=tuple(found[:28]), dev=tuple(found[28:34]), test=tuple(found[34:])))


def speakers(folder: Path) -> TaskData:
    """A speaker is a pair of tones; test has other pairs than training."""

    def utterances(pairs: list[str], n: int) -> tuple[Utterance, ...]:
        return tuple(
            utterance(tone_file(folder / f"{pair}{i}.wav", pair * 3, seed=i), pair) for pair in pairs for i in range(n)
        )

    dev, test = utterances(["AC", "BD"], 2), utterances(["CD", "AA"], 3)

    def trials(part: tuple[Utterance, ...]) -> tuple[Trial, ...]:
        return tuple(
            Trial(same=a.target == b.target, enrolment=a.id, test=b.id) for i, a in enumerate(part) for b in part[:i]
        )

    fold = Fold(
        name="all", train=utterances(["AB", "BC", "AD", "DD", "BB", "CC"], 4), dev=dev, test=test, trials=trials(test),
        dev_trials=trials(dev),
    )  # fmt: skip
    return _data("asv", fold)


def conversations(folder: Path) -> TaskData:
    """Two tones as two speakers, one after the other with an overlap in the middle."""
    folder.mkdir(parents=True, exist_ok=True)
    found, draw = [], np.random.default_rng(0)
    for i in range(14):
        a_end, b_start = draw.uniform(0.9, 1.4), draw.uniform(0.6, 1.0)
        time = np.arange(2 * RATE_HZ) / RATE_HZ
        first, second = ("A", "C") if i % 2 else ("C", "A")
        wave = 0.2 * np.sin(2 * np.pi * TONES_HZ[first] * time) * (time < a_end)
        wave += 0.2 * np.sin(2 * np.pi * TONES_HZ[second] * time) * (time >= b_start)
        path = folder / f"mix{i}.wav"
        soundfile.write(path, wave + 0.003 * draw.standard_normal(len(wave)), RATE_HZ)
        segments = (
            Segment(speaker=first, start_seconds=0.0, end_seconds=float(a_end)),
            Segment(speaker=second, start_seconds=float(b_start), end_seconds=2.0),
        )
        found.append(replace(utterance(path, "", line=i + 2), segments=segments))
    return _data("sd", Fold(name="all", train=tuple(found[:8]), dev=tuple(found[8:11]), test=tuple(found[11:])))


def documents(folder: Path) -> TaskData:
    """Queries are two tones; a document contains them or not."""

    def queries(pairs: list[str], *, name: str) -> tuple[Utterance, ...]:
        return tuple(utterance(tone_file(folder / f"{name}{pair}.wav", pair, seed=9), "") for pair in pairs)

    dev_queries, test_queries = queries(["AB", "CA"], name="d"), queries(["DB", "AC"], name="t")

    def searched(texts: list[str], asked: tuple[Utterance, ...], *, name: str) -> tuple[Utterance, ...]:
        return tuple(
            utterance(
                tone_file(folder / f"{name}{text}.wav", text, seed=i),
                " ".join(query.id for query in asked if query.id[1:] in text),
                line=i + 2,
            )
            for i, text in enumerate(texts)
        )

    fold = Fold(
        name="all",
        train=(),
        dev=searched(["ABDD", "DDCA", "DDDD", "BBDD"], dev_queries, name="dd"),
        test=searched(["CDBC", "BACB", "BBBB", "CCCC", "BCBC"], test_queries, name="dt"),
        queries=test_queries,
        dev_queries=dev_queries,
    )
    return _data("qbe", fold)


SETTINGS: dict[str, tuple[Build, dict[str, Any], dict[str, Any]]] = {
    "ic": (intents, {"steps": 60, "evaluate_every_steps": 20, "learning_rates": (0.01,)}, {}),
    "sf": (
        slot_texts,
        {"steps": 250, "evaluate_every_steps": 50, "learning_rates": (0.01,), "batch_size": 8},
        {"projection_dim": 32, "hidden_dims": (32,)},
    ),
    "asv": (
        speakers,
        {"steps": 60, "evaluate_every_steps": 10, "learning_rates": (0.003,), "batch_size": 8},
        {"projection_dim": 16, "hidden_dims": (16, 16, 16, 16, 24), "embedding_dim": 16},
    ),
    "sd": (
        conversations,
        {"steps": 60, "evaluate_every_steps": 20, "learning_rates": (0.03,), "batch_size": 4},
        {"hidden_dims": (16,)},
    ),
    "qbe": (documents, {}, {}),
}
RULES_OFF = {"patience_evaluations": False, "keep_best_after_steps": False}


def short(name: str, *, protocol: str = "strict", **changes: Any) -> TaskSpec:
    """A task whose protocol takes a second or two."""
    task = load_task(name).for_suite("demo", protocol=protocol)
    _, settings, head = SETTINGS[name]
    if settings:
        settings = RULES_OFF | settings | changes
    if protocol == "s3prl":
        settings = {key: value for key, value in settings.items() if key in ("steps", "evaluate_every_steps")}
    changed: dict[str, Any] = {"protocol": task.protocol.model_copy(update=settings)}
    if isinstance(task, TrainedSpec):
        changed["head"] = task.head.model_copy(update=head)
    return task.model_copy(update=changed)


def run(name: str, folder: Path, *, protocol: str = "strict", seed: int = 0, **changes: Any) -> CellResult:
    task = short(name, protocol=protocol, **changes)
    return run_cell(FakeUpstream(), task, SETTINGS[name][0](folder / "audio"), seed=seed, cache_dir=folder)


def test_intents_are_learnt_slot_by_slot(tmp_path: Path) -> None:
    found = run("ic", tmp_path)
    assert found.metrics["accuracy"].value == 100
    assert found.predictions[0]["prediction"] == found.predictions[0]["target"]
    assert found.predictions[0]["target"].endswith("|none")


def test_slots_are_learnt(tmp_path: Path) -> None:
    found = run("sf", tmp_path)
    f1, cer = found.metrics["f1"], found.metrics["cer"]
    assert f1.value is not None
    assert f1.value > 70
    assert f1.denominator == 6
    assert f1.numerator == pytest.approx(sum(row["numerator"] for row in found.predictions))
    assert f1.higher_is_better
    assert not cer.higher_is_better
    assert any(row["prediction"] == row["target"] for row in found.predictions)


def test_unknown_speakers_are_told_apart(tmp_path: Path) -> None:
    found = run("asv", tmp_path)
    eer = found.metrics["eer"]
    assert eer.value is not None
    assert eer.value < 20
    assert len(found.predictions) == 15
    row = found.predictions[0]
    assert (row["enrolment"], row["test"], row["target"]) == ("CD1", "CD0", "same")
    assert row["numerator"] is None
    assert -1 <= row["score"] <= 1


def test_speakers_of_a_conversation_are_found(tmp_path: Path) -> None:
    found = run("sd", tmp_path)
    der = found.metrics["der"]
    assert der.value is not None
    assert der.value < 25, "everything missed is 100"
    for row in found.predictions:
        assert row["numerator"] == row["missed"] + row["false_alarm"] + row["confused"]
        assert row["frame_seconds"] == 0.02
        assert row["denominator"] == sum(end - start for _, start, end in row["target"])
    assert der.numerator == sum(row["numerator"] for row in found.predictions)
    assert "threshold 0.5, median filter of 11 frames" in found.notes


def test_queries_are_found_without_training(tmp_path: Path) -> None:
    found = run("qbe", tmp_path)
    metric = found.metrics["mtwv"]
    assert metric.value == 100, "the tones of a query sound alike in the documents"
    assert metric.unit == "x100"
    assert len(found.predictions) == 10
    assert {row["target"] for row in found.predictions} == {"present", "absent"}
    assert found.selection.layer is not None
    assert found.layer_weights[found.selection.layer] == 1
    assert sum(found.layer_weights) == 1
    assert [point.layer for point in found.selection.curve] == [0, 1, 2]
    assert found.selection.learning_rate is None


@pytest.mark.parametrize("name", list(SETTINGS))
def test_same_seed_same_numbers(tmp_path: Path, name: str) -> None:
    changes: dict[str, Any] = {"steps": 4, "evaluate_every_steps": 2} if name != "qbe" else {}
    first, second = (run(name, tmp_path, **changes) for _ in range(2))
    assert first.predictions == second.predictions
    assert first.selection == second.selection
    assert first.layer_weights == second.layer_weights


@pytest.mark.parametrize("name", list(SETTINGS))
def test_protocol_s3prl_runs_and_says_what_it_chose_on_test(tmp_path: Path, name: str) -> None:
    task = short(name, protocol="s3prl")
    if task.protocol.steps:
        task = task.model_copy(
            update={"protocol": task.protocol.model_copy(update={"steps": 2, "evaluate_every_steps": 1})}
        )
    data = SETTINGS[name][0](tmp_path / "audio")
    found = run_cell(FakeUpstream(), task, data, seed=0, cache_dir=tmp_path)
    assert found.task.protocol.name == "s3prl"
    said = " ".join(found.notes)
    assert ("on test" in said and "too good" in said) == (name in ("asv", "sd"))
    assert found.selection.metric == {"sd": "frame_error"}.get(name, task.metric)


def test_more_speakers_than_outputs_are_missed_and_said(tmp_path: Path) -> None:
    data = conversations(tmp_path / "audio")
    fold = data.folds[0]
    third = Segment(speaker="E", start_seconds=0.0, end_seconds=2.0)
    crowded = replace(fold.test[0], segments=(*fold.test[0].segments, third))
    data = replace(data, folds=(replace(fold, test=(crowded, *fold.test[1:])),))
    task = short("sd", steps=2, evaluate_every_steps=1)
    found = run_cell(FakeUpstream(), task, data, seed=0, cache_dir=tmp_path)
    assert "1 of 3 test recordings have more than the 2 speakers of training: the others are missed" in found.notes
    assert {speaker for speaker, _, _ in found.predictions[0]["target"]} == {0, 1, 2}


def _changed(data: TaskData, **parts: Any) -> TaskData:
    return replace(data, folds=(replace(data.folds[0], **parts),))


def _refused(data: TaskData, message: str) -> None:
    upstream = FakeUpstream()
    with pytest.raises(DataError, match=message):
        run_cell(upstream, load_task(data.task), data, seed=0, cache_dir=Path("unused"))
    assert upstream.calls == []


def test_unusable_verification_data_is_refused(tmp_path: Path) -> None:
    data = speakers(tmp_path)
    fold = data.folds[0]
    known = replace(fold.test[0], target="AB")
    _refused(_changed(data, test=(known, *fold.test[1:])), r"'AB' in train and in test .*'CD0' \(manifest\.tsv:1\)")
    _refused(_changed(data, trials=()), r"test: 0 trials, of no kind; trials of equal and of different")
    _refused(_changed(data, dev_trials=fold.dev_trials[:1]), r"dev: 1 trials, of one kind")
    absent = Trial(same=True, enrolment="nobody", test=fold.test[0].id)
    _refused(_changed(data, trials=(*fold.trials, absent)), r"'nobody' in a trial but not among the utterances")


def test_utterances_too_short_for_an_x_vector_are_named(tmp_path: Path) -> None:
    data = speakers(tmp_path / "audio")
    fold = data.folds[0]
    brief = utterance(tone_file(tmp_path / "audio" / "brief.wav", "A"), "AB")
    data = _changed(data, train=(brief, *fold.train))
    with pytest.raises(DataError, match=r"'brief' \(manifest\.tsv:1\) and 0 more in train have fewer than the 16"):
        run_cell(FakeUpstream(), short("asv"), data, seed=0, cache_dir=tmp_path)


@pytest.mark.parametrize(
    ("start", "end"),
    [(1.0, 1.0), (1.5, 1.0), (-0.5, 1.0), (1.0, 2.5)],
)
def test_unusable_segments_are_refused(tmp_path: Path, start: float, end: float) -> None:
    data = conversations(tmp_path)
    fold = data.folds[0]
    segment = Segment(speaker="A", start_seconds=start, end_seconds=end)
    wrong = replace(fold.dev[0], segments=(segment,))
    _refused(
        _changed(data, dev=(wrong, *fold.dev[1:])),
        rf"dev: 'mix8' \(manifest\.tsv:10\) of 2\.00 s has a segment of 'A' from {start:.2f} to {end:.2f} s",
    )
    _refused(_changed(data, dev=(replace(fold.dev[0], segments=()), *fold.dev[1:])), r"'mix8' .* has no segment")


def test_unusable_queries_are_refused(tmp_path: Path) -> None:
    data = documents(tmp_path)
    fold = data.folds[0]
    _refused(_changed(data, queries=()), r"test: there is no query")
    strange = replace(fold.test[0], target="what")
    _refused(_changed(data, test=(strange, *fold.test[1:])), r"document 'dtCDBC' .* contains 'what', but there is no")
    silent = tuple(replace(document, target="") for document in fold.dev)
    _refused(_changed(data, dev=silent), r"dev: no query occurs in some documents and not in others")


def test_targets_with_missing_labels_are_refused(tmp_path: Path) -> None:
    data = intents(tmp_path)
    fold = data.folds[0]
    short_target = replace(fold.test[0], target="A|C")
    _refused(_changed(data, test=(short_target, *fold.test[1:])), r"is 'A\|C'; 3 labels joined by '\|' are expected")
    unknown = replace(fold.test[0], target="A|Q|none")
    _refused(_changed(data, test=(unknown, *fold.test[1:])), r"'Q' in test but never in train")
