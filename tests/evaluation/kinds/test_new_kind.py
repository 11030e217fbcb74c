"""A kind of task is one file: nothing else has to be told about it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_speech import FakeUpstream, class_data
from kind_data import run_cell

from skill_bench.base.errors import DataError, SpecError
from skill_bench.evaluation import kinds
from skill_bench.evaluation.cell_result import CellResult
from skill_bench.evaluation.task_files import load_task_file
from skill_bench.tasks import TaskSpec

NEAREST = '''
"""The label of the training utterance whose mean of a layer is nearest."""

from typing import ClassVar, Literal

from skill_bench.base.errors import DataError
from skill_bench.evaluation.solving.cell import Solved
from skill_bench.evaluation.solving.requests import Request
from skill_bench.records.record import Selection
from skill_bench.tasks import Table, TaskSpec


class Neighbours(Table):
    layer: int = 0
    furthest: bool = False


class Spec(TaskSpec):
    metrics: ClassVar = ("accuracy",)
    kind: Literal["nearest"]
    neighbours: Neighbours


def check(task, data):
    if not data.folds[0].train:
        raise DataError("nobody is near")


def requests(task, data):
    return [Request(utterances=data.utterances(), pooled=True)]


def solve(cell, features):
    (means,) = features
    fold, options = cell.data.folds[0], cell.task.neighbours
    sign = -1 if options.furthest else 1
    def distance(a, b):
        return sign * float((means[a.id] - means[b.id])[options.layer].norm())
    rows = []
    for one in fold.test:
        nearest = min(fold.train, key=lambda other: distance(one, other))
        rows.append({"id": one.id, "fold": fold.name, "target": one.target, "prediction": nearest.target})
    weights = tuple(float(layer == options.layer) for layer in range(3))
    selection = Selection(metric=cell.task.metric, learning_rate=None, curve=())
    yield from (Solved(rows=rows, layer_weights=weights, selection=selection) for _ in cell.seeds)
'''

TASK = """
name = "near"
title = "Nearest utterance"
version = 1
kind = "nearest"
metric = "accuracy"

[neighbours]
layer = 1

[suites.local.neighbours]
layer = 2

[protocols.s3prl.neighbours]
furthest = true
"""


@pytest.fixture(autouse=True)
def _nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The kind, in a file of its own, as if it lay in the folder of kinds."""
    folder = tmp_path / "kinds"
    folder.mkdir()
    (folder / "nearest.py").write_text(NEAREST)
    monkeypatch.setattr(kinds, "__path__", [*kinds.__path__, str(folder)])
    importlib.invalidate_caches()
    yield
    sys.modules.pop(f"{kinds.__name__}.nearest", None)
    vars(kinds).pop("nearest", None)


def task_file(folder: Path, *, old: str = "", new: str = "") -> Path:
    assert old in TASK
    path = folder / "near.toml"
    path.write_text(TASK.replace(old, new, 1) if old else TASK)
    return path


def test_its_file_loads_and_its_cells_run(tmp_path: Path) -> None:
    assert "nearest" in kinds.names()
    task = load_task_file(task_file(tmp_path))
    assert (task.kind, set(task.tables())) == ("nearest", {"neighbours", "audio", "protocol"})
    data = class_data(tmp_path / "audio", task="near")

    def run(task: TaskSpec) -> CellResult:
        return run_cell(FakeUpstream(), task, data, seed=0, cache_dir=tmp_path)

    official, local = run(task), run(task.for_suite("local"))
    assert official.metrics["accuracy"].value == 100
    assert (official.layer_weights, local.layer_weights) == ((0, 1, 0), (0, 0, 1))
    furthest = run(task.for_suite("demo", protocol="s3prl"))
    assert furthest.metrics["accuracy"].value == 0
    assert furthest.task.recorded()["neighbours"] == {"layer": 1, "furthest": True}


def test_its_check_is_asked_first(tmp_path: Path) -> None:
    data = class_data(tmp_path / "audio", task="near")
    empty = replace(data, folds=(replace(data.folds[0], train=()),))
    upstream = FakeUpstream()
    with pytest.raises(DataError, match="nobody is near"):
        run_cell(upstream, load_task_file(task_file(tmp_path)), empty, seed=0, cache_dir=tmp_path)
    assert upstream.calls == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"nearest"', '"nearets"', r"near\.toml: unknown kind of task 'nearets'\. Did you mean 'nearest'\? Kinds are "),
        ('kind = "nearest"', "", r"near\.toml: key 'kind': Field required\. Kinds are ctc, diarization, "),
        ("kind =", "knid =", r"near\.toml: unknown key 'knid'\. Did you mean 'kind'\?"),
        ("layer = 1", "laier = 1", r"unknown key 'neighbours\.laier'\. Did you mean 'layer'\? Known here: furthest"),
        ("layer = 2", "laier = 2", r"unknown key 'suites\.local\.neighbours\.laier'\. Did you mean 'layer'\?"),
        ("[suites.local.neighbours]", "[suites.local.head]", r"unknown key 'suites\.local\.head'\. .*here: audio, "),
        ("[neighbours]", "[neighbors]", r"near\.toml: unknown key 'neighbors'\. Did you mean 'neighbours'\?"),
        (
            "[neighbours]",
            "[search]\n[neighbours]",
            r"\[search\] must be given for kind = 'retrieval', and for it",
        ),
        ("[neighbours]", "[protocol]\nsteps = 5\n[neighbours]", r"\[protocol\] must be left out: kind 'nearest' "),
        ('metric = "accuracy"', 'metric = "wer"', r"kind 'nearest' is scored by accuracy, not by 'wer'"),
    ],
)
def test_a_wrong_file_of_it_is_told_what_is_wrong(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_task_file(task_file(tmp_path, old=old, new=new))


def test_a_table_that_several_kinds_have_names_them_all(tmp_path: Path) -> None:
    wrong = task_file(tmp_path, old="[neighbours]", new="[head]\n[neighbours]")
    with pytest.raises(SpecError, match=r"must be given for kind = 'ctc' or 'diarization' or .*'verification'"):
        load_task_file(wrong)
