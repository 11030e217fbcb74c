"""Readers of other projects' checkpoints, one module a format; adding a format is adding a module.

Each module has ``NAME`` (what an error message calls the format), ``recognises(source) -> bool`` and
``convert(source) -> Converted``.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Protocol, cast, runtime_checkable

from skill_bench.base.errors import CheckpointError, UnknownFormat, some_keys
from skill_bench.models.convert.shared.foreign import Converted, Source


@runtime_checkable
class Format(Protocol):
    """The contract of a module of this folder."""

    NAME: str

    def recognises(self, source: Source) -> bool:
        """Whether ``source`` looks like this format; cheap, and never raises."""
        ...

    def convert(self, source: Source) -> Converted:
        """Architecture and tensors.

        Raises:
            CheckpointError: of this format, but not usable; says why.
        """
        ...


def formats() -> dict[str, Format]:
    """All formats, by the name of their module."""
    found = {}
    for info in pkgutil.iter_modules(__path__):
        if info.ispkg:  # what readers share
            continue
        module = importlib.import_module(f"{__name__}.{info.name}")
        lacking = [name for name in ("NAME", "recognises", "convert") if not hasattr(module, name)]
        if lacking:
            raise CheckpointError(f"{module.__file__}: a checkpoint format needs {', '.join(lacking)}.")
        found[info.name] = cast("Format", module)
    return found


def find(source: Source) -> tuple[str, Format]:
    """The one format that recognises ``source``, with the name of its module.

    Raises:
        UnknownFormat: none does, or more than one; lists the readable formats and what the file holds.
    """
    known = formats()
    matching = [name for name, fmt in known.items() if fmt.recognises(source)]
    if len(matching) == 1:
        return matching[0], known[matching[0]]
    found = f"found {'files' if source.is_folder else 'keys'}: {some_keys(source.keys())}"
    if matching:
        raise UnknownFormat(f"{source.path}: fits more than one format ({', '.join(matching)}); {found}.")
    readable = "; ".join(["skill-bench (.safetensors)", *(fmt.NAME for fmt in known.values())])
    raise UnknownFormat(f"{source.path}: no reader recognises it; {found}. Readable: {readable}.")
