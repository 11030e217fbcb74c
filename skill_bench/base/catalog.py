"""Finds what people add: tasks/, upstreams/, leaderboard/, in a checkout or in an installed package."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from skill_bench.base.errors import SkillBenchError, UnknownName, UsageError

Kind = Literal["tasks", "upstreams", "leaderboard"]
Listed = Literal["tasks", "upstreams"]
"""What has entries by name."""

_PACKAGE = Path(__file__).resolve().parents[1]
_NAME = "[!~.]*"
"""A name begins with neither: an interrupted pip leaves copies with a tilde behind."""


def folder(kind: Kind) -> Path:
    """The folder of ``kind``: the installed copy, else the checkout's.

    Raises:
        SkillBenchError: neither exists (a broken installation); names both places.
    """
    bundled, checkout = _PACKAGE / "_bundled" / kind, _PACKAGE.parent / kind
    for candidate in (bundled, checkout):
        if candidate.is_dir():
            return candidate
    raise SkillBenchError(f"no folder {kind!r}: looked for {bundled} and {checkout}. Reinstall skill-bench.")


def names(kind: Listed) -> list[str]:
    """Sorted names: ``tasks/<name>.toml`` or ``upstreams/<name>/upstream.toml``.

    Raises:
        SkillBenchError: the folder holds none, which is never right.
    """
    root = folder(kind)
    found = sorted(p.stem for p in root.glob(f"{_NAME}.toml")) if kind == "tasks" else upstreams_in(root)
    if not found:
        raise SkillBenchError(f"{root} holds no {kind}. Reinstall skill-bench.")
    return found


def upstreams_in(root: Path) -> list[str]:
    """Sorted names of the folders in ``root`` that hold an ``upstream.toml``."""
    return sorted(path.parent.name for path in root.glob(f"{_NAME}/upstream.toml"))


def entry(kind: Listed, name: str) -> Path:
    """The file of a task, or the folder of an upstream.

    Raises:
        UnknownName: no such entry; suggests a near one.
    """
    known = names(kind)
    if name not in known:
        raise UnknownName(kind.removesuffix("s"), name, known)
    return folder(kind) / (f"{name}.toml" if kind == "tasks" else name)


def upstream(name: str) -> Path:
    """The folder of an upstream: a name of the catalog, or the path of any other folder (``./mine``, ``work/mine``).

    Raises:
        UnknownName: neither; suggests a near name.
        UsageError: a path without an ``upstream.toml``.
    """
    if "/" not in name and "\\" not in name:
        return entry("upstreams", name)
    folder_at = Path(name).expanduser().resolve()
    if not (folder_at / "upstream.toml").is_file():
        raise UsageError(
            f"{name}: holds no upstream.toml, so it is no upstream folder. `skill-bench upstream new NAME` makes one; "
            "weights alone go through --upstream skill --ckpt FILE_OR_FOLDER."
        )
    return folder_at


def benchmarks() -> Path:
    """The folder of the speed contests: of the checkout that this code runs from, or of one that is the current folder.

    Raises:
        UsageError: neither; the contests do not come with the installed package.
    """
    for checkout in (_PACKAGE.parent, Path.cwd()):
        if (checkout / "benchmarks/speed/items.py").is_file() and (checkout / "skill_bench/__init__.py").is_file():
            return checkout / "benchmarks"
    raise UsageError(
        f"no benchmarks: looked in {_PACKAGE.parent} and {Path.cwd()}. They come with a checkout of skill-bench, not "
        "with the installed package; run `skill-bench bench` in the checkout's folder."
    )
