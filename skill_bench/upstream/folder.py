"""Loads an upstream from its folder, in the catalog or elsewhere, through the folder's own ``expert.py``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from skill_bench.base import catalog
from skill_bench.base.errors import CheckpointError, SkillBenchError, SpecError
from skill_bench.upstream.interface import Upstream

_PACKAGE = "skill_bench_upstream_folders"


def load(name: str, ckpt: str | Path | None = None, **options: Any) -> Upstream:
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
