"""The floors of the house: an import, at module level or inside a function, leads down, and none in a circle."""

from __future__ import annotations

import ast
import shutil
import subprocess
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from house import MODULES, PACKAGE, imports, room

# From the ground up. A room imports rooms of lower floors only, never one beside it.
FLOORS = (
    {"base"},
    {"records", "models", "corpora"},
    {"tasks", "metrics", "upstream", "features", "layers", "pruning", "training", "measure"},
    {"adapters", "probes", "pretraining", "distillation", "fidelity", "report", "s3prl"},
    {"evaluation"},
    {"launch"},
    {"sweep", "guard", "api"},
    {"cli", "__init__"},
    {"__main__"},
)
# The same inside rooms: of a folder, or of a file or an inner folder that is named; "" are files that are not.
INNER_FLOORS = {
    "models": (
        {""},
        {"convert/shared"},
        {"export/dphubert", "export/onnx"},
        {"convert", "runtime", "onnx_file"},
        {"checkpoint"},
        {"export"},
    ),
    "corpora": (
        {"data", "described/tables", "synthetic/rendered"},
        {"audio"},
        {"described"},
        {"listing", "official"},
        {"synthetic"},
        {"load"},
    ),
    "upstream": (
        {"spec", "interface"},
        {"encoder", "filterbank", "module", "origin"},
        {"graph", "called"},
        {"expert"},
        {"load", "scaffold"},
        {"contract"},
    ),
    "layers": ({"measures"}, {""}),
    "report": ({"statistics"}, {"table"}, {"render", ""}),
    "s3prl": ({""}, {"compat"}, {"children"}),
    "evaluation": ({"solving"}, {"kinds"}, {""}),
    "sweep": ({""}, {"report"}),
}
LIGHT = ("base", "records", "report")
"""Rooms that load without torch."""


def storey(floors: tuple[set[str], ...], name: str) -> int:
    return next(number for number, floor in enumerate(floors) if name in floor)


def test_every_room_has_a_floor() -> None:
    rooms = {room(module) for module in MODULES}
    assert rooms == set().union(*FLOORS), "say in FLOORS where the new room stands"
    assert sum(map(len, FLOORS)) == len(rooms)


@pytest.mark.parametrize("name", sorted(set().union(*FLOORS)))
def test_a_room_imports_lower_floors_only(name: str) -> None:
    wrong = [
        f"{module} imports {other}"
        for module in MODULES
        if room(module) == name
        for other in sorted(imports()[module])
        if room(other) != name and storey(FLOORS, room(other)) >= storey(FLOORS, name)
    ]
    assert wrong == []


def inner(module: str) -> str:
    """Where a module stands in INNER_FLOORS: under its own name, or that of a folder around it."""
    known = set().union(*INNER_FLOORS[room(module)])
    parts = MODULES[module].relative_to(PACKAGE / room(module)).with_suffix("").parts
    around = ("/".join(parts[:n]) for n in range(len(parts), -1, -1))
    return next((place for place in around if place in known), "/".join(parts))


@pytest.mark.parametrize("name", sorted(INNER_FLOORS))
def test_so_do_the_places_in_a_room(name: str) -> None:
    floors, own = INNER_FLOORS[name], [one for one in MODULES if room(one) == name and one.count(".") > 1]
    assert {inner(module) for module in own} == set().union(*floors)
    wrong = [
        f"{module} imports {other}"
        for module in own
        for other in sorted(imports()[module])
        if other in own
        and inner(other) != inner(module)
        and storey(floors, inner(other)) >= storey(floors, inner(module))
    ]
    assert wrong == []


def test_no_module_imports_itself_by_a_detour() -> None:
    try:
        tuple(TopologicalSorter(imports()).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def test_imports_are_found() -> None:
    lazy = imports()["skill_bench.cli.run"]
    assert any(name.startswith("skill_bench.report") for name in lazy), "imports inside functions count"
    assert "skill_bench.api.results" in imports()["skill_bench.__init__"], "so do names that are looked up"
    assert "skill_bench.evaluation.kinds.ctc" in imports()["skill_bench.evaluation.kinds"], "and folders of plug-ins"
    assert "skill_bench.corpora.official.readers.iemocap" in imports()["skill_bench.corpora.official.doctor"]
    assert sum(map(len, imports().values())) > 900


def test_the_repository_stays_small() -> None:
    root = Path(__file__).parents[1]
    if not (root / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no checkout with git")
    listed = ["git", "-c", f"safe.directory={root}", "ls-files"]
    tracked = subprocess.run(listed, cwd=root, check=True, capture_output=True, text=True).stdout.splitlines()
    assert 0 < len(tracked) <= 700, "records are one archive a suite (`results pack`), tests of one subject one file"


def test_no_torch_is_imported_by_what_must_load_fast() -> None:
    for module, path in MODULES.items():
        if room(module) in LIGHT:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not any(name.split(".")[0] in ("torch", "torchaudio", "s3prl") for name in names), path
