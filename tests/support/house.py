"""The house as data: every module, its imports and its room. ``python tests/support/house.py`` draws it.

Prints the graph of rooms as Mermaid (with ``--folders`` one node a folder), then the figures of the source.
"""

from __future__ import annotations

import ast
import statistics
import sys
from functools import cache
from pathlib import Path

import skill_bench

PACKAGE = Path(skill_bench.__file__).parent


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if "_bundled" not in parts:
            found[".".join(parts if parts[-1] != "__init__" or len(parts) == 2 else parts[:-1])] = path
    return found


MODULES = modules()


def imported(name: str) -> set[str]:
    """The package's modules that one of them imports: inside functions, for types only, and by name as well."""
    path = MODULES[name]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            base = "skill_bench.__init__" if node.module == "skill_bench" else node.module
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else base or "")
    if any("import_module" in ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call)):
        found |= _by_name(name, tree, found)
    return {other for other in found if other in MODULES} - {name}


def _by_name(name: str, tree: ast.AST, found: set[str]) -> set[str]:
    """What a module loads by `import_module`: the modules that its strings name, and all of a folder that it walks."""
    named = {str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pkgutil.iter_modules":
            alias = ast.unparse(node.args[0]).removesuffix("__path__")  # "readers.", or nothing for its own folder
            package = next(one for one in found if f"{one}.".endswith(f".{alias}")) if alias else name
            named |= {module for module in MODULES if module.rpartition(".")[0] == package}
    return named


@cache
def imports() -> dict[str, set[str]]:
    """Module -> the modules it imports."""
    return {name: imported(name) for name in MODULES}


def room(module: str) -> str:
    """The folder below the package, or the module that lies there itself."""
    return module.split(".")[1]


def folder(module: str) -> str:
    """The folder inside the room; "" for a file that lies in the room itself."""
    parts = MODULES[module].relative_to(PACKAGE).parts
    return parts[1] if len(parts) > 2 else ""


def arrows(*, folders: bool = False) -> set[tuple[str, str]]:
    """Which room imports which; with ``folders`` the same between folders, ``room/folder``."""

    def place(module: str) -> str:
        return "/".join(filter(None, (room(module), folder(module)))) if folders else room(module)

    pairs = {(place(module), place(other)) for module, others in imports().items() for other in others}
    return {(one, other) for one, other in pairs if one != other}


def _figures() -> str:
    lengths, functions = [], {}
    for name, path in MODULES.items():
        text = path.read_text(encoding="utf-8")
        lengths.append(len(text.splitlines()))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions[f"{name}.{node.name}"] = (node.end_lineno or 0) - node.lineno + 1
    longest = max(functions, key=lambda name: functions[name])
    rooms = {room(module) for module in MODULES}
    return (
        f"{len(lengths)} files, {sum(lengths)} lines: median {statistics.median(lengths):g}, longest {max(lengths)}\n"
        f"{len(functions)} functions: median {statistics.median(functions.values()):g} lines, "
        f"longest {functions[longest]} ({longest})\n"
        f"{len(rooms)} rooms, {len(arrows())} arrows between them, {len(arrows(folders=True))} between folders"
    )


if __name__ == "__main__":
    print("graph TD")
    for one, other in sorted(arrows(folders="--folders" in sys.argv)):
        print(f"  {one} --> {other}")
    print(_figures(), file=sys.stderr)
