"""What a checkpoint reader works with: an opened file or folder in, an architecture and our tensors out."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from skill_bench.base.errors import CheckpointError, UnsafeFile
from skill_bench.base.text import read_text
from skill_bench.models.architecture import Architecture
from skill_bench.models.invalid import shown

OWN_MODEL_TYPE, WEIGHTS_FILE = "skill-bench", "model.safetensors"
"""What config.json of a folder around our own file says, and that file's name."""
_SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")


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
        return sorted(key if isinstance(key, str) else shown(key) for key in self.content)

    def json(self, name: str) -> dict[str, Any] | None:
        """The JSON object in file ``name`` of a folder; None when there is no such file.

        Raises:
            CheckpointError: it is no text, or not a JSON object.
        """
        path = self.path / name
        if not path.is_file():
            return None
        try:
            content = json.loads(read_text(path, error=CheckpointError))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{path}: not valid JSON ({error}). Get the file again.") from error
        if not isinstance(content, dict):
            raise CheckpointError(f"{path}: holds a {type(content).__name__}, expected a JSON object.")
        return content


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A foreign checkpoint in our terms; ``tensors`` has exactly the encoder's keys.

    Attributes:
        notes: what the user should know of how it was read.
    """

    architecture: Architecture
    tensors: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def open_source(path: Path) -> Source:
    """Reads a file without ever running code from it.

    Raises:
        CheckpointError: missing, truncated or not a checkpoint.
        UnsafeFile: a pickle that asks for more than tensors and plain containers.
    """
    try:
        return _open(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}). Check its permissions.") from error


def _open(path: Path) -> Source:
    if path.is_dir():
        files = [file for file in path.iterdir() if file.suffix in _SUFFIXES]
        # A folder around one file is that file; one with a configuration is a format of its own.
        if len(files) != 1 or (path / "config.json").exists():
            folder = Source(path=path, content={}, is_folder=True)
            if (folder.json("config.json") or {}).get("model_type") != OWN_MODEL_TYPE:
                return folder
            files = [path / WEIGHTS_FILE]
        path = files[0]
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint. Check the path.")
    if path.suffix == ".onnx":
        raise CheckpointError(
            f"{path}: an ONNX graph can be run, not read as a checkpoint. Score it with `skill-bench run --upstream "
            "NAME --ckpt FILE.onnx`; for everything else give the checkpoint that it was exported from."
        )
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
    _require_whole(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        if asked is None:
            raise _unreadable(path, error) from error
        raise UnsafeFile(
            f"{path}: refused, because reading it would run code: it asks for {asked.group(1)!r}, and only tensors "
            f"and plain containers are read. {_ADVICE}"
        ) from error
    except Exception as error:  # damaged pickles and archives raise nearly anything
        raise _unreadable(path, error) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, expected a dict. Save a state_dict instead.")
    return Source(path=path, content=content)


_ADVICE = (
    "If you trust its origin, load it once where it was made and save {'state_dict': ..., 'config': ...} of tensors, "
    "numbers, strings, lists and dicts alone: the model's state_dict(), and the configuration it was made with "
    "(fairseq: vars(args), or OmegaConf.to_container(cfg, enum_to_str=True); DPHuBERT: its own config). A model of "
    "transformers: save_pretrained; one of torchaudio: its state_dict() without a configuration."
)


def _require_whole(path: Path) -> None:
    """torch.save stores its parts as they are; compressed ones could unfold to more than fits into memory. It writes
    checksums, if it is not told otherwise, and torch.load looks at none: changed weights would be another model's."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            packed = [part.filename for part in parts if part.compress_type != zipfile.ZIP_STORED]
            changed = None if packed or not any(part.CRC for part in parts) else archive.testzip()
    except Exception as error:  # damaged archives raise nearly anything
        raise _unreadable(path, error) from error
    if packed:
        raise CheckpointError(
            f"{path}: {shown(packed[0])} in it is compressed, which torch.save never does. Unpack the archive, or save "
            "the model again."
        )
    if changed is not None:
        raise CheckpointError(f"{path}: {shown(changed)} in it does not fit its checksum: damaged. Get the file again.")


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
    if isinstance(error, pickle.UnpicklingError | IndexError | EOFError):  # torch's advice would be to run its code
        reason = "no file of torch.save"
    return CheckpointError(
        f"{path}: cannot be read as a checkpoint ({reason}); truncated, damaged, or not one. Get the file again."
    )
