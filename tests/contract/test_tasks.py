"""One battery for every file in tasks/, and what a wrong file is told."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from kind_data import load_trained

from skill_bench.base import catalog
from skill_bench.base.errors import SpecError, UnknownName
from skill_bench.evaluation import kinds
from skill_bench.evaluation.task_files import load_task, load_task_file
from skill_bench.metrics.scoring import SCORERS
from skill_bench.tasks import TaskSpec

TASKS = catalog.names("tasks")
SUPERB = {"pr", "asr", "ks", "qbe", "sid", "asv", "sd", "ic", "sf", "er"}


@pytest.fixture(params=TASKS)
def task(request: pytest.FixtureRequest) -> TaskSpec:
    return load_task(request.param)


def test_every_task_of_superb_is_there() -> None:
    assert set(TASKS) >= SUPERB


def test_suites_resolve_and_stay_resolved(task: TaskSpec) -> None:
    assert {"demo", "local"} <= set(task.suites)
    for suite, protocol in itertools.product((*task.suites, "official"), ("strict", "s3prl")):
        resolved = task.for_suite(suite, protocol=protocol)
        assert (resolved.suites, resolved.protocols) == ({}, {})
        assert resolved.protocol.name == protocol
        assert resolved.for_suite(suite, protocol=protocol) == resolved
        assert type(task).model_validate_json(resolved.model_dump_json()) == resolved
        assert resolved.version == task.version


def test_the_mini_suite_is_trained_as_a_local_one(task: TaskSpec) -> None:
    mini, local = task.for_suite("mini"), task.for_suite("local")
    assert mini == local
    assert task.for_suite("superb").protocol == task.for_suite("official").protocol


def test_official_settings_are_s3prls(task: TaskSpec) -> None:
    official = task.for_suite("official")
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
    for suite in ("demo", "local", "official"):
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


def test_only_protocol_s3prl_chooses_on_test(task: TaskSpec) -> None:
    for suite in ("demo", "local", "official"):
        strict = task.for_suite(suite)
        assert strict.protocol.checkpoint_selected_on == "dev"
        tables = strict.model_dump()
        assert ("decision" in tables, "search" in tables) == (task.kind == "diarization", task.kind == "retrieval")
        assert tables.get("decision", {"selected_on": "dev"})["selected_on"] == "dev"
        assert tables.get("search", {"normalise_with": "dev"})["normalise_with"] == "dev"


def test_an_unknown_protocol_suggests_a_near_one(task: TaskSpec) -> None:
    with pytest.raises(UnknownName, match=r"unknown protocol of task .* 's3pl'\. Did you mean 's3prl'\?"):
        task.for_suite("demo", protocol="s3pl")


def test_small_suites_take_fewer_steps(task: TaskSpec) -> None:
    steps = [task.for_suite(suite).protocol.steps for suite in ("demo", "local", "official")]
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
    official, demo = load_trained("asr").for_suite("official"), load_trained("asr").for_suite("demo")
    assert demo.head.dropout == official.head.dropout
    assert demo.head.hidden_dims != official.head.hidden_dims
    assert official.protocol.spec_augment
    assert not demo.protocol.spec_augment
