"""suite.toml: which manifest, which columns and which splits make each task's data.

Example, with every key; only ``manifest`` and ``target`` have no default::

    title = "My corpora"
    synthetic = false
    notes = ["shown and recorded beside every number"]

    [tasks.ks]
    manifest = "commands/manifest.tsv"   # relative to the data root
    audio_root = "commands"              # default: the manifest's folder
    target = "keyword"                   # the column with the label
    target_kind = "label"                # or "phones" or "text"
    speaker = "speaker"                  # the column with the speaker
    keep = { language = ["en"] }         # only lines with these values
    min_seconds = 0.5                    # by the manifest's column seconds
    max_seconds = 20.0
    split = { column = "split", train = ["train"], dev = ["dev"], test = ["test"] }
    silence = { noise = ["commands/noise.wav"], target = "_silence_", seconds = 1.0, train = 90, dev = 30, test = 30 }

    [tasks.er]
    manifest = "emotions/manifest.tsv"
    target = "emotion"
    folds = { column = "session", dev_fraction = 0.2, seed = 0 }   # instead of split

    [tasks.pr]
    manifest = "read/manifest.tsv"
    target = "phones"
    target_kind = "phones"
    phones = { drop = ["|"], strip_stress = true }

    [tasks.asr]
    manifest = "read/manifest.tsv"
    target = "text"
    target_kind = "text"
    text = { remove = ".,?!" }
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from skill_bench.errors import SpecError, suggest


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


Names = Annotated[list[str], Field(min_length=1)]


class Split(_Frozen):
    """Which values of a column mean train, dev and test."""

    column: str = "split"
    train: Names = ["train"]
    dev: Names = ["dev"]
    test: Names = ["test"]

    @model_validator(mode="after")
    def _disjoint(self) -> Split:
        values = [*self.train, *self.dev, *self.test]
        if len(set(values)) < len(values):
            raise ValueError("train, dev and test share a value")
        return self


class Folds(_Frozen):
    """Cross-validation: each value of a column is once the test part; dev is drawn from the rest."""

    column: str
    dev_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    seed: int = 0


class Silence(_Frozen):
    """Utterances cut from noise recordings; train, dev and test cut disjoint stretches of each.

    A count of None means the mean number of utterances of the other labels.
    """

    noise: Names
    target: str = "_silence_"
    seconds: Annotated[float, Field(gt=0.025)] = 1.0
    train: Annotated[int, Field(ge=0)] | None = None
    dev: Annotated[int, Field(ge=0)] | None = None
    test: Annotated[int, Field(ge=0)] | None = None


class Phones(_Frozen):
    """What to do with a column of space-separated phones."""

    drop: list[str] = []
    strip_stress: bool = False


class Text(_Frozen):
    """What to do with a transcript: characters to remove; it is upper-cased and its blanks collapsed anyway."""

    remove: str = ""


class TaskSource(_Frozen):
    """Where one task's utterances come from."""

    manifest: str
    target: str
    audio_root: str | None = None
    target_kind: Literal["label", "phones", "text"] = "label"
    speaker: str | None = None
    keep: dict[str, Names] = {}
    min_seconds: float | None = None
    max_seconds: float | None = None
    split: Split | None = None
    folds: Folds | None = None
    silence: Silence | None = None
    phones: Phones = Phones()
    text: Text = Text()

    @model_validator(mode="after")
    def _consistent(self) -> TaskSource:
        if self.split is not None and self.folds is not None:
            raise ValueError("split and folds exclude each other")
        if self.silence is not None and self.folds is not None:
            raise ValueError("silence needs split, not folds")
        if self.silence is not None and self.target_kind != "label":
            raise ValueError("silence is for target_kind = 'label'")
        return self


class Recognise(_Frozen):
    """Files, relative to a data root, whose presence tells that a packaged layout describes it."""

    files: Names


class SuiteSpec(_Frozen):
    """A whole suite.toml."""

    title: str = ""
    synthetic: bool = False
    notes: list[str] = []
    recognise: Recognise | None = None
    tasks: Annotated[dict[str, TaskSource], Field(min_length=1)]


def read_suite(path: Path) -> SuiteSpec:
    """Reads a suite.toml.

    Raises:
        SpecError: unreadable, not TOML, or with a key or value that is not allowed; names file, key and nearest key.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SpecError(f"{path}: cannot be read as TOML: {error}.") from error
    try:
        return SuiteSpec.model_validate(content)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        # A misspelt key also leaves its proper one missing; the misspelling is what helps.
        first = min(faults, key=lambda fault: fault["type"] != "extra_forbidden")
        raise SpecError(_explain(path, first)) from error


def _explain(path: Path, fault: Any) -> str:
    keys = [str(key) for key in fault["loc"]]
    where = ".".join(keys) or "the file"
    if fault["type"] == "extra_forbidden":
        valid = _keys_at(keys[:-1])
        return f"{path}: unknown key {where!r}. {suggest(keys[-1], valid)}Valid here: {', '.join(valid)}."
    if fault["type"] == "missing":
        return f"{path}: the key {where!r} is missing."
    got = repr(fault.get("input"))
    return f"{path}: {where}: {fault['msg']} (found {got if len(got) < 80 else got[:77] + '...'})."


def _keys_at(keys: list[str]) -> list[str]:
    model: type[BaseModel] = SuiteSpec
    for key in keys:
        if key not in model.model_fields:
            continue  # the name of a task
        nested = list(_models_in(model.model_fields[key].annotation))
        if not nested:
            return []
        model = nested[0]
    return sorted(model.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
