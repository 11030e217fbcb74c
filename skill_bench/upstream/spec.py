"""``upstream.toml``: what an upstream is, as a frozen object.

And where weights are that a user names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from skill_bench.base import catalog
from skill_bench.base.errors import SpecError, UsageError, suggest
from skill_bench.base.places import exists, kind_of
from skill_bench.base.specs import Count, Frozen, Positive, PositiveNumber, read_toml, validate
from skill_bench.records.record import System

NAME_DIGITS = 8
"""How much of a checkpoint's hash is in the name of an upstream that was given other weights than its own."""


class Filterbank(Frozen):
    """Log-mel energies, their deltas, and whether each utterance gets zero mean and unit variance."""

    n_mels: Positive = 80
    frame_length_ms: PositiveNumber = 25.0
    frame_shift_ms: PositiveNumber = 10.0
    delta_order: Count = 2
    delta_window: Annotated[int, Field(ge=3)] = 5
    normalize_utterance: bool


class UpstreamSpec(Frozen):
    """One upstream folder.

    ``encoder``: a model with ``weights`` in the folder. ``untrained``: the model of the ``architecture`` file with
    random weights drawn from ``seed``. ``filterbank``: no model. ``module``: a torch module that ``expert.py`` builds,
    with ``weights`` in the folder or none.

    ``attribution``: whom to name where the weights, or weights made from them, are passed on. ``datasets``: hub ids or
    names of what it heard in training, ``languages``: codes of ISO 639-1.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: str
    kind: Literal["encoder", "untrained", "filterbank", "module"]
    role: Literal["student", "teacher", "baseline", "control", "other"]
    description: str
    licence: str | None = None
    attribution: str | None = None
    datasets: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    weights: str | None = None
    teacher: str | None = None
    architecture: str | None = None
    seed: int | None = None
    filterbank: Filterbank | None = None

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        needed = {"encoder": {"weights"}, "untrained": {"architecture", "seed"}, "filterbank": {"filterbank"}}
        for kind, keys in needed.items():
            for key in sorted(keys):
                if (key, self.kind) == ("weights", "module"):
                    continue
                if (getattr(self, key) is not None) != (kind == self.kind):
                    raise ValueError(f"{key!r} must be given for kind = {kind!r}, and for it alone")
        return self

    def system(self) -> System:
        """The record's view of it; identity and sizes follow from the model."""
        return System(
            name=self.name,
            title=self.title,
            kind=self.role,
            identity="",
            teacher=self.teacher,
            licence=self.licence,
        )


def system_of_weights(name: str, sha256: str, *, metadata: Mapping[str, str], title: str) -> System:
    """Of weights given in the place of an upstream's own, which make another system of it.

    Args:
        name: Of the upstream.
        sha256: Of the weights.
        metadata: What they say of themselves.
        title: Where that says none.
    """
    return System(
        name=f"{name}-{sha256[:NAME_DIGITS]}",
        title=metadata.get("title", title),
        kind=role_of(metadata),
        identity="",
        teacher=metadata.get("teacher"),
    )


def role_of(metadata: Mapping[str, str]) -> Literal["student", "other"]:
    """Of weights, by what they say of themselves: whoever knows a teacher is a student, whatever file it comes in."""
    return "student" if metadata.get("teacher") or metadata.get("teacher_sha256") else "other"


def read_spec(folder: Path) -> UpstreamSpec:
    """The checked ``upstream.toml`` of an upstream's folder.

    Raises:
        SpecError: missing or not valid; names the file, the key and the nearest valid key.
    """
    path = folder / "upstream.toml"
    spec = validate(UpstreamSpec, read_toml(path), source=str(path))
    if spec.name != folder.name:
        raise SpecError(f"{path}: name = {spec.name!r}, but the folder is {folder.name!r}. Make them equal.")
    return spec


def weights(text: str) -> Path:
    """What names weights: a file or folder, or an upstream that comes with skill-bench.

    Raises:
        UsageError: there is no such thing, the upstream has no weights, or the name is a path as well.
    """
    path, known = Path(text), catalog.names("upstreams")
    named = catalog.entry("upstreams", text) if text in known else None
    if named is not None and exists(path) and not path.samefile(named):
        raise UsageError(
            f"{text!r} is {kind_of(path)} here, and an upstream that comes with skill-bench. Write ./{text} for the "
            f"former, {named} for the latter."
        )
    folder = named or path
    if not (folder / "upstream.toml").is_file():
        if not exists(path) or not (path.is_file() or path.is_dir()):
            near = suggest(text, known) if os.sep not in text else ""
            if text.startswith("hf:"):
                raise UsageError(
                    f"{text}: no such checkpoint. Models of the hub are named so with --upstream; here download it, "
                    f"`hf download {text.removeprefix('hf:')} --local-dir FOLDER`, and give the folder."
                )
            raise UsageError(f"{text}: no such checkpoint. Check the path. {near}Bundled: {', '.join(known)}.")
        return path
    spec = read_spec(folder.resolve())
    if spec.weights is None:
        raise UsageError(f"{text}: upstream {spec.name!r} ({spec.kind}) has no weights. Name another one, or a file.")
    return folder / spec.weights
