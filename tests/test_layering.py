"""The floors of the house: an import, at module level or inside a function, leads down, and none in a circle."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter

import pytest
from house import MODULES, folder, imports, room

# From the ground up. A room imports rooms of lower floors only, never one beside it.
FLOORS = (
    {"__init__", "base"},
    {"records", "models", "corpora"},
    {"tasks", "metrics", "upstream", "features", "layers", "pruning", "training", "measure"},
    {"adapters", "probes", "pretraining", "distillation", "fidelity", "report", "s3prl"},
    {"evaluation"},
    {"launch"},
    {"sweep", "guard", "api"},
    {"cli"},
    {"__main__"},
)
# The same inside rooms of several folders; files that lie in no folder are `room/`.
INNER_FLOORS = {
    "report": ({"statistics"}, {"table"}, {"render", ""}),
    "layers": ({"measures"}, {""}),
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


@pytest.mark.parametrize("name", sorted(INNER_FLOORS))
def test_so_do_the_folders_of_a_room(name: str) -> None:
    floors = INNER_FLOORS[name]
    wrong = [
        f"{module} imports {other}"
        for module, others in imports().items()
        if room(module) == name and MODULES[module].name != "__init__.py"
        for other in sorted(others)
        if room(other) == name
        and folder(other) != folder(module)
        and storey(floors, folder(other)) >= storey(floors, folder(module))
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
    assert "skill_bench.__init__" in imports()["skill_bench.cli.main"]
    assert sum(map(len, imports().values())) > 900


def test_no_torch_is_imported_by_what_must_load_fast() -> None:
    for module, path in MODULES.items():
        if room(module) in LIGHT:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not any(name.split(".")[0] in ("torch", "torchaudio", "s3prl") for name in names), path
