"""What is wrong with chosen data is said before anything runs: what was found, where, and what to do.

Data that cannot be used, through the command line: the error names what and where, before anything is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import miniatures
import pytest
from small_suite import RTTM, TASKS, write
from typer.testing import CliRunner

from skill_bench.base.errors import DataError, ManifestError, SkillBenchError
from skill_bench.cli.main import app
from skill_bench.corpora.data import Fold, Segment, Trial, Utterance
from skill_bench.corpora.described.lists import read_rttm, read_trials
from skill_bench.corpora.described.targets import check_slots
from skill_bench.corpora.described.validate import validate
from skill_bench.evaluation import evaluate
from skill_bench.evaluation.task_files import load_task
from skill_bench.tasks import TaskSpec


def said(id: str, **fields: object) -> Utterance:
    given = {"target": "a", "speaker": id[0], "seconds": 1.0, "source": f"m.tsv:{id}", **fields}
    return Utterance(id=id, path=Path(f"{id}.wav"), **given)  # type: ignore[arg-type]


def turn(start: float, end: float) -> Segment:
    return Segment(speaker="x", start_seconds=start, end_seconds=end)


@pytest.fixture
def fold() -> Fold:
    return Fold(
        name="all",
        train=(said("a1"), said("b1")),
        dev=(said("c1"), said("d1")),
        test=(said("e1"), said("e2"), said("f1")),
        trials=(Trial(same=True, enrolment="e1", test="e2"), Trial(same=False, enrolment="e1", test="f1")),
    )


def test_sound_data_passes(fold: Fold) -> None:
    validate([fold], where="here", disjoint_speakers=True)


Change = Callable[[Fold], Fold]
FAULTS: dict[str, tuple[Change, str]] = {
    "an id in two parts": (
        lambda fold: replace(fold, dev=(*fold.dev, said("a1", source="m.tsv:9"))),
        r"here: the id 'a1' \(m\.tsv:9\) in dev occurs already in train \(m\.tsv:a1\)",
    ),
    "an id twice in one part": (
        lambda fold: replace(fold, train=(*fold.train, said("a1"))),
        r"'a1' .* in train occurs already in train",
    ),
    "a shared speaker": (
        lambda fold: replace(fold, train=(*fold.train, said("e9"))),
        r"here: 'e' heard in train and in test, which must share no speaker\. Split by speaker",
    ),
    "a cut without length": (
        lambda fold: replace(fold, train=(said("a1", start_frame=5, n_frames=0),)),
        r"'a1' \(m\.tsv:a1\) is cut to 0 frames; a segment needs a length",
    ),
    "an utterance without length": (
        lambda fold: replace(fold, train=(said("a1", seconds=0.01),)),
        r"'a1' .* has 0\.01 s; at least 0\.025 s",
    ),
    "a turn without length": (
        lambda fold: replace(fold, trials=(), test=(said("e1", segments=(turn(1, 1),)),)),
        r"'e1' .*: a turn of 'x' from 1 to 1 s has no length",
    ),
    "a turn beyond the audio": (
        lambda fold: replace(fold, trials=(), test=(said("e1", segments=(turn(0, 2),)),)),
        r"a turn of 'x' ends at 2\.00 s, but the audio has 1\.00 s",
    ),
    "a trial of an absent utterance": (
        lambda fold: replace(fold, trials=(*fold.trials, Trial(same=True, enrolment="e1", test="zz"))),
        r"here: trials of test name 'zz' which test does not hold",
    ),
    "trials of one kind": (
        lambda fold: replace(fold, trials=fold.trials[:1]),
        "all trials of test are of same speakers; an error rate needs both kinds",
    ),
    "a document with a strange query": (
        lambda fold: replace(fold, trials=(), test=(said("e1", target="q7"),), queries=(said("q1"),)),
        "documents of test hold 'q7' among no queries of test",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(fault: str, fold: Fold) -> None:
    change, message = FAULTS[fault]
    with pytest.raises(DataError, match=message):
        validate([change(fold)], where="here", disjoint_speakers=True)


def test_speakers_may_be_shared_where_they_are_the_classes(fold: Fold) -> None:
    change, _ = FAULTS["a shared speaker"]
    validate([change(fold)], where="here", disjoint_speakers=False)


def test_dev_and_test_may_search_the_same_documents(fold: Fold) -> None:
    document = said("e1", target="q1")
    shared = replace(fold, train=(), dev=(replace(document, target="p1"),), test=(document,), trials=(),
                     dev_queries=(said("p1"),), queries=(said("q1"),))  # fmt: skip
    validate([shared], where="here", disjoint_speakers=False)


TURN = "SPEAKER talk 1 {} {} <NA> <NA> anna <NA> <NA>\n"


def test_turns_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "talk.rttm"
    path.write_text(TURN.format(2.0, 1.02) + ";; a comment\n" + TURN.format(0, 1.5).replace("anna", "ben"))
    turns = read_rttm(path, seconds=3.0)
    assert turns == (
        Segment(speaker="ben", start_seconds=0.0, end_seconds=1.5),
        Segment(speaker="anna", start_seconds=2.0, end_seconds=3.0),
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TURN.format(1, 0), r"talk\.rttm:1: a turn of 0 s"),
        (TURN.format(1, -1), r"talk\.rttm:1: a turn of -1 s"),
        (TURN.format(2, 1.2), r"the turn ends at 3\.20 s, but the audio has 3\.00 s"),
        (TURN.format("x", 1), r"start 'x', duration '1'; expected seconds"),
        (TURN.format("nan", 1), "expected seconds"),
        (TURN.format(-1, 1), "expected seconds"),
        ("SPEAKER talk 1 0 1\n", "5 fields; a SPEAKER line has at least 8"),
        ("", "no SPEAKER line"),
        (TURN.format(0, 1) + TURN.format(0, 1).replace("talk", "other"), r"holds 2 recordings \(other, talk\)"),
    ],
)
def test_a_faulty_reference_names_file_and_line(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "talk.rttm"
    path.write_text(content)
    with pytest.raises(ManifestError, match=message):
        read_rttm(path, seconds=3.0)
    with pytest.raises(ManifestError, match="no such RTTM file"):
        read_rttm(tmp_path / "absent.rttm", seconds=3.0)


def test_a_trial_list_that_names_absent_files_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "trials.txt"
    path.write_text("1 a.wav b.wav\n0 a.wav c.wav\n")
    ids = {"a.wav": "a", "b.wav": "b", "c.wav": "c"}
    assert read_trials(path, ids) == (
        Trial(same=True, enrolment="a", test="b"), Trial(same=False, enrolment="a", test="c"),
    )  # fmt: skip
    with pytest.raises(ManifestError, match=r"trials\.txt: 2 files are named that are not there: b\.wav \(line 1\), c"):
        read_trials(path, {"a.wav": "a"})
    path.write_text("same a.wav b.wav\n")
    with pytest.raises(ManifestError, match=r"trials\.txt:1: found 'same a\.wav b\.wav'; expected '1 first second'"):
        read_trials(path, ids)
    path.write_text("\n")
    with pytest.raises(ManifestError, match="holds no trial"):
        read_trials(path, ids)
    with pytest.raises(ManifestError, match="no such trial list"):
        read_trials(tmp_path / "absent.txt", ids)


def test_slot_tags_come_in_pairs_around_words() -> None:
    assert check_slots("PLAY  B-song LET IT BE E-song NOW", where="m:2") == "PLAY B-song LET IT BE E-song NOW"
    for target, message in (
        ("B-a X B-b Y E-b E-a", "m:2: 'B-b' before 'E-a'"),
        ("B-a X E-b", "m:2: 'E-b' closes 'B-a'"),
        ("X E-b", "'E-b' closes None"),
        ("B-a X", "'B-a' is never closed"),
        ("X B-a E-a", "the slot 'a' holds no word"),
    ):
        with pytest.raises(ManifestError, match=message):
            check_slots(target, where="m:2")


def refused(root: Path, task: str, *, suite: str = "local") -> str:
    """The error of ``skill-bench run``; no features were made and nothing was trained."""
    options = ["--suite", suite, "--data-root", str(root), "--tasks", task, "--no-profile"]
    places = ["--out", str(root / "out"), "--cache-dir", str(root / "cache")]
    done = CliRunner().invoke(app, ["run", "-u", "logmel", *options, *places])
    assert done.exit_code != 0
    assert ": training" not in done.output
    assert not list((root / "cache").rglob("*.safetensors"))
    assert isinstance(done.exception, SkillBenchError), done.exception
    return str(done.exception)


@pytest.fixture
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is trained is not what is tested."""

    def short(name: str) -> TaskSpec:
        task = load_task(name)
        settings = {"steps": 20, "evaluate_every_steps": 10}
        return task.model_copy(update={"suites": {}, "protocol": task.protocol.model_copy(update=settings)})

    monkeypatch.setattr(evaluate, "load_task", short)


@pytest.mark.usefixtures("short_training")
def test_what_is_not_faulty_runs(tmp_path: Path) -> None:
    write(tmp_path, "sid", cells={})
    suite = tmp_path / "suite.toml"
    suite.write_text(f'title = "My corpus"\n{suite.read_text()}')
    options = ["--suite", "local", "--data-root", str(tmp_path), "--tasks", "sid", "--no-profile"]
    places = ["--out", str(tmp_path / "out"), "--cache-dir", str(tmp_path / "cache")]
    done = CliRunner().invoke(app, ["run", "-u", "logmel", *options, *places])
    assert done.exit_code == 0, done.output
    assert "1 cell in" in done.output
    assert "suite local: My corpus" in done.output


@pytest.mark.parametrize(
    ("task", "cells", "messages"),
    [
        ("asr", {(1, "text"): "AB 5É"}, ["'5', 'É' in the target of 'u1.wav' (manifest.tsv:3) in train"]),
        ("pr", {(9, "phones"): "AA ZZ"}, ["manifest.tsv:11: 'ZZ' is not in the phone inventory of suite.toml (AA B)"]),
        ("sid", {(11, "speaker"): "s9"}, ["'s9' in test but never in train (for example 'u11.wav' (manifest.tsv:13))"]),
        ("asv", {(8, "speaker"): "train0"}, ["'train0' heard in train and in test, which must share no speaker"]),
        ("asv", {(4, "speaker"): "train0"}, ["'train0' heard in train and in dev, which must share no speaker"]),
        ("sid", {(3, "path"): "u2.wav"}, ["manifest.tsv:5: the id 'u2.wav' occurs already at manifest.tsv:4"]),
        ("sid", {(3, "path"): "gone.wav"}, ["gone.wav (manifest.tsv:5): no such file"]),
        ("sd", {(3, "turns"): "gone.rttm"}, ["gone.rttm: no such RTTM file"]),
    ],
)  # fmt: skip
def test_a_faulty_line_is_named(
    task: str, cells: dict[tuple[int, str], str], messages: list[str], tmp_path: Path
) -> None:
    write(tmp_path, task, cells=cells)
    error = refused(tmp_path, task)
    for message in messages:
        assert message in error


@pytest.mark.parametrize(
    ("start", "length", "message"),
    [
        (0.1, 0.0, "u3.rttm:1: a turn of 0.0 s"),
        (0.1, 2.0, "u3.rttm:1: the turn ends at 2.10 s, but the audio has 0.48 s"),
        (5.0, 1.0, "u3.rttm:1: the turn ends at 6.00 s, but the audio has 0.48 s"),
    ],
)
def test_a_faulty_turn_is_named(start: float, length: float, message: str, tmp_path: Path) -> None:
    write(tmp_path, "sd", cells={})
    (tmp_path / "u3.rttm").write_text(RTTM.format(name="u3", start=start, length=length, who="s0"))
    assert message in refused(tmp_path, "sd")


def test_a_trial_list_that_names_absent_files_is_refused(
    corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = miniatures.make("voxceleb1", corpora, tmp_path)
    miniatures.pass_for_complete(monkeypatch, tmp_path)
    listing = folder / "voxceleb1_test_v2.txt"
    listing.write_text(listing.read_text() + "1 id10999/video0/00001.wav id10999/video0/00002.wav\n")
    error = refused(tmp_path, "asv", suite="superb")
    assert "2 files are named that are not there: id10999/video0/00001.wav (line 21)" in error


@pytest.mark.usefixtures("short_training")
def test_faults_are_said_before_other_tasks_are_trained(tmp_path: Path) -> None:
    write(tmp_path, "sid", cells={(1, "text"): "5"})
    suite = tmp_path / "suite.toml"
    suite.write_text(suite.read_text() + f'[tasks.asr]\nmanifest = "manifest.tsv"\n{TASKS["asr"]}\n')
    options = ["--suite", "local", "--data-root", str(tmp_path), "--tasks", "sid,asr", "--no-profile"]
    places = ["--out", str(tmp_path / "out"), "--cache-dir", str(tmp_path / "cache")]
    done = CliRunner().invoke(app, ["run", "-u", "logmel", *options, *places])
    assert done.exit_code == 1 or isinstance(done.exception, SkillBenchError)
    assert done.output.index("failed: logmel, asr") < done.output.index("sid: training")
