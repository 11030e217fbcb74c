"""``fidelity``: what it says, what it writes, what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import noise, small_teacher

from skill_bench.models import checkpoint
from skill_bench.records.fidelity import Fidelity
from skill_bench.report.table.collect import collect

MEASURE = "fidelity --teacher t.safetensors --student s.safetensors --data noise --folds 3"


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a teacher, another model of its shape, and speech."""
    monkeypatch.chdir(tmp_path)
    encoder = checkpoint.load(small_teacher(tmp_path / "t.safetensors")).encoder
    torch.manual_seed(1)
    for parameter in encoder.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
    checkpoint.save(encoder, tmp_path / "s.safetensors", metadata={"title": "Mine"})
    noise(tmp_path / "noise", n=8)


def test_it_says_and_writes_what_each_student_keeps(command: Callable[..., Any], tmp_path: Path) -> None:
    ended = command(*MEASURE.split(), "--student", "t.safetensors", "--corpus", "Nothing much", "--out", "r")
    assert ended.code == 0, ended.err
    found = {one.student.title: one for one in collect(tmp_path / "r").fidelity}
    mine, teacher = found["Mine"], found["t.safetensors"]
    assert teacher.readings[0].whitened.value > 0.99 > mine.readings[0].whitened.value
    assert ended.out.splitlines()[0].startswith(
        "Nothing much: 8 utterances, 0.1 min, 8 speakers in 8 groups; teacher t-"
    )
    (own,) = [line for line in ended.out.splitlines() if line.startswith(mine.student.name) and "same" in line][:1]
    assert f"{mine.readings[0].whitened.value:.4f} [" in own
    assert f"{mine.readings[0].plain.value:.4f} [" in own
    assert f"whitened, less that of {mine.student.name} on the same speakers" in ended.out
    assert [line for line in ended.out.splitlines() if len(line) > 80 and not line.startswith("written to")] == []
    by_layer = [line for line in ended.out.splitlines() if line.startswith("whitened, by layer")]
    n_layers = len(teacher.readings[0].layers)
    assert [name for line in by_layer for name in line.split()[3:]] == [f"h{at}" for at in range(n_layers)]
    assert "note: 8 files name no speaker" in ended.out
    assert f"written to {mine.path(Path('r'))}" in ended.out


def test_the_corpus_is_called_as_its_folder_and_the_split_is_kept(command: Callable[..., Any], tmp_path: Path) -> None:
    lines = [f"{at}.wav\t{at}\t{'train' if at == 7 else 'test'}" for at in range(8)]
    (tmp_path / "noise" / "manifest.tsv").write_text("path\tspeaker\tsplit\n" + "\n".join(lines) + "\n")
    for arguments, n in (([], 7), (["--split", "all"], 8)):
        ended = command(*MEASURE.split(), "--out", f"r{n}", *arguments)
        assert ended.code == 0, ended.err
        (found,) = collect(tmp_path / f"r{n}").fidelity
        assert (found.corpus, found.n_utterances, found.n_utterances_without_speaker) == ("noise", n, 0)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (MEASURE.replace("t.safetensors", "techer"), 2, "unknown upstream 'techer'. Did you mean 'teacher'?"),
        (MEASURE.replace("s.safetensors", "gone.pt"), 1, "gone.pt: no such checkpoint. Check the path."),
        (MEASURE.replace("noise", "gone"), 2, "gone: no such file or folder. Expected a folder of audio"),
        (MEASURE.replace("--folds 3", "--folds 9"), 1, "8 speakers for 9 folds"),
        (MEASURE.replace("--folds 3", "--folds 2"), 2, "2 folds of 20 groups of speakers: expected at least 3 folds"),
        (MEASURE.replace("--student s.safetensors", ""), 2, "Missing option '--student'"),
        (f"{MEASURE} --student logmel", 2, "logmel has a frame every 160 samples, the teacher"),
    ],
)
def test_what_cannot_be_measured_is_said(
    arguments: str, code: int, message: str, command: Callable[..., Any], tmp_path: Path
) -> None:
    ended = command(*arguments.split())
    assert ended.code == code
    assert message in ended.err
    assert not list(tmp_path.rglob("*.json")), "nothing was written"


def test_a_damaged_document_is_a_problem_of_the_table(command: Callable[..., Any], tmp_path: Path) -> None:
    assert command(*MEASURE.split(), "--out", "r").code == 0
    (path,) = (tmp_path / "r").rglob("*.json")
    assert Fidelity.read(path).kind == "fidelity"
    path.write_text(path.read_text().replace('"corpus": "noise"', '"corpus": "other"'))
    found = collect(tmp_path / "r")
    assert found.fidelity == ()
    assert "was changed after it was written" in found.problems[0]
