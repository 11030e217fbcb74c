"""What is counted in a forecast, what it makes of seconds by a clock that is imitated, and that records hold it.

Real times are never asserted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fake_speech import FakeUpstream, class_data, sequence_data
from torch import Tensor

from skill_bench.base.progress import Silent
from skill_bench.base.provenance import collect
from skill_bench.cli.plan import run_lines
from skill_bench.corpora.data import Fold, TaskData, Utterance
from skill_bench.evaluation import evaluate as module
from skill_bench.evaluation import probe
from skill_bench.evaluation.forecast import NOTHING, Forecast, TaskForecast
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.evaluation.probe import SEARCHED_LAYERS, Prober, audio_read_seconds
from skill_bench.evaluation.task_files import load_task
from skill_bench.features.extract import extract
from skill_bench.probes.parameters import GridAdam
from skill_bench.records.profile import Band
from skill_bench.records.record import System
from skill_bench.tasks import TaskSpec


class Upstream(FakeUpstream):
    def system(self) -> System:
        return System(name="fake", title="Fake", identity=self.identity)


@pytest.fixture(autouse=True)
def _short_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_PROBE_SECONDS", 0.0)


def short(name: str, **changes: object) -> TaskSpec:
    task = load_task(name).for_suite("demo")
    return task.model_copy(
        update={"protocol": task.protocol.model_copy(update={"steps": 8, "evaluate_every_steps": 4, **changes})}
    )


def prober(folder: Path) -> Prober:
    return Prober(upstream=FakeUpstream(), seeds=(0, 1), cache_dir=folder)


def in_order(band: Band) -> bool:
    return 0 <= band.low <= band.estimate <= band.high


def test_what_has_to_be_extracted(tmp_path: Path) -> None:
    data = class_data(tmp_path / "a")
    found = prober(tmp_path).probe(short("ks"), data, data)
    total = sum(u.seconds or 0 for u in data.utterances())
    assert found.missing_audio_seconds == pytest.approx(total)
    assert found.disk_bytes == 4 * 3 * 16 * len(data.utterances())
    assert in_order(found.features_seconds)
    assert in_order(found.training_seconds)
    assert found.training_seconds.estimate > 0


def test_frames_take_disk_by_their_length(tmp_path: Path) -> None:
    data = sequence_data(tmp_path / "a", task="pr", n_train=8)
    found = prober(tmp_path).probe(short("pr"), data, data)
    whole = extract(FakeUpstream(), data.utterances(), pooled=False, cache_dir=tmp_path / "other")
    exact = sum(2 * 3 * 16 * n for n in whole.frame_counts.values())
    assert found.disk_bytes == pytest.approx(exact, rel=0.1)
    assert found.resident_bytes == pytest.approx(2 * exact, rel=0.1)


def test_what_is_cached_or_counted_costs_nothing(tmp_path: Path) -> None:
    data = class_data(tmp_path / "a")
    again = prober(tmp_path)
    assert again.probe(short("ks"), data, data).missing_audio_seconds > 0
    second = again.probe(short("ks"), data, data)
    assert (second.missing_audio_seconds, second.disk_bytes) == (0, 0)
    assert second.features_seconds.high == 0
    extract(FakeUpstream(), data.utterances(), pooled=True, cache_dir=tmp_path)
    assert prober(tmp_path).probe(short("ks"), data, data).missing_audio_seconds == 0


def test_training_grows_with_steps_and_stops_early_at_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = class_data(tmp_path / "a")
    monkeypatch.setattr(Prober, "_step_and_evaluation", lambda *_: (0.5, 2.0, 1.0))
    made = prober(tmp_path)
    assert made._training(short("ks"), data, data).estimate == 8 * 0.5 + 2 * 2.0 + 1.0
    assert made._training(short("ks", steps=80), data, data).estimate == 80 * 0.5 + 20 * 2.0 + 1.0
    patient = made._training(short("ks", steps=80, patience_evaluations=3), data, data)
    assert patient.low == pytest.approx((16 * 0.5 + 4 * 2.0 + 1.0) / 1.25)
    fold = data.folds[0]
    larger = replace(data, folds=(Fold(name="f", train=fold.train, dev=fold.dev * 3, test=fold.test * 2),))
    assert made._training(short("ks"), larger, data).estimate == 8 * 0.5 + 2 * 6.0 + 2.0


def test_searching_grows_with_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fold = class_data(tmp_path / "a").folds[0]
    few = replace(class_data(tmp_path / "a"), folds=(replace(fold, queries=fold.test[:2], dev_queries=fold.dev[:1]),))
    many = replace(few, folds=(replace(few.folds[0], queries=fold.test[:4], dev_queries=fold.dev[:2]),))
    monkeypatch.setattr(Prober, "_timed", lambda *_: 3.0)
    assert prober(tmp_path)._training(load_task("qbe"), many, few).estimate == 6.0


def test_the_record_holds_forecast_and_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = class_data(tmp_path / "a")

    def load_data(*_: object, **__: object) -> TaskData:
        return data

    def load_short(name: str) -> TaskSpec:
        return short(name)

    load: Callable[[UpstreamRequest], Upstream] = lambda request: Upstream()  # noqa: E731
    monkeypatch.setattr(module, "load_task_data", load_data)
    monkeypatch.setattr(module, "load_task", load_short)
    monkeypatch.setattr(module, "load_request", load)
    plan = Plan(
        upstreams=[UpstreamRequest(name="skill")], suite="demo", tasks=["ks"], seeds=[0, 1],
        out_dir=tmp_path / "out", cache_dir=tmp_path,
    )  # fmt: skip
    blocked = tmp_path / "out"
    blocked.write_text("a file where a folder should be")
    notes: list[str] = []

    class Listening(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    assert len(module.forecast(plan, progress=Listening())) == 1, "what cannot be kept is told all the same"
    assert [note for note in notes if note.startswith("the forecast of fake is not kept: ")]
    blocked.unlink()
    [made] = module.forecast(plan)
    assert Forecast.read(made.path(tmp_path / "out")) == made
    assert in_order(made.seconds)
    assert in_order(made.peak_memory_bytes)
    outcome = module.evaluate(plan, load=load)
    assert len(outcome.records) == 2
    for record in outcome.records:
        assert record.provenance.forecast_seconds == made.of_task("ks")
        assert set(record.provenance.seconds) == {"features", "training", "test"}
    differing: list[tuple[dict[str, object], int | None]] = [
        ({"identity": "another model"}, None), ({"limit": 9}, None), ({}, 9),
    ]  # fmt: skip
    for seed, (change, limit) in enumerate(differing):
        made.model_copy(update={**change, "provenance": collect()}).write(made.path(tmp_path / "out"))
        record = module.evaluate(replace(plan, seeds=[2 + seed], limit=limit), load=load).records[0]
        assert record.provenance.forecast_seconds == {}, "of another model, or of other data"
    [few] = module.forecast(replace(plan, limit=9))
    assert few.limit == 9
    record = module.evaluate(replace(plan, seeds=[5], limit=9), load=load).records[0]
    assert record.provenance.forecast_seconds == few.of_task("ks")


def test_frames_without_place_are_planned_as_often_as_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of what the run adds fits; it is what the run itself then says, and the forecast's hours hold it."""
    data = sequence_data(tmp_path / "a", task="pr", n_train=8)
    task = short("pr", batch_size=2)
    (tmp_path / "whole").mkdir()
    whole = prober(tmp_path / "whole").probe(task, data, data)
    assert (whole.recomputed_audio_seconds, whole.recomputed_seconds) == (0, NOTHING)
    monkeypatch.setattr(probe, "RESIDENT_BYTES", 0)
    fold = data.folds[0]
    train, dev, test = (sum(u.seconds or 0 for u in part) for part in (fold.train, fold.dev, fold.test))
    read = 2 * (8 * 2 * train / 8 + 2 * dev + test)  # seeds: eight steps of two utterances, dev twice, test
    for share in (0.5, 0.0):
        cache = tmp_path / str(share)
        limited = Prober(
            upstream=FakeUpstream(), seeds=(0, 1), cache_dir=cache, cache_limit_bytes=round(share * whole.disk_bytes)
        )
        monkeypatch.setattr(Prober, "_training", lambda *_: NOTHING)
        found = limited.probe(task, data, data)
        assert found.recomputed_audio_seconds == pytest.approx((1 - share) * read, rel=0.02)


def test_a_second_task_has_the_room_that_the_first_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Prober, "_training", lambda *_: NOTHING)
    data = sequence_data(tmp_path / "a", task="pr", n_train=8)
    other = sequence_data(tmp_path / "b", task="asr", n_train=8)
    alone = [prober(tmp_path / t).probe(short(t), d, d).disk_bytes for t, d in (("pr", data), ("asr", other))]
    limited = Prober(
        upstream=FakeUpstream(), seeds=(0,), cache_dir=tmp_path / "limited", cache_limit_bytes=max(alone) + 1
    )
    assert limited.probe(short("pr"), data, data).recomputed_audio_seconds == 0
    assert limited.probe(short("asr"), other, other).recomputed_audio_seconds > 0


def test_a_full_disk_is_planned_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "free_bytes", lambda folder: 0)
    monkeypatch.setattr(Prober, "_training", lambda *_: NOTHING)
    data = sequence_data(tmp_path / "a", task="pr", n_train=8)
    found = prober(tmp_path).probe(short("pr"), data, data)
    assert found.recomputed_audio_seconds > 0
    assert in_order(found.recomputed_seconds)
    classes = class_data(tmp_path / "b")
    assert prober(tmp_path).probe(short("ks"), classes, classes).recomputed_audio_seconds == 0, "means stay in memory"


@pytest.mark.parametrize(("stays", "expected"), [(False, 2 * (5 * 3 * 2.0 + 3 * 10 + 20)), (True, 40 + 10 + 2 * 20)])
def test_audio_is_read_as_often_as_the_protocol_says(stays: bool, expected: float) -> None:
    def seconds(n: int, each: float) -> tuple[Utterance, ...]:
        return tuple(
            Utterance(id=f"{each}{i}", path=Path("x"), target="", speaker=None, seconds=each, source="")
            for i in range(n)
        )

    fold = Fold(name="f", train=seconds(20, 2.0), dev=seconds(10, 1.0), test=seconds(4, 5.0))
    data = TaskData(task="pr", suite="demo", synthetic=True, folds=(fold,), fingerprint="f", notes=())
    task = short("pr", steps=5, evaluate_every_steps=2, batch_size=3)
    assert audio_read_seconds(task, data, n_seeds=2, stays=stays) == expected


def test_a_search_reads_everything_in_every_layer() -> None:
    one = Utterance(id="u", path=Path("x"), target="", speaker=None, seconds=1.0, source="")
    fold = Fold(name="f", train=(), dev=(one,) * 2, test=(one,) * 3, queries=(one,) * 5, dev_queries=(one,) * 7)
    data = TaskData(task="qbe", suite="demo", synthetic=True, folds=(fold,), fingerprint="f", notes=())
    found = audio_read_seconds(load_task("qbe").for_suite("demo"), data, n_seeds=2, stays=False)
    assert found == 2 * (SEARCHED_LAYERS * (2 + 7) + 3 + 5)


def test_the_forecast_says_what_is_computed_again(tmp_path: Path) -> None:
    band = Band(low=60.0, estimate=120.0, high=180.0)
    task = TaskForecast(
        task="asr", missing_audio_seconds=0, features_seconds=NOTHING, training_seconds=band, disk_bytes=0,
        resident_bytes=0, recomputed_audio_seconds=7200.0, recomputed_seconds=band,
    )  # fmt: skip
    found = Forecast(
        upstream="fake", identity="i", suite="demo", protocol="strict", seeds=(0, 1), tasks=(task,),
        peak_memory_bytes=band, provenance=collect(started_at="2026-01-01T00:00:00+00:00"),
    )  # fmt: skip
    assert found.seconds.estimate == 240
    assert found.of_task("asr")["training and test"] == 120
    assert [line.strip() for line in run_lines(found)][2] == (
        "frames that find no place are computed again at every use: 2.00 h of audio, 2.0 [1.0, 3.0]"
    )


STEP_SECONDS, WAVE_SECONDS = 2.0, 1000.0
PROBE_SECONDS = probe._PROBE_SECONDS


class Slow(FakeUpstream):
    """Takes a thousand seconds a wave."""

    def __init__(self, now: list[float]) -> None:
        super().__init__()
        self.now = now

    def hidden_states(self, waves: list[Tensor]) -> list[Tensor]:
        self.now[0] += WAVE_SECONDS * len(waves)
        return super().hidden_states(waves)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock's seconds; a probe takes as many as it does."""
    found = [0.0]
    monkeypatch.setattr(probe, "_PROBE_SECONDS", PROBE_SECONDS)
    monkeypatch.setattr(time, "perf_counter", lambda: found[0])
    step = GridAdam.step

    def slow(self: GridAdam) -> None:
        found[0] += STEP_SECONDS
        step(self)

    monkeypatch.setattr(GridAdam, "step", slow)
    return found


def timed(**changes: object) -> TaskSpec:
    task = load_task("ks").for_suite("demo")
    settings = {"steps": 40, "evaluate_every_steps": 20, "patience_evaluations": False} | changes
    return task.model_copy(update={"protocol": task.protocol.model_copy(update=settings)})


def test_seconds_of_features_are_none_of_training(
    now: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probe of extraction hears one utterance of each third; the others are extracted when training is probed."""
    monkeypatch.setattr(probe, "_SAMPLE_BATCHES_A_THREAD", 1e-6)
    upstream = Slow(now)
    data = class_data(tmp_path / "audio")
    prober = Prober(upstream=upstream, seeds=(0, 1), cache_dir=tmp_path)
    found = prober.probe(timed(), data, data)
    assert upstream.calls == [1, 1, 1, 18], "a wave of each third, and while training is probed the batch of all"
    # Both seeds share each of 40 steps.
    assert found.training_seconds.estimate == pytest.approx(40 * STEP_SECONDS)
    left = (18 - 3) * WAVE_SECONDS
    assert 0.5 * left < found.features_seconds.estimate < 2 * left


def test_seconds_of_training_grow_with_steps_alone(now: list[float], tmp_path: Path) -> None:
    data = class_data(tmp_path / "audio")
    prober = Prober(upstream=Slow(now), seeds=(0,), cache_dir=tmp_path)
    found = [prober.probe(timed(steps=steps), data, data).training_seconds.estimate for steps in (40, 80)]
    assert found == pytest.approx([40 * STEP_SECONDS, 80 * STEP_SECONDS])
