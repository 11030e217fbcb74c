"""Task specifications: one frozen object from one TOML file in ``tasks/``.

The file's own tables describe the official protocol; ``[suites.<name>]`` overrides parts of ``[head]`` and
``[protocol]`` for a small suite. :meth:`TaskSpec.for_suite` merges them; what it returns goes into the record.
"""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from skill_bench import catalog
from skill_bench.errors import SpecError, suggest

Positive = Annotated[int, Field(gt=0)]
# pydantic names the tried member of a union in the path of an error; users never wrote it.
_UNION_MEMBERS = ("SpecAugment", "literal[False]", "literal['corpus']", "tuple[str, ...]")


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Head(_Spec):
    """The trainable part behind the weighted sum over layers.

    ``linear``: one projection, then one linear output layer, nothing in between (utterance tasks average over time
    between the two). ``blstm``: the projection, one bidirectional LSTM per entry of ``hidden_dims``, the output layer.
    """

    type: Literal["linear", "blstm"] = "linear"
    projection_dim: Positive = 256
    hidden_dims: tuple[Positive, ...] = ()
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _hidden_dims_belong_to_a_blstm(self) -> Self:
        if (self.type == "blstm") != bool(self.hidden_dims):
            raise ValueError("hidden_dims must be given for type = 'blstm', and for it alone")
        return self


class SpecAugment(_Spec):
    """Masking of the features during training; the fields are s3prl's (``downstream/specaug.py``)."""

    time_warp_window: int = 5
    n_time_masks: int = 2
    time_mask_max_frames: Positive = 40
    n_feature_masks: int = 4
    feature_mask_max_dims: Positive = 50


class Protocol(_Spec):
    """How the head is trained and selected. All of it is part of the result's identity.

    ``keep_best_after_steps``: from that step on only the learning rate that is best on dev goes on (a race that saves
    time; where error rates are still 100 % or more, the dev loss decides). ``patience_evaluations``: stop when neither
    dev metric nor dev loss of any learning rate has improved for so many evaluations.
    """

    name: Literal["strict", "s3prl"] = "strict"
    optimizer: Literal["adam"] = "adam"
    learning_rates: tuple[Annotated[float, Field(gt=0)], ...]
    steps: Positive
    batch_size: Positive = 32
    sampling: Literal["shuffle", "class_balanced", "length_bucketed"] = "shuffle"
    gradient_clip_norm: Annotated[float, Field(gt=0)] = 1.0
    evaluate_every_steps: Positive
    patience_evaluations: Positive | None = None
    keep_best_after_steps: Positive | None = None
    train_max_seconds: Annotated[float, Field(gt=0)] | None = None
    spec_augment: SpecAugment | Literal[False] = False

    @model_validator(mode="after")
    def _grid_is_usable(self) -> Self:
        if not self.learning_rates:
            raise ValueError("learning_rates must not be empty")
        if len(set(self.learning_rates)) != len(self.learning_rates):
            raise ValueError("learning_rates must differ from each other")
        return self


class Target(_Spec):
    """What a CTC head spells: space-separated ``phones``, or ``characters``.

    ``vocabulary``: the tokens, or ``corpus`` for those that occur in the task's own manifests.
    """

    tokens: Literal["phones", "characters"]
    vocabulary: Literal["corpus"] | tuple[str, ...] = "corpus"


class Reference(_Spec):
    """s3prl's values, for the reader and the record; nothing here is executed."""

    downstream: str
    steps: int
    batch_size: int
    learning_rate: float
    note: str = ""


class SuiteOverride(_Spec):
    """Parts of ``[head]`` and ``[protocol]`` that differ on one suite."""

    head: Mapping[str, Any] = {}
    protocol: Mapping[str, Any] = {}


class TaskSpec(_Spec):
    """One task, as its TOML file says."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: str
    version: Positive
    kind: Literal["utterance", "ctc"]
    metric: Literal["accuracy", "per", "wer"]
    aggregate: Literal["corpus", "mean_of_folds"] = "corpus"
    unit: Literal["percent"] = "percent"
    higher_is_better: bool
    target: Target | None = None
    head: Head
    protocol: Protocol
    reference: Reference | None = None
    suites: Mapping[str, SuiteOverride] = {}

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if (self.kind == "ctc") != (self.target is not None):
            raise ValueError("[target] must be given for kind = 'ctc', and for it alone")
        if (self.kind == "utterance") != (self.metric == "accuracy"):
            raise ValueError("kind 'utterance' is scored by accuracy, kind 'ctc' by per or wer")
        if self.higher_is_better != (self.metric == "accuracy"):
            raise ValueError(f"higher_is_better = {self.higher_is_better} is wrong for metric {self.metric!r}")
        if self.kind == "utterance" and self.head.type != "linear":
            raise ValueError("kind 'utterance' takes a head of type 'linear'")
        if (self.kind == "ctc") != (self.protocol.sampling == "length_bucketed"):
            raise ValueError("sampling = 'length_bucketed' must be given for kind = 'ctc', and for it alone")
        return self

    def for_suite(self, suite: str) -> TaskSpec:
        """This task with ``[suites.<suite>]`` merged in; the official settings when there is no such table."""
        override = self.suites.get(suite)
        merged = self.model_dump() | {"suites": {}}
        if override is not None:
            merged["head"] = merged["head"] | dict(override.head)
            merged["protocol"] = merged["protocol"] | dict(override.protocol)
        return _validate(merged, source=f"task {self.name!r}, [suites.{suite}]")


def load_task(name: str) -> TaskSpec:
    """The task ``tasks/<name>.toml``.

    Raises:
        UnknownName: no such task; suggests the nearest.
        SpecError: the file is not valid; names the file, the key and the nearest valid key.
    """
    return load_task_file(catalog.entry("tasks", name))


def load_task_file(path: Path) -> TaskSpec:
    """Reads one task file and checks it, every suite override included.

    Raises:
        SpecError: names the file, the key and the nearest valid key.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SpecError(f"{path}: cannot be read as TOML ({error}).") from error
    spec = _validate(content, source=str(path))
    if spec.name != path.stem:
        raise SpecError(f"{path}: name = {spec.name!r}, but the file says {path.stem!r}. Make them equal.")
    for suite, override in spec.suites.items():
        for table, model in (("head", Head), ("protocol", Protocol)):
            for key in getattr(override, table):
                if key not in model.model_fields:
                    raise SpecError(_unknown_key(str(path), ("suites", suite, table, key), model))
        try:
            spec.for_suite(suite)
        except SpecError as error:
            raise SpecError(f"{path}: {error}") from error
    return spec


def _validate(content: Mapping[str, Any], *, source: str) -> TaskSpec:
    try:
        return TaskSpec.model_validate(content)
    except ValidationError as error:
        # A misspelt key is reported as unknown rather than as the missing key that it was meant to be.
        problem = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        where = tuple(str(part) for part in problem["loc"] if part not in _UNION_MEMBERS)
        if problem["type"] == "extra_forbidden":
            raise SpecError(_unknown_key(source, where, _model_at(where[:-1]))) from error
        key = ".".join(where)
        found = "" if problem["type"] == "missing" or not where else f" (found {problem['input']!r})"
        raise SpecError(f"{source}: {f'key {key!r}: ' if key else ''}{problem['msg']}{found}.") from error


def _unknown_key(source: str, where: tuple[str, ...], model: type[BaseModel] | None) -> str:
    known = sorted(model.model_fields) if model else []
    return f"{source}: unknown key {'.'.join(where)!r}. {suggest(where[-1], known)}Known here: {', '.join(known)}."


def _model_at(where: tuple[str, ...]) -> type[BaseModel] | None:
    """The specification class that a path of keys leads to."""
    model: type[BaseModel] = TaskSpec
    for key in where:
        if key not in model.model_fields:
            continue  # the name of a suite
        candidates = [model.model_fields[key].annotation, *typing.get_args(model.model_fields[key].annotation)]
        nested = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if not nested:
            return None
        model = nested[0]
    return model
