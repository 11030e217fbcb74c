"""A whole small grid: distilled, evaluated, recorded, continued."""

from __future__ import annotations

import functools
import os
import pickle
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_speech import class_data
from small_models import noise, small_teacher
from typer.testing import CliRunner

from skill_bench.base.errors import CheckpointError, SkillBenchError
from skill_bench.base.locks import Lock
from skill_bench.base.progress import Progress, Silent
from skill_bench.cli.main import app
from skill_bench.corpora.data import TaskData
from skill_bench.distillation.distill import Student, distill
from skill_bench.evaluation import costs
from skill_bench.evaluation import evaluate as evaluation
from skill_bench.evaluation.cell_record import FailedCell
from skill_bench.evaluation.evaluate import Load, Outcome
from skill_bench.evaluation.plan import Plan
from skill_bench.evaluation.task_files import load_task
from skill_bench.fidelity.measure import measure as measure_fidelity
from skill_bench.measure.profile import profile
from skill_bench.models import checkpoint
from skill_bench.records.fidelity import Fidelity
from skill_bench.records.profile import Profile
from skill_bench.records.record import Record, System
from skill_bench.records.similarity import LayerSimilarity
from skill_bench.records.store import pack, unpack
from skill_bench.report.table.collect import collect
from skill_bench.sweep import drive as module
from skill_bench.sweep.drive import Drive
from skill_bench.sweep.failed import read_failed
from skill_bench.sweep.grid import choose, read_grid
from skill_bench.sweep.recorded import same_students
from skill_bench.tasks import TaskSpec

GRID = """
tasks = ["demo/ks"]
seeds = [0, 1]
probe_seeds = [0, 1]
upstreams = ["fbank"]

[changes]
joint = { n_updates = 3, warmup_updates = 1 }
final = { n_updates = 2, warmup_updates = 1 }
data = { seconds_per_batch = 1.0, min_seconds = 0.1 }
sparsity = { target = 0.5, ramp_updates = 1, gate_learning_rate = 0.1, tolerance = false }

[[students]]
name = "skill"
title = "SKILL"
recipe = "skill"
changes = { groups = { n_groups = 3, n_calibration_utterances = 2 } }

[[students]]
name = "uniform"
recipe = "uniform_groups"
seeds = [0]
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    lines = [f"{u.path.name}\ttrain\t{u.seconds}\n" for u in noise(tmp_path / "noise")]
    (tmp_path / "noise" / "manifest.tsv").write_text("".join(["path\tsplit\tseconds\n", *lines]))
    teacher = small_teacher(tmp_path / "teacher.safetensors")
    (tmp_path / "grid.toml").write_text(GRID)
    data = class_data(tmp_path / "tones")

    def load_data(suite: str, task: str, **_: object) -> TaskData:
        return replace(data, suite=suite, task=task)

    def quick(name: str) -> TaskSpec:
        task = load_task(name)
        settings = {"steps": 4, "evaluate_every_steps": 2, "learning_rates": (0.01,)}
        return task.model_copy(update={"suites": {}, "protocol": task.protocol.model_copy(update=settings)})

    monkeypatch.setattr(costs, "profile", functools.partial(profile, lengths_samples=(4_000,) * 32))
    monkeypatch.setattr(evaluation, "load_task_data", load_data)
    monkeypatch.setattr(evaluation, "load_task", quick)

    def call(only: tuple[str, ...] = (), told: Callable[[str], None] = lambda name: None, **more: Any) -> list[str]:
        grid, jobs = read_grid(tmp_path / "grid.toml")

        def distilled(*given: Any, title: str, **named: Any) -> Student:
            told(title.removeprefix("distill "))
            return distill(*given, title=title, **named)

        monkeypatch.setattr(module, "distill", distilled)
        return Drive(
            grid=grid,
            jobs=choose(jobs, only),
            teacher=teacher,
            data=[tmp_path / "noise"],
            data_root=tmp_path,
            out=tmp_path / "out",
            cache_dir=tmp_path / "cache",
            device="cpu",
            progress=Silent(),
            **more,
        ).run()

    return call


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "out" / "records" / "demo").iterdir())


def test_grid_leaves_students_records_profiles_and_similarity(run: Callable[..., list[str]], tmp_path: Path) -> None:
    assert run() == []
    assert names(tmp_path) == ["fbank", "skill-s0", "skill-s1", "teacher", "uniform-s0"]
    for name in names(tmp_path):
        files = {path.name for path in (tmp_path / "out" / "records" / "demo" / name).glob("*.json")}
        assert files == {"ks-s0.json", "ks-s1.json", "profile.json"}
    record = Record.read(tmp_path / "out" / "records" / "demo" / "skill-s1" / "ks-s0.json")
    assert (record.key.upstream, record.key.seed, record.system.kind) == ("skill-s1", 0, "student")
    assert (record.system.title, record.system.teacher) == ("SKILL, seed 1", "teacher")
    assert (record.system.details["evidence_row"], record.system.details["distillation_seed"]) == ("skill", 1)
    student = checkpoint.load(tmp_path / "out" / "students" / "skill-s1.safetensors")
    assert record.system.checkpoint_sha256 == student.sha256
    assert '"seed":1' in student.metadata["recipe"]
    other = checkpoint.load(tmp_path / "out" / "students" / "skill-s0.safetensors")
    assert other.sha256 != student.sha256
    found = LayerSimilarity.read(tmp_path / "out" / "records" / "similarity.json")
    assert found.checkpoint_sha256 == student.metadata["teacher_sha256"]


def test_times_are_measured_once_a_model_when_nothing_else_is_left(
    run: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = GRID.replace('tasks = ["demo/ks"]', 'tasks = ["demo/ks", "local/sid"]')
    (tmp_path / "grid.toml").write_text(text.replace("seeds = [0, 1]", "seeds = [0]"))
    only = ("uniform",)
    assert run(only=only) == []
    measured: list[tuple[str, bool]] = []

    def profiled(*given: Any, system: System, timed: bool, **named: Any) -> Profile:
        measured.append((system.name, timed))
        return profile(*given, system=system, timed=timed, lengths_samples=(4_000,) * 32, **named)

    monkeypatch.setattr(costs, "profile", profiled)
    for _ in range(2):
        assert run(only=only, timed=True) == []
    assert measured == [(name, True) for name in ("teacher", "fbank", "uniform-s0")]
    found = [Profile.read(path) for path in (tmp_path / "out" / "records").glob("*/uniform-s0/profile.json")]
    assert len(found) == 2
    assert found[0] == found[1]
    assert found[0].real_time_factor is not None
    assert found[0].disk_bytes == (tmp_path / "out" / "students" / "uniform-s0.safetensors").stat().st_size


def test_a_row_has_the_tasks_it_asks_for(run: Callable[..., list[str]], tmp_path: Path) -> None:
    text = GRID.replace('tasks = ["demo/ks"]', 'tasks = ["demo/ks", "demo/sid"]').replace(
        "seeds = [0, 1]", "seeds = [0]"
    )
    (tmp_path / "grid.toml").write_text(text + 'tasks = ["demo/ks"]\n')
    assert run() == []
    found = {
        name: {path.stem for path in (tmp_path / "out" / "records" / "demo" / name).glob("*-s*.json")}
        for name in names(tmp_path)
    }
    both = {"ks-s0", "sid-s0"}
    assert found == {"fbank": both, "teacher": both, "skill-s0": both, "uniform-s0": {"ks-s0"}}


def test_what_is_finished_is_not_done_again(
    run: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distilled: list[str] = []
    assert run(only=("uniform",), told=distilled.append) == []
    assert distilled == ["uniform-s0"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    monkeypatch.setattr(module, "measure", None)  # a second measurement would fail
    assert run(only=("uniform",), told=distilled.append) == []
    assert distilled == ["uniform-s0"]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_student_with_all_records_is_not_distilled_again_when_its_weights_are_gone(
    run: Callable[..., list[str]], tmp_path: Path
) -> None:
    distilled: list[str] = []
    assert run(only=("uniform",)) == []
    weights = tmp_path / "out" / "students" / "uniform-s0.safetensors"
    shutil.rmtree(weights.with_suffix(".work"))
    weights.unlink()
    assert run(only=("uniform",), told=distilled.append) == []
    assert distilled == []
    assert not weights.exists()
    (tmp_path / "grid.toml").write_text(GRID.replace("target = 0.5", "target = 0.6"))
    assert run(only=("uniform",), told=distilled.append) == []
    assert distilled == ["uniform-s0"], "records of another recipe are not this student's"
    (tmp_path / "out" / "records" / "demo" / "uniform-s0" / "ks-s1.json").unlink()
    weights.unlink()
    shutil.rmtree(weights.with_suffix(".work"))
    assert run(only=("uniform",), told=distilled.append) == []
    assert distilled == ["uniform-s0"] * 2, "one record is missing"


def test_what_was_packed_is_finished_and_what_is_missing_is_made_beside_it(
    run: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distilled: list[str] = []
    assert run(only=("uniform",)) == []
    records = tmp_path / "out" / "records"
    pack(records, records / "demo.zip")
    shutil.rmtree(records / "demo")
    (records / "similarity.json").unlink()
    shutil.rmtree(tmp_path / "out" / "students")
    monkeypatch.setattr(module, "measure", None)  # a second measurement would fail
    assert run(only=("uniform",), told=distilled.append) == []
    assert distilled == []
    assert [path.name for path in records.iterdir()] == ["demo.zip"]
    unpack(records / "demo.zip", records)
    (records / "demo" / "teacher" / "ks-s1.json").unlink()
    pack(records, records / "demo.zip", force=True)
    assert len(collect(records).records) == 6, "what is in the archive stays in it"
    (records / "demo.zip").unlink()
    pack(records, records / "demo.zip")
    shutil.rmtree(records / "demo")
    (records / "similarity.json").unlink()
    assert run(only=("uniform",), told=distilled.append) == []
    assert distilled == []
    assert {path.relative_to(records).as_posix() for path in records.rglob("*.json")} == {"demo/teacher/ks-s1.json"}
    assert len(collect(records).records) == 6


def test_a_student_of_another_recipe_is_not_taken_for_this_one(run: Callable[..., list[str]], tmp_path: Path) -> None:
    assert run(only=("uniform",)) == []
    (tmp_path / "grid.toml").write_text(GRID.replace("target = 0.5", "target = 0.6"))
    failures = run(only=("uniform",))
    assert len(failures) == 1
    assert "uniform-s0 was not distilled" in failures[0]
    assert "not the recipe that the grid asks for. Give another --out" in failures[0]


def test_other_speech_is_not_taken_for_this_one(run: Callable[..., list[str]], tmp_path: Path) -> None:
    assert run(only=("uniform",)) == []
    manifest = tmp_path / "noise" / "manifest.tsv"
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(CheckpointError, match=r"similarity\.json: was measured on other speech than --data names"):
        run(only=("uniform",))
    (tmp_path / "out" / "records" / "similarity.json").unlink()
    failures = run(only=("uniform",))
    assert any("not the data that the grid asks for. Give another --out" in failure for failure in failures)


def test_speech_that_was_changed_under_its_name_is_not_taken_for_this_one(
    run: Callable[..., list[str]], tmp_path: Path
) -> None:
    left = tmp_path / "out" / "students" / ".x.safetensors.abcdefgh.tmp"
    left.parent.mkdir(parents=True)
    left.touch()
    os.utime(left, (0, 0))
    assert run(only=("uniform",)) == []
    assert not left.exists(), "what a killed run left is removed"
    path = next((tmp_path / "noise").glob("*.wav"))
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
    failures = run(only=("uniform",))
    assert any("not the data that the grid asks for. Give another --out" in failure for failure in failures)


def test_a_row_with_groups_that_cannot_be_does_not_stop_the_others(
    run: Callable[..., list[str]], tmp_path: Path
) -> None:
    impossible = "n_groups = 9, n_calibration_utterances = 8"
    row = "\n[[students]]\nname = 'nine'\nrecipe = 'skill'\nseeds = [0]\n"
    rows = row + f"changes = {{ groups = {{ {impossible} }} }}\n"
    (tmp_path / "grid.toml").write_text(GRID + rows)
    failures = run(only=("nine", "uniform"))
    assert "uniform-s0" in names(tmp_path)
    assert len(failures) == 1
    assert "nine-s0 was not distilled: 9 groups of 5 layers: expected 1 to 5" in failures[0]
    records = tmp_path / "out" / "records"
    (failed,), problems = read_failed(records)
    assert (failed.row, failed.seed, failed.step, problems) == ("nine", 0, "distillation", [])
    pack(records, tmp_path / "packed.zip")
    for place in (records, tmp_path / "packed.zip"):
        arguments = ["--results", str(place), "--grid", str(tmp_path / "grid.toml"), "--out", str(tmp_path / "page.md")]
        assert CliRunner().invoke(app, ["evidence", "write", *arguments], catch_exceptions=False).exit_code == 0
        gaps = (tmp_path / "page.md").read_text().partition("## Missing")[2]
        assert "- nine, distillation seed 0: was not distilled: 9 groups of 5 layers: expected 1 to 5" in gaps
        assert "- skill, distillation seed 0, 1: no records" in gaps
    (tmp_path / "grid.toml").write_text(GRID + rows.replace("n_groups = 9", "n_groups = 2"))
    assert run(only=("nine",)) == []
    assert read_failed(records) == ([], []), "it could be made"


def test_given_checkpoints_are_evaluated_and_missing_ones_reported(
    run: Callable[..., list[str]], tmp_path: Path
) -> None:
    small_teacher(tmp_path / "given-0.safetensors")
    (tmp_path / "grid.toml").write_text(
        GRID + '\n[[students]]\nname = "given"\ncheckpoint = "given-{seed}.safetensors"\n'
    )
    failures = run(only=("given",))
    assert "given-s0" in names(tmp_path)
    assert len(failures) == 1
    assert "given-1.safetensors: no such checkpoint" in failures[0]


def test_a_student_that_would_be_the_same_is_not_distilled(
    run: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two blocks of alike layers are found by any linkage; three groups are another student, and so are weights."""
    rows = [("skill", "linkage = 'average'"), ("single", "linkage = 'single'"), ("three", "n_groups = 3")]
    rows += [("weighted", "weights = 'inverse_distance'")]
    text = GRID[: GRID.index("[[students]]")].replace("seeds = [0, 1]", "seeds = [0]")
    for name, change in rows:
        groups = f"n_groups = 2, n_calibration_utterances = 64, {change}" if "n_groups" not in change else change
        text += f"[[students]]\nname = '{name}'\nrecipe = 'skill'\nchanges = {{ groups = {{ {groups} }} }}\n"
    run()
    (tmp_path / "grid.toml").write_text(text)
    _, jobs = read_grid(tmp_path / "grid.toml")
    found = LayerSimilarity.read(tmp_path / "out" / "records" / "similarity.json")
    assert found.n_utterances != 64
    assert not same_students(jobs, found)  # calibrated on other speech
    n = len(found.measures[0].matrix)
    alike = [[1.0 if a == b else 0.9 if (a < 2) == (b < 2) else 0.1 for a in range(n)] for b in range(n)]
    alike[2][3] = alike[3][2] = 0.95  # weights of the second block are not equal
    measures = [one.model_copy(update={"matrix": alike}) for one in found.measures]
    found = found.model_copy(update={"n_utterances": 64, "measures": measures})
    assert {name: other.name for name, other in same_students(jobs, found).items()} == {"single-s0": "skill-s0"}
    told: list[str] = []
    monkeypatch.setattr(module, "same_students", lambda jobs, _: same_students(jobs, found))
    monkeypatch.setattr(Drive, "_student", lambda _, job: told.append(job.name))
    run()
    assert told == ["skill-s0", "three-s0", "weighted-s0"]


FIDELITY = """
[[fidelity]]
corpus = "tones"
data = ["tones"]
split = "all"
"""


def test_students_are_held_against_their_teacher_once(
    run: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, _, rows = GRID.partition("[[students]]")
    (tmp_path / "grid.toml").write_text(f"{head}{FIDELITY}[[students]]{rows}")
    measured: list[str] = []

    def counted(teacher: Any, students: Any, *given: Any, **named: Any) -> Any:
        measured.extend(student.name for student in students)
        return measure_fidelity(teacher, students, *given, **named)

    monkeypatch.setattr(module, "measure_fidelity", counted)
    assert run(only=("uniform",)) == []
    (path,) = (tmp_path / "out" / "records" / "fidelity").glob("*/*.json")
    found = Fidelity.read(path)
    assert (found.student.name, found.corpus, found.n_utterances) == ("uniform-s0", "tones", 18)
    assert len(found.readings[0].layers) == 5
    said = found.student.details
    assert (said["evidence_row"], said["distillation_seed"]) == ("uniform", 0)
    assert set(said) == {"evidence_row", "distillation_seed", "recipe", "layer_groups", "sparsity", "learnt_sparsity"}
    assert run(only=("uniform",)) == []
    assert measured == ["uniform-s0"]
    weights = tmp_path / "out" / "students" / "uniform-s0.safetensors"
    shutil.rmtree(weights.with_suffix(".work"))
    weights.unlink()
    distilled: list[str] = []
    assert run(only=("uniform",), told=distilled.append) == []
    assert distilled == [], "everything of it is recorded"
    path.unlink()
    assert run(only=("uniform",), told=distilled.append) == []
    assert distilled == ["uniform-s0"], "its fidelity was missing"
    assert measured == ["uniform-s0"] * 2
    shutil.rmtree(weights.with_suffix(".work"))
    weights.unlink()
    found = Fidelity.read(path)
    older = found.student.model_copy(update={"checkpoint_sha256": "0" * 64, "identity": "older"})
    found.model_copy(update={"student": older}).write(path)
    assert run(only=("uniform",), told=distilled.append) == []
    assert distilled == ["uniform-s0"] * 2, "an older student's fidelity is not this one's"
    assert Fidelity.read(path).student.checkpoint_sha256 == checkpoint.load(weights).sha256


def test_fidelity_that_fails_costs_itself_alone(
    run: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, _, rows = GRID.partition("[[students]]")
    (tmp_path / "grid.toml").write_text(f"{head}{FIDELITY}[[students]]{rows}")

    def failing(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "measure_fidelity", failing)
    failures = run(only=("uniform",))
    assert "uniform-s0" in names(tmp_path)
    assert len(failures) == 1
    assert "uniform-s0: fidelity: " in failures[0]
    (failed,), _ = read_failed(tmp_path / "out" / "records")
    assert (failed.row, failed.step) == ("uniform", "fidelity")
    assert "No space left on device" in failed.reason
    monkeypatch.setattr(module, "measure_fidelity", measure_fidelity)
    assert run(only=("uniform",)) == []
    assert read_failed(tmp_path / "out" / "records") == ([], [])


def test_speech_of_fidelity_that_is_not_there_is_missed_before_any_work(
    run: Callable[..., list[str]], tmp_path: Path
) -> None:
    head, _, rows = GRID.partition("[[students]]")
    text = FIDELITY.replace('data = ["tones"]', 'data = ["nothing"]')
    (tmp_path / "grid.toml").write_text(f"{head}{text}[[students]]{rows}")
    with pytest.raises(SkillBenchError, match="nothing"):
        run(only=("uniform",))
    assert not (tmp_path / "out").exists()


def test_a_student_that_another_process_is_at_comes_last(run: Callable[..., list[str]], tmp_path: Path) -> None:
    held = Lock(tmp_path / "out" / "students" / "skill-s0.claim")
    assert held.take()
    begun: list[str] = []

    def told(name: str) -> None:
        begun.append(name)
        if name == "uniform-s0":
            held.release(remove=True)  # the other process has died

    assert run(told=told) == []
    assert begun == ["uniform-s0", "skill-s0", "skill-s1"]
    assert not list((tmp_path / "out").rglob("*.claim"))


def test_of_processes_that_distil_together_the_first_alone_starts_jobs(tmp_path: Path) -> None:
    together, said, log = threading.Barrier(2), dict[int, object](), list[str]()
    after_it: list[bool] = []

    def evaluated(plan: Plan, *, progress: Progress, load: Load) -> Outcome:
        time.sleep(0.2)  # time enough for the other one to be in a collective call
        log.append("evaluated")
        return Outcome(failures=[FailedCell(upstream="skill", task="ks", seed=0, error="no")])

    def process(rank: int) -> list[str]:
        def gather(value: object) -> list[object]:
            said[rank] = value
            if rank:
                after_it.append("evaluated" in log)
            together.wait()
            found = [said[0], said[1]]
            together.wait()
            return found

        drive = Drive(
            grid=read_grid(tmp_path / "grid.toml")[0], jobs=[], teacher=tmp_path, data=[], data_root=None,
            out=tmp_path / "out", cache_dir=tmp_path, device="cpu", progress=Silent(), evaluate=evaluated,
            by_first_alone=True,
        )  # fmt: skip
        drive.__dict__["_processes"] = SimpleNamespace(is_first=rank == 0, gather=gather)
        drive._evaluate(["skill"], ("demo/ks",), {})
        log.append(f"process {rank}")
        return drive.failures

    (tmp_path / "grid.toml").write_text(GRID)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(process, range(2)))
    assert found == [["skill, ks, seed 0: no"]] * 2
    assert (log[0], sorted(log[1:])) == ("evaluated", ["process 0", "process 1"])
    assert after_it == [False, True], "what takes hours is not waited for in a collective call"
    assert not list((tmp_path / "out").glob("*.claim"))


def test_jobs_can_load_what_the_grid_is_about(run: Callable[..., list[str]], tmp_path: Path) -> None:
    seen: dict[str, System] = {}

    def in_another_process(plan: Plan, *, progress: Progress, load: Load) -> Outcome:
        loaded = pickle.loads(pickle.dumps(load))
        seen.update({request.name: loaded(request).system() for request in plan.upstreams})
        return Outcome()

    assert run(only=("uniform",), evaluate=in_another_process) == []
    assert sorted(seen) == ["fbank", "teacher", "uniform-s0"]
    assert (seen["teacher"].kind, seen["uniform-s0"].kind, seen["uniform-s0"].teacher) == (
        "teacher", "student", "teacher",
    )  # fmt: skip
    assert seen["uniform-s0"].details["evidence_row"] == "uniform"
