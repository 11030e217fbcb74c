"""Commands, links and numbers of README and the pages: what is shown exists.

The notebook's cells, run in order as one program.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import skill_bench
from skill_bench.base.catalog import suites
from skill_bench.cli.main import app
from skill_bench.evaluation.task_files import load_task_file
from skill_bench.report.render.layout import columns_of
from skill_bench.report.table.quantities import MEAN
from skill_bench.report.table.table import Table

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^ *```bash\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
README = (ROOT / "README.md").read_text(encoding="utf-8")
NOTEBOOK = Path(__file__).parents[2] / "docs" / "python.ipynb"


def commands(page: Path) -> list[list[str]]:
    """The words of every ``skill-bench`` command that a page shows."""
    found = []
    for text in FENCE.findall(page.read_text(encoding="utf-8")):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            starts = [i for i, word in enumerate(words) if word == "skill-bench"]
            starts += [i + 1 for i, word in enumerate(words[:-1]) if (word, words[i + 1]) == ("-m", "skill_bench")]
            found += [words[i + 1 :] for i in starts]
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_every_command_that_is_shown_can_be_given(page: Path) -> None:
    for words in commands(page):
        command: Any = get_command(app)
        context = command.make_context("skill-bench", [], resilient_parsing=True)
        while hasattr(command, "commands"):
            name, *words = words
            assert name in command.commands, f"{page}: no command {name}"
            command = command.commands[name]
            context = type(context)(command, info_name=name, parent=context)
        given, rest, _ = command.make_parser(context).parse_args(args=list(words))  # an unknown option is an error
        assert rest == [], f"{page}: {words}"
        lacking = [p.name for p in command.params if p.required and not given.get(p.name)]
        assert lacking == [], f"{page}: {words}"


def test_pages_are_found() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 40
    assert len(commands(ROOT / "README.md")) == 6


def test_the_task_that_is_shown_can_be_read(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "ks.toml").write_text(text)
    assert load_task_file(tmp_path / "ks.toml").kind == "utterance"


def test_all_suites_are_described() -> None:
    (table,) = re.findall(r"\| `--suite` \|.*?\n\n", (ROOT / "docs/how-to/data.md").read_text(), re.DOTALL)
    assert set(re.findall(r"`([\w-]+)`", " ".join(row["`--suite`"] for row in rows_of(table)))) == {*suites()}


def test_every_page_is_linked_from_the_first() -> None:
    pages = re.findall(r"- (?!reference/|index)(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert len(pages) > 15
    assert [page for page in pages if f"({page})" not in (ROOT / "docs/index.md").read_text()] == []


def test_readme_is_short() -> None:
    assert len(README.split()) <= 450


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent == ROOT], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Those below docs are checked where they are built."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []


def rows_of(text: str) -> list[dict[str, str]]:
    """The tables of a page, a row by its headings."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def test_readmes_numbers_are_those_of_the_page(shipped: Table) -> None:
    """With the page's intervals, in its order."""
    first = shipped.sections[0]
    columns = columns_of(first, certainty="half")
    shown = rows_of(README.split("## What came out")[1].split("## ")[0])
    names = [row["system"] for row in shown]
    known = [
        {heading: next(c.texts[i] for c in columns if c.heading == heading) for heading in shown[0]}
        for i, row in enumerate(first.rows)
        if row.title in names
    ]
    assert {"SKILL", "DPHuBERT"} < {*names}
    assert {"rank", "mean"} < {*shown[0]}
    assert shown == known
    speakers = first.rows[0].speaker_intervals[MEAN.name]
    assert f"(± {(speakers.high - speakers.low) / 2:.0f} for other speakers)" in README.replace("\n", " ")


def test_readmes_minutes_are_recorded() -> None:
    """Each with its circumstances, in one table of the documentation."""
    said = README.split("The first installs")[1].split("no GPU")[0]
    found = re.findall(r"\d+ (?:s|minutes|GB)\b", said)
    recorded = [row["takes"] for row in rows_of((ROOT / "docs" / "index.md").read_text().split("## What it takes")[1])]
    assert found == recorded


def test_the_python_that_readme_shows_is_offered() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = set(re.findall(r"\bsb\.(\w+)", code))
    assert names
    assert names <= set(skill_bench.__all__)
    compile(code, "README.md", "exec")


def test_the_citation_names_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {skill_bench.__version__}\n" in text
    assert {"arXiv:2402.16830", "arXiv:2305.17651", "arXiv:2105.01051"} <= set(re.findall(r"arXiv:[\d.]+", text))


@pytest.mark.slow
def test_the_notebook_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    with_demo: Callable[[Path], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(with_demo(tmp_path / "cache" / "skill-bench").parent))
    cells = [
        "".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"
    ]
    assert len(cells) > 5
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(cells):
        exec(compile(cell, f"cell {number}", "exec"), names)
    mine, shipped = names["mine"], names["shipped"]
    assert list(mine.frame["metric"]) == ["accuracy_percent"]
    (value,) = mine.frame["value"]
    (row,) = mine.table[mine.table["origin"] == "run"].to_dict("records")
    assert row["title"] == "log_spectrum"
    assert row["ks_accuracy_percent_low"] < row["ks_accuracy_percent"] == value < row["ks_accuracy_percent_high"]
    assert len(mine.table) > 4, "beside the bundled systems"
    right = names["right"]
    own = shipped.frame.query("system == 'skill' and task == 'ks'")
    assert 100 * right[right["system"] == "skill"]["right"].mean() == pytest.approx(own["value"].item())
    assert len(mine.predictions["ks"]) == mine.frame["n_test"].item()
    assert "6416 parameters" in capsys.readouterr().out
