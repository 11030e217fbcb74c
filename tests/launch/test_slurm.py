"""What SLURM's commands answer, and what is made of it; the commands are imitated, but in the last test."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from skill_bench.base.errors import SkillBenchError, UsageError
from skill_bench.launch import slurm
from skill_bench.launch.options import LaunchOptions
from skill_bench.launch.slurm import Slurm


class Commands:
    """Scripts in place of SLURM's commands; each prints what it is told and notes how it was called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("sbatch", "srun", "sinfo", "squeue", "scancel"):
            self.answer(name, "")

    def answer(self, name: str, text: str, *, code: int = 0) -> None:
        (self.folder / f"{name}.says").write_text(text)
        called, said = f'echo "$@" >> {self.folder}/{name}.calls', f"cat {self.folder}/{name}.says"
        (self.folder / name).write_text(f"#!/bin/sh\n{called}\n{said} >{'&2' if code else '&1'}\nexit {code}\n")
        (self.folder / name).chmod(0o755)

    def calls(self, name: str) -> list[str]:
        path = self.folder / f"{name}.calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "PAUSE_SECONDS", 0.0)
    return Commands(tmp_path)


def engine(**options: object) -> Slurm:
    return Slurm(LaunchOptions(launcher="slurm", **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("line", ["idle 3", "mixed 1", "down* 2\nallocated 1", "idle~ 4", "reserved 1"])
def test_where_a_node_answers_there_is_hope(line: str, commands: Commands) -> None:
    commands.answer("sinfo", f"{line}\n")
    engine(partition="gpu").require_hope()
    assert commands.calls("sinfo") == ["--noheader --format=%T %D --partition=gpu"]


@pytest.mark.parametrize(
    ("lines", "shown"), [("down* 2", "2 down*"), ("unknown* 1\ndrained 3", "1 unknown*, 3 drained")]
)
def test_where_no_node_answers_it_is_said(lines: str, shown: str, commands: Commands) -> None:
    commands.answer("sinfo", f"{lines}\n")
    with pytest.raises(SkillBenchError) as found:
        engine(partition="gpu").require_hope()
    assert str(found.value) == (
        f"SLURM, partition 'gpu': no node answers (nodes: {shown}). Jobs would wait for ever; ask `sinfo -R` why, name "
        "another --partition, or take --launcher local."
    )


def test_an_unknown_partition_is_a_usage_error(commands: Commands) -> None:
    with pytest.raises(UsageError, match=r"SLURM has no partition 'gpo'\. Partitions are none\."):
        engine(partition="gpo").require_hope()


def test_a_controller_that_does_not_answer_is_asked_again_and_then_named(commands: Commands) -> None:
    commands.answer("squeue", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n", code=1)
    with pytest.raises(SkillBenchError) as found:
        engine().states(["1"])
    assert str(found.value) == (
        "SLURM does not answer: squeue says 'slurm_load_jobs error: Unable to contact slurm controller (connect "
        "failure)'. Jobs that were submitted go on without this command; the same command continues with what they "
        "leave."
    )
    assert len(commands.calls("squeue")) == slurm.ATTEMPTS


def test_states_are_those_of_the_jobs_that_are_asked_about(commands: Commands) -> None:
    commands.answer("squeue", "7_0 RUNNING\n7_1 PENDING\n8_0 RUNNING\n9 COMPLETING\n7_2 REQUEUE_HOLD\n")
    assert engine().states(["7_0", "7_1", "7_2", "7_3", "9"]) == {
        "7_0": "running", "7_1": "pending", "7_2": "pending", "9": "running",
    }  # fmt: skip


def test_an_array_is_cancelled_as_a_whole(commands: Commands) -> None:
    jobs = engine()
    jobs.cancel(["7_0", "7_1", "8"])
    assert commands.calls("scancel") == ["7 8"]
    assert jobs.how_to_cancel(["7_0", "7_1", "8"]) == "scancel 7 8"


def test_what_sbatch_refuses_is_said(commands: Commands, tmp_path: Path) -> None:
    commands.answer("sbatch", "sbatch: error: Invalid account or account/partition combination specified\n", code=1)
    with pytest.raises(SkillBenchError, match="SLURM did not take the jobs: sbatch: error: Invalid account"):
        engine().submit([print, print], folder=tmp_path / "jobs", on_gpu=True, after=())  # type: ignore[list-item]


def test_jobs_run_no_code_of_the_folder_that_they_start_in(commands: Commands, tmp_path: Path) -> None:
    commands.answer("sbatch", "Submitted batch job 7\n")
    engine().submit([print, print], folder=tmp_path / "jobs", on_gpu=True, after=())  # type: ignore[list-item]
    scripts = [path.read_text() for path in (tmp_path / "jobs").glob("*.sh")]
    assert len(scripts) > 0
    assert all(" -P -u -m submitit.core._submit " in script for script in scripts)


def test_without_sbatch_it_is_said_where_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match=r"there is no sbatch here\. Run it where jobs are submitted from"):
        engine()


@pytest.mark.slow
def test_a_real_slurm_without_a_node_that_answers_is_no_place_for_jobs(slurm: None) -> None:
    node = ["scontrol", "update", f"nodename={socket.gethostname().split('.')[0]}"]
    subprocess.run([*node, "state=down", "reason=test"], check=True)
    try:
        with pytest.raises(SkillBenchError, match=r"SLURM: no node answers \(nodes: 1 down\)\. Jobs would"):
            engine().require_hope()
    finally:
        subprocess.run([*node, "state=resume"], check=True)
    with pytest.raises(UsageError, match=r"SLURM has no partition 'gpo'\. Partitions are debug\."):
        engine(partition="gpo").require_hope()
