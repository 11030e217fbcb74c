"""Every contest is held on a small model: contestants agree, and the numbers are there."""

from __future__ import annotations

import functools

import pytest
import torch
from typer.testing import CliRunner

from skill_bench.cli.main import app
from skill_bench.errors import UnknownName
from skill_bench.models import inference
from skill_bench.models.architecture import Architecture
from skill_bench.models.factories import WAVLM_POSITION, architecture
from skill_bench.progress import Silent
from skill_bench.speed import contest, encoders, training
from skill_bench.speed.contest import hold


@pytest.fixture(autouse=True)
def _a_small_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contest, "_PRODUCT_SHAPE", (8, 8, 8))


@pytest.fixture
def small() -> Architecture:
    return architecture(
        channels=24, dim=48, n_layers=2, n_heads=4, ffn_dim=48, relative_position=WAVLM_POSITION,
        position_kernel=16, position_groups=4,
    )  # fmt: skip


def test_encoders_agree_before_they_are_timed(small: Architecture) -> None:
    candidates = encoders.teacher(batch_size=2, utterance_seconds=0.5, architecture=small)
    assert list(candidates.run) == ["skill-bench", "skill-bench, plain path", "torchaudio", "transformers"]
    found = hold(candidates, rounds=1, progress=Silent())
    assert [len(timing.seconds) for timing in found.timings] == [1, 1, 1, 1]
    assert found.floor is not None
    assert found.floor.macs > 2 * 24 * 48


def test_other_states_are_not_timed(small: Architecture, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = inference.hidden_states
    monkeypatch.setattr(inference, "hidden_states", lambda *a: [2 * states for states in whole(*a)])
    with pytest.raises(AssertionError, match=r"plain path: hidden states differ by"):
        encoders.teacher(batch_size=1, utterance_seconds=0.2, architecture=small)


def test_the_student_is_smaller(small: Architecture) -> None:
    candidates = encoders.student(batch_size=1, utterance_seconds=0.5, architecture=small)
    assert "times fewer multiply-adds" in candidates.what
    assert list(candidates.run)[-1] == "its teacher"
    assert hold(candidates, rounds=1, progress=Silent()).floor is not None


def test_training_contests_do_their_work() -> None:
    for candidates in (
        training.distillation(batch_size=1, utterance_seconds=0.5),
        training.grid(steps=2),
        training.upstream_every_step(batch_size=1),
    ):
        for run in candidates.run.values():
            run()


def test_command(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "grid", functools.partial(training.grid, steps=2))
    folder = tmp_path_factory.mktemp("bench")
    threads = torch.get_num_threads()
    command = ["bench", "--only", "grid", "--rounds", "1", "--threads", str(threads)]
    done = CliRunner().invoke(app, [*command, "--markdown", str(folder / "p.md"), "--out", str(folder / "s.json")])
    assert done.exit_code == 0, done.output
    assert "## Grid of a linear probe" in (folder / "p.md").read_text()
    assert (folder / "s.json").exists()
    unknown = CliRunner().invoke(app, ["bench", "--only", "gird"])
    assert isinstance(unknown.exception, UnknownName)
    assert "Did you mean 'grid'?" in str(unknown.exception)
