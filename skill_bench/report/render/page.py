"""The leaderboard as one HTML file: opens from disk, loads nothing, runs nothing that is not in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from skill_bench import __version__
from skill_bench.base import catalog
from skill_bench.base.documents import write_atomic
from skill_bench.base.errors import RecordError
from skill_bench.report.render.layout import columns_of
from skill_bench.report.render.page_data import page_data
from skill_bench.report.render.students import with_problems
from skill_bench.report.table.table import Table

STYLES = ("style.css", "charts.css")
SCRIPTS = ("dom.js", "state.js", "table.js", "details.js", "scales.js", "pareto.js", "bars.js", "heat.js", "curves.js",
           "downloads.js", "main.js")  # fmt: skip
"""In the order in which they are joined; all of them share one function's scope."""


def write_page(table: Table, folder: Path) -> Path:
    """Writes ``index.html`` into ``folder``; links to records are relative to it."""
    return write_atomic(folder / "index.html", render_page(table, folder=folder).encode())


def render_page(table: Table, *, folder: Path) -> str:
    """The page's text, the same for the same records.

    Args:
        folder: where the page will be, which decides the links to the records.
    """
    table = with_problems(table)
    templates = catalog.folder("leaderboard") / "templates"
    environment = Environment(
        loader=FileSystemLoader(templates), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("index.html").render(
        version=__version__,
        sections=[(section.label, columns_of(section)) for section in table.sections],
        problems=table.problems,
        style=Markup("\n".join(_read(templates / name) for name in STYLES)),
        script=Markup("\n".join(_read(templates / name) for name in SCRIPTS)),
        data=embedded(page_data(table, folder=folder, bibliography=bibliography())),
    )


def embedded(value: Any) -> Markup:
    """``value`` as JSON that may stand inside a script element, whatever strings it holds."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # "</script>" or "<!--" in a title would end or hide the element; no other character is special there.
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def bibliography() -> str:
    """BibTeX of the papers that the published rows cite.

    Raises:
        RecordError: the file is missing.
    """
    return _read(catalog.folder("leaderboard") / "published" / "sources.bib")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror}). Reinstall skill-bench.") from error
