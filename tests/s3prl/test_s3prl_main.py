"""What the command line decides before s3prl takes over.

Child processes find s3prl as their parent made it, and are left alone where they have nothing to do with it.

``python -m skill_bench.s3prl``: a user's run on real speech, from training to resuming, and its errors.

The original s3prl, ESPnet's fork, neither or both: what is asked for, and what is said.
"""

from __future__ import annotations

import importlib.util
import os
import re
import runpy
import subprocess
import sys
import tomllib
import warnings
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import layouts
import pytest
import torch

import skill_bench
import skill_bench.s3prl
from skill_bench.base import provenance
from skill_bench.base.errors import MissingExtra, UnknownName, UsageError
from skill_bench.s3prl import distribution
from skill_bench.s3prl.__main__ import TRAINING_PACKAGES, main
from skill_bench.s3prl.distribution import extra

# What s3prl and the packages that it imports warn about is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("options", [["--hub", "huggingface"], ["--hub=huggingface"], ["--push_to_hf_hub", "True"]])
def test_exchange_with_hugging_face_is_refused_before_training(options: list[str]) -> None:
    with pytest.raises(UsageError, match=r"HfFolder, Repository and a password login.*hf upload"):
        main(["run_downstream", "-m", "train", "-u", "fbank", *options])


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["-h"], ["--help"]):
        main(arguments)
        assert "run_downstream   train and evaluate" in capsys.readouterr().out


@pytest.mark.parametrize("package", ["h5py", "dtw"])
def test_a_missing_package_names_the_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr(runpy, "run_module", fail)
    monkeypatch.setattr(sys, "argv", sys.argv)
    with pytest.raises(MissingExtra, match=rf"needs {package}, which is not installed.*pip install '\.\[{extra()}\]'"):
        main(["run_downstream", "-m", "train"])


def test_s3prl_gets_its_own_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(runpy, "run_module", lambda name, **_: seen.append([name, *sys.argv]))
    monkeypatch.setattr(sys, "argv", sys.argv)
    main(["run_downstream", "-m", "train", "-u", "skill", "-k", "a.safetensors", "--hub", "torch"])
    given = ["-m", "train", "-u", "skill", "-k", "a.safetensors", "--hub", "torch"]
    assert seen == [["s3prl.run_downstream", "s3prl.run_downstream.py", *given]]


def test_the_extra_holds_what_the_tasks_import() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extra = {re.split("[>;<]", requirement)[0] for requirement in project["optional-dependencies"]["s3prl-tasks"]}
    distributions = {"dtw": "dtw-python", "past": "future", "chunk": "standard-chunk"}
    assert {distributions.get(name, name) for name in TRAINING_PACKAGES} <= extra


def test_unknown_command() -> None:
    with pytest.raises(UnknownName, match="Known: main, run_downstream, run_pretrain") as caught:
        main(["train"])
    assert caught.value.exit_code == 2


def child(code: str, *, path: tuple[str, ...] = ()) -> list[str]:
    """What a child prints that runs ``code``; ``path`` is what else its PYTHONPATH holds."""
    inherited = os.environ["PYTHONPATH"].split(os.pathsep)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*inherited, *path, *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("first", ["s3prl.util.audio_info", "torchaudio", "skill_bench.s3prl", "s3prl.hub"])
def test_a_child_finds_what_s3prl_needs(first: str) -> None:
    code = f"import {first}, torchaudio, huggingface_hub; torchaudio.set_audio_backend('sox_io')"
    assert "done" in child(f"{code}; huggingface_hub.HfFolder; print('done')")


def test_a_child_without_s3prl_imports_nothing_of_ours() -> None:
    code = "import sys, json; print([name for name in sys.modules if name.split('.')[0] in ('skill_bench', 'torch')])"
    assert child(code) == ["[]"]


def test_a_sitecustomize_of_the_user_still_runs(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('customised')")
    assert child("print('done')", path=(str(tmp_path),)) == ["customised", "done"]


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-m", "skill_bench.s3prl", *arguments],
        capture_output=True, text=True, check=False, cwd=cwd, env=environment, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
def test_keyword_spotting_trains_evaluates_and_resumes(corpora: Path, tmp_path: Path) -> None:
    config = layouts.speech_commands(corpora, tmp_path / "ks", steps=12, per_word=40)
    expdir = tmp_path / "exp"
    run = ("run_downstream", "--device", "cpu")

    task = ("-u", "fbank", "-d", "speech_commands", "-c", str(config), "-p", str(expdir))
    trained = command(*run, "-m", "train", *task, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr[-2000:]
    log = (expdir / "log.log").read_text()
    assert re.findall(r"^dev at step (\d+): [\d.]+$", log, re.MULTILINE) == ["6", "12"]
    assert (expdir / "dev-best.ckpt").is_file(), "dev accuracy was never above 0"

    evaluated = command(*run, "-m", "evaluate", "-e", str(expdir / "states-12.ckpt"), cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr[-2000:]
    pairs = [_column(expdir / f"test_{kind}.txt") for kind in ("predict", "truth")]
    assert len(pairs[0]) == sum(1 for _ in (tmp_path / "ks" / "test").rglob("*.wav")) > 100
    correct = sum(predicted == true for predicted, true in zip(*pairs, strict=True))
    (accuracy,) = re.findall(r"test acc: ([\d.]+)", evaluated.stdout)
    assert float(accuracy) == pytest.approx(correct / len(pairs[0]), abs=1e-9)

    resumed = command(*run, "-m", "train", "-e", str(expdir), "-o", "config.runner.total_steps=18", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    assert f"Resume from {expdir}/states-12.ckpt" in resumed.stdout
    assert "Loading Optimizer weights" in resumed.stdout
    added = (expdir / "log.log").read_text().removeprefix(log)
    assert set(re.findall(r"train at step (\d+)", added)) == {str(step) for step in range(13, 19)}
    states = torch.load(expdir / "states-18.ckpt", weights_only=True)
    assert states["Step"] == 18
    assert {state["step"].item() for state in states["Optimizer"]["state"].values()} == {18.0}


def test_unknown_command_lists_the_known_ones(tmp_path: Path) -> None:
    finished = command("run_downstraem", "-m", "train", cwd=tmp_path)
    assert finished.returncode == 2
    assert finished.stderr.splitlines()[-1] == (
        "error: unknown module of s3prl 'run_downstraem'. Did you mean 'run_downstream'? "
        "Known: main, run_downstream, run_pretrain."
    )


@pytest.mark.parametrize(
    ("given", "file"), [([], "./downstream/emotion/config.yaml"), (["-c", "mine.yaml"], "mine.yaml")]
)
def test_missing_configuration_says_where_to_get_it(given: list[str], file: str, tmp_path: Path) -> None:
    run = ("run_downstream", "-m", "train", "-u", "fbank", "-d", "emotion", "-p", "exp")
    finished = command(*run, *given, cwd=tmp_path)
    assert finished.returncode == 2
    said = f"error: {file}: no such file. s3prl's wheel holds no configurations: give one with -c"
    assert said in finished.stderr.splitlines()[-1]
    assert "s3prl/downstream/emotion/config.yaml" in finished.stderr.splitlines()[-1]


def _column(path: Path) -> list[str]:
    return [line.split()[1] for line in path.read_text().splitlines()]


@pytest.fixture
def present(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The distributions that are there, by version; empty at first."""
    found: dict[str, str] = {}

    def version(name: str) -> str:
        if name not in found:
            raise PackageNotFoundError(name)
        return found[name]

    monkeypatch.setattr(distribution, "version", version)
    return found


def test_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        distribution.require(purpose="skill_bench.s3prl")
    assert str(caught.value) == (
        "skill_bench.s3prl needs s3prl, which is not installed. Run in a checkout of skill-bench: "
        "pip install '.[s3prl-train]', or pip install '.[espnet-s3prl]'"
    )


def test_both(present: dict[str, str]) -> None:
    present |= {"s3prl": "0.4.18", "espnet-s3prl": "2026.5.14"}
    with pytest.warns(
        UserWarning, match="s3prl 0.4.18 and espnet-s3prl 2026.5.14 are both installed, into one folder"
    ) as said:
        distribution.require(purpose="x")
    assert "pip uninstall s3prl espnet-s3prl, then install the one you want" in str(said[0].message)


@pytest.mark.parametrize("name", [(), ("s3prl",), ("espnet-s3prl",)])
def test_one_is_enough(name: tuple[str, ...], present: dict[str, str]) -> None:
    """Or none, where a checkout is on the path."""
    present |= dict.fromkeys(name, "1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distribution.require(purpose="x")


def test_what_tasks_need_does_not_bring_the_other_s3prl(present: dict[str, str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert distribution.extra() == "s3prl-train"
    present |= {"espnet-s3prl": "2026.5.14"}
    assert distribution.extra() == "espnet-s3prl"
    assert not any(need.startswith("s3prl") for need in extras["espnet-s3prl"] + extras["s3prl-tasks"])


def test_the_core_needs_neither() -> None:
    """Which could not be taken back by whoever has the other one."""
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert not any("s3prl" in need for need in needs)
    code = (
        "import sys; sys.modules['s3prl'] = None\n"
        "from skill_bench.cli.main import app\n"
        "from skill_bench.upstream.load import load_upstream\n"
        "print(load_upstream('skill').name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(Path(skill_bench.__file__).parents[1])},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "skill\n"), done.stderr


def test_records_say_which_it_was() -> None:
    assert {"s3prl", "espnet-s3prl"} <= set(provenance.PACKAGES)
    assert {name for name in provenance.collect().packages if "s3prl" in name} == set(distribution.installed())
