"""`sb.evaluate`: what reaches the records, what stays as it was, what is said where nothing can be measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import skill_bench as sb
from skill_bench.base.errors import SkillBenchError, UnknownName, UsageError


def frames(wave: Tensor) -> Tensor:
    return wave[0].unfold(0, 400, 320)[:, ::40].abs().log1p()


@pytest.fixture
def options(tmp_path: Path, with_demo: Callable[[Path], Path]) -> dict[str, Any]:
    return {"tasks": ["ks"], "limit": 8, "out": tmp_path / "out", "cache_dir": with_demo(tmp_path / "cache")}


def test_a_function_gets_a_record_and_no_costs(options: dict[str, Any], tmp_path: Path) -> None:
    results = sb.evaluate(frames, name="mine", seeds=2, **options)
    assert repr(results) == "<Results: 2 records of mine>"
    assert results.frame["seed"].tolist() == [0, 1]
    assert results.failures == ()
    assert set(results.predictions) == {"ks"}
    assert len(results.predictions["ks"]) == 2 * 8
    assert results.predictions["ks"].columns[:3].tolist() == ["system", "seed", "id"]
    assert not list(tmp_path.glob("out/**/profile.json"))
    again = sb.load_results(options["out"])
    assert again.frame["value"].tolist() == results.frame["value"].tolist()
    table = results.table
    assert table[table["origin"] == "run"]["parameters_millions"].isna().all()
    assert table[table["origin"] == "run"]["ks_accuracy_percent_n_seeds"].tolist() == [2]


def test_a_module_has_costs_and_is_left_as_it_was(options: dict[str, Any]) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(400, 4)

        def forward(self, wave: Tensor) -> list[Tensor]:
            return [torch.tanh(self.layer(wave.unfold(1, 400, 320)))]

    model = Model().train()
    results = sb.evaluate(model, **options)
    assert results.table.query("origin == 'run'")["parameters_millions"].tolist() == [1604 / 1e6]
    assert model.training
    assert all(one.requires_grad for one in model.parameters())


def test_what_cannot_be_carried_out_is_said(options: dict[str, Any]) -> None:
    with pytest.raises(UnknownName, match=r"unknown upstream 'skil'\. Did you mean 'skill'"):
        sb.evaluate("skil", **options)
    with pytest.raises(UnknownName, match=r"unknown task 'kss'"):
        sb.evaluate("fbank", **{**options, "tasks": ["kss"]})
    with pytest.raises(UsageError, match="--suite local needs --data-root"):
        sb.evaluate("fbank", suite="local", **options)

    def broken(wave: Tensor) -> Tensor:
        if len(wave[0]) not in (16000, 8000, 131200):
            raise ValueError("no")
        return frames(wave)

    with pytest.raises(SkillBenchError, match=r"no cell has a result:\n  broken-.*, ks, seed 0: ValueError: no"):
        sb.evaluate(broken, **options)
