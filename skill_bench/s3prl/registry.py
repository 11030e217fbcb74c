"""Puts upstream folders (hubconf.py + expert.py, s3prl's two-file contract) into ``s3prl.hub``."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skill_bench.base import catalog
from skill_bench.base.errors import SkillBenchError
from skill_bench.upstream.load import package_of

_ours: set[str] = set()


def register(folder: Path | None = None) -> list[str]:
    """Make every upstream folder an entry of ``s3prl.hub``; returns the names added or renewed, sorted.

    Two places are looked through: the catalog's ``upstreams/``, then ``s3prl/upstream/``, where a copied folder that
    has an ``upstream.toml`` is added although s3prl's own hub.py does not list it.
    A name that s3prl itself has (``fbank``) stays s3prl's.

    Args:
        folder: look through this folder instead of the catalog's.

    Raises:
        SkillBenchError: a folder whose hubconf.py cannot be imported, or lacks the function named as the folder.
    """
    hub = importlib.import_module("s3prl.hub")
    root = folder or catalog.folder("upstreams")
    names = catalog.names("upstreams") if folder is None else catalog.upstreams_in(folder)
    entries: dict[str, Callable[..., Any]] = {}
    for name in names:
        entries |= _entries(root / name, package=package_of(root))
    theirs = Path(inspect.getfile(hub)).parent / "upstream"
    for name in catalog.upstreams_in(theirs):
        entries |= _entries(theirs / name, package="s3prl.upstream")
    added = [name for name in sorted(entries) if name in _ours or not callable(getattr(hub, name, None))]
    for name in added:
        setattr(hub, name, entries[name])
    _ours.update(added)
    return added


def _entries(folder: Path, *, package: str) -> dict[str, Callable[..., Any]]:
    """The public functions that ``folder/hubconf.py`` itself defines."""
    name = f"{package}.{folder.name}.hubconf"
    try:
        module = importlib.import_module(name)
    except Exception as error:
        raise SkillBenchError(
            f"{folder / 'hubconf.py'}: cannot be imported: {type(error).__name__}: {error}"
        ) from error
    found: dict[str, Callable[..., Any]] = {
        key: value
        for key, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == name and not key.startswith("_")
    }
    if folder.name not in found:
        raise SkillBenchError(
            f"{folder / 'hubconf.py'}: defines {', '.join(sorted(found)) or 'no function'}, "
            f"expected a function {folder.name!r} that returns the upstream."
        )
    return found
