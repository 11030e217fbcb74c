"""CSV, Markdown and console say the same numbers, and name what was left out.

Curves of a training from its logs.
"""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from rich.console import Console

from skill_bench.base import catalog
from skill_bench.base.errors import DataError, UsageError
from skill_bench.records.record import Metric, Selection
from skill_bench.report.render.curves import draw, read_log, write_curves
from skill_bench.report.render.figures import write_figures
from skill_bench.report.render.frame import to_frame
from skill_bench.report.render.page_data import page_data
from skill_bench.report.render.render import markdown, write_tables
from skill_bench.report.render.terminal import print_section, show
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import Collection, collect
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.load import load_table
from skill_bench.report.table.published import published_rows
from skill_bench.report.table.quantities import MEAN


@pytest.fixture
def out(tmp_path: Path, make_record: Any, make_profile: Any) -> Path:
    for seed, numerator in enumerate((70, 81)):
        make_record(numerator=numerator, seed=seed).save(tmp_path)
    make_record(task="pr", numerator=None).save(tmp_path)
    profile = make_profile()
    profile.write(profile.path(tmp_path, "demo"))
    return tmp_path


def console() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=200, force_terminal=False), text


def test_collects_records_and_profiles(out: Path) -> None:
    found = collect(out)
    assert (len(found.records), len(found.profiles), found.problems) == (3, 1, ())


def test_a_damaged_file_is_named_and_the_others_are_shown(out: Path) -> None:
    (out / "demo" / "skill" / "er-s0.json").write_text("{")
    found = collect(out)
    assert len(found.records) == 3
    assert len(found.problems) == 1
    assert "er-s0.json: not valid JSON" in found.problems[0]
    assert "## Problems" in markdown(build([found]))
    assert "er-s0.json: not valid JSON" in markdown(build([found]))


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        collect(tmp_path / "gone")


@pytest.mark.parametrize(
    ("given", "right"),
    [("demo", "."), ("demo/skill", "."), ("..", "out"), ("../..", "../out")],
)
def test_a_folder_above_or_below_the_records_is_said(
    given: str, right: str, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "a" / "b" / "out"
    place.parent.mkdir(parents=True)
    (out / "demo").rename(tmp_path / "moved")
    place.mkdir()
    (tmp_path / "moved").rename(place / "demo")
    monkeypatch.chdir(place)
    with pytest.raises(
        UsageError, match=r"holds no record at SUITE/UPSTREAM/TASK-sN.json, .* does\. Name that"
    ) as raised:
        collect(Path(given))
    named = re.search(r"json, (.*) does", str(raised.value))
    assert named is not None
    assert len(collect(Path(named[1])).records) == 3


def test_a_folder_without_any_record_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b.json").write_text("{}")
    assert collect(tmp_path) == Collection(origin="run", folder=tmp_path)


def test_markdown(out: Path) -> None:
    published, _ = published_rows(catalog.folder("leaderboard") / "published")
    lines = markdown(build([collect(out)], published)).splitlines()
    assert lines[0] == "## demo (recorded speech), protocol strict"
    heading, cells = ([cell.strip() for cell in lines[n].strip("|").split("|")] for n in (2, 4))
    found = dict(zip(heading, cells, strict=True))
    assert found == {
        "system": "Skill",
        "source": "measured",
        "KS acc % ↑": "75.50",
        "params M": "2.50",
        "MACs G": "4.0",
        "audio s/s": "50",
        "peak MiB": "2",
    }
    assert "- Skill: pr seed 0 failed: AudioError: a.wav: empty" in lines
    assert "## superb, as published" in lines


def test_character_error_rates_stand_behind_what_judges(make_record: Any) -> None:
    def rates(task: str, metric: str, value: int) -> Any:
        found = {
            metric: Metric.percent(value, 100, higher_is_better=metric == "f1"),
            "cer": Metric.percent(60, 100, higher_is_better=False),
            "other": Metric.percent(1, 100, higher_is_better=False),
        }
        return make_record(task=task, metric=metric, metrics=found)

    entries = tuple(FoundRecord(record=made) for made in (rates("asr", "wer", 99), rates("sf", "f1", 20)))
    table = build([Collection(origin="run", entries=entries)])
    (section,) = table.sections
    assert [c.heading for c in section.shown] == ["ASR WER % ↓", "ASR CER % ↓", "SF F1 % ↑", "SF CER % ↓"]
    heading = [cell.strip() for cell in markdown(table).splitlines()[2].strip("|").split("|")]
    assert heading[2:6] == [c.heading for c in section.shown]
    # They are shown, and judge nothing.
    assert section.rows[0].value(MEAN) == pytest.approx((1 + 20) / 2)


def test_csv_keeps_full_precision(out: Path, make_record: Any, tmp_path: Path) -> None:
    make_record("third", numerator=100 / 3).save(out)
    csv, md, _, bib = write_tables(load_table(out, intervals=False), tmp_path / "tables")
    frame = pd.read_csv(csv)
    values = frame.set_index("system")["ks_accuracy_percent"]
    assert values["third"] == 100 * (100 / 3) / 100
    assert set(frame["source"]) == {"measured", "published"}
    assert md.read_text().startswith("## demo")
    assert {"superb", "skill", "dphubert"} <= set(re.findall(r"^@\w+\{(\w+),$", bib.read_text(), re.MULTILINE))


def test_the_console_shows_the_runs_blocks(
    out: Path, make_record: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shipped = tmp_path / "leaderboard"
    make_record("teacher", numerator=95).save(shipped / "results")
    make_record("fbank", suite="local", numerator=11).save(shipped / "results")
    monkeypatch.setattr(catalog, "folder", lambda kind: shipped)
    target, text = console()
    show(out, suite="demo", console=target)
    assert "Skill" in text.getvalue()
    assert "95.00" in text.getvalue()
    assert "fbank" not in text.getvalue().lower()


def test_the_console_shows_the_tasks_that_were_asked_for(
    out: Path, make_record: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shipped = tmp_path / "leaderboard"
    for task, percent in (("ks", 95), ("sid", 77)):
        make_record("teacher", task, percent).save(shipped / "results")
    monkeypatch.setattr(catalog, "folder", lambda kind: shipped)
    for tasks, other in ((("ks",), False), (("ks", "sid"), True)):
        target, text = console()
        show(out, suite="demo", tasks=tasks, console=target)
        assert "95.00" in text.getvalue()
        assert ("77.00" in text.getvalue(), "SID" in text.getvalue()) == (other, other)


def test_shipped_records_on_other_data_are_mentioned_not_mixed(
    out: Path, make_record: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shipped = tmp_path / "leaderboard"
    make_record("teacher", numerator=95, fingerprint="e" * 64).save(shipped / "results")
    monkeypatch.setattr(catalog, "folder", lambda kind: shipped)
    target, text = console()
    show(out, suite="demo", console=target)
    assert "95.00" not in text.getvalue()
    assert "Not shown, other data or settings" in text.getvalue()


def test_titles_are_text_not_markup(make_record: Any, tmp_path: Path) -> None:
    record = make_record()
    record = record.model_copy(update={"system": record.system.model_copy(update={"title": "[red]SKILL[/red]"})})
    record.save(tmp_path)
    target, text = console()
    show(tmp_path, suite="demo", console=target)
    assert "[red]SKILL[/red]" in text.getvalue()


def test_an_empty_run_says_so(tmp_path: Path) -> None:
    target, text = console()
    show(tmp_path / "gone", suite="demo", console=target)
    assert "holds no record" in text.getvalue()


def test_an_empty_table_says_so() -> None:
    assert markdown(build([Collection(origin="run")])).startswith("No records yet.")


HOSTILE = '=HYPERLINK("x")|<img src=x onerror=alert(1)>\n`a`\x1b[31m'


@pytest.fixture
def hostile(tmp_path: Path, make_record: Any) -> Any:
    """A system that is called so, with a metric that is, too."""
    record = make_record()
    system = record.system.model_copy(update={"title": HOSTILE})
    metric = record.metrics["accuracy"]
    notes = record.model_copy(
        update={"system": system, "metrics": {"accuracy": metric, "x|<b>": metric.model_copy(update={"value": -1.5})}}
    )
    return build([Collection(origin="run", entries=(FoundRecord(record=notes),))], problems=[f"problem {HOSTILE}"])


def test_a_title_is_shown_and_not_obeyed(hostile: Any, tmp_path: Path) -> None:
    files = {path.name: path.read_text() for path in write_tables(hostile, tmp_path)}
    table = pd.read_csv(io.StringIO(files["table.csv"]))
    assert table["title"].tolist() == [f"'{HOSTILE}"]
    assert table["ks_accuracy_percent"].tolist() == [80.0]
    assert [value for name in table for value in table[name] if "x|<b>" in str(name) and value == -1.5] == [-1.5], (
        "a number"
    )
    for text in (files["table.md"], markdown(hostile)):
        assert "<img" not in text
        assert "<b>" not in text
        assert "\x1b" not in text
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1, "as many cells in every row"
        assert len(rows) == 3, "a heading, its line and a row"
        assert r'=HYPERLINK("x")\|&lt;img src=x onerror=alert(1)&gt; \`a\`' in text
        assert "- problem =HYPERLINK" in text
    assert r"\textless{}img" in files["table.tex"]
    assert "\x1b" not in files["table.tex"]
    screen, text_on_it = console()
    print_section(hostile.sections[0], screen)
    assert "\x1b" not in text_on_it.getvalue()


def test_a_figure_of_any_title_is_drawn(hostile: Any, tmp_path: Path) -> None:
    section = replace(hostile.sections[0], label="a $\\frac$ b \x00")
    rows = tuple(replace(row, title=f"{row.title} $\\x$ \x01") for row in section.rows)
    written = write_figures(replace(hostile, sections=(replace(section, rows=rows),)), tmp_path)
    drawn = [ElementTree.parse(path).getroot().tag for path in written if path.suffix == ".svg"]
    assert drawn
    assert all(tag.endswith("svg") for tag in drawn)


def log(path: Path, columns: str, *rows: str) -> Path:
    path.write_text("\n".join([columns, *rows]) + "\n")
    return path


def panels(spec: dict[str, Any]) -> list[str]:
    return [panel["layer"][1]["encoding"]["y"]["title"] for panel in spec["vconcat"]]


def points(spec: dict[str, Any], label: str) -> list[tuple[float, float]]:
    """Of the pale line, which shows what was logged."""
    panel = next(one for one in spec["vconcat"] if one["layer"][1]["encoding"]["y"]["title"] == label)
    return [(row["update"], row["value"]) for row in spec["datasets"][panel["layer"][1]["data"]["name"]]]


def test_stages_follow_each_other_on_one_axis(tmp_path: Path) -> None:
    joint = log(tmp_path / "joint.csv", "update,loss,sparsity,sparsity_target", "0,2.0,0.0,0.0", "1,1.0,0.4,0.5")
    final = log(tmp_path / "final.csv", "update,loss", "0,0.9", "1,0.7", "2,0.5")
    spec = draw({path.stem: read_log(path) for path in (joint, final)}, title="t")
    assert panels(spec) == ["loss", "sparsity"]
    assert points(spec, "loss") == [(0, 2.0), (1, 1.0), (2, 0.9), (3, 0.7), (4, 0.5)], "the second stage follows"
    written = write_curves([joint, final], tmp_path / "curves", title="t")
    assert [path.name for path in written] == ["curves.svg", "curves.png", "curves.pdf"]
    assert all(path.stat().st_size > 1000 for path in written)


def test_a_distillation_shows_the_distance_and_not_the_penalty(tmp_path: Path) -> None:
    """The loss of the stage that prunes is more than the distance; that of the other is the distance."""
    joint = log(tmp_path / "joint.csv", "update,loss,l1,distance", "0,9.0,0.3,2.0", "1,8.0,0.2,1.0")
    final = log(tmp_path / "final.csv", "update,loss,l1", "0,0.9,0.1")
    spec = draw({path.stem: read_log(path) for path in (joint, final)}, title="t", panels=("distance", "loss"))
    assert panels(spec) == ["distance"]
    assert points(spec, "distance") == [(0, 2.0), (1, 1.0), (2, 0.9)]


def test_long_logs_are_shown_by_means(tmp_path: Path) -> None:
    rows = [f"{n},{n % 2}" for n in range(1000)]
    spec = draw({"s": read_log(log(tmp_path / "s.csv", "update,loss", *rows))}, title="t", most_points=100)
    found = points(spec, "loss")
    assert len(found) == 100
    assert found[0] == (4.5, 0.5), "ten updates"


def test_a_log_without_updates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"joint\.csv: no updates"):
        read_log(log(tmp_path / "joint.csv", "update,loss"))


@pytest.mark.parametrize(("at_edge", "synthetic"), [(True, False), (False, False), (True, True)])
def test_learning_rates_at_the_edge_of_their_grid_are_said(
    at_edge: bool, synthetic: bool, tmp_path: Path, make_record: Any
) -> None:
    selection = Selection(metric="accuracy", learning_rate=0.1, at_edge=at_edge)
    make_record(synthetic=synthetic, selection=selection).save(tmp_path)
    table = build([collect(tmp_path)])
    said = "the chosen learning rate is at the edge of the grid, a better one may lie beyond: ks (Skill)"
    shown = at_edge and not synthetic
    assert (said in markdown(table)) is shown
    assert page_data(table, bibliography="")["sections"][0]["remarks"] == ([said] if shown else [])
    assert ("ks_accuracy_percent_learning_rate_at_edge" in to_frame(table)) is at_edge
