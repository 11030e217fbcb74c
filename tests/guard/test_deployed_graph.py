"""A graph from the command line's --ckpt to a row of the table, and under the guard: on tones, like any upstream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fake_speech import class_data
from small_encoders import small_checkpoint, small_graph

from skill_bench.base.errors import CheckpointError
from skill_bench.evaluation import evaluate as evaluate_module
from skill_bench.evaluation.evaluate import evaluate
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.evaluation.task_files import load_task
from skill_bench.guard.baseline import Settings
from skill_bench.guard.rerun import RerunOptions, compare, update
from skill_bench.models import checkpoint
from skill_bench.models.size import size_of
from skill_bench.records.profile import find_profile
from skill_bench.report.render.frame import to_frame
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import collect


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tones instead of speech, a short training, and a checkpoint with its graphs."""
    found = tmp_path_factory.mktemp("deployed")
    small_checkpoint(found / "small.safetensors")
    for precision in ("float32", "int8"):
        small_graph(found / f"{precision}.onnx", precision, from_file=found / "small.safetensors")
    data = class_data(found / "audio", n_each=6)

    def quick(name: str) -> Any:
        task = load_task(name)
        settings = {"steps": 10, "evaluate_every_steps": 10, "learning_rates": (0.1,)}
        return task.model_copy(update={"suites": {}, "protocol": task.protocol.model_copy(update=settings)})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate_module, "load_task_data", lambda suite, task, **_: replace(data, task=task))
        patch.setattr(evaluate_module, "load_task", quick)
        yield found


def test_a_graph_gets_a_row_with_what_it_costs(files: Path, tmp_path: Path) -> None:
    for name in ("small.safetensors", "float32.onnx", "int8.onnx"):
        outcome = evaluate(
            Plan(
                upstreams=[UpstreamRequest(name="skill", ckpt=files / name)],
                suite="demo",
                tasks=("ks",),
                seeds=(0,),
                out_dir=tmp_path,
                cache_dir=files / "cache",
                profile="timed",
            )
        )
        assert outcome.failures == []
    found = collect(tmp_path)
    assert len({record.system.identity for record in found.records}) == 3
    original = checkpoint.load(files / "small.safetensors")
    assert {record.system.checkpoint_sha256 for record in found.records} == {original.sha256}
    frame = to_frame(build([found])).set_index("title")
    assert sorted(frame.index) == ["Small", "Small (ONNX float32)", "Small (ONNX int8)"]
    by_title = {"Small": "small.safetensors", "Small (ONNX float32)": "float32.onnx", "Small (ONNX int8)": "int8.onnx"}
    for title, file in by_title.items():
        row: Any = frame.loc[title]
        assert row["file_megabytes"] == (files / file).stat().st_size / 1e6
        assert row["one_thread_real_time_factor"] > 0
        assert row["cold_start_seconds"] > 0
        assert pd.notna(row["peak_memory_mebibytes"]) == (title == "Small"), "of a runtime torch cannot say"
    assert frame["parameters_millions"].nunique() == frame["macs_giga"].nunique() == 1
    systems = {record.system.title: record.system for record in found.records}
    profile = find_profile(tmp_path, "demo", systems["Small (ONNX int8)"])
    assert profile is not None
    assert profile.parameters is not None
    assert profile.parameters.n_bytes == (files / "int8.onnx").stat().st_size
    assert set(profile.reasons) == {"memory"}


def test_the_guard_takes_a_graph(files: Path, tmp_path: Path) -> None:
    place = RerunOptions(cache_dir=files / "cache", ckpt=files / "float32.onnx", timed=False)
    settings = Settings(upstream="skill", suite="demo", protocol="strict", tasks=("ks",), seeds=(0,), limit=None)
    made = update(tmp_path / "baseline", settings, reason="first", place=place)
    report = compare(tmp_path / "baseline", place=replace(place, ckpt=files / "int8.onnx"))
    assert made.costs.parameters == size_of(checkpoint.load(files / "small.safetensors").encoder)
    assert {finding.name: finding.status for finding in report.findings} == dict.fromkeys(
        ("ks", "parameters", "MACs"), "passed"
    )
    (files / "damaged.onnx").write_bytes((files / "int8.onnx").read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"damaged\.onnx: cannot be read as ONNX"):
        compare(tmp_path / "baseline", place=replace(place, ckpt=files / "damaged.onnx"))
