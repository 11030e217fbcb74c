"""Distil, evaluate, measure and rank compressed speech self-supervised models.

    import skill_bench as sb

    results = sb.evaluate("skill", tasks=["ks"])
    results.frame, results.predictions["ks"], results.table

The names below are looked up when they are asked for: importing this package loads nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from skill_bench.base import __version__

_PLACES = {
    "evaluate": "skill_bench.api.evaluate",
    "distill": "skill_bench.api.distill",
    "similarity": "skill_bench.api.similarity",
    "export": "skill_bench.api.export",
    "profile": "skill_bench.api.profile",
    "compare": "skill_bench.api.compare",
    "load_results": "skill_bench.api.results",
    "Results": "skill_bench.api.results",
    "SkillBenchError": "skill_bench.base.errors",
}
"""Where each public name is defined; ``__init__.pyi`` says the same to type checkers."""
__all__ = ["__version__", *_PLACES]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}. It has: {', '.join(_PLACES)}.")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
