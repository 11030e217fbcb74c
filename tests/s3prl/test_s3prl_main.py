"""What the command line decides before s3prl takes over."""

from __future__ import annotations

import re
import runpy
import sys
import tomllib
from pathlib import Path

import pytest

from skill_bench.base.errors import MissingExtra, UnknownName, UsageError
from skill_bench.s3prl.__main__ import TRAINING_PACKAGES, main
from skill_bench.s3prl.distribution import extra


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
