"""Dependencies point one way. Every import, at module level or inside a function, is read from the source."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import skill_bench

PACKAGE = Path(skill_bench.__file__).parent

# What each part may import, besides itself. Parts of one layer that use each other say so here.
BASE = {"errors", "catalog", "schema", "provenance", "record", "efficiency", "layer_similarity", "progress", "specs"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "progress": set(),
    "user_cache": set(),
    "specs": {"errors"},
    "catalog": {"errors"},
    "schema": {"errors"},
    "provenance": {"schema"},
    "record": {"errors", "schema", "provenance"},
    "efficiency": {"schema", "provenance", "record"},
    "layer_similarity": {"schema", "provenance"},
    "report": {"errors", "catalog", "schema", "record", "efficiency", "layer_similarity", "metrics"},
    "tasks": BASE,
    "metrics": BASE,
    "models": BASE,
    "corpora": BASE,
    "features": BASE | {"models", "corpora"},
    "probes": BASE | {"tasks", "metrics", "corpora", "features"},
    "compress": BASE | {"models", "corpora", "features", "measure"},
    "measure": BASE | {"models"},
    "s3prl": BASE | {"models", "corpora", "features"},
    "kinds": BASE | {"tasks", "metrics", "corpora", "features", "probes"},
    "speed": BASE
    | {"tasks", "corpora", "models", "measure", "compress", "features", "probes", "kinds", "s3prl", "evaluate", "plan"},
    "rescore": BASE | {"tasks", "metrics"},
    "run": BASE | {"tasks", "metrics", "corpora", "kinds"},
    "forecast": BASE | {"tasks", "corpora", "features", "measure", "probes", "kinds"},
    "plan": {"record"},
    "cell_record": BASE | {"tasks", "corpora", "kinds", "run", "forecast", "plan"},
    "evaluate": BASE | {"tasks", "corpora", "features", "kinds", "run", "forecast", "plan", "cell_record"},
    "guard": BASE | {"features", "measure", "report", "evaluate", "plan", "cell_record", "user_cache"},
    "evidence": BASE
    | {"tasks", "models", "corpora", "features", "measure", "compress", "evaluate", "plan", "cell_record"},
}
TOP = {"cli", "__main__"}  # may import everything, and nothing imports it


def parts() -> dict[str, list[Path]]:
    """Part -> its Python files; a part is a top-level module or package."""
    found: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if name not in ("__init__", "_bundled"):
            found.setdefault(name, []).append(path)
    return found


def imported(path: Path) -> set[tuple[str, int]]:
    """(part, line) of every import from skill_bench in one file."""
    found = set()
    package = ["skill_bench", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "skill_bench" else [module]
        for name in names:
            head, _, rest = name.partition(".")
            if head == "skill_bench" and rest and not rest.startswith("_"):
                found.add((rest.split(".")[0], getattr(node, "lineno", 0)))
    return found


def test_every_part_has_a_place() -> None:
    assert set(parts()) - set(ALLOWED) - TOP == set(), "say in ALLOWED what the new part may import"
    assert len(parts()) >= 15


def test_the_allowed_imports_have_no_cycle() -> None:
    tuple(TopologicalSorter(ALLOWED).static_order())  # raises CycleError
    assert not any(TOP & allowed for allowed in ALLOWED.values())


@pytest.mark.parametrize("part", sorted(set(ALLOWED)))
def test_imports_point_down(part: str) -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line} imports {other}"
        for path in parts().get(part, [])
        for other, line in sorted(imported(path))
        if other != part and other not in ALLOWED[part]
    ]
    assert wrong == []


def test_imports_are_found() -> None:
    assert {name for name, _ in imported(PACKAGE / "record.py")} == {"errors", "provenance", "schema"}
    assert ("report", 0) not in imported(PACKAGE / "cli" / "run.py")
    assert "report" in {name for name, _ in imported(PACKAGE / "cli" / "run.py")}, "imports inside functions count"


def test_no_torch_is_imported_by_what_must_load_fast() -> None:
    for part in ("errors", "catalog", "schema", "provenance", "record", "efficiency", "layer_similarity", "report"):
        for path in parts()[part]:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not any(name.split(".")[0] in ("torch", "torchaudio", "s3prl") for name in names), path
