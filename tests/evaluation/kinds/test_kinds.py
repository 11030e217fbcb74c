"""Each further kind of task from tones to a score, and what data it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fake_speech import FakeUpstream, tone_file, utterance
from kind_data import SETTINGS, conversations, documents, intents, run_cell, speakers

from skill_bench.base.errors import DataError
from skill_bench.corpora.data import Effects, Segment, TaskData, Trial
from skill_bench.evaluation.cell_result import CellResult
from skill_bench.evaluation.kinds.verification.problem import long_enough
from skill_bench.evaluation.task_files import load_task
from skill_bench.features.extract import extract
from skill_bench.tasks import TaskSpec, TrainedSpec

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
    assert all((r["enrolment_speaker"] == r["test_speaker"]) is (r["target"] == "same") for r in found.predictions)
    assert {r["test_speaker"] for r in found.predictions} == {r["test"][:-1] for r in found.predictions}
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
    _refused(_changed(data, trials=()), r"test: 0 trials; trials of equal and of different speakers are needed")
    _refused(_changed(data, dev_trials=fold.dev_trials[:1]), r"dev: 1 trial of \w+ speakers; trials of equal and")
    absent = Trial(same=True, enrolment="nobody", test=fold.test[0].id)
    _refused(_changed(data, trials=(*fold.trials, absent)), r"'nobody' in a trial but not among the utterances")


@pytest.mark.parametrize(
    ("split", "speaker", "n", "others"),
    [("train", "AB", 1, ""), ("dev", "AC", 1, ""), ("test", "CD", 1, ""), ("test", "CD", 2, " and 1 more")],
)
def test_utterances_too_short_for_an_x_vector_are_named(
    tmp_path: Path, split: str, speaker: str, n: int, others: str
) -> None:
    data = speakers(tmp_path / "audio")
    brief = [utterance(tone_file(tmp_path / "audio" / f"brief{number}.wav", "A"), speaker) for number in range(n)]
    data = _changed(data, **{split: (*brief, *getattr(data.folds[0], split))})
    message = rf"needs 16 frames, more than there are in {split} of 'brief0' \(manifest\.tsv:1\){others}\. Remove what"
    with pytest.raises(DataError, match=message):
        run_cell(FakeUpstream(), short("asv", train_min_seconds=None), data, seed=0, cache_dir=tmp_path)


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


def _cut_to(data: TaskData, seconds: dict[str, float]) -> TaskData:
    """Some training utterances shortened to so many samples at 16 kHz, given in seconds."""
    train = tuple(
        replace(u, start_frame=0, n_frames=round(seconds[u.id] * 16000)) if u.id in seconds else u
        for u in data.folds[0].train
    )
    return _changed(data, train=train)


def test_training_utterances_that_are_not_longer_than_the_least_are_left_out_and_counted(tmp_path: Path) -> None:
    """To the sample: s3prl keeps what is longer than 32,000 of them. One too short for an x-vector ends nothing."""
    data = _cut_to(speakers(tmp_path / "audio"), {"AB0": 0.4, "AB1": 0.2, "BC0": 0.4 + 1 / 16000, "DD3": 0.03})
    task = short("asv", steps=2, evaluate_every_steps=1, train_min_seconds=0.4, train_max_seconds=None)
    found = run_cell(FakeUpstream(), task, data, seed=0, cache_dir=tmp_path)
    assert "3 of 24 training utterances are not longer than 0.4 s and were left out" in found.notes
    whole = run_cell(FakeUpstream(), task, speakers(tmp_path / "audio"), seed=0, cache_dir=tmp_path)
    assert not any("left out" in note for note in whole.notes)
    assert whole.predictions != found.predictions


def test_two_speakers_must_be_left(tmp_path: Path) -> None:
    task = short("asv", train_min_seconds=60.0)
    with pytest.raises(
        DataError,
        match=r"fold 'all': 0 of 24 training utterances are longer than 60 s, of 0 speakers; at least 2 are needed\. "
        r"Give longer ones, or lower train_min_seconds in the task's file\.",
    ):
        run_cell(FakeUpstream(), task, speakers(tmp_path / "audio"), seed=0, cache_dir=tmp_path)


def test_what_is_silent_counts_only_where_it_is_heard(tmp_path: Path) -> None:
    """The length is that of the audio under the protocol's effects."""
    data = speakers(tmp_path / "audio")
    path = tmp_path / "audio" / "AB0.wav"
    wave, rate = soundfile.read(path)
    soundfile.write(path, np.concatenate([wave[:3000], np.zeros(30 * 1600), wave[3000:6000]]), rate)
    for trim, n_left in ((False, 24), (True, 23)):
        train = tuple(replace(u, effects=Effects(trim_silence=trim)) for u in data.folds[0].train)
        fold = replace(data.folds[0], train=train)
        frames = extract(FakeUpstream(), train, pooled=False, cache_dir=tmp_path / f"{trim}")
        kept = long_enough(
            fold, min_seconds=0.5, frame_counts=frames.frame_counts, frame_samples=320, where="here"
        )  # fmt: skip
        assert len(kept.train) == n_left
