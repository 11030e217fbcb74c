"""One battery over every task on every suite: its data can be used, a cell runs, the record can be scored again."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import miniatures
import pytest
from fake_speech import FakeUpstream
from kind_data import run_cell

from skill_bench.base import catalog
from skill_bench.base.suites import layouts, suites
from skill_bench.corpora.data import TaskData
from skill_bench.corpora.described.suite_toml import read_suite
from skill_bench.corpora.load import load_task_data
from skill_bench.evaluation.task_files import load_task
from skill_bench.metrics.scales import SCALES
from skill_bench.metrics.scoring import score, with_counts
from skill_bench.tasks import TaskSpec, TrainedSpec

# ``local`` stands for the layout that has every task.
PAIRS = [
    (suite, task)
    for suite in suites()
    if suite != "open-subsets"
    for task in (read_suite(layouts()[suite]).tasks if suite in layouts() else catalog.names("tasks"))
]
# What every row has, see skill_bench.metrics.scoring.
ROW = {"id", "fold", "target", "numerator", "denominator"}
# So many utterances of a part: enough for every class of every task.
LIMIT = 12
# The packaged layout simulates hundreds of recordings; a few have the same form.
FEWER = {
    "train = 160, dev = 24, test = 48": "train = 6, dev = 3, test = 4",
    "terms = 4, dev = 48, test = 72": "terms = 4, dev = 12, test = 12",
}


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory, with_demo: Callable[[Path], Path]) -> Path:
    return with_demo(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def official(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniatures.make_all(corpora, tmp_path_factory.mktemp("official"))


@pytest.fixture(scope="module")
def smaller_layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = (files("skill_bench.corpora") / "layouts" / "open-subsets.toml").read_text(encoding="utf-8")
    for many, few in FEWER.items():
        assert many in text
        text = text.replace(many, few)
    path = tmp_path_factory.mktemp("layout") / "suite.toml"
    path.write_text(text)
    return path


@pytest.fixture
def load(suite: str, cache_dir: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Loads a task's data on the suite: ``local`` from recorded corpora, the official ones from miniatures of them."""
    if suite in ("superb", "mini"):
        miniatures.pass_for_complete(monkeypatch, request.getfixturevalue("official"))
    if suite == "demo":
        return functools.partial(load_task_data, suite, cache_dir=cache_dir)
    given = {"data_root": request.getfixturevalue("official" if suite in ("superb", "mini") else "corpora")}
    if suite == "local":
        given["suite_file"] = request.getfixturevalue("smaller_layout")
    return functools.partial(load_task_data, suite, cache_dir=cache_dir, **given)


def _brief(task: TaskSpec) -> TaskSpec:
    """Two steps with a narrow head: what is tested here is that everything fits together."""
    if not isinstance(task, TrainedSpec):
        return task
    narrow: dict[str, Any] = {"hidden_dims": tuple(8 for _ in task.head.hidden_dims)}
    if task.head.projection_dim:
        narrow["projection_dim"] = 8
    if task.head.embedding_dim:
        narrow["embedding_dim"] = 8
    settings: dict[str, float] = {
        "steps": 2,
        "evaluate_every_steps": 1,
        "batch_size": 4,
        "accumulate": 1,
        "keep_best_after_steps": False,
    }
    if task.protocol.train_min_seconds is not None:
        settings["train_min_seconds"] = 0.4  # miniatures last a second
    return task.model_copy(
        update={
            "protocol": task.protocol.model_copy(update=settings),
            "head": task.head.model_copy(update=narrow),
        }
    )


def _few(data: TaskData) -> TaskData:
    """Its first fold: folds of a task are alike."""
    return TaskData(**{**vars(data), "folds": data.folds[:1]})


@pytest.mark.parametrize(("suite", "name"), PAIRS)
def test_a_cell_runs_and_its_predictions_give_its_metrics(name: str, suite: str, load: Any, cache_dir: Path) -> None:
    data = _few(load(name, limit=LIMIT))
    assert data.synthetic == (suite == "demo")
    assert data.suite == suite
    task = load_task(name)
    for protocol in ("strict", "s3prl"):
        resolved = _brief(task.for_suite(suite, protocol=protocol))
        found = run_cell(FakeUpstream(), resolved, data, seed=0, cache_dir=cache_dir)
        metric = found.metrics[task.metric]
        assert metric.value is not None
        assert metric.unit == SCALES[task.metric].unit
        assert metric.higher_is_better == SCALES[task.metric].higher_is_better
        assert metric.value >= 0
        if metric.higher_is_better or task.metric == "eer":
            assert metric.value <= 100
        assert sum(found.layer_weights) == pytest.approx(1)
        assert len(found.layer_weights) == 3
        assert found.selection.curve
        stored = [json.loads(json.dumps(row, allow_nan=False)) for row in found.predictions]
        assert len({(row["fold"], row["id"]) for row in stored}) == len(stored)
        assert all(row.keys() >= ROW for row in stored)
        assert [with_counts(task.metric, row) for row in stored] == stored
        again, _ = score(
            task.metric, stored, further=task.further_metrics, mean_of_folds=task.aggregate == "mean_of_folds"
        )
        assert again == found.metrics
        assert set(task.further_metrics) <= set(found.metrics)
