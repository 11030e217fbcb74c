"""Predictions are typed by metric: what is no row of it is refused by file and line, wherever they are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_samples as made
import numpy as np
import pytest

from skill_bench.base.documents import DEEPEST, parse_json
from skill_bench.base.errors import RecordError
from skill_bench.evaluation.rescore import rescore
from skill_bench.metrics.scoring import SCORERS, score
from skill_bench.records.prediction_rows import FORMS, rows_in
from skill_bench.records.record import Record, read_predictions
from skill_bench.records.store import contents
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import collect
from skill_bench.report.table.uncertainty import with_intervals
from skill_bench.report.table.verify import verify

TURNS = {
    "id": "m0",
    "fold": "all",
    "n_frames": 10,
    "frame_seconds": 0.02,
    "target": [[0, 0, 5], [1, 3, 10]],
    "prediction": [[0, 0, 4]],
    "missed": 8,
    "false_alarm": 0,
    "confused": 0,
    "numerator": 8,
    "denominator": 12,
}
PAIR = {"id": "q d", "fold": "all", "query": "q", "document": "d", "target": "present", "score": 0.5}
GOOD: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("accuracy", "per", "wer", "f1"), made.label_rows(np.array([1]))[0]),
    "der": TURNS,
    "eer": made.trial_rows(np.array([1]), np.array([0.5]))[0],
    "mtwv": PAIR,
}


def line(row: Any) -> bytes:
    return (json.dumps(row) + "\n").encode()


def test_every_metric_has_a_form() -> None:
    assert set(FORMS) == set(SCORERS) == set(GOOD)


@pytest.mark.parametrize("metric", GOOD)
def test_a_good_row_is_read_as_it_was_written(metric: str) -> None:
    row = GOOD[metric] | {"further": [1, None]}
    assert rows_in(line(row) * 2, metric=metric, source="p") == [row, row]


@pytest.mark.parametrize("metric", GOOD)
def test_each_column_alone_is_needed_and_typed(metric: str) -> None:
    free = {"speaker", "numerator", "denominator"} if metric in ("eer", "mtwv") else {"speaker"}
    refused = 0
    for name in GOOD[metric]:
        for row in (
            {key: value for key, value in GOOD[metric].items() if key != name},
            GOOD[metric] | {name: {"a": 1}},
            GOOD[metric] | {name: True},
        ):
            data = line(GOOD[metric]) + line(row)
            if name in free:
                assert len(rows_in(data, metric=metric, source="p")) == 2
                continue
            with pytest.raises(
                RecordError, match=rf"^x/p\.jsonl:2: {name}.*expected the predictions of a task judged by"
            ):
                rows_in(data, metric=metric, source="x/p.jsonl")
            refused += 1
    assert refused >= 3 * 5


@pytest.mark.parametrize(
    ("metric", "text", "message"),
    [
        ("accuracy", "[]", "p:1: the row: Input should be an object"),
        ("accuracy", "7", "p:1: the row: Input should be an object"),
        ("accuracy", "{", "p:1: not a row of predictions (Expecting property name"),
        ("accuracy", "", "p:1: not a row of predictions (Expecting value"),
        ("accuracy", "[" * 5000, "p:1: not a row of predictions (lists and objects of more than 100 levels)"),
        ("accuracy", '{"id": "a", "id": "b"}', "p:1: not a row of predictions (the name 'id' stands twice)"),
        ("eer", json.dumps(GOOD["eer"] | {"score": float("nan")}), "(NaN is not a value a record may hold)"),
        ("eer", json.dumps(GOOD["eer"]).replace("0.5", "1e999"), "(1e999 is larger than any number)"),
        ("eer", json.dumps(GOOD["eer"]).replace("0.5", "9" * 5000), "an integer of 5000 characters"),
        ("eer", json.dumps(GOOD["eer"] | {"target": "yes"}), "p:1: target: Input should be 'same' or 'different'"),
        ("per", json.dumps(GOOD["per"] | {"numerator": -1}), "p:1: numerator: Input should be greater than or equal"),
        ("der", json.dumps(TURNS | {"n_frames": 10**12}), "p:1: n_frames: Input should be less than or equal to"),
        ("der", json.dumps(TURNS | {"prediction": [[0, 5, 11]]}), "segment [0, 5.0, 11.0] does not lie in 10 frames"),
        ("der", json.dumps(TURNS | {"target": [[0, 5.5, 4]]}), "target: segment [0, 5.5, 4.0] does not lie in"),
        ("der", json.dumps(TURNS | {"prediction": [[10**6, 0, 1]]}), "prediction.0.0: Input should be less than 100"),
        ("der", json.dumps(TURNS | {"prediction": [[0, 1]]}), "prediction.0"),
        ("unheard_of", '{"id": "a"}', "p:1: fold: Field required; expected the predictions of a task judged by"),
    ],
)  # fmt: skip
def test_another_form_names_file_and_line(metric: str, text: str, message: str) -> None:
    with pytest.raises(RecordError) as raised:
        rows_in(text.encode() + b"\n", metric=metric, source="p")
    assert message in str(raised.value)


def test_a_line_ends_where_a_line_ends() -> None:
    """Texts may hold what str.splitlines takes for the end of a line."""
    row = GOOD["wer"] | {"target": "a\u2028b\x85c", "prediction": "\x0c"}
    data = (json.dumps(row, ensure_ascii=False) + "\n").encode() * 2
    assert rows_in(data, metric="wer", source="p") == [row, row]
    assert rows_in(b"", metric="wer", source="p") == []
    with pytest.raises(RecordError, match="p: not UTF-8"):
        rows_in(b"\xff\xfe", metric="wer", source="p")


@pytest.mark.parametrize("text", ["-9223372036854775808", "9223372036854775807", "1e308", "[]", '{"a": {"a": 1}}'])
def test_what_json_may_hold_is_read(text: str) -> None:
    assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9223372036854775808", "an integer of 19 characters"),
        ("-1e400", "-1e400 is larger than any number"),
        ("[Infinity]", "Infinity is not a value"),
        ('{"a": {"b": 1, "b": 2}}', "the name 'b' stands twice"),
        ('["a', "Unterminated string"),
        ("[" * 100_000, "more than 100 levels"),
    ],
)
def test_what_it_may_not_hold_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)


def test_levels_are_counted() -> None:
    assert parse_json("[" * DEEPEST + "]" * DEEPEST)
    assert parse_json(f'["{"[" * 500}"]') == ["[" * 500], "a bracket in a text is no level"
    with pytest.raises(ValueError, match="more than 100 levels"):
        parse_json("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1))


@pytest.fixture
def other_form(tmp_path: Path, make_record: Any) -> Path:
    """Records whose checksums fit, and whose predictions are of another form."""
    for name in ("a", "b"):
        rows = made.label_rows(np.arange(20) % 3 > 0)
        metrics, _ = score("accuracy", rows)
        if name == "b":
            rows[4] = {"utterance": "u", "guess": 1}
        record = make_record(name, metrics=metrics)
        data = record.data.model_copy(update={"n_test": 20})
        record.model_copy(update={"data": data}).save(tmp_path, predictions=rows)
    return tmp_path


MESSAGE = r"b/ks-s0\.predictions\.jsonl:5: id: Field required"


@pytest.mark.parametrize(
    "reads",
    [
        lambda out: rescore(out / "demo" / "b" / "ks-s0.json"),
        lambda out: contents(out),
        lambda out: read_predictions(out / "demo/b/ks-s0.json", Record.read(out / "demo/b/ks-s0.json")),
    ],
)
def test_who_reads_predictions_names_the_line(reads: Callable[[Path], Any], other_form: Path) -> None:
    with pytest.raises(RecordError, match=MESSAGE):
        reads(other_form)


def test_the_table_has_them_among_its_problems(other_form: Path) -> None:
    table = build([collect(other_form)])
    (problem,) = with_intervals(table).problems
    assert "b/ks-s0.predictions.jsonl:5: id: Field required" in problem
    (mismatch,) = verify(table).mismatches
    assert "b/ks-s0.predictions.jsonl:5: id: Field required" in mismatch
