"""Features on disk: one file an utterance, written atomically, checked when read.

Layout: ``<root>/<identity, 16 hex>/<policy>/<first 2 hex of key>/<key>.safetensors``. The sub-folders keep every
folder small for corpora of millions of utterances; deleting a folder deletes one model's or one policy's features.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from skill_bench.errors import SkillBenchError

_TENSOR = "features"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One utterance's features and what its audio file was before conversion."""

    features: Tensor
    original_rate_hz: int
    original_channels: int


class FeatureCache:
    """The entries of one model under one policy.

    Args:
        root: Folder of all caches.
        identity: The model's identity (`Upstream.identity`).
        policy: What was extracted and how, as a folder name.
    """

    def __init__(self, *, root: Path, identity: str, policy: str) -> None:
        if not identity:
            raise ValueError("an upstream without identity cannot be cached")
        self.folder = root / hashlib.sha256(identity.encode()).hexdigest()[:16] / policy

    def path(self, key: str) -> Path:
        """Where the entry of ``key`` (hex) lies, whether it exists or not."""
        return self.folder / key[:2] / f"{key}.safetensors"

    def read(self, key: str) -> Entry | None:
        """The entry, or None if it is absent or damaged; a damaged file is removed."""
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                features: Tensor = file.get_tensor(_TENSOR)
                metadata = json.loads(file.metadata()["entry"])
            checksum = metadata.pop("checksum")
            entry = Entry(features=features, **metadata)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            checksum, entry = None, None
        if entry is None or checksum != _checksum(entry):
            path.unlink(missing_ok=True)
            return None
        return entry

    def open(self, key: str) -> Tensor:
        """The features of an entry that `read` has already checked in this process."""
        with safe_open(self.path(key), framework="pt") as file:
            features: Tensor = file.get_tensor(_TENSOR)
        return features

    def write(self, key: str, entry: Entry) -> None:
        """Stores an entry; a reader sees the whole file or none.

        Raises:
            SkillBenchError: the file cannot be written (disk full, no permission).
        """
        path = self.path(key)
        metadata = {
            "original_rate_hz": entry.original_rate_hz,
            "original_channels": entry.original_channels,
            "checksum": _checksum(entry),
        }
        content = save({_TENSOR: entry.features.contiguous()}, metadata={"entry": json.dumps(metadata)})
        temporary: str | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(temporary, path)
            temporary = None
        except OSError as error:
            raise SkillBenchError(
                f"{path}: features cannot be stored ({error.strerror or error}). "
                "Free disk space, or choose another cache folder."
            ) from error
        finally:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)


def _checksum(entry: Entry) -> str:
    header = f"{tuple(entry.features.shape)} {entry.features.dtype} {entry.original_rate_hz} {entry.original_channels}"
    data = entry.features.contiguous().numpy().data.cast("B")
    return f"{zlib.crc32(data, zlib.crc32(header.encode())):08x}"
