"""Every contest is held on a small model: contestants agree, and the numbers are there.

The contests of a GPU, held in miniature on the CPU: they end, agree, and say what is asked of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from speed import contest, distillation, encoders, end_to_end, forecasts, gpu, scale, training
from speed.contest import hold
from speed.figures import Speed
from speed.page import _table
from speed.straightforward import Straightforward
from typer.testing import CliRunner

from skill_bench.base.errors import SkillBenchError, UnknownName
from skill_bench.base.progress import Silent
from skill_bench.cli.main import app
from skill_bench.models.architecture import Architecture
from skill_bench.models.factories import WAVLM_POSITION, architecture
from skill_bench.models.runtime import Runtime

CPU = torch.device("cpu")


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
    candidates = encoders.teacher(batch_size=2, utterance_seconds=0.5, architecture=small, compiled=False)
    assert list(candidates.run) == [
        "skill-bench", encoders.INT8, encoders.ALL_THREADS, encoders.EAGER, "torchaudio", "transformers",
    ]  # fmt: skip
    found = hold(candidates, rounds=1, progress=Silent())
    assert [len(timing.seconds) for timing in found.timings] == [1, 1, 1, 1, 1, 1]
    assert found.floor is not None
    assert found.floor.macs > 2 * 24 * 48


def test_other_states_are_not_timed(small: Architecture, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Runtime.hidden_states
    monkeypatch.setattr(Runtime, "hidden_states", lambda *a: [2 * states for states in whole(*a)])
    with pytest.raises(AssertionError, match=r"skill-bench, int8: hidden states differ by"):
        encoders.teacher(batch_size=1, utterance_seconds=0.2, architecture=small, compiled=False)
    monkeypatch.setattr(Runtime, "hidden_states", lambda *a: [1.01 * states for states in whole(*a)])
    with pytest.raises(AssertionError, match=r"all threads for each utterance: hidden states differ by"):
        encoders.teacher(batch_size=1, utterance_seconds=0.2, architecture=small, compiled=False)


def test_the_student_is_smaller(small: Architecture) -> None:
    candidates = encoders.student(batch_size=1, utterance_seconds=0.5, architecture=small, compiled=False)
    assert "times fewer multiply-adds" in candidates.what
    assert list(candidates.run) == ["skill-bench", encoders.INT8, encoders.ALL_THREADS, encoders.EAGER, "its teacher"]
    assert hold(candidates, rounds=1, progress=Silent()).floor is not None


def test_a_distillation_step_and_a_straightforward_one_have_the_same_loss(small: Architecture) -> None:
    candidates = distillation.against_straightforward(batch_size=1, utterance_seconds=0.5, architecture=small)
    assert list(candidates.run) == ["skill-bench", "straightforward"]
    found = hold(candidates, rounds=1, progress=Silent())
    assert all(timing.peak_bytes for timing in found.timings)


def test_another_loss_is_not_timed(small: Architecture, monkeypatch: pytest.MonkeyPatch) -> None:
    averages = Straightforward._averages
    monkeypatch.setattr(Straightforward, "_averages", lambda self, states: [2 * s for s in averages(self, states)])
    with pytest.raises(AssertionError, match="losses differ"):
        distillation.against_straightforward(batch_size=1, utterance_seconds=0.5, architecture=small)


def test_removal_leaves_a_smaller_student(small: Architecture) -> None:
    candidates = distillation.before_and_after_removal(batch_size=1, utterance_seconds=0.5, architecture=small)
    found = hold(candidates, rounds=1, progress=Silent())
    after, shut, before = (timing.peak_bytes or 0 for timing in found.timings)
    assert 0 < after < min(shut, before)


def test_extraction_of_more_speech() -> None:
    found = scale.growth(progress=Silent(), hours=(0.01, 0.02))
    assert [round(load.audio_hours, 2) for load in found.loads] == [0.01, 0.02]
    assert all(0 < load.encoder_seconds < load.seconds for load in found.loads)
    assert all(load.peak_bytes > 2**27 for load in found.loads)


@pytest.mark.slow
def test_from_audio_to_score_in_both_ways(tmp_path: Path, with_demo: Callable[[Path], Path]) -> None:
    cache = with_demo(tmp_path)
    found = end_to_end.against_s3prl(cache_dir=cache, progress=Silent(), tasks=("er",), n_steps=41, n_s3prl_steps=2)
    (task,) = found.tasks
    assert len(task.step_seconds) == 38  # 40 gaps, after two of which dev is read
    assert len(task.their_step_seconds) == 2
    assert task.n_cells == 15


@pytest.mark.slow
def test_forecast_and_truth(tmp_path: Path, with_demo: Callable[[Path], Path]) -> None:
    cache = with_demo(tmp_path)
    found = forecasts.forecast_and_run(cache_dir=cache, progress=Silent(), tasks=("er",), upstream="fbank", limit=12)
    (task,) = found.tasks
    assert task.task == "er"
    assert task.expected_seconds > 0
    assert task.seconds > 0


def test_training_contests_do_their_work() -> None:
    for candidates in (
        training.grid(steps=2),
        training.upstream_every_step(batch_size=1),
    ):
        for run in candidates.run.values():
            run()


def test_command(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])  # the contests come with a checkout, whatever package is installed
    monkeypatch.setattr(training, "grid", functools.partial(training.grid, steps=2))
    folder = tmp_path_factory.mktemp("bench")
    threads = torch.get_num_threads()
    command = ["bench", "--only", "grid", "--rounds", "1", "--threads", str(threads)]
    done = CliRunner().invoke(app, [*command, "--markdown", str(folder / "p.md"), "--out", str(folder / "s.json")])
    assert done.exit_code == 0, done.output
    assert "## Grid of a linear probe" in (folder / "p.md").read_text()
    assert list(Speed.read(folder / "s.json").items) == ["grid"]
    # Another item joins those that are there; nothing measured is lost.
    monkeypatch.setattr(training, "upstream_every_step", functools.partial(training.upstream_every_step, batch_size=1))
    again = ["bench", "--only", "cache", "--rounds", "1", "--threads", str(threads), "--out", str(folder / "s.json")]
    assert CliRunner().invoke(app, again).exit_code == 0
    assert list(Speed.read(folder / "s.json").items) == ["grid", "cache"]
    unknown = CliRunner().invoke(app, ["bench", "--only", "gird"])
    assert isinstance(unknown.exception, UnknownName)
    assert "Did you mean 'grid'?" in str(unknown.exception)
    for hours in ("one", "0.1,nan", "0", ""):
        refused = CliRunner().invoke(app, ["bench", "--only", "scale", "--hours", hours])
        assert f"--hours {hours}: expected" in str(refused.exception)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_extraction_against_transformers(precision: str, small: Architecture) -> None:
    with gpu.extraction(precision, CPU, seconds=12.0, architecture=small) as candidates:  # type: ignore[arg-type]
        found = hold(candidates, rounds=1, progress=Silent())
    names = [timing.name for timing in found.timings]
    assert names[:2] == ["skill-bench", "transformers"]
    assert names[2:] == ["skill-bench, the model alone", "transformers, the model alone"]
    assert found.amount == 12.0
    assert precision in found.name


def test_others_means_are_not_timed(small: Architecture, monkeypatch: pytest.MonkeyPatch) -> None:
    means = gpu._means
    monkeypatch.setattr(gpu, "_means", lambda *given: 2 * means(*given))
    with (
        pytest.raises(AssertionError, match="means differ by"),
        gpu.extraction("fp32", CPU, seconds=2.0, architecture=small),
    ):
        pass


def test_a_stream_that_mixes_up_its_batches_is_found(
    small: Architecture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = gpu._upstream(gpu._encoder(small), "fp32", CPU)
    spoken = gpu._speech(tmp_path / "audio", 20.0)
    gpu._check_stream(upstream, spoken, tmp_path, "fp32")
    whole = vars(gpu)["extract"]

    def shifted(*given: Any, **options: Any) -> dict[str, torch.Tensor]:
        found = whole(*given, **options)
        return dict(zip(found, [found[name] for name in [*list(found)[1:], next(iter(found))]], strict=True))

    monkeypatch.setattr(gpu, "extract", shifted)
    with pytest.raises(AssertionError, match="the stream's means of 0 differ by"):
        gpu._check_stream(upstream, spoken, tmp_path, "fp32")


def test_busy_without_a_gpu_is_not_seen(small: Architecture) -> None:
    found = gpu.busy(CPU, seconds=3.0, architecture=small)
    assert [row[0] for row in found.rows] == ["fp32", "bf16"]
    assert all(row[2] == "not seen" and int(row[1]) > 0 for row in found.rows)


def test_frames_that_no_cache_holds_are_computed_at_every_use(small: Architecture) -> None:
    with gpu.recomputed(CPU, seconds=30.0, architecture=small) as candidates:
        found = hold(candidates, rounds=1, progress=Silent())
    assert [timing.name for timing in found.timings] == ["skill-bench, an epoch's batches", "extraction"]
    assert found.amount == 30.0


@pytest.mark.parametrize(
    ("spans", "expected"), [([], 0), ([(3, 5), (0, 1)], 3), ([(0, 4), (1, 2), (3, 6)], 6), ([(0, 2), (2, 3)], 3)]
)
def test_kernels_that_overlap_count_once(spans: list[tuple[float, float]], expected: float) -> None:
    assert gpu.covered(spans) == expected


def test_a_distillation_step_in_each_precision(small: Architecture) -> None:
    candidates = gpu.distillation(CPU, batch_size=2, utterance_seconds=0.5, architecture=small)
    found = hold(candidates, rounds=1, progress=Silent())
    assert [timing.name for timing in found.timings] == ["bf16", "fp16", "fp32"]
    assert all((timing.peak_bytes or 0) > 0 for timing in found.timings)


def test_scores_beside_the_cpus(tmp_path: Path, with_demo: Callable[[Path], Path]) -> None:
    found = gpu.scores("cpu", cache_dir=with_demo(tmp_path), progress=Silent(), tasks=("ks",), limit=12)
    assert [row[:3] for row in found.rows] == [
        ("ks", "accuracy", "cpu, fp32"), ("ks", "accuracy", "cpu, fp32"), ("ks", "accuracy", "cpu, bf16"),
    ]  # fmt: skip
    assert found.rows[0][3] == found.rows[1][3]
    assert found.rows[1][4].startswith("inside ")
    assert _table(found)[0].startswith("| task | metric | where | score |")


def test_without_a_gpu_the_section_says_how() -> None:
    if torch.cuda.is_available():
        assert gpu.device().type == "cuda"
        return
    with pytest.raises(SkillBenchError, match=r"no GPU on this machine. .*`skill-bench bench --only gpu-fp32,gpu-bf16"):
        gpu.device()
