"""The result of one cell: an upstream on a task with a seed. One JSON file a cell, predictions beside it.

A record never lies: a value that does not exist is None with a reason, counts stand beside every ratio, and a run
that failed leaves a record that says so. What must be equal before two numbers may be compared is in ``key`` and
``data.fingerprint``.

Layout below an output folder (``Record.path``)::

    <suite>/<upstream>/<task>-s<seed>.json                  protocol "strict", the default
    <suite>/<upstream>/<task>-<protocol>-s<seed>.json       any other protocol
    <suite>/<upstream>/<the same>.predictions.jsonl         one line an utterance
    <suite>/<upstream>/profile.json                         what the upstream costs, see records/profile.py
    <suite>/<upstream>/replaced/                            finished records of another experiment, moved aside
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, model_validator

from skill_bench.base.archive import find, read_bytes
from skill_bench.base.counted import counted
from skill_bench.base.documents import Document, JsonObject, write_atomic
from skill_bench.base.errors import RecordError
from skill_bench.base.provenance import Provenance
from skill_bench.base.specs import Frozen
from skill_bench.records.prediction_rows import rows_in

DEFAULT_PROTOCOL = "strict"
REPLACED = "replaced"
# Words for the reader, and in older records what the metric says of itself.
_BESIDE_THE_SCORE = ("title", "reference", "higher_is_better", "unit")


class Key(Frozen):
    """What was run. Numbers of different suites, protocols or task versions are never compared."""

    suite: str
    protocol: str = DEFAULT_PROTOCOL
    task: str
    task_version: int
    upstream: str
    seed: int


class System(Frozen):
    """What was evaluated. ``identity`` is the hash that the feature cache uses, ``kind`` says what role it plays."""

    name: str
    title: str
    kind: Literal["student", "teacher", "baseline", "control", "other"] = "other"
    identity: str
    checkpoint_sha256: str | None = None
    n_parameters: int | None = None
    n_hidden_states: int | None = None
    teacher: str | None = None
    licence: str | None = None
    details: JsonObject = Field(default_factory=dict)


PERCENT = "percent"
"""The unit of every share and rate; those of others, and what each metric is given in: `skill_bench.metrics.scales`."""


class Metric(Frozen):
    """One number in ``unit``: either a value, or None and the reason."""

    value: float | None
    reason: str | None = None
    numerator: float | None = None
    denominator: float | None = None
    unit: str
    higher_is_better: bool

    @model_validator(mode="after")
    def _value_or_reason(self) -> Self:
        if (self.value is None) == (self.reason is None):
            raise ValueError("a metric has either a value or a reason why it has none")
        if (self.numerator is None) != (self.denominator is None):
            raise ValueError("a metric has a numerator and a denominator, or neither")
        return self

    @classmethod
    def percent(cls, numerator: float, denominator: float, *, higher_is_better: bool) -> Self:
        """100 * numerator / denominator; without a value where the denominator is zero."""
        return cls(
            value=100 * numerator / denominator if denominator else None,
            reason=None if denominator else "nothing to score: the denominator is zero",
            numerator=numerator,
            denominator=denominator,
            unit=PERCENT,
            higher_is_better=higher_is_better,
        )


class CurvePoint(Frozen):
    """The development metric of one learning rate or layer (and fold); ``reason`` where training gave none.

    Attributes:
        noise: Standard error of ``value`` over dev's items, by which the race is decided; None where one item or none
            says nothing of it, and in records that do not say.
        loss: On dev, which decides between equal values; likewise.
    """

    learning_rate: float | None = None
    layer: int | None = None
    value: float | None
    reason: str | None = None
    step: int | None = None
    fold: str | None = None
    noise: float | None = None
    loss: float | None = None

    @model_validator(mode="after")
    def _value_or_reason(self) -> Self:
        if (self.value is None) == (self.reason is None):
            raise ValueError("a point of the curve has either a value or a reason why it has none")
        if self.learning_rate is None and self.layer is None:
            raise ValueError("a point of the curve has a learning rate or a layer")
        return self


class Selection(Frozen):
    """How the reported model was chosen, on the development part only. Folds may differ: ``per_fold`` says how.

    What is trained has a ``learning_rate``; what is searched in one layer has that ``layer``.

    Attributes:
        extended: Learning rates beyond the task's grid that were tried because the best was at its edge.
        at_edge: Whether the chosen learning rate is the largest or smallest that was tried; None where there was no
            grid, and in records that do not say.
        lost_race: Learning rates that were not trained to the end.
    """

    metric: str
    learning_rate: float | None
    layer: int | None = None
    per_fold: dict[str, float] = Field(default_factory=dict)
    curve: tuple[CurvePoint, ...] = ()
    extended: tuple[float, ...] = ()
    at_edge: bool | None = None
    lost_race: tuple[float, ...] = ()


class Data(Frozen):
    """What was read. ``fingerprint`` covers file contents, targets, splits and ``limit``."""

    suite: str
    synthetic: bool
    fingerprint: str
    limit: int | None = None
    n_train: int
    n_dev: int
    n_test: int
    n_resampled: int = 0
    n_mixed_down: int = 0
    notes: tuple[str, ...] = ()


class Failure(Frozen):
    """Why a run has no result: the exception's type and message."""

    type: str
    message: str


class Predictions(Frozen):
    """The JSON-lines file beside the record."""

    file: Annotated[str, Field(pattern=r"^[^/\\]+$", max_length=255)]
    n: int
    sha256: str


class Record(Document):
    """One cell's result, see the module's docstring."""

    kind: Literal["record"] = "record"
    status: Literal["finished", "failed"]
    error: Failure | None = None
    key: Key
    system: System
    metric: str
    metrics: dict[str, Metric] = Field(default_factory=dict)
    folds: dict[str, dict[str, Metric]] = Field(default_factory=dict)
    selection: Selection | None = None
    layer_weights: tuple[Annotated[float, Field(ge=0, le=1)], ...] = ()
    data: Data | None = None
    task_spec: JsonObject = Field(default_factory=dict)
    rescored_from_version: int | None = None
    predictions: Predictions | None = None
    provenance: Provenance

    @model_validator(mode="after")
    def _status_fits(self) -> Self:
        if self.status == "failed" and (self.error is None or self.metrics):
            raise ValueError("a failed record has an error and no metrics")
        if self.status == "finished":
            if self.error is not None or self.data is None:
                raise ValueError("a finished record has data and no error")
            if self.metric not in self.metrics:
                raise ValueError(f"a finished record holds its metric {self.metric!r}")
            if lacking := [fold for fold, metrics in self.folds.items() if self.metric not in metrics]:
                raise ValueError(f"fold {lacking[0]!r} lacks the metric {self.metric!r}")
            if self.data.suite != self.key.suite:
                raise ValueError(f"key.suite {self.key.suite!r} differs from data.suite {self.data.suite!r}")
        return self

    def path(self, out_dir: Path) -> Path:
        """The record's place below ``out_dir``."""
        return record_path(out_dir, self.key)

    def same_experiment(self, other: Record) -> bool:
        """Equal key, model, data and settings: one may stand for the other."""
        return _experiment(self) == _experiment(other)

    def save(self, out_dir: Path, *, predictions: Iterable[Mapping[str, JsonValue]] | None = None) -> Path:
        """Writes the predictions, one JSON object a line, then the record that names them.

        A finished record of another experiment in its place is moved to ``replaced/`` first, with its predictions.

        Raises:
            RecordError: the file that is there cannot be read, or a prediction holds what JSON cannot, such as NaN.
        """
        path = self.path(out_dir)
        if path.exists():
            earlier = Record.read(path)
            if earlier.status == "finished" and not earlier.same_experiment(self):
                _move_aside(path, earlier)
        if predictions is None:
            return self.write(path)
        written = _write_predictions(path.with_suffix(".predictions.jsonl"), predictions)
        return self.model_copy(update={"predictions": written}).write(path)


def record_path(out_dir: Path, key: Key) -> Path:
    """``<out_dir>/<suite>/<upstream>/<task>-s<seed>.json``, with the protocol in the name unless it is the default."""
    protocol = "" if key.protocol == DEFAULT_PROTOCOL else f"-{safe_name(key.protocol)}"
    return upstream_folder(out_dir, key.suite, key.upstream) / f"{safe_name(key.task)}{protocol}-s{key.seed}.json"


def upstream_folder(out_dir: Path, suite: str, upstream: str) -> Path:
    """``<out_dir>/<suite>/<upstream>``: where the records of an upstream on a suite are."""
    return out_dir / safe_name(suite) / safe_name(upstream)


def safe_name(name: str) -> str:
    """``name`` as one path component; a name that has to be changed gets a hash, so that no two names meet."""
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:80]
    # Some file systems do not tell "A" from "a".
    if cleaned == name and name == name.lower() and name != REPLACED:
        return name
    return f"{cleaned.lower() or 'name'}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def version(path: Path) -> tuple[int, int] | None:
    """Another one for every time that the file is written: each time it is a new file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def find_record(place: Path, key: Key) -> Path | None:
    """Where the record of ``key`` is in a folder or archive of records, or None.

    Raises:
        RecordError: an archive cannot be trusted.
    """
    return find(place, record_path(Path(), key))


def find_finished(
    out_dir: Path, key: Key, *, identity: str, fingerprint: str, task_spec: Mapping[str, JsonValue]
) -> Record | None:
    """The finished record of exactly this experiment, or None: then the cell has to be run.

    Raises:
        RecordError: a file is there and cannot be trusted.
    """
    path = find_record(out_dir, key)
    if path is None:
        return None
    found = Record.read(path)
    wanted = (key, identity, fingerprint, settings(task_spec))
    return found if found.status == "finished" and _experiment(found) == wanted else None


def read_predictions(record_file: Path, record: Record) -> list[dict[str, Any]]:
    """The predictions that belong to ``record``, which was read from ``record_file``.

    Raises:
        RecordError: the record names none, or the file is missing, is not the one that was written, or holds what is no
            prediction of the record's metric.
    """
    if record.predictions is None:
        raise RecordError(f"{record_file}: keeps no predictions. Run that cell again.")
    path = record_file.parent / record.predictions.file
    try:
        data = read_bytes(path)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror}). Run that cell again.") from error
    if hashlib.sha256(data).hexdigest() != record.predictions.sha256:
        raise RecordError(f"{path}: is not the file that {record_file.name} was written with. Run that cell again.")
    rows = rows_in(data, metric=record.metric, source=str(path))
    if len(rows) != record.predictions.n:
        raise RecordError(
            f"{path}: holds {counted(len(rows), 'prediction')}, {record_file.name} says {record.predictions.n}. "
            "Run that cell again."
        )
    return rows


def settings(task_spec: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """What of a task decides a score: no words, and nothing that it has not, of which older records do not speak."""
    return {name: value for name, value in task_spec.items() if value and name not in _BESIDE_THE_SCORE}


def _experiment(record: Record) -> tuple[Key, str, str | None, dict[str, JsonValue]]:
    fingerprint = record.data.fingerprint if record.data else None
    return record.key, record.system.identity, fingerprint, settings(record.task_spec)


def _write_predictions(path: Path, rows: Iterable[Mapping[str, JsonValue]]) -> Predictions:
    try:
        lines = [json.dumps(dict(row), ensure_ascii=False, allow_nan=False) + "\n" for row in rows]
    except (TypeError, ValueError) as error:
        raise RecordError(f"{path}: a prediction cannot be stored: {error}. Use null instead.") from error
    data = "".join(lines).encode()
    write_atomic(path, data)
    return Predictions(file=path.name, n=len(lines), sha256=hashlib.sha256(data).hexdigest())


def _move_aside(path: Path, earlier: Record) -> None:
    stamp = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    folder = path.parent / REPLACED
    folder.mkdir(exist_ok=True)
    names = [path.name] if earlier.predictions is None else [earlier.predictions.file, path.name]
    for name in names:  # the record last: while it is in place, the move is repeated
        if (path.parent / name).exists():
            os.replace(path.parent / name, folder / f"{stamp}-{name}")
