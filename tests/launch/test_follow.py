"""What is submitted, in which order, and when a launch gives up. Nobody runs the jobs here."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_speech import sequence_data
from job_world import Heard, World

from skill_bench.base.errors import SkillBenchError
from skill_bench.base.provenance import collect
from skill_bench.evaluation.forecast import Forecast, TaskForecast
from skill_bench.evaluation.plan import Plan
from skill_bench.launch import follow, launch
from skill_bench.launch.engine import Jobs, State
from skill_bench.launch.job import Job
from skill_bench.launch.journal import FILE, Launched, launches
from skill_bench.launch.launch import in_jobs
from skill_bench.launch.local import Local
from skill_bench.launch.options import LaunchOptions
from skill_bench.records.profile import Band


@dataclass
class Nobody(Jobs):
    """Takes jobs, and says of all of them what it is told to."""

    says: State | None = None
    hopeless: bool = False
    submitted: list[tuple[list[list[str]], bool, list[str]]] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    shares_groups = False

    def submit(self, jobs: Sequence[Job], *, folder: Path, on_gpu: bool, after: Sequence[str]) -> list[str]:
        self.jobs += jobs
        self.submitted.append(([[one.name for one in job.groups] for job in jobs], on_gpu, list(after)))
        return [f"{len(self.submitted)}_{number}" for number in range(len(jobs))]

    def states(self, ids: Iterable[str]) -> dict[str, State]:
        return {} if self.says is None else dict.fromkeys(ids, self.says)

    def cancel(self, ids: Iterable[str]) -> None: ...

    def how_to_cancel(self, ids: Sequence[str]) -> str:
        return ""

    def require_hope(self) -> None:
        if self.hopeless and self.submitted:
            raise SkillBenchError("no node answers")


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> Nobody:
    made = Nobody()
    monkeypatch.setattr(launch, "ENGINES", {"slurm": lambda options: made})
    return made


def test_what_waits_for_others_is_submitted_after_them_and_with_their_ids(
    nobody: Nobody, world: World, plan: Plan, tmp_path: Path
) -> None:
    world.data["asr"] = sequence_data(tmp_path / "asr", task="asr")  # type: ignore[index]
    plan = replace(plan, tasks=["ks", "asr"])
    options = LaunchOptions(launcher="slurm", gpus_per_job=1, cpu_partition="cpu", detach=True)
    assert in_jobs(plan, options, load=world).failures == []
    features_and_asr = [["0-0"], ["0-1"], ["0-2"], ["0-3"]]
    assert nobody.submitted == [(features_and_asr, True, []), ([["0-4"], ["0-5"]], False, ["1_0", "1_1"])]
    assert [job.groups[0].does for job in nobody.jobs] == ["features", "features", *["cells"] * 4]
    assert {job.groups[0].after for job in nobody.jobs} == {()}, "SLURM sees to the order"
    assert {job.seconds for job in nobody.jobs} == {4 * 3600 - 90}, "then they are told, and not when time is over"


def test_cells_that_nobody_runs_are_tried_alone_and_then_given_up(nobody: Nobody, world: World, plan: Plan) -> None:
    heard = Heard()
    plan = replace(plan, upstreams=plan.upstreams[:1], seeds=[0])
    outcome = in_jobs(plan, LaunchOptions(launcher="slurm", max_jobs=1), load=world, progress=heard)
    assert [failure.name for failure in outcome.failures] == ["one, ks, seed 0", "one, sid, seed 0"]
    assert {failure.error for failure in outcome.failures} == {"its jobs ended before it was finished. it left no log"}
    assert [job.groups[0].plan.tasks for job in nobody.jobs[-2:]] == [["ks"], ["sid"]]
    assert len(nobody.submitted) == follow.MOST_ROUNDS
    assert heard.notes.count("2 cells were lost with their jobs, and are run again") == 1


def test_jobs_that_will_never_run_are_not_waited_for(
    nobody: Nobody, world: World, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "HOPE_SECONDS", 0.0)
    nobody.says, nobody.hopeless = "pending", True
    with pytest.raises(SkillBenchError, match="no node answers"):
        in_jobs(plan, LaunchOptions(launcher="slurm"), load=world)


@pytest.mark.parametrize(("n", "expected"), [(0, ["", ""]), (1, ["0", "1"]), (2, ["0,1", "2,3"])])
def test_each_job_of_this_machine_has_gpus_of_its_own(
    n: int, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def started(*_: Any, env: dict[str, str], **more: Any) -> Any:
        seen.append((env["CUDA_VISIBLE_DEVICES"], more["start_new_session"]))
        return SimpleNamespace(pid=len(seen), poll=lambda: 0)

    monkeypatch.setattr(subprocess, "Popen", started)
    jobs = Local(LaunchOptions(launcher="local", gpus_per_job=n))
    assert jobs.submit([print, print], folder=tmp_path, on_gpu=True, after=()) == ["1", "2"]  # type: ignore[list-item]
    assert seen == [(gpus, True) for gpus in expected]


@pytest.mark.parametrize(
    ("identity", "limit", "known"), [("one", 9, True), ("another model", 9, False), ("one", 8, False)]
)
def test_groups_follow_the_forecast_of_the_same_model_and_as_much_data(
    identity: str, limit: int, known: bool, nobody: Nobody, world: World, plan: Plan
) -> None:
    seconds = {"ks": 1.0, "sid": 60.0}
    plan = replace(plan, upstreams=plan.upstreams[:1], limit=9)
    forecast = Forecast(
        upstream="one", identity=identity, suite="demo", protocol="strict", seeds=(0, 1), limit=limit,
        peak_memory_bytes=band(1.0),
        tasks=tuple(
            TaskForecast(
                task=task, missing_audio_seconds=1.0, features_seconds=band(found), training_seconds=band(found),
                disk_bytes=1, resident_bytes=1,
            )
            for task, found in seconds.items()
        ),
        provenance=collect(),
    )  # fmt: skip
    forecast.write(forecast.path(plan.out_dir))
    in_jobs(plan, LaunchOptions(launcher="slurm", max_jobs=1, detach=True), load=world)
    assert [list(job.groups[0].plan.tasks) for job in nobody.jobs] == (
        [["sid"], ["ks"]] if known else [["ks"], ["sid"]]
    )
    journal = Launched.read(launches(plan.out_dir)[-1] / FILE)
    assert [cell.seconds for cell in journal.cells] == ([1.0, 1.0, 60.0, 60.0] if known else [None] * 4)


def band(seconds: float) -> Band:
    return Band(low=seconds, estimate=seconds, high=seconds)
