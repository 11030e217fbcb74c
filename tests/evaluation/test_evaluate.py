"""A run over cells: records, skipping, failures, interruption."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_speech import FakeUpstream, class_data

from skill_bench.base.errors import (
    CheckpointError,
    ManifestError,
    MissingExtra,
    SpecError,
    UnknownName,
    UsageError,
)
from skill_bench.base.progress import Advance, Silent
from skill_bench.corpora.data import TaskData
from skill_bench.evaluation import evaluate as module
from skill_bench.evaluation.evaluate import Outcome, evaluate
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.evaluation.task_files import load_task
from skill_bench.features import memory
from skill_bench.records.record import Record, System, read_predictions
from skill_bench.tasks import TaskSpec


class Evaluated(FakeUpstream):
    def system(self) -> System:
        return System(name=self.name, title="Fake", kind="control", identity=self.identity)


class World:
    """Data and upstreams of a run, to be changed by a test; counts how often an upstream was loaded."""

    def __init__(self, data: TaskData) -> None:
        self.data: dict[str, TaskData | Exception] = {name: replace(data, task=name) for name in ("ks", "sid", "er")}
        self.upstreams: dict[str, Evaluated | Exception] = {"fake": Evaluated()}

    def load_data(self, suite: str, task: str, **_: object) -> TaskData:
        found = self.data[task]
        if isinstance(found, Exception):
            raise found
        return found

    def load(self, request: UpstreamRequest) -> Evaluated:
        found = self.upstreams[request.name]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(class_data(tmp_path / "audio"))
    monkeypatch.setattr(module, "load_task_data", made.load_data)

    def quick(name: str) -> TaskSpec:
        task = load_task(name)
        settings = {"steps": 4, "evaluate_every_steps": 2, "learning_rates": (0.01,)}
        return task.model_copy(update={"suites": {}, "protocol": task.protocol.model_copy(update=settings)})

    monkeypatch.setattr(module, "load_task", quick)
    return made


@pytest.fixture
def run(world: World, tmp_path: Path) -> Callable[..., Outcome]:
    def call(**changes: object) -> Outcome:
        plan = Plan(
            upstreams=[UpstreamRequest(name="fake")],
            suite="demo",
            tasks=["ks", "sid"],
            seeds=[0, 1],
            out_dir=tmp_path / "out",
            cache_dir=tmp_path / "cache",
        )
        return evaluate(replace(plan, **changes), load=world.load)  # type: ignore[arg-type]

    return call


def test_every_cell_leaves_a_record_and_its_predictions(run: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = run()
    assert (len(outcome.records), outcome.n_skipped, outcome.failures) == (4, 0, [])
    names = sorted(path.name for path in (tmp_path / "out" / "demo" / "fake").glob("*.json"))
    assert names == ["ks-s0.json", "ks-s1.json", "sid-s0.json", "sid-s1.json"]
    path = tmp_path / "out" / "demo" / "fake" / "sid-s1.json"
    record = Record.read(path)
    assert record == outcome.records[3]
    assert record.data is not None
    assert (record.data.n_train, record.data.n_dev, record.data.n_test) == (9, 3, 6)
    assert record.task_spec["protocol"]["steps"] == 4  # type: ignore[index,call-overload]
    assert set(record.provenance.seconds) == {"features", "training", "test"}
    assert len(read_predictions(path, record)) == 6


def test_finished_cells_are_skipped_and_new_ones_run(run: Callable[..., Outcome], world: World) -> None:
    first = run(tasks=["ks"])
    second = run()
    assert (len(second.records), second.n_skipped) == (4, 2)
    assert second.records[:2] == first.records
    again = run()
    assert (len(again.records), again.n_skipped) == (4, 4)


@pytest.mark.parametrize("change", ["model", "data", "settings"])
def test_another_model_data_or_setting_is_run_again(
    run: Callable[..., Outcome], world: World, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    run(tasks=["ks"])
    if change == "model":
        world.upstreams["fake"] = Evaluated(identity="fake-2")
    elif change == "data":
        world.data["ks"] = replace(world.data["ks"], fingerprint="other")  # type: ignore[type-var]
    else:
        quick = vars(module)["load_task"]

        def slower(name: str) -> TaskSpec:
            task: TaskSpec = quick(name)
            return task.model_copy(update={"protocol": task.protocol.model_copy(update={"steps": 6})})

        monkeypatch.setattr(module, "load_task", slower)
    outcome = run(tasks=["ks"])
    assert (len(outcome.records), outcome.n_skipped) == (2, 0)


def test_a_failed_cell_leaves_a_record_and_the_rest_goes_on(
    run: Callable[..., Outcome], world: World, tmp_path: Path
) -> None:
    world.data["ks"] = ManifestError("manifest.tsv:3: bad line")
    outcome = run(seeds=[0])
    assert [r.key.task for r in outcome.records] == ["sid"]
    assert [(f.task, f.seed, f.error) for f in outcome.failures] == [("ks", 0, "manifest.tsv:3: bad line")]
    failed = Record.read(tmp_path / "out" / "demo" / "fake" / "ks-s0.json")
    assert failed.status == "failed"
    assert failed.error is not None
    assert (failed.error.type, failed.error.message) == ("ManifestError", "manifest.tsv:3: bad line")
    assert failed.data is None


def test_a_failed_cell_is_tried_again(run: Callable[..., Outcome], world: World, tmp_path: Path) -> None:
    world.upstreams["fake"] = Evaluated(poison=True)
    assert "NaN" in run(tasks=["ks"], seeds=[0]).failures[0].error
    path = tmp_path / "out" / "demo" / "fake" / "ks-s0.json"
    failed = Record.read(path)
    assert failed.data is not None
    assert failed.data.n_train == 9
    world.upstreams["fake"] = Evaluated()
    outcome = run(tasks=["ks"], seeds=[0])
    assert (len(outcome.records), outcome.n_skipped, outcome.failures) == (1, 0, [])
    assert Record.read(path).status == "finished"


def test_lost_data_does_not_hide_a_finished_record(run: Callable[..., Outcome], world: World, tmp_path: Path) -> None:
    record = run(tasks=["ks"], seeds=[0]).records[0]
    world.data["ks"] = ManifestError("the disk is not mounted")
    outcome = run(tasks=["ks"], seeds=[0])
    assert len(outcome.failures) == 1
    assert Record.read(tmp_path / "out" / "demo" / "fake" / "ks-s0.json") == record


def test_an_unexpected_error_is_recorded_with_its_type(
    run: Callable[..., Outcome], world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Evaluated):
        def hidden_states(self, waves: object) -> list[object]:  # type: ignore[override]
            raise RuntimeError("out of memory")

    world.upstreams["fake"] = Broken()
    with caplog.at_level(logging.CRITICAL):
        outcome = run(tasks=["ks"], seeds=[0])
    assert outcome.failures[0].error == "RuntimeError: out of memory"


def test_interruption_keeps_finished_cells(
    run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = vars(module)["run_cells"]

    def interrupted(upstream: FakeUpstream, task: TaskSpec, data: TaskData, **options: object) -> object:
        if task.name == "sid":
            raise KeyboardInterrupt
        return whole(upstream, task, data, **options)

    monkeypatch.setattr(module, "run_cells", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()
    names = sorted(path.name for path in (tmp_path / "out" / "demo" / "fake").glob("*.json"))
    assert names == ["ks-s0.json", "ks-s1.json"]
    monkeypatch.setattr(module, "run_cells", whole)
    outcome = run()
    assert (len(outcome.records), outcome.n_skipped) == (4, 2)


def test_a_damaged_record_is_reported_and_left_alone(run: Callable[..., Outcome], tmp_path: Path) -> None:
    run(tasks=["ks"])
    path = tmp_path / "out" / "demo" / "fake" / "ks-s0.json"
    path.write_text("{")
    outcome = run(tasks=["ks"])
    assert [(f.task, f.seed) for f in outcome.failures] == [("ks", 0)]
    assert "ks-s0.json" in outcome.failures[0].error
    assert path.read_text() == "{"


def test_one_bad_checkpoint_does_not_stop_the_other_upstreams(run: Callable[..., Outcome], world: World) -> None:
    world.upstreams["bad"] = CheckpointError("bad.safetensors: not a checkpoint")
    outcome = run(upstreams=[UpstreamRequest(name="bad"), UpstreamRequest(name="fake")], tasks=["ks"], seeds=[0])
    assert [(f.upstream, f.task, f.error) for f in outcome.failures] == [
        ("bad", None, "bad.safetensors: not a checkpoint")
    ]
    assert len(outcome.records) == 1


def test_a_wrong_plan_is_refused_at_once(run: Callable[..., Outcome], world: World, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown task 'kss'"):
        run(tasks=["ks", "kss"])
    world.data["sid"] = UsageError("--suite local needs --data-root DIR")
    with pytest.raises(UsageError, match="--data-root"):
        run()
    for large in ({"seeds": [2**63]}, {"limit": 2**63}, {"seeds": [-1]}):
        with pytest.raises(UsageError, match=r"as a seed or limit: records hold whole numbers from 0 to 92233720"):
            run(**large)
    with pytest.raises(UsageError, match=r"seeds \[1\] are given more than once"):
        run(seeds=[1, 0, 1])
    assert not (tmp_path / "out").exists()


def test_every_part_of_the_settings_but_words_makes_another_experiment(
    run: Callable[..., Outcome], tmp_path: Path
) -> None:
    record = run(tasks=["ks"], seeds=[0]).records[0]
    path = tmp_path / "out" / "demo" / "fake" / "ks-s0.json"
    decisive = {name for name, value in record.task_spec.items() if value is not None} - {"title", "reference"}
    assert {"kind", "metric", "head", "protocol"} <= decisive
    for name in record.task_spec:
        record.model_copy(update={"task_spec": record.task_spec | {name: "another"}}).write(path)
        assert run(tasks=["ks"], seeds=[0]).n_skipped == (name in ("title", "reference")), name
        path.unlink()
    older = {name: value for name, value in record.task_spec.items() if value is not None}
    record.model_copy(update={"task_spec": older}).write(path)
    assert run(tasks=["ks"], seeds=[0]).n_skipped == 1, "a table that the task has not is no setting"


def test_what_was_done_to_audio_is_counted_in_the_record(run: Callable[..., Outcome], world: World) -> None:
    """One file of 8 kHz, two of two channels; each utterance counts once for both seeds."""
    data = world.data["ks"]
    assert isinstance(data, TaskData)
    paths = [u.path for u in (data.folds[0].train[0], data.folds[0].dev[0], data.folds[0].test[0])]
    for path, channels, rate_hz in zip(paths, (1, 2, 2), (8_000, 16_000, 16_000), strict=True):
        wave = 0.1 * np.random.default_rng(0).standard_normal((rate_hz // 2, channels))
        soundfile.write(path, wave, rate_hz)
    records = run(tasks=["ks"]).records
    assert len(records) == 2
    for record in records:
        assert record.data is not None
        assert (record.data.n_resampled, record.data.n_mixed_down) == (1, 2)


def test_what_cannot_be_used_is_said_before_anything_is_trained(world: World, tmp_path: Path) -> None:
    world.data["er"] = ManifestError("manifest.tsv:3: bad line")
    events: list[str] = []

    class Listening(Silent):
        def stage(self, description: str, *, total: int) -> AbstractContextManager[Advance]:
            events.append(description)
            return super().stage(description, total=total)

        def note(self, text: str) -> None:
            events.append(text)

    tasks = ["ks", "er", "sid"]
    plan = Plan(
        upstreams=[UpstreamRequest(name="fake")], suite="demo", tasks=tasks, seeds=[0],
        out_dir=tmp_path / "out", cache_dir=tmp_path / "cache",
    )  # fmt: skip
    evaluate(plan, load=world.load, progress=Listening())
    failed = events.index("failed: fake, er, seed 0: manifest.tsv:3: bad line")
    trained = [n for n, event in enumerate(events) if "features" in event or "training" in event]
    assert len(trained) >= 2
    assert failed < min(trained)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Parts of names of files that the disk has no space for."""
    names: set[str] = set()
    replace_file = os.replace

    def replace(source: Path, target: Path) -> None:
        if any(name in str(target) for name in names):
            raise OSError(errno.ENOSPC, "No space left on device", str(source), None, str(target))
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", replace)
    return names


@pytest.mark.parametrize("part", ["ks-s0.json", "ks-s0.predictions.jsonl", "ks-s0"])
def test_a_cell_that_cannot_be_kept_costs_that_cell(
    part: str, run: Callable[..., Outcome], full: set[str], tmp_path: Path
) -> None:
    full.add(part)
    outcome = run()
    assert [(r.key.task, r.key.seed) for r in outcome.records] == [("ks", 1), ("sid", 0), ("sid", 1)]
    [failure] = outcome.failures
    place = tmp_path / "out" / "demo" / "fake" / f"ks-s0.{'predictions.jsonl' if 'json' not in part else part[6:]}"
    assert failure.name == "fake, ks, seed 0"
    assert failure.error == (
        f"{place}: No space left on device. Check the path, its permissions and the space on its disk."
    )
    assert not list(place.parent.glob("*.tmp"))
    full.clear()
    assert (len((again := run()).records), again.n_skipped) == (4, 3), "only that cell runs again"


def test_a_folder_that_cannot_be_made_costs_one_upstream(
    run: Callable[..., Outcome], world: World, tmp_path: Path
) -> None:
    other = Evaluated()
    other.name = "other"
    world.upstreams["other"] = other
    blocked = tmp_path / "out" / "demo" / "other"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where a folder should be")
    outcome = run(upstreams=[UpstreamRequest(name="other"), UpstreamRequest(name="fake")], tasks=["ks"])
    assert [failure.name for failure in outcome.failures] == ["other, ks, seed 0", "other, ks, seed 1"]
    assert len(outcome.records) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_costs_its_cells(run: Callable[..., Outcome], tmp_path: Path) -> None:
    folder = tmp_path / "out" / "demo" / "fake"
    folder.mkdir(parents=True)
    folder.chmod(0o555)
    outcome = run(tasks=["ks"])
    assert [failure.name for failure in outcome.failures] == ["fake, ks, seed 0", "fake, ks, seed 1"]
    assert "Permission denied" in outcome.failures[0].error


def test_a_disk_that_fails_while_data_are_prepared_costs_the_task(run: Callable[..., Outcome], world: World) -> None:
    world.data["ks"] = OSError(errno.EIO, "Input/output error", "cache/demo")
    outcome = run()
    assert [failure.name for failure in outcome.failures] == ["fake, ks, seed 0", "fake, ks, seed 1"]
    assert outcome.failures[0].error.startswith("demo, ks: cache/demo: Input/output error. Check the path")
    assert len(outcome.records) == 2


def test_a_model_that_cannot_be_read_costs_its_cells(run: Callable[..., Outcome], world: World) -> None:
    world.upstreams["bad"] = OSError(errno.EIO, "Input/output error", "bad.safetensors")
    outcome = run(upstreams=[UpstreamRequest(name="bad"), UpstreamRequest(name="fake")], tasks=["ks"])
    assert [(failure.name, failure.error[:35]) for failure in outcome.failures] == [
        ("bad", "bad.safetensors: Input/output error")
    ]
    assert len(outcome.records) == 2


def test_an_error_with_a_name_that_is_no_text_is_recorded(
    run: Callable[..., Outcome], world: World, tmp_path: Path
) -> None:
    world.data["ks"] = ManifestError("\udcff.wav: no such file")
    assert run(tasks=["ks"], seeds=[0]).failures[0].error == "\\udcff.wav: no such file"
    failed = Record.read(tmp_path / "out" / "demo" / "fake" / "ks-s0.json").error
    assert failed is not None
    assert failed.message == "\\udcff.wav: no such file"


def test_what_a_killed_run_left_is_removed_where_runs_write_and_nowhere_else(
    run: Callable[..., Outcome], tmp_path: Path
) -> None:
    removed = ["out/demo/fake", "cache", "cache/features/model/policy"]
    kept = ["out", "out/other/fake", "cache/private"]
    for folder in (*removed, *kept):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        path = tmp_path / folder / ".x.json.abcdefgh.tmp"
        path.touch()
        os.utime(path, (0, 0))
    run(tasks=["ks"])
    assert {str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("*.tmp")} == set(kept)


def test_a_recording_too_long_for_the_memory_is_said_before_anything_is_trained(
    run: Callable[..., Outcome], world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Needy(Evaluated):
        def utterance_bytes(self, n_samples: int) -> int:
            return n_samples

    data = world.data["sid"]
    assert isinstance(data, TaskData)
    path = tmp_path / "long.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(16_000 * 5), 16_000)
    fold = data.folds[0]
    longer = replace(fold.test[0], id="long", path=path, seconds=5.0)
    world.data["sid"] = replace(data, folds=(replace(fold, test=(*fold.test, longer)),))
    finished = run(tasks=["sid"], seeds=[0])
    assert len(finished.records) == 1
    world.upstreams["fake"] = Needy(identity="fake-2")
    monkeypatch.setattr(memory, "available_bytes", lambda: 16_000 * 4)
    outcome = run()
    assert [failure.name for failure in outcome.failures] == ["fake, sid, seed 0", "fake, sid, seed 1"]
    assert outcome.failures[0].error.startswith(f"utterance 'long' ({path}, ")
    assert [record.key.task for record in outcome.records] == ["ks", "ks"]
    events: list[str] = []

    class Listening(Silent):
        def stage(self, description: str, *, total: int) -> AbstractContextManager[Advance]:
            events.append(description)
            return super().stage(description, total=total)

        def note(self, text: str) -> None:
            events.append(text)

    plan = Plan(
        upstreams=[UpstreamRequest(name="fake")], suite="demo", tasks=["er", "sid"], seeds=[0],
        out_dir=tmp_path / "other", cache_dir=tmp_path / "cache",
    )  # fmt: skip
    evaluate(plan, load=world.load, progress=Listening())
    [failed] = [n for n, event in enumerate(events) if event.startswith("failed: fake, sid, seed 0: utterance 'long'")]
    assert failed < min(n for n, event in enumerate(events) if "features" in event)
    monkeypatch.setattr(memory, "available_bytes", lambda: 16_000 * 5)
    assert run().failures == [], "what fits runs"
    monkeypatch.setattr(memory, "available_bytes", lambda: 0)
    assert run().n_skipped == 4, "what is finished needs nothing"


@pytest.mark.parametrize("kind", [CheckpointError, SpecError, UsageError, MissingExtra, RuntimeError, TypeError])
def test_whatever_is_wrong_with_one_upstream_the_others_have_their_run(
    kind: type[Exception], world: World, run: Callable[..., Outcome]
) -> None:
    error = kind("x", extra="x", purpose="x") if kind is MissingExtra else kind("upstream.toml: broken")
    world.upstreams["broken"] = error
    found = run(upstreams=[UpstreamRequest(name="broken"), UpstreamRequest(name="fake")], seeds=[0])
    assert [(f.upstream, f.task) for f in found.failures] == [("broken", None)]
    assert str(error) in found.failures[0].error
    assert found.failures[0].is_usage == issubclass(kind, UsageError)
    assert {record.key.upstream for record in found.records} == {"fake"}
    assert len(found.records) == 2


def test_an_unknown_upstream_is_found_before_any_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(module, "load_task_data", lambda *_, **__: loaded.append("data"))
    plan = Plan(
        upstreams=[UpstreamRequest(name="fbank"), UpstreamRequest(name="fbnk")],
        suite="demo",
        tasks=["ks"],
        seeds=[0],
        out_dir=tmp_path / "out",
        cache_dir=tmp_path / "cache",
    )
    with pytest.raises(UnknownName, match=r"unknown upstream 'fbnk'\. Did you mean 'fbank'"):
        evaluate(plan)
    assert loaded == []
