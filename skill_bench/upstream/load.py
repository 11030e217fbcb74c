"""An upstream by the name that a user gives it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skill_bench.base import catalog
from skill_bench.upstream import folder, hub
from skill_bench.upstream.expert import from_checkpoint
from skill_bench.upstream.interface import Upstream


def load_upstream(name: str, ckpt: str | Path | None = None, **options: Any) -> Upstream:
    """An upstream by name, frozen, on the CPU.

    Args:
        name: A folder of ``upstreams/``, the path of any other such folder, or ``hf:ORG/MODEL``
            (``hf:ORG/MODEL@REVISION``) from the Hugging Face hub.
        ckpt: Weights instead of the bundled ones, for upstreams that have weights: a file or folder in any readable
            format. The name then ends in the first digits of their hash, since it is another system.
        options: Passed on to the upstream's ``UpstreamExpert``.

    Raises:
        UnknownName: no upstream of that name; suggests a near one.
        UsageError: ``ckpt`` for an upstream that takes none, or a faulty upstream folder.
        CheckpointError: weights missing or unreadable.
    """
    if name.startswith(hub.PREFIX):
        return hub.load(name, ckpt, **options).freeze()
    return folder.load(name, ckpt, **options).freeze()


def load_model(name: str) -> Upstream:
    """What a user names where a bundled upstream and a checkpoint will do, frozen, on the CPU.

    Args:
        name: As for :func:`load_upstream`; else a checkpoint, file or folder, in any readable format, which is then
            called by its own name and the first digits of its hash. Names of the catalog come first: ``./skill`` is
            the file.

    Raises:
        UnknownName: no upstream and no file of that name; suggests a near one.
        CheckpointError: weights missing or unreadable.
    """
    path = Path(name).expanduser()
    if name.startswith(hub.PREFIX) or name in catalog.names("upstreams"):
        return load_upstream(name)
    if (path / "upstream.toml").is_file():
        return load_upstream(str(path.resolve()))
    if not path.exists() and path.name == name and not path.suffix:
        return load_upstream(name)
    return from_checkpoint(path.stem, path).freeze()
