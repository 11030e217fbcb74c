"""What a checkpoint reader works with: an opened file or folder in, an architecture and our tensors out."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from skill_bench.base.errors import CheckpointError, KeyMismatch, UnsafeFile
from skill_bench.models.architecture import Architecture
from skill_bench.models.encoder import Encoder

OWN_MODEL_TYPE, WEIGHTS_FILE = "skill-bench", "model.safetensors"
"""What config.json of a folder around our own file says, and that file's name."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A checkpoint as found on disk.

    Attributes:
        content: the object in a pickle, or the tensors of a safetensors file; empty for a folder.
        metadata: the strings in the header of a safetensors file.
        is_folder: whether ``path`` is a folder; its files are read by :meth:`json` and :func:`open_source`.
    """

    path: Path
    content: Mapping[str, Any]
    metadata: Mapping[str, str] = field(default_factory=dict)
    is_folder: bool = False

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors at the top level."""
        return {key: value for key, value in self.content.items() if isinstance(value, Tensor)}

    def keys(self) -> list[str]:
        """What a message about an unknown file shows: top-level keys, or names of files."""
        if self.is_folder:
            return sorted(path.name for path in self.path.iterdir())
        return sorted(str(key) for key in self.content)

    def json(self, name: str) -> dict[str, Any] | None:
        """The JSON object in file ``name`` of a folder; None when there is no such file.

        Raises:
            CheckpointError: it is not a JSON object.
        """
        path = self.path / name
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CheckpointError(f"{path}: not valid JSON ({error}). Get the file again.") from error
        if not isinstance(content, dict):
            raise CheckpointError(f"{path}: holds a {type(content).__name__}, expected a JSON object.")
        return content


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A foreign checkpoint in our terms; ``tensors`` has exactly the encoder's keys."""

    architecture: Architecture
    tensors: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)


def open_source(path: Path) -> Source:
    """Reads a file without ever running code from it.

    Raises:
        CheckpointError: missing, truncated or not a checkpoint.
        UnsafeFile: a pickle that asks for more than tensors and plain containers.
    """
    if path.is_dir():
        files = [file for file in path.iterdir() if file.suffix in (".safetensors", ".pt", ".pth", ".ckpt")]
        # A folder around one file is that file; one with a configuration is a format of its own.
        if len(files) != 1 or (path / "config.json").exists():
            folder = Source(path=path, content={}, is_folder=True)
            if (folder.json("config.json") or {}).get("model_type") != OWN_MODEL_TYPE:
                return folder
            files = [path / WEIGHTS_FILE]
        path = files[0]
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint. Check the path.")
    if path.suffix == ".safetensors":
        return _open_safetensors(path)
    return _open_pickle(path)


def _open_safetensors(path: Path) -> Source:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
            return Source(path=path, content=tensors, metadata=file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: cannot be read as safetensors ({error}); truncated or damaged. Get the file again."
        ) from error


def _open_pickle(path: Path) -> Source:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        if asked is None:
            raise _unreadable(path, error) from error
        raise UnsafeFile(
            f"{path}: refused, because reading it would run code: it asks for {asked.group(1)!r}, and only tensors "
            "and plain containers are read. If you trust its origin, load it once where it was made and save "
            "{'state_dict': ..., 'config': ...} of tensors, numbers, strings, lists and dicts alone."
        ) from error
    except Exception as error:  # damaged pickles and archives raise nearly anything
        raise _unreadable(path, error) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, expected a dict. Save a state_dict instead.")
    return Source(path=path, content=content)


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
    if isinstance(error, pickle.UnpicklingError | IndexError | EOFError):  # torch's advice would be to run its code
        reason = "no file of torch.save"
    return CheckpointError(
        f"{path}: cannot be read as a checkpoint ({reason}); truncated, damaged, or not one. Get the file again."
    )


def rename(
    tensors: Mapping[str, Tensor],
    architecture: Architecture,
    foreign_name: Callable[[str], str],
    *,
    source: str,
    may_drop: Iterable[str] = (),
) -> dict[str, Tensor]:
    """``tensors`` under our names, float32; nothing is left out in silence.

    Args:
        foreign_name: our parameter's name -> its name in ``tensors``.
        may_drop: regular expressions (of whole names) of what is allowed to be left over: mask embeddings, heads.

    Raises:
        KeyMismatch: a name is missing, or left over and not allowed to be; in the names of the file.
        CheckpointError: a tensor of another shape than the architecture's.
    """
    shapes = expected_shapes(architecture)
    names = {ours: foreign_name(ours) for ours in shapes}
    allowed = re.compile("|".join(f"(?:{pattern})" for pattern in may_drop) or r"(?!)")
    unexpected = [key for key in tensors if key not in set(names.values()) and not allowed.fullmatch(key)]
    missing = [key for key in names.values() if key not in tensors]
    if missing or unexpected:
        raise KeyMismatch(source, missing=missing, unexpected=unexpected)
    renamed = {}
    for ours, theirs in names.items():
        tensor = tensors[theirs]
        # The gate's scale is stored as (1, heads, 1, 1), otherwise only the size of a 1 may differ.
        if tuple(n for n in tensor.shape if n != 1) != tuple(n for n in shapes[ours] if n != 1):
            raise CheckpointError(
                f"{source}: {theirs} has shape {tuple(tensor.shape)}, the architecture needs {shapes[ours]}. "
                "Check that configuration and weights come from the same model."
            )
        renamed[ours] = tensor.reshape(shapes[ours]).to(torch.float32)
    return renamed


def expected_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the parameters of an encoder, without allocating them."""
    with torch.device("meta"):
        encoder = Encoder(architecture)
    return {name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}


def modern_weight_norm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``weight_g`` and ``weight_v`` (before torch 2.0) under the names of ``torch.nn.utils.parametrizations``."""
    return {
        re.sub(r"\.weight_([gv])$", lambda m: f".parametrizations.weight.original{'gv'.index(m[1])}", key): value
        for key, value in tensors.items()
    }


def without_prefix(tensors: Mapping[str, Tensor], prefixes: Iterable[str], *, source: str) -> dict[str, Tensor]:
    """Takes ``prefixes``, in order, off the keys that have them; other keys stay as they are.

    Raises:
        CheckpointError: two keys become one.
    """
    names = {key: key for key in tensors}
    for prefix in prefixes:
        names = {key: name.removeprefix(prefix) for key, name in names.items()}
    stripped = {names[key]: tensor for key, tensor in tensors.items()}
    if len(stripped) < len(tensors):
        raise CheckpointError(f"{source}: holds some weights with and without a prefix of {', '.join(prefixes)}.")
    return stripped


def config_value(config: Mapping[str, Any], key: str, *, source: str) -> Any:
    """``config[key]``.

    Raises:
        CheckpointError: there is none.
    """
    if key not in config:
        raise CheckpointError(f"{source}: its configuration has no {key!r}. Found: {', '.join(map(str, config))}.")
    return config[key]


def require(config: Mapping[str, Any], allowed: Mapping[str, tuple[Any, ...]], *, source: str) -> None:
    """Checks options that change the computation and that the encoder has one value for; absent = the first allowed.

    Raises:
        CheckpointError: another value.
    """
    for key, values in allowed.items():
        if config.get(key, values[0]) not in values:
            expected = " or ".join(repr(value) for value in values)
            raise CheckpointError(f"{source}: {key} = {config[key]!r} is not supported, only {expected}.")
