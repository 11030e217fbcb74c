"""One battery for every file in tasks/, and what a wrong file is told.

One battery over every task on every suite: its data can be used, a cell runs, the record can be scored again.
"""

from __future__ import annotations

import functools
import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import miniatures
import pytest
from fake_speech import FakeUpstream
from kind_data import load_trained, run_cell

from skill_bench.base import catalog
from skill_bench.base.catalog import layouts, suites
from skill_bench.base.errors import SpecError, UnknownName
from skill_bench.corpora.data import TaskData
from skill_bench.corpora.described.suite_toml import read_suite
from skill_bench.corpora.load import load_task_data
from skill_bench.evaluation import kinds
from skill_bench.evaluation.task_files import load_task, load_task_file
from skill_bench.metrics.scales import SCALES
from skill_bench.metrics.scoring import SCORERS, score, with_counts
from skill_bench.tasks import TaskSpec, TrainedSpec

TASKS = catalog.names("tasks")
SUPERB = {"pr", "asr", "ks", "qbe", "sid", "asv", "sd", "ic", "sf", "er"}
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


@pytest.fixture(params=TASKS)
def task(request: pytest.FixtureRequest) -> TaskSpec:
    return load_task(request.param)


def test_every_task_of_superb_is_there() -> None:
    assert set(TASKS) >= SUPERB


def test_suites_resolve_and_stay_resolved(task: TaskSpec) -> None:
    assert {"demo", "local"} <= set(task.suites)
    for suite, protocol in itertools.product((*task.suites, "superb"), ("strict", "s3prl")):
        resolved = task.for_suite(suite, protocol=protocol)
        assert (resolved.suites, resolved.protocols) == ({}, {})
        assert resolved.protocol.name == protocol
        assert resolved.for_suite(suite, protocol=protocol) == resolved
        assert type(task).model_validate_json(resolved.model_dump_json()) == resolved
        assert resolved.version == task.version


def test_the_mini_suite_is_trained_as_a_local_one(task: TaskSpec) -> None:
    mini, local = task.for_suite("mini"), task.for_suite("local")
    assert mini == local


def test_official_settings_are_s3prls(task: TaskSpec) -> None:
    official = task.for_suite("superb")
    assert official.reference is not None
    assert official.protocol.steps == official.reference.steps
    if task.kind == "retrieval":
        assert official.protocol.learning_rates == ()
        return
    assert official.protocol.batch_size == official.reference.batch_size
    assert official.reference.learning_rate in official.protocol.learning_rates
    assert not official.protocol.patience_evaluations
    assert not official.protocol.keep_best_after_steps


def test_protocol_s3prl_takes_its_learning_rate_and_really_differs(task: TaskSpec) -> None:
    assert task.reference is not None
    for suite in ("demo", "local", "superb"):
        strict, s3prl = task.for_suite(suite), task.for_suite(suite, protocol="s3prl")
        if task.kind == "retrieval":
            assert strict.model_dump()["search"] != s3prl.model_dump()["search"]
            continue
        protocol = s3prl.protocol
        assert protocol.learning_rates == (task.reference.learning_rate,)
        assert protocol.batch_size * protocol.accumulate == task.reference.batch_size
        assert not protocol.patience_evaluations
        assert not protocol.keep_best_after_steps
        assert protocol.checkpoint_by == "metric_then_step"
        assert protocol.steps == strict.protocol.steps


def test_what_s3prl_does_not_do_is_off_under_its_protocol_whatever_a_suite_asks(task: TaskSpec) -> None:
    if not isinstance(task, TrainedSpec):
        return
    ours = {"extend_grid": 2, "average_last": 3, "patience_evaluations": 5, "keep_best_after_steps": 7}
    for suite in ("demo", "local", "mini"):
        asked = task.model_copy(update={"suites": {suite: {"protocol": {**task.suites["local"]["protocol"], **ours}}}})
        strict, s3prl = (asked.for_suite(suite, protocol=name).protocol for name in ("strict", "s3prl"))
        assert {key: getattr(strict, key) for key in ours} == ours
        assert {key: getattr(s3prl, key) for key in ours} == {
            "extend_grid": 0, "average_last": 1, "patience_evaluations": False, "keep_best_after_steps": False,
        }  # fmt: skip


def test_only_protocol_s3prl_chooses_on_test(task: TaskSpec) -> None:
    for suite in ("demo", "local", "superb"):
        strict = task.for_suite(suite)
        assert strict.protocol.checkpoint_selected_on == "dev"
        tables = strict.model_dump()
        assert ("decision" in tables, "search" in tables) == (task.kind == "diarization", task.kind == "retrieval")
        assert tables.get("decision", {"selected_on": "dev"})["selected_on"] == "dev"
        assert tables.get("search", {"normalise_with": "dev"})["normalise_with"] == "dev"


def test_an_unknown_protocol_suggests_a_near_one(task: TaskSpec) -> None:
    with pytest.raises(UnknownName, match=r"unknown protocol of task .* 's3pl'\. Did you mean 's3prl'\?"):
        task.for_suite("demo", protocol="s3pl")


def test_a_task_without_other_protocols_is_not_taken_for_one_that_has_them(tmp_path: Path) -> None:
    plain = """
        name = "plain"
        title = "A task of one protocol"
        version = 1
        kind = "utterance"
        metric = "accuracy"
        [head]
        [protocol]
        learning_rates = [1e-3]
        steps = 10
    """
    (tmp_path / "plain.toml").write_text(plain)
    task = load_task_file(tmp_path / "plain.toml")
    assert task.for_suite("demo") == task
    for name in ("s3prl", "strcit"):
        with pytest.raises(UnknownName, match=f"unknown protocol of task 'plain' '{name}'.*strict"):
            task.for_suite("demo", protocol=name)


@pytest.mark.parametrize("line", ["patience_evaluations = 0", "half_batch_seconds = 0", "keep_best_after_steps = 0"])
def test_a_limit_of_nothing_is_not_no_limit(line: str, tmp_path: Path) -> None:
    ks = (catalog.folder("tasks") / "ks.toml").read_text()
    (tmp_path / "ks.toml").write_text(ks.replace("[protocol]\n", f"[protocol]\n{line}\n", 1))
    with pytest.raises(SpecError, match=rf"ks\.toml: key 'protocol\.{line.split()[0]}'.*found 0"):
        load_task_file(tmp_path / "ks.toml")


def test_small_suites_take_fewer_steps(task: TaskSpec) -> None:
    steps = [task.for_suite(suite).protocol.steps for suite in ("demo", "local", "superb")]
    assert max(steps[:2]) * 20 <= steps[2]


def test_every_kind_is_a_module_with_all_parts() -> None:
    for kind in kinds.names():
        module = kinds.load(kind)
        assert get_args(module.Spec.model_fields["kind"].annotation) == (kind,)
        assert set(module.Spec.metrics) <= set(SCORERS)
        assert callable(module.check)
        assert callable(module.requests)
        assert callable(module.solve)
    assert {load_task(name).kind for name in TASKS} == set(kinds.names())


def test_specifications_are_frozen(task: TaskSpec) -> None:
    with pytest.raises(ValueError, match="frozen"):
        task.version = 2


def test_loading_a_task_imports_no_torch() -> None:
    code = "import sys; from skill_bench.evaluation.task_files import load_task\n"
    code += f"for name in {TASKS}: load_task(name)\n"
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_task_suggests_a_near_one() -> None:
    with pytest.raises(UnknownName, match=r"unknown task 'sidd'\. Did you mean 'sid'\?"):
        load_task("sidd")


def _edited(tmp_path: Path, old: str, new: str, *, task: str = "asr") -> Path:
    text = catalog.entry("tasks", task).read_text()
    assert old in text
    path = tmp_path / f"{task}.toml"
    path.write_text(text.replace(old, new, 1))
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title =", "titel =", r"asr\.toml: unknown key 'titel'\. Did you mean 'title'\?"),
        (
            "dropout =",
            "dropuot =",
            r"unknown key 'head\.dropuot'\. Did you mean 'dropout'\? Known here: dropout, embedding",
        ),
        ("[target]", "[targets]", r"unknown key 'targets'\. Did you mean 'target'\?"),
        (
            "keep_best_after_steps",
            "keep_best_after_step",
            r"unknown key 'suites\.local\.protocol\.keep_best_after_step'\. Did you mean 'keep_best_after_steps'\?",
        ),
        ("[suites.demo.head]", "[suites.demo.haed]", r"unknown key 'suites\.demo\.haed'\. Did you mean 'head'\?"),
        (
            "time_warp_window",
            "time_wrap",
            r"unknown key 'protocol\.spec_augment\.time_wrap'\. Did you mean 'time_warp_window'\?",
        ),
        ("version = 2", "", r"key 'version': Field required\."),
        ("version = 2", "version = 0", r"key 'version': Input should be greater than 0 \(found 0\)"),
        ('metric = "wer"', 'metric = "accuracy"', r"asr\.toml: .*kind 'ctc' is scored by per, wer or f1"),
        (
            'metric = "wer"',
            'metric = "wer"\nhigher_is_better = true',
            r"asr\.toml: higher_is_better = True is wrong for metric 'wer', which says False itself\. Leave",
        ),
        (
            'metric = "wer"',
            'metric = "wer"\nunit = "x100"',
            r"unit = 'x100' is wrong for metric 'wer', which says",
        ),
        ("hidden_dims = [1024, 1024]", "", r"key 'head': .*hidden_dims must be given for type = 'blstm'"),
        ("steps = 800", "steps = -1", r"asr\.toml: task 'asr', \[suites\.demo\]: key 'protocol\.steps': .*-1"),
        ("[1e-2, 1e-3, 1e-4, 1e-5]", "[]", r"learning_rates must not be empty"),
        ("[1e-2, 1e-3, 1e-4, 1e-5]", "[1e-2, 1e-2]", r"learning_rates must differ"),
        ('name = "asr"', 'name = "asr2"', r"asr\.toml: name = 'asr2', but the file says 'asr'"),
        ("[target]", "[target", r"asr\.toml: cannot be read as TOML"),
    ],
)
def test_a_wrong_file_names_file_key_and_remedy(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_task_file(_edited(tmp_path, old, new))


def test_a_file_may_still_repeat_what_its_metric_says(tmp_path: Path) -> None:
    new = 'metric = "wer"\nhigher_is_better = false\nunit = "percent"'
    assert load_task_file(_edited(tmp_path, 'metric = "wer"', new)) == load_task("asr")


def test_a_classification_task_takes_no_target_and_no_lstm(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"\[target\] must be given for kind = 'ctc'"):
        load_task_file(_edited(tmp_path, "[head]", '[target]\ntokens = "phones"\n[head]', task="ks"))
    with pytest.raises(SpecError, match="takes a head of type linear"):
        load_task_file(_edited(tmp_path, "[head]", '[head]\ntype = "blstm"\nhidden_dims = [4]', task="ks"))


def test_an_override_of_a_part_keeps_the_rest() -> None:
    official, demo = load_trained("asr").for_suite("superb"), load_trained("asr").for_suite("demo")
    assert demo.head.dropout == official.head.dropout
    assert demo.head.hidden_dims != official.head.hidden_dims
    assert official.protocol.spec_augment
    assert not demo.protocol.spec_augment


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
