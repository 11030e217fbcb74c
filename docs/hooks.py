"""Pages that mkdocs makes itself: every command from typer, every module from its docstrings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PARTS = {
    "api": "Python",
    "records": "Records",
    "tasks": "Tasks",
    "upstream": "Upstreams",
    "features": "Features",
    "models": "Models and checkpoints",
    "layers": "Layers of a teacher",
    "pruning": "Pruning",
    "distillation": "Distillation",
    "training": "Training",
    "corpora": "Corpora",
    "evaluation": "Evaluation and kinds of tasks",
    "launch": "Jobs",
    "probes": "Heads",
    "metrics": "Metrics",
    "measure": "Costs",
    "fidelity": "Fidelity",
    "report": "Tables, statistics, page",
    "guard": "Guard",
    "s3prl": "s3prl",
    "base": "Errors, specifications, documents",
}
ALONE = {"tasks": ["tasks"]}


def on_files(files: Files, config: Any) -> Files:
    """Adds the generated pages."""
    files.append(File.generated(config, "reference/cli.md", content=commands()))
    for part, title in PARTS.items():
        files.append(File.generated(config, f"reference/{part}.md", content=modules(part, title)))
    return files


def modules(part: str, title: str) -> str:
    """A page of all modules of one part of the package."""
    package = ROOT / "skill_bench"
    names = [f"skill_bench.{name}" for name in ALONE.get(part, [])] or [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((package / part).rglob("*.py"))
        if path.name not in ("__init__.py", "__main__.py", "sitecustomize.py")
    ]
    if not names:
        raise FileNotFoundError(f"{package / part}: no module to document. Remove it from PARTS in {__file__}.")
    return f"# {title}\n\n" + "\n\n".join(f"## {name}\n\n::: {name}" for name in names) + "\n"


def commands() -> str:
    """The command line as a page. Importing it loads no torch."""
    sys.path.insert(0, str(ROOT))
    from typer.main import get_command

    from skill_bench.cli.main import app

    lines = [
        "# Command line",
        "",
        "Exit code 0: done; 1: something failed; 2: the command cannot be carried out so.",
        "",
    ]
    for name, command in sorted(_leaves("skill-bench", get_command(app))):
        lines += [f"## {name}", "", command.help or "", "", "```", _usage(name, command), "```", ""]
        rows = [row for parameter in command.params if (row := _row(parameter)) is not None]
        if rows:
            lines += ["| option | | default |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _leaves(name: str, command: Any) -> list[tuple[str, Any]]:
    found = getattr(command, "commands", None)
    if found is None:
        return [(name, command)]
    return [leaf for sub, one in found.items() for leaf in _leaves(f"{name} {sub}", one)]


def _usage(name: str, command: Any) -> str:
    arguments = [parameter.name.upper() for parameter in command.params if _is_argument(parameter)]
    return " ".join([name, "[OPTIONS]", *arguments])


def _is_argument(parameter: Any) -> bool:
    return str(parameter.param_type_name) == "argument"


def _row(parameter: Any) -> str | None:
    if parameter.name == "help":
        return None
    name = (
        parameter.name.upper() if _is_argument(parameter) else ", ".join([*parameter.opts, *parameter.secondary_opts])
    )
    default = parameter.default
    shown = "required" if parameter.required else "" if default is None or callable(default) else str(default)
    text = (parameter.help or "").replace("|", "\\|")
    return f"| `{name}` | {text} | {f'`{shown}`' if shown and shown != 'required' else shown} |"
