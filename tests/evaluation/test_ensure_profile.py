"""Each upstream of a run has one profile beside its records, whoever calls `evaluate`."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_speech import FakeUpstream, class_data
from torch import Tensor

from skill_bench.base.errors import CheckpointError
from skill_bench.corpora.data import TaskData
from skill_bench.evaluation import costs
from skill_bench.evaluation import evaluate as module
from skill_bench.evaluation.evaluate import Outcome, evaluate
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.evaluation.task_files import load_task
from skill_bench.records.profile import Profile
from skill_bench.records.record import System
from skill_bench.tasks import TaskSpec


class Small(torch.nn.Module):
    """A torch module with one weight a frame."""

    n_hidden_states, dim, downsample_rate = 3, 16, 320

    def __init__(self, name: str, identity: str) -> None:
        super().__init__()
        self.name, self.identity, self.fake = name, identity, FakeUpstream()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def hidden_states(self, waves: list[Tensor]) -> list[Tensor]:
        with torch.no_grad():
            return [self.weight * states for states in self.fake.hidden_states(waves)]

    def system(self) -> System:
        return System(name=self.name, title=self.name, identity=self.identity)


class World:
    """What happened, in order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.identity = "small-1"

    def load(self, request: UpstreamRequest) -> Any:
        if request.name == "bad":
            raise CheckpointError("not a checkpoint")
        return FakeUpstreamWithSystem() if request.name == "fake" else Small(request.name, self.identity)


class FakeUpstreamWithSystem(FakeUpstream):
    def system(self) -> System:
        return System(name=self.name, title="Fake", identity=self.identity)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made, data = World(), class_data(tmp_path / "audio")

    def quick(name: str) -> TaskSpec:
        task = load_task(name)
        settings = {"steps": 2, "evaluate_every_steps": 1, "learning_rates": (0.01,)}
        return task.model_copy(update={"suites": {}, "protocol": task.protocol.model_copy(update=settings)})

    def load_data(*_: object, **__: object) -> TaskData:
        return data

    cells, measure = vars(module)["run_cells"], vars(costs)["profile"]

    def run_cells(upstream: Any, *args: Any, **options: Any) -> Iterator[Any]:
        for found in cells(upstream, *args, **options):
            made.events.append(f"cell of {upstream.name}")
            yield found

    def profile(upstream: Any, **options: Any) -> Profile:
        made.events.append(f"{'timed' if options['timed'] else 'counted'} profile of {upstream.name}")
        found: Profile = measure(upstream, lengths_samples=(16000,) * 8, utterance_seconds=0.5, n_repeats=1, **options)
        return found

    monkeypatch.setattr(module, "load_task", quick)
    monkeypatch.setattr(module, "load_task_data", load_data)
    monkeypatch.setattr(module, "run_cells", run_cells)
    monkeypatch.setattr(costs, "profile", profile)
    return made


@pytest.fixture
def run(world: World, tmp_path: Path) -> Callable[..., Outcome]:
    def call(*names: str, **options: Any) -> Outcome:
        plan = Plan(
            upstreams=[UpstreamRequest(name=name) for name in names], suite="demo", tasks=["ks"], seeds=[0],
            out_dir=tmp_path / "out", cache_dir=tmp_path / "cache", **options,
        )  # fmt: skip
        return evaluate(plan, load=world.load)

    return call


def profile_of(folder: Path, name: str) -> Profile:
    return Profile.read(folder / "out" / "demo" / name / "profile.json")


def test_speed_is_measured_after_the_last_cell(run: Callable[..., Outcome], world: World, tmp_path: Path) -> None:
    run("a", "b")
    assert world.events == ["cell of a", "cell of b", "timed profile of a", "timed profile of b"]
    found = profile_of(tmp_path, "b")
    assert found.system.identity == "small-1"
    assert found.parameters is not None
    assert found.parameters.total == 1
    assert found.throughput is not None


def test_counts_are_taken_before_the_cells(run: Callable[..., Outcome], world: World, tmp_path: Path) -> None:
    run("a", profile="counted")
    assert world.events == ["counted profile of a", "cell of a"]
    assert profile_of(tmp_path, "a").throughput is None


def test_a_model_is_measured_once(run: Callable[..., Outcome], world: World, tmp_path: Path) -> None:
    for _ in range(2):
        run("a", profile="counted")
    for _ in range(2):
        run("a")
    run("a", profile="counted")
    profiles = [event for event in world.events if "profile" in event]
    assert profiles == ["counted profile of a", "timed profile of a"], "times that nobody had asked for"
    world.identity = "small-2"
    run("a")
    assert world.events[-2:] == ["cell of a", "timed profile of a"]
    assert profile_of(tmp_path, "a").system.identity == "small-2"


def test_what_stands_beside_another_suite_is_taken(run: Callable[..., Outcome], world: World, tmp_path: Path) -> None:
    run("a")
    measured = profile_of(tmp_path, "a")
    (tmp_path / "out" / "demo").rename(tmp_path / "out" / "another")
    run("a")
    assert world.events.count("timed profile of a") == 1
    assert profile_of(tmp_path, "a") == measured, "of that machine and that day"
    (tmp_path / "out" / "demo" / "a" / "profile.json").unlink()
    (tmp_path / "out" / "another" / "a" / "profile.json").write_text("{")
    run("a")
    assert world.events.count("timed profile of a") == 2, "that file is for a run of that suite to complain of"


def test_a_run_may_go_without(run: Callable[..., Outcome], world: World, tmp_path: Path) -> None:
    run("a", profile=False)
    run("fake")
    assert world.events == ["cell of a", "cell of fake"], "what is no torch module cannot be measured"
    assert not list((tmp_path / "out").rglob("profile.json"))


def test_what_cannot_be_loaded_is_reported_once(run: Callable[..., Outcome], world: World) -> None:
    outcome = run("bad", "a")
    assert [(failure.upstream, failure.error) for failure in outcome.failures] == [("bad", "not a checkpoint")]
    assert world.events == ["cell of a", "timed profile of a"]


@pytest.mark.parametrize("kind", ["timed", "counted"])
def test_a_damaged_profile_is_not_replaced_and_costs_no_cell(
    kind: str, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    path = tmp_path / "out" / "demo" / "a" / "profile.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    outcome = run("a", "b", profile=kind)
    assert [failure.name for failure in outcome.failures] == ["a, profile"]
    assert "profile.json" in outcome.failures[0].error
    assert len(outcome.records) == 2
    assert path.read_text() == "{"


@pytest.mark.parametrize("kind", ["timed", "counted"])
def test_a_model_that_cannot_be_measured_has_its_cells(
    kind: str, run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*_: object, **__: object) -> Profile:
        raise RuntimeError("zeros are not speech")

    monkeypatch.setattr(costs, "profile", measure)
    outcome = run("a", profile=kind)
    assert [(failure.name, failure.error) for failure in outcome.failures] == [
        ("a, profile", "RuntimeError: zeros are not speech")
    ]
    assert len(outcome.records) == 1


def test_a_model_that_cannot_be_loaded_again_has_no_profile(run: Callable[..., Outcome], world: World) -> None:
    load, times = world.load, 0

    def once(request: UpstreamRequest) -> Any:
        nonlocal times
        times += 1
        if times > 1:
            raise CheckpointError("gone")
        return load(request)

    world.load = once  # type: ignore[method-assign]
    outcome = run("a")
    assert [(failure.name, failure.error) for failure in outcome.failures] == [("a, profile", "gone")]
    assert len(outcome.records) == 1


@pytest.mark.parametrize("kind", ["timed", "counted"])
def test_a_profile_that_cannot_be_kept_costs_no_cell(
    kind: str, run: Callable[..., Outcome], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Profile.write

    def full(document: Profile, path: Path) -> Path:
        if path.parent.name == "a":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(document, path)

    monkeypatch.setattr(Profile, "write", full)
    outcome = run("a", "b", profile=kind)
    assert [failure.name for failure in outcome.failures] == ["a, profile"]
    assert "a/profile.json: No space left on device. Check the path" in outcome.failures[0].error
    assert len(outcome.records) == 2
    assert f"{kind} profile of b" in world.events
