"""The forecast of a distillation: what is extrapolated, and from what."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from small_models import noise, small_teacher
from typer.testing import CliRunner

from skill_bench.base.errors import DataError
from skill_bench.cli.main import app
from skill_bench.corpora.data import Utterance
from skill_bench.distillation.forecast import TrainingForecast, forecast, spread
from skill_bench.distillation.recipe import Recipe, load_recipe
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.training.batches import cached_bytes
from skill_bench.training.engine import Engine

CHANGES = [
    "groups.n_groups=3", "groups.n_calibration_utterances=8", "data.seconds_per_batch=2.0", "data.min_seconds=0.1",
    "sparsity.target=0.5",
]  # fmt: skip


def recipe(*changes: str) -> Recipe:
    return load_recipe("skill", changes=[*CHANGES, *changes])


def utterances(*seconds: float) -> list[Utterance]:
    return [
        Utterance(id=str(i), path=Path(str(i)), target="", speaker=None, seconds=s, source="x")
        for i, s in enumerate(seconds)
    ]


def test_the_probe_is_taken_from_the_shortest_to_the_longest() -> None:
    # Batches of 2 s: [.5 .5 .5 .5] [1 1] [1 1] [1.5] [2] [9, cropped]
    found = utterances(9.0, 1.0, 0.5, 1.0, 2.0, 0.5, 1.0, 1.5, 0.5, 1.0, 0.5, 0.05)
    chosen = spread(found, recipe("data.max_seconds=2.0"), n_batches=3)
    assert [u.seconds for u in chosen] == [0.5] * 4 + [1.0] * 2 + [9.0]
    everything = spread(found, recipe("data.max_seconds=2.0"), n_batches=50)
    assert len(everything) == 11
    with pytest.raises(DataError, match=r"none of 1 utterance lasts 0\.1 s"):
        spread(utterances(0.05), recipe(), n_batches=3)


def test_numbers_follow_from_the_probe(
    teacher: LoadedModel, speech: list[Utterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that ticks one second a reading: every update is measured to take the same."""
    clock = itertools.count(0.0, 1.0)
    monkeypatch.setattr("skill_bench.distillation.forecast.perf_counter", lambda: next(clock))
    found = forecast(teacher, speech, recipe=recipe(), processes=Engine(device="cpu").launch(), n_updates=3)
    assert [(s.name, s.n_updates, s.n_timed) for s in found.stages] == [("joint", 50_000, 2), ("final", 25_000, 2)]
    joint, final = found.stages
    assert (joint.seconds_per_update.low, joint.seconds_per_update.high) == (1.0, 1.0)
    assert joint.hours.estimate == pytest.approx(50_000 / 3600)
    assert final.hours.estimate == pytest.approx(25_000 / 3600)
    # One tick for the check of six utterances, one for their similarity; there are eight, and eight are asked for.
    assert found.preparation_seconds == pytest.approx(8 / 6 + 8 / 6)
    assert found.hours.estimate == pytest.approx((75_000 + 8 / 6 + 8 / 6) / 3600)
    assert 0 < joint.audio_seconds_per_second <= 2.0
    # Pruned to half of the teacher, give or take one head of this small model.
    assert found.n_parameters == pytest.approx(sum(p.numel() for p in teacher.encoder.parameters()) / 2, rel=0.1)
    assert found.peak_memory_bytes.high >= found.peak_memory_bytes.low > 10 * 2**20
    assert found.disk_bytes > 3 * 4 * 40_000


def test_several_devices_share_a_batch(teacher: LoadedModel, speech: list[Utterance]) -> None:
    processes = Engine(device="cpu").launch()
    found = forecast(
        teacher, speech, recipe=recipe("data.seconds_per_batch=4.0"), processes=processes, devices=4, n_updates=2
    )
    seconds = found.stages[1].audio_seconds_per_second * found.stages[1].seconds_per_update.estimate
    assert seconds <= 1.0 + 1e-6, "a quarter of 4 s"
    assert found.devices == 4


def test_a_recipe_without_pruning_has_one_stage(teacher: LoadedModel, speech: list[Utterance]) -> None:
    changes = [change for change in CHANGES if change.startswith("data")]
    changes += ["groups.layers=[[2], [4]]", "groups.student_layers=[[2], [2]]"]
    chosen = load_recipe("distilhubert", changes=changes, scale_updates=0.1)
    found = forecast(teacher, speech, recipe=chosen, processes=Engine(device="cpu").launch(), n_updates=2)
    assert [(stage.name, stage.n_updates) for stage in found.stages] == [("final", 20_000)]


def test_kept_speech_is_bounded() -> None:
    assert cached_bytes(utterances(1.0, 2.5)) == 3.5 * 16_000 * 2
    assert cached_bytes(utterances(1e6)) == 2 << 30


def test_resident_peak_sees_what_was_freed_and_a_reset_forgets_it() -> None:
    # In a small process: pages of mapped libraries may leave a large one at any time, and hide what it takes.
    code = """
from skill_bench.measure.memory import reset_peak, resident_peak_bytes
reset_peak()
before = resident_peak_bytes()
block = bytearray(b"x") * (80 << 20)
del block
print(resident_peak_bytes() - before)
reset_peak()
print(resident_peak_bytes() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seen, forgotten = (int(line) for line in done.stdout.splitlines())
    assert seen > 70 << 20
    assert forgotten < 20 << 20


def test_command(tmp_path: Path) -> None:
    noise(tmp_path / "audio")
    teacher, out = small_teacher(tmp_path / "teacher.safetensors"), tmp_path / "plan.json"
    arguments = ["plan", "distill", "--teacher", str(teacher), "--data", str(tmp_path / "audio"), "--updates", "2"]
    arguments += ["--device", "cpu", "--out", str(out), *(part for change in CHANGES for part in ("--set", change))]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    found = TrainingForecast.read(out)
    assert [stage.name for stage in found.stages] == ["joint", "final"]
    assert "probed on cpu, fp32\n" in done.output
    assert "MiB, resident in the process" in done.output
