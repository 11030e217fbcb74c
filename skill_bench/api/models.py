"""What may be called a model from Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from torch import nn

from skill_bench.base.errors import UsageError
from skill_bench.upstream.called import upstream_of
from skill_bench.upstream.interface import Upstream
from skill_bench.upstream.load import load_model, load_upstream

Model: TypeAlias = str | Path | Upstream | nn.Module | Callable[..., Any]
"""A name of ``skill-bench list``, ``hf:ORG/MODEL``, the path of an upstream folder or of a checkpoint in any readable
format; a torch module, or any function, that takes a ``(1, samples)`` waveform at 16 kHz and gives hidden states."""


def as_upstream(
    model: Model,
    *,
    ckpt: str | Path | None = None,
    name: str | None = None,
    downsample_rate: int | None = None,
    device: str | None = None,
) -> Upstream:
    """The model behind the one interface; a module stays where it is unless ``device`` says otherwise.

    Raises:
        UsageError: options that this kind of model does not have, or see `skill_bench.upstream.called.upstream_of`.
        UnknownName: no upstream and no file of that name.
        CheckpointError: weights that cannot be read.
    """
    if not isinstance(model, Upstream | str | Path) and callable(model):
        if ckpt is not None:
            raise UsageError("ckpt= belongs to a named upstream; load the weights into the module instead.")
        made: Upstream = upstream_of(model, name=name, downsample_rate=downsample_rate)
    elif name is not None or downsample_rate is not None:
        raise UsageError("name= and downsample_rate= belong to modules and functions; an upstream says its own.")
    elif isinstance(model, Upstream):
        made = model
    elif isinstance(model, str | Path):
        made = load_model(str(model)) if ckpt is None else load_upstream(str(model), ckpt)
    else:
        raise UsageError(
            f"{type(model).__name__} is no model. Expected the name of an upstream, a path, a torch module, or a "
            "function of a waveform."
        )
    return made if device is None else made.to(device)


@contextmanager
def borrowed(model: Model) -> Iterator[None]:
    """Afterwards each part of a module is in training mode if it was before."""
    modes = {part: part.training for part in model.modules()} if isinstance(model, nn.Module) else {}
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training
