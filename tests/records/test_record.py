"""Records: round trip, strictness, atomic writes, and what a damaged file says."""

from __future__ import annotations

import errno
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from skill_bench.base import documents as schema
from skill_bench.base import provenance
from skill_bench.base.errors import RecordError, explained
from skill_bench.records import record
from skill_bench.records.record import CurvePoint, Data, Failure, Key, Metric, Record, Selection, System
from skill_bench.records.store import record_files

PROVENANCE = provenance.collect(seconds={"extract": 1.5, "train": 2.25})
names = st.text(min_size=1, max_size=20)
finite = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(min_value=0, max_value=10**9)


def make(**changes: Any) -> Record:
    defaults: dict[str, Any] = {
        "status": "finished",
        "key": Key(suite="demo", task="ks", task_version=1, upstream="skill", seed=0),
        "system": System(name="skill", title="SKILL", kind="student", identity="a" * 64),
        "metric": "accuracy",
        "metrics": {"accuracy": Metric.percent(7, 8, higher_is_better=True)},
        "data": Data(suite="demo", synthetic=True, fingerprint="f" * 64, n_train=16, n_dev=8, n_test=8),
        "provenance": PROVENANCE,
    }
    return Record(**(defaults | changes))


@st.composite
def records(draw: st.DrawFn) -> Record:
    suite = draw(names)
    metrics = draw(
        st.dictionaries(
            names,
            st.builds(Metric.percent, st.integers(0, 10**6), st.integers(0, 10**6), higher_is_better=st.booleans()),
            min_size=1,
            max_size=3,
        )
    )
    curve = draw(
        st.lists(
            st.one_of(
                st.builds(
                    CurvePoint,
                    learning_rate=finite,
                    value=finite,
                    fold=st.none() | names,
                    noise=st.none() | finite,
                    loss=st.none() | finite,
                ),
                st.builds(CurvePoint, learning_rate=finite, value=st.none(), reason=names),
            ),
            max_size=4,
        )
    )
    json_values = st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | finite | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
        max_leaves=5,
    )
    return make(
        key=Key(
            suite=suite,
            task=draw(names),
            task_version=draw(counts),
            upstream=draw(names),
            seed=draw(counts),
            protocol=draw(st.sampled_from(["strict", "s3prl"])),
        ),
        metric=next(iter(metrics)),
        metrics=metrics,
        selection=Selection(metric="accuracy", learning_rate=draw(st.none() | finite), curve=tuple(curve)),
        layer_weights=tuple(draw(st.lists(st.floats(0, 1), max_size=13))),
        data=Data(
            suite=suite,
            synthetic=draw(st.booleans()),
            fingerprint=draw(names),
            n_train=draw(counts),
            n_dev=draw(counts),
            n_test=draw(counts),
            notes=tuple(draw(st.lists(names, max_size=2))),
        ),
        task_spec=draw(st.dictionaries(names, json_values, max_size=3)),
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(original=records())
def test_round_trip(original: Record, tmp_path: Path) -> None:
    path = original.save(tmp_path)
    assert Record.read(path) == original
    assert path.is_relative_to(tmp_path)
    assert not list(tmp_path.rglob("*.tmp"))
    path.unlink()


@given(first=names, second=names)
def test_safe_names_are_one_component_and_do_not_meet(first: str, second: str) -> None:
    assert Path(record.safe_name(first)).name == record.safe_name(first) != ""
    assert (record.safe_name(first).lower() == record.safe_name(second).lower()) == (first == second)


def test_paths() -> None:
    key = Key(suite="demo", task="ks", task_version=1, upstream="hf:facebook/hubert-base-ls960", seed=3)
    folder = Path("out/demo") / record.safe_name(key.upstream)
    assert folder.name.startswith("hf-facebook-hubert-base-ls960-")
    assert record.record_path(Path("out"), key) == folder / "ks-s3.json"
    other = key.model_copy(update={"protocol": "s3prl"})
    assert record.record_path(Path("out"), other) == folder / "ks-s3prl-s3.json"


def test_a_ratio_keeps_its_counts() -> None:
    metric = Metric.percent(1, 3, higher_is_better=False)
    assert metric.value == 100 / 3
    assert (metric.numerator, metric.denominator) == (1, 3)


def test_nothing_to_score_is_absent_with_a_reason() -> None:
    metric = Metric.percent(0, 0, higher_is_better=True)
    assert metric.value is None
    assert metric.reason is not None
    assert "denominator is zero" in metric.reason


@pytest.mark.parametrize("bad", [2**63, {"a": 10**30}])
def test_what_could_not_be_read_again_is_not_written(bad: Any) -> None:
    with pytest.raises(RecordError, match=r"record cannot be stored: an integer of \d+ characters, expected"):
        make(task_spec={"head": bad}).to_json()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_no_record_holds_nan_or_infinity(bad: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        Metric(value=bad, unit="percent", higher_is_better=True)
    with pytest.raises(ValidationError, match=r"(?s)task_spec.*finite number"):
        make(task_spec={"head": {"dims": [1.0, bad]}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "failed"}, "a failed record has an error and no metrics"),
        ({"error": Failure(type="E", message="m")}, "a finished record has data and no error"),
        ({"metric": "wer"}, "holds its metric 'wer'"),
        ({"metrics": {}}, "holds its metric 'accuracy'"),
        ({"key": Key(suite="local", task="ks", task_version=1, upstream="skill", seed=0)}, "differs from data.suite"),
        ({"surprise": 1}, "Extra inputs are not permitted"),
        ({"layer_weights": (0.5, 1e308)}, "layer_weights.1\n  Input should be less than or equal to 1"),
        ({"layer_weights": (-0.5, 0.5)}, "layer_weights.0\n  Input should be greater than or equal to 0"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make(**changes)


def test_value_or_reason_but_not_both() -> None:
    with pytest.raises(ValidationError, match="either a value or a reason"):
        Metric(value=None, unit="percent", higher_is_better=True)
    with pytest.raises(ValidationError, match="either a value or a reason"):
        Metric(value=1.0, reason="why", unit="percent", higher_is_better=True)


@pytest.mark.parametrize("half", ["numerator", "denominator"])
def test_counts_are_there_together(half: str) -> None:
    with pytest.raises(ValidationError, match="a numerator and a denominator, or neither"):
        Metric.model_validate({"value": 1.0, "unit": "x100", "higher_is_better": True, half: 2.0})


def test_records_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        make().status = "failed"


def test_a_failed_run_is_a_record_too(tmp_path: Path) -> None:
    failed = make(status="failed", metrics={}, data=None, error=Failure(type="AudioError", message="a.wav: empty"))
    assert Record.read(failed.save(tmp_path)) == failed


def edit(path: Path, change: Any) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(schema_version=2), "schema_version is 2, this skill-bench reads 1"),
        (lambda c: c.pop("schema_version"), "schema_version is None"),
        (lambda c: c.update(kind="profile"), "holds a 'profile', expected a 'record'"),
        (lambda c: c.update(extra=1), "extra: Extra inputs are not permitted"),
        (lambda c: c.pop("system"), "system: Field required"),
        (lambda c: c["key"].update(seed="0"), "key.seed: Input should be a valid integer"),
        (lambda c: c["metrics"]["accuracy"].update(value=99.0), "was changed after it was written"),
        (lambda c: c.pop("content_sha256"), "was changed after it was written"),
    ],
)
def test_an_edited_file_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    path = make().save(tmp_path)
    edit(path, change)
    with pytest.raises(RecordError) as caught:
        Record.read(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "run that cell again" in str(caught.value) or "Check the path" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ('{"schema_version": 1, "ki', "not valid JSON"),
        ("[1]", "holds a list, expected an object"),
        ('{"value": NaN}', "NaN is not a value a record may hold"),
        ('{"value": -Infinity}', "-Infinity is not a value a record may hold"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=message):
        Record.read(path)


def test_truncation_at_any_byte_is_noticed(tmp_path: Path) -> None:
    path = make().save(tmp_path)
    whole = path.read_bytes()
    for end in range(0, len(whole) - 2, 97):
        path.write_bytes(whole[:end])
        with pytest.raises(RecordError, match="Restore it"):
            Record.read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"gone\.json: cannot be read"):
        Record.read(tmp_path / "gone.json")


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make().save(tmp_path)
    before = path.read_bytes()

    def stop(source: str, target: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        schema.write_atomic(path, b"half")
    assert path.read_bytes() == before
    assert list(tmp_path.rglob("*.tmp")) == []


def test_a_disk_that_is_full_is_told_by_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system says of a write names none."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as raised:
        schema.write_atomic(tmp_path / "table.csv", b"1")
    said = "table.csv: No space left on device. Check the path, its permissions and the space on its disk."
    assert explained(raised.value) == f"{tmp_path}/{said}"
    assert list(tmp_path.iterdir()) == []


def test_a_file_gets_the_usual_permissions(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("")
    assert schema.write_atomic(tmp_path / "atomic", b"").stat().st_mode == plain.stat().st_mode


def test_finished_cells_are_found_again(tmp_path: Path) -> None:
    done = make()
    done.save(tmp_path)
    same: dict[str, Any] = {"identity": done.system.identity, "fingerprint": "f" * 64, "task_spec": done.task_spec}
    assert record.find_finished(tmp_path, done.key, **same) == done
    assert record.find_finished(tmp_path, done.key, **same | {"identity": "b"}) is None
    assert record.find_finished(tmp_path, done.key, **same | {"fingerprint": "b"}) is None
    newer_task = done.key.model_copy(update={"task_version": 2})
    assert record.find_finished(tmp_path, newer_task, **same) is None
    assert record.find_finished(tmp_path, done.key.model_copy(update={"seed": 1}), **same) is None


def test_failed_cells_are_run_again(tmp_path: Path) -> None:
    failed = make(status="failed", metrics={}, error=Failure(type="E", message="m"))
    failed.save(tmp_path)
    assert record.find_finished(tmp_path, failed.key, identity="a" * 64, fingerprint="f" * 64, task_spec={}) is None


def test_a_finished_record_of_other_data_is_moved_aside_not_lost(tmp_path: Path) -> None:
    path = make().save(tmp_path, predictions=[{"id": "a", "predicted": "yes"}])
    first = Record.read(path)
    assert first.data is not None
    second = make(data=first.data.model_copy(update={"fingerprint": "other", "limit": 4}))
    assert second.save(tmp_path, predictions=[{"id": "a", "predicted": "no"}]) == path
    assert Record.read(path).data == second.data
    kept = list(path.parent.glob("replaced/*-ks-s0.json"))
    assert [Record.read(p) for p in kept] == [first]
    old = list(path.parent.glob("replaced/*-ks-s0.predictions.jsonl"))
    assert ["yes" in p.read_text() for p in old] == [True]
    assert record_files([tmp_path]) == [path]


def test_a_finished_record_of_other_settings_is_moved_aside_not_lost(tmp_path: Path) -> None:
    """Somebody may have edited a task and not raised its version."""
    path = make(task_spec={"title": "a", "protocol": {"steps": 5}}).save(tmp_path)
    make(task_spec={"title": "b", "protocol": {"steps": 5}, "search": None}).save(tmp_path)
    assert not (path.parent / "replaced").exists(), "the settings are equal"
    make(task_spec={"title": "b", "protocol": {"steps": 6}}).save(tmp_path)
    (kept,) = path.parent.glob("replaced/*-ks-s0.json")
    assert Record.read(kept).task_spec["protocol"] == {"steps": 5}


def test_the_same_experiment_is_replaced_in_place(tmp_path: Path) -> None:
    path = make().save(tmp_path)
    make(layer_weights=(0.5, 0.5)).save(tmp_path)
    assert Record.read(path).layer_weights == (0.5, 0.5)
    assert not (path.parent / "replaced").exists()


def test_predictions_belong_to_their_record(tmp_path: Path) -> None:
    row = {"fold": "all", "target": "yes", "denominator": 1}
    rows: list[dict[str, Any]] = [
        {"id": "a", "prediction": "yes", "numerator": 1, **row},
        {"id": "b", "prediction": "no", "numerator": 0, **row},
    ]
    path = make().save(tmp_path, predictions=rows)
    kept = Record.read(path)
    assert path.with_name("ks-s0.predictions.jsonl").exists()
    assert record.read_predictions(path, kept) == rows
    path.with_name("ks-s0.predictions.jsonl").write_text("")
    with pytest.raises(RecordError, match=r"is not the file that ks-s0\.json was written with"):
        record.read_predictions(path, kept)
    with pytest.raises(RecordError, match="keeps no predictions"):
        record.read_predictions(path, make())
    with pytest.raises(RecordError, match="cannot be stored"):
        make().save(tmp_path, predictions=[{"score": math.nan}])


def test_damage_in_a_folder_is_not_passed_over(tmp_path: Path) -> None:
    make().save(tmp_path)
    (tmp_path / "half.json").write_text("{")
    with pytest.raises(RecordError, match=r"half\.json"):
        record_files([tmp_path])


def test_a_model_may_be_called_as_the_folder_for_what_is_moved_aside(tmp_path: Path) -> None:
    one = make(key=Key(suite="demo", task="ks", task_version=1, upstream="replaced", seed=0))
    path = one.save(tmp_path)
    assert record_files([tmp_path]) == [path]
    assert record.safe_name("replaced") != "replaced"
    assert record.safe_name("replaced2") == "replaced2"


@pytest.mark.parametrize(
    "change",
    [
        {"suite": "local"},
        {"protocol": "s3prl"},
        {"task": "sid"},
        {"upstream": "other"},
        {"seed": 1},
        {"task_version": 2},
    ],
)
def test_each_part_of_a_key_alone_makes_another_experiment(change: dict[str, Any], tmp_path: Path) -> None:
    one = make()
    one.save(tmp_path)
    same: dict[str, Any] = {"identity": one.system.identity, "fingerprint": "f" * 64, "task_spec": one.task_spec}
    assert record.find_finished(tmp_path, one.key, **same) is not None
    assert record.find_finished(tmp_path, one.key.model_copy(update=change), **same) is None
    assert set(Key.model_fields) == {"suite", "protocol", "task", "task_version", "upstream", "seed"}


@pytest.mark.parametrize(
    "change", [{"identity": "b" * 64}, {"fingerprint": "e" * 64}, {"task_spec": {"protocol": {"steps": 9}}}]
)
def test_another_model_other_data_and_other_settings_are_each_another_experiment(
    change: dict[str, Any], tmp_path: Path
) -> None:
    one = make()
    one.save(tmp_path)
    same: dict[str, Any] = {"identity": one.system.identity, "fingerprint": "f" * 64, "task_spec": one.task_spec}
    assert record.find_finished(tmp_path, one.key, **(same | change)) is None
