"""``run --launcher``, ``evidence run --launcher``, ``status``: options reach the launch, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skill_bench.base.locks import claim
from skill_bench.base.provenance import now
from skill_bench.evaluation.evaluate import Outcome
from skill_bench.evaluation.plan import Plan
from skill_bench.launch import launch
from skill_bench.launch.journal import FILE, Launched, LaunchedCell, LaunchedJob
from skill_bench.launch.options import Launcher, LaunchOptions
from skill_bench.records.record import version

OPTIONS: list[tuple[str, str, str, object]] = [
    ("--launcher", "slurm", "launcher", "slurm"),
    ("--max-jobs", "7", "max_jobs", 7),
    ("--gpus-per-job", "1", "gpus_per_job", 1),
    ("--cpus-per-job", "3", "cpus_per_job", 3),
    ("--time", "90m", "time", "90m"),
    ("--on-interrupt", "cancel", "on_interrupt", "cancel"),
    ("--detach", "", "detach", True),
    ("--launch-file", "launch.toml", "max_jobs", 5),
]
ONLY_SLURM = [
    ("--memory", "8GB", "memory", "8GB"),
    ("--partition", "gpu", "partition", "gpu"),
    ("--cpu-partition", "cpu", "cpu_partition", "cpu"),
]


@pytest.fixture
def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Plan, LaunchOptions]]:
    found: list[tuple[Plan, LaunchOptions]] = []

    def in_jobs(plan: Plan, options: LaunchOptions, **_: Any) -> Outcome:
        found.append((plan, options))
        return Outcome()

    monkeypatch.chdir(tmp_path)
    (tmp_path / "launch.toml").write_text("max_jobs = 5\n")
    monkeypatch.setattr(launch, "in_jobs", in_jobs)
    return found


def test_each_option_alone_reaches_the_launch(
    command: Callable[..., Any], launched: list[tuple[Plan, LaunchOptions]]
) -> None:
    for launcher, options in (("local", OPTIONS), ("slurm", ONLY_SLURM)):
        plain = ["run", "-u", "fbank", "--tasks", "er", "--launcher", launcher]
        plain += ["--gpus-per-job", "2"] if launcher == "slurm" else []
        assert command(*plain).code == 0
        (_, before) = launched[-1]
        for option, given, name, value in options:
            assert command(*plain, option, *([given] if given else [])).code == 0
            assert launched[-1][1] == before.model_copy(update={name: value}), option
    names = {name for _, _, name, _ in (*OPTIONS, *ONLY_SLURM)}
    elsewhere = {
        "account",
        "qos",
        "constraint",
        "setup",
        "sbatch",
        "devices",
    }  # in files; --devices, which says launcher
    assert set(LaunchOptions.model_fields) - names == elsewhere


def test_detached_it_says_where_to_look_and_shows_no_table(
    command: Callable[..., Any], launched: list[tuple[Plan, LaunchOptions]]
) -> None:
    ended = command("run", "-u", "fbank", "--tasks", "er", "--launcher", "local", "--detach", "--out", "here")
    assert (ended.code, ended.out) == (0, "`skill-bench status --out here` says how far the jobs are.\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run -u fbank --max-jobs 3", "--max-jobs without a launcher"),
        ("run -u fbank --launcher slurn", "Input should be 'local' or 'slurm'"),
        ("run -u fbank --launcher local --partition x", "partition is for --launcher slurm"),
        ("run -u fbank --launch-file gone.toml", "--launch-file gone.toml: no such file or folder. Check the path."),
        ("status --out here", "here: nothing was launched with it. Name the --out of a run with --launcher."),
    ],
)
def test_what_cannot_be_launched_is_a_usage_error(
    arguments: str, message: str, command: Callable[..., Any], launched: list[tuple[Plan, LaunchOptions]]
) -> None:
    ended = command(*arguments.split())
    assert (ended.code, launched) == (2, [])
    assert message in ended.err


def test_status_tells_cells_jobs_hours_and_the_ends_of_logs(
    command: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_record: Callable[..., Any],
) -> None:
    places = {}
    for task in ("ks", "sid", "er", "ic"):
        place = make_record(task=task).save(tmp_path)
        places[task] = place.relative_to(tmp_path).as_posix()
    before = {task: version(tmp_path / place) for task, place in places.items()}
    make_record(task="ks").save(tmp_path)
    for task in ("sid", "er"):
        (tmp_path / places[task]).with_suffix(".claim").touch()
    folder = tmp_path / "launched" / "then"
    folder.mkdir(parents=True)
    (folder / "7_1_0_log.err").write_text("Traceback\n\nMemoryError: no more\n")
    Launched(
        launcher="slurm", host="login", command=("skill-bench",), started_at=now(), max_jobs=2,
        cells=tuple(
            LaunchedCell(name=f"fake, {task}, seed 0", record=place, before=before[task], seconds=3600.0)
            for task, place in places.items()
        ),
        jobs=tuple(LaunchedJob(id=f"7_{n}", groups=(f"0-{n}",), logs=(f"7_{n}_0_log.err",)) for n in range(2)),
    ).write(folder / FILE)  # fmt: skip
    states = {"7_0": "running"}
    monkeypatch.setattr(launch, "ENGINES", {"slurm": lambda options: SimpleNamespace(states=lambda ids: states)})
    with claim((tmp_path / places["sid"]).with_suffix(".claim")):  # of er's, whoever held it was killed
        ended = command("status", "--out", tmp_path)
    assert ended.code == 0
    assert ended.out.splitlines()[1:] == [
        "  cells       4: 1 done, 1 running, 2 waiting",
        "  jobs        2: 7_0 running",
        "  hours left  1.50",
        "  now         fake, sid, seed 0",
        f"  job 7_1 ended early: {folder}/7_1_0_log.err ends:",
        "    Traceback",
        "    MemoryError: no more",
    ]
    states.clear()
    assert "  cells       4: 1 done, 3 lost" in command("status", "--out", tmp_path).out.splitlines()


def test_an_earlier_launch_that_only_another_machine_knows_of_is_named_until_it_is_over(
    command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_record: Callable[..., Any]
) -> None:
    place = make_record(task="ks").save(tmp_path)
    cell = LaunchedCell(
        name="fake, ks, seed 0", record=place.relative_to(tmp_path).as_posix(), before=version(place), seconds=None
    )
    launchers: tuple[Launcher, ...] = ("local", "slurm")
    folders = [tmp_path / "launched" / day for day in ("1", "2")]
    for launcher, folder in zip(launchers, folders, strict=True):
        folder.mkdir(parents=True)
        Launched(
            launcher=launcher, host="elsewhere", command=(), started_at=now(), max_jobs=1, cells=(cell,),
            jobs=(LaunchedJob(id="7", groups=("0-0",), logs=()),),
        ).write(folder / FILE)  # fmt: skip
    monkeypatch.setattr(launch, "ENGINES", {"slurm": lambda options: SimpleNamespace(states=lambda ids: {})})
    said = f"  {folders[0]}: its jobs are processes of elsewhere. Ask there."
    ended = command("status", "--out", tmp_path)
    assert (ended.code, ended.out.splitlines()[-1]) == (0, said)
    make_record(task="ks").save(tmp_path)
    ended = command("status", "--out", tmp_path)
    assert ended.code == 0
    assert "  cells       1: 1 done" in ended.out.splitlines()
    assert said not in ended.out.splitlines()


def test_evidence_says_what_is_wrong_first_and_where_to_look_at_last(
    command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def drive(**options: Any) -> SimpleNamespace:
        given.update(options)
        return SimpleNamespace(run=list)

    monkeypatch.setattr("skill_bench.sweep.drive.Drive", drive)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.pt").touch()
    (tmp_path / "grid.toml").write_text(
        'tasks = ["demo/ks"]\nseeds = [0]\nprobe_seeds = [0]\n[[students]]\nname = "skill"\nrecipe = "skill"\n'
    )
    asked = ["evidence", "run", "grid.toml", "--teacher", "t.pt", "--data", tmp_path, "--launcher", "local"]
    ended = command(*asked, "--gpus-per-job", "1")
    assert (ended.code, given) == (2, {})
    assert "max_jobs 2 with gpus_per_job 1: expected 2 GPUs on this machine, torch can use 0." in ended.err
    ended = command(*asked, "--detach", "--out", "here")
    assert ended.out == "1 student; `skill-bench status --out here` says how far the jobs are.\n"
    assert given["by_first_alone"]
    assert command(*asked).out == "1 student, records in evidence/records\n"
    command(*asked[:-2])
    assert not given["by_first_alone"]
