"""The page on deploying: its commands write what its callers run, without skill-bench."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from skill_bench.cli.main import app
from skill_bench.models import factories, onnx_file
from skill_bench.models.size import size_of

TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "deploying.md").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", TEXT, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(text) for _, text in found]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's first commands wrote."""
    found = tmp_path_factory.mktemp("deployed")
    commands = [shlex.split(line) for line in blocks("bash")[0].splitlines()]
    assert len(commands) == 2
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(found)
        for command in commands:
            done = CliRunner().invoke(app, command[1:])
            assert done.exit_code == 0, done.output
    return found


def test_a_caller_needs_neither_skill_bench_nor_torch(folder: Path) -> None:
    (caller,) = blocks("python")
    loaded = 'import sys; print(sorted({"torch", "skill_bench", "onnx"} & set(sys.modules)))'
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"{caller}\n{loaded}"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "int8 h12 (1, 49, 144)\n[]\n"


def test_the_numbers_that_it_names_are_in_the_file(folder: Path) -> None:
    script = textwrap.dedent(
        """
        import numpy, onnxruntime
        session = onnxruntime.InferenceSession("student.onnx", providers=["CPUExecutionProvider"])
        said = session.get_modelmeta().custom_metadata_map
        shortest, hop = int(said["shortest_samples"]), int(said["samples_per_frame"])
        for n in (shortest, shortest + hop - 1, shortest + hop, 16000, 54321):
            (state,) = session.run(["h0"], {"waveform": numpy.zeros((1, n), dtype=numpy.float32)})
            assert state.shape == (1, (n - shortest) // hop + 1, int(said["dim"])), (n, state.shape)
        for n in (1, shortest - 1):
            try:
                session.run(["h0"], {"waveform": numpy.zeros((1, n), dtype=numpy.float32)})
            except Exception:
                continue
            raise AssertionError(f"{n} samples were taken")
        print(*sorted(said))
        """
    )
    done = subprocess.run([sys.executable, "-I", "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    section = TEXT.partition("The numbers stand")[2].partition("===")[0]
    named = set(re.findall(r"`(\w+)`", section))
    assert len(named) > 10
    assert named <= set(done.stdout.split())


def test_files_are_as_large_as_it_says(folder: Path) -> None:
    whole, half = ((folder / name).stat().st_size for name in ("student.onnx", "student-int8.onnx"))
    assert f"({half / 1e6:.2f} of {whole / 1e6:.2f} MB)" in TEXT
    assert onnx_file.read(folder / "student.onnx").opset == 20


def test_wavlms_parameters_are_where_it_says() -> None:
    """So that a byte for each of four makes a third of the file."""
    with torch.device("meta"):
        encoder = factories.wavlm_base()
    linear = sum(module.weight.numel() for module in encoder.modules() if isinstance(module, nn.Linear))
    assert "Nine tenths of WavLM Base+'s parameters are in linear layers, so its file shrinks\nto a third" in TEXT
    assert round(10 * linear / size_of(encoder)) == 9
    assert round(100 * (1 - 0.75 * linear / size_of(encoder))) == 32


def test_callers_in_other_languages_name_what_there_is(folder: Path) -> None:
    for language in ("javascript", "cpp"):
        (caller,) = blocks(language)
        assert '"student-int8.onnx"' in caller
        assert re.search(r'"waveform"|\{ waveform \}', caller)
    assert '"h12"' in blocks("cpp")[0]
    assert len(onnx_file.read(folder / "student-int8.onnx").architecture.layers) == 12


@pytest.mark.skipif("SKILL_BENCH_ONNXRUNTIME" not in os.environ, reason="needs headers, g++ and npm: tox -e callers")
@pytest.mark.parametrize(
    ("language", "file", "printed"),
    [
        ("javascript", "caller.mjs", "h12 [ 1, 49, 144 ]"),
        ("cpp", "caller.cpp", "49 frames of 144, the first begins with 1.35"),
    ],
)
def test_callers_in_other_languages_run(language: str, file: str, printed: str, folder: Path) -> None:
    """By the page's own commands, which say what is printed."""
    (folder / file).write_text(*blocks(language))
    if language == "cpp":
        (folder / "onnxruntime").symlink_to(Path(os.environ["SKILL_BENCH_ONNXRUNTIME"]).resolve(strict=True))
    (commands,) = (text for text in blocks("sh") if f"# {printed}\n" in text)
    done = subprocess.run(["bash", "-ec", commands], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == printed


def test_the_tables_are_what_was_recorded_and_measured() -> None:
    done = subprocess.run(
        [sys.executable, Path(__file__).parents[2] / "docs" / "deployed.py", "--check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_commands_exist() -> None:
    for block in blocks("bash"):
        for line in block.splitlines():
            command = shlex.split(line)
            said = CliRunner().invoke(app, [command[1], "--help"]).output
            assert all(option in said for option in command if option.startswith("--")), line
