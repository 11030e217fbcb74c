"""Data that cannot be used, through the command line: the error names what and where, before anything is computed."""

from __future__ import annotations

from pathlib import Path

import miniatures
import pytest
from small_suite import RTTM, TASKS, write
from typer.testing import CliRunner

from skill_bench.base.errors import SkillBenchError
from skill_bench.cli.main import app


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


def test_faults_are_said_before_other_tasks_are_trained(tmp_path: Path) -> None:
    write(tmp_path, "sid", cells={(1, "text"): "5"})
    suite = tmp_path / "suite.toml"
    suite.write_text(suite.read_text() + f'[tasks.asr]\nmanifest = "manifest.tsv"\n{TASKS["asr"]}\n')
    options = ["--suite", "local", "--data-root", str(tmp_path), "--tasks", "sid,asr", "--no-profile"]
    places = ["--out", str(tmp_path / "out"), "--cache-dir", str(tmp_path / "cache")]
    done = CliRunner().invoke(app, ["run", "-u", "logmel", *options, *places])
    assert done.exit_code == 1 or isinstance(done.exception, SkillBenchError)
    assert done.output.index("failed: logmel, asr") < done.output.index("sid: training")
