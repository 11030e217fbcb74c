"""The leaderboard as one HTML file: opens from disk, loads nothing, runs nothing that is not in it."""

from __future__ import annotations

import base64
import functools
import json
import zlib
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from skill_bench.base import __version__, catalog
from skill_bench.base.documents import write_atomic
from skill_bench.base.errors import RecordError
from skill_bench.base.escape import without_paths
from skill_bench.report.render.layout import columns_of
from skill_bench.report.render.page_data import charts, details, page_data
from skill_bench.report.render.page_items import utterances
from skill_bench.report.render.students import with_problems
from skill_bench.report.table.table import Table

SCRIPTS = ("dom.js", "state.js", "table.js", "beside.js", "details.js", "charts.js", "downloads.js", "main.js")
"""In the order in which they are joined; all of them share one function's scope."""


def write_page(table: Table, folder: Path) -> Path:
    """Writes ``index.html`` into ``folder``: whole in itself, so that it can be sent as it is."""
    return write_atomic(folder / "index.html", render_page(table).encode())


def render_page(table: Table) -> str:
    """The page's text, the same for the same records."""
    table = with_problems(table)
    templates = catalog.folder("leaderboard") / "templates"
    environment = Environment(
        loader=FileSystemLoader(templates), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("index.html").render(
        version=__version__,
        sections=[(section.label, columns_of(section)) for section in table.sections],
        problems=[without_paths(problem) for problem in table.problems],
        style=Markup(_read(templates / "style.css")),
        library=Markup(library()),
        script=Markup("\n".join(_read(templates / name) for name in SCRIPTS)),
        data=embedded(page_data(table, bibliography=bibliography())),
        more=packed({"details": details(table), "charts": charts(table), **utterances(table)}),
    )


@functools.cache
def library() -> str:
    """Vega, Vega-Lite and the interpreter of their expressions, which needs no permission to compile text.

    Raises:
        RecordError: it cannot stand inside a script element.
    """
    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    if "</script" in script.lower() or "<!--" in script:
        raise RecordError(
            "vl-convert's bundle holds a tag that would end its element. Install another vl-convert-python."
        )
    return script


def embedded(value: Any) -> Markup:
    """``value`` as JSON that may stand inside a script element, whatever strings it holds."""
    # "</script>" or "<!--" in a title would end or hide the element; no other character is special there.
    return Markup(_json(value).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def packed(value: Any) -> str:
    """``value`` as JSON, compressed, in base64: what is read when somebody asks for it."""
    return base64.b64encode(zlib.compress(_json(value).encode("utf-8", "surrogatepass"), 9)).decode()


def bibliography() -> str:
    """BibTeX of the papers that the published rows cite.

    Raises:
        RecordError: the file is missing.
    """
    return _read(catalog.folder("leaderboard") / "published" / "sources.bib")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror}). Reinstall skill-bench.") from error
