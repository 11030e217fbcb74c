"""An upstream by the name that a user gives it: a folder, through its ``expert.py``, or the Hugging Face hub."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from skill_bench.base import catalog
from skill_bench.base.errors import CheckpointError, MissingExtra, SkillBenchError, SpecError, UsageError
from skill_bench.upstream.expert import from_checkpoint
from skill_bench.upstream.interface import Upstream

HUB_PREFIX = "hf:"
_CONFIGURATION = ["config.json", "preprocessor_config.json", "processor_config.json"]
_SAFE = ["*.safetensors", "*.safetensors.index.json"]
_PICKLED = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_PACKAGE = "skill_bench_upstream_folders"


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
    if name.startswith(HUB_PREFIX):
        return from_hub(name, ckpt, **options).freeze()
    return from_folder(name, ckpt, **options).freeze()


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
    if name.startswith(HUB_PREFIX) or name in catalog.names("upstreams"):
        return load_upstream(name)
    if (path / "upstream.toml").is_file():
        return load_upstream(str(path.resolve()))
    if not path.exists() and path.name == name and not path.suffix:
        return load_upstream(name)
    return from_checkpoint(path.stem, path).freeze()


def from_hub(name: str, ckpt: str | Path | None = None, **options: Any) -> Upstream:
    """The model of a repository, as the upstream ``name``.

    Raises:
        UsageError: not ``hf:ORG/MODEL`` or ``hf:ORG/MODEL@REVISION``, or given together with ``ckpt``.
        CheckpointError: it cannot be fetched, or not be read.
    """
    match = re.fullmatch(rf"{HUB_PREFIX}([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", name)
    if match is None:
        raise UsageError(f"{name!r}: expected hf:ORG/MODEL or hf:ORG/MODEL@REVISION.")
    if ckpt is not None or options:
        given = ", ".join(["ckpt"] if ckpt is not None else sorted(options))
        raise UsageError(f"{name!r} names its own weights: leave out {given}.")
    return from_checkpoint(name.removeprefix(HUB_PREFIX).replace("/", "--"), fetch(match[1], match[2]))


def fetch(repository: str, revision: str | None = None) -> Path:
    """The local folder of a repository's configuration and weights; pickled weights only where there are no others.

    huggingface_hub keeps it in its cache, and with ``HF_HUB_OFFLINE=1`` looks nowhere else.

    Raises:
        CheckpointError: neither in the cache nor to be had.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtra("huggingface_hub", extra="transformers", purpose=f"hf:{repository}") from error
    try:
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=[*_CONFIGURATION, *_SAFE]))
        if not any(folder.glob(_WEIGHTS[0])):
            patterns = [*_CONFIGURATION, *_PICKLED]
            folder = Path(snapshot_download(repository, revision=revision, allow_patterns=patterns))
    except Exception as error:  # network, permission, name: huggingface_hub has a dozen exceptions for them
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"hf:{repository}: cannot be fetched ({type(error).__name__}: {reason}). Check the name and the network; "
            "without one, copy the repository's folder here and give it with --ckpt FOLDER. "
            "HF_HUB_OFFLINE=1 uses what an earlier run has fetched."
        ) from error
    if not any(path for pattern in _WEIGHTS for path in folder.glob(pattern)):
        raise CheckpointError(f"hf:{repository}: holds no weights. Expected {' or '.join(_WEIGHTS)}.")
    return folder


def from_folder(name: str, ckpt: str | Path | None = None, **options: Any) -> Upstream:
    """The upstream ``upstreams/<name>``, or that of the folder whose path ``name`` is.

    Raises:
        UnknownName: no such folder; suggests a near one.
        UsageError: a path that is no upstream folder.
        SpecError: the folder breaks its contract.
    """
    return load_folder(catalog.upstream(name), ckpt, **options)


def load_folder(folder: Path, ckpt: str | Path | None = None, **options: Any) -> Upstream:
    """The upstream of any folder with ``expert.py`` and ``upstream.toml``.

    Raises:
        SpecError: ``expert.py`` is missing, cannot be imported, or gives no :class:`Upstream`.
        CheckpointError: its code raised an error.
    """
    path = folder / "expert.py"
    if not path.is_file():
        raise SpecError(f"{path}: no such file. An upstream folder needs upstream.toml, hubconf.py and expert.py.")
    try:
        module = importlib.import_module(f"{package_of(folder.parent)}.{folder.name}.expert")
    except SkillBenchError:
        raise
    except Exception as error:
        raise SpecError(f"{path}: cannot be imported: {type(error).__name__}: {error}") from error
    expert = getattr(module, "UpstreamExpert", None)
    if expert is None:
        raise SpecError(f"{path}: defines no UpstreamExpert(ckpt=None, **options).")
    try:
        upstream = expert(ckpt=ckpt, **options)
    except SkillBenchError:
        raise
    except Exception as error:  # of code that is not ours: other upstreams of the run go on
        raise CheckpointError(
            f"{path}: UpstreamExpert failed ({type(error).__name__}: {error}). Check the checkpoint, then the code."
        ) from error
    if not isinstance(upstream, Upstream):
        raise SpecError(
            f"{path}: UpstreamExpert gave a {type(upstream).__name__}, "
            "expected a skill_bench.upstream.interface.Upstream."
        )
    return upstream


def package_of(root: Path) -> str:
    """A package whose sub-packages are the folders in ``root``, so that relative imports work in them."""
    root = root.resolve()
    number = 0
    while True:
        name = f"{_PACKAGE}_{number}"
        package = sys.modules.setdefault(name, ModuleType(name))
        if not hasattr(package, "__path__"):
            package.__path__ = [str(root)]
        if list(package.__path__) == [str(root)]:
            return name
        number += 1
