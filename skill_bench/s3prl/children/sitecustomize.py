"""Python runs this at the start of every child of a process that imported `skill_bench.s3prl`, by PYTHONPATH.

joblib's workers are given functions of s3prl: they import s3prl, or torchaudio alone where the function came by value.
Both are to be there as in the parent. A process that imports neither loads nothing here but one small file.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_HERE = Path(__file__).parent


def _complete_s3prl() -> None:
    spec = spec_from_file_location("_skill_bench_after_import", _HERE.parent / "after_import.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("torchaudio", "s3prl"):
        module.after_import(name, _apply)


def _apply() -> None:
    if "skill_bench.s3prl" not in sys.modules:  # else whoever imports it applies it, and may be half-way there
        from skill_bench.s3prl.compat import apply

        apply()


def _run_the_next() -> None:
    """The sitecustomize that this one hides, if there is one."""
    elsewhere = [entry for entry in sys.path if Path(entry or ".").resolve() != _HERE.resolve()]
    spec = PathFinder.find_spec("sitecustomize", elsewhere)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


_complete_s3prl()
_run_the_next()
