"""Finds what people add: tasks/, upstreams/, leaderboard/, in a checkout or in a package; and the suites by name."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from skill_bench.base.errors import SkillBenchError, UnknownName, UsageError

Kind = Literal["tasks", "upstreams", "leaderboard"]
Listed = Literal["tasks", "upstreams"]
"""What has entries by name."""

_PACKAGE = Path(__file__).resolve().parents[1]
_NAME = "[!~.]*"
"""A name begins with neither: an interrupted pip leaves copies with a tilde behind."""
_KINDS = {
    "demo": "synthesised speech, made on first use; needs no data",
    "local": "recordings of your own: --data-root FOLDER with manifests and a suite.toml",
    "superb": "the official corpora: --data-root FOLDER; `skill-bench doctor` says what goes into it",
    "mini": "a fixed part of the official corpora, trained as a local suite",
}
DEFAULT_SUITE = "demo"
"""The one that needs nothing."""
OFFICIAL_SUITES = ("superb", "mini")
"""Read from the official corpora's own layouts."""
_LOCAL = "local"
RECOGNISED = "recognised as"
"""How the note begins that tells of a folder which packaged layout it has."""


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


def layouts() -> dict[str, Path]:
    """The suite.toml files that come with the package, ``corpora/layouts/NAME.toml``: each is a suite of that name."""
    folder = Path(str(files("skill_bench"))) / "corpora" / "layouts"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


@functools.cache
def suites() -> Mapping[str, str]:
    """Every suite that can be run, with what it is."""
    titles = {name: tomllib.loads(path.read_text(encoding="utf-8"))["title"] for name, path in layouts().items()}
    return MappingProxyType(_KINDS | {name: f"{title}: --data-root FOLDER" for name, title in titles.items()})


def is_local(suite: str) -> bool:
    """Whether a suite.toml describes recordings in a folder: the user's own, or a packaged one."""
    return suite == _LOCAL or suite in layouts()


def settings_of(suite: str) -> str:
    """The suite whose settings of a task are taken where the task has none for ``suite``; itself, if no other."""
    return _LOCAL if suite == "mini" or is_local(suite) else suite
