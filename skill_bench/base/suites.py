"""The suites of test data, by name."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

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
