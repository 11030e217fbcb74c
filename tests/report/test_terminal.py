"""The table on a terminal: what is in it, whose row is first, and that it fits."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import made_samples as made
import numpy as np
import pytest
from rich.console import Console

from skill_bench.base.errors import UnknownName
from skill_bench.records.record import Metric
from skill_bench.report.render.terminal import print_section, require_columns
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import Collection, collect
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.table import Section
from skill_bench.report.table.uncertainty import with_intervals

TASKS = ("ks", "sid", "er", "pr")


def printed(section: Section, *, columns: Sequence[str] = (), width: int = 80) -> list[str]:
    text = io.StringIO()
    print_section(section, Console(file=text, width=width, force_terminal=False), columns=columns)
    return text.getvalue().splitlines()


def section(make_record: Any, *, own: str | None = "own", n: int = 12, **more: Any) -> Section:
    """``n`` shipped systems, each a point better than the next, and the caller's between the fifth and the sixth."""
    shipped = [make_record(f"s{i:02}", task, 90 - i, **more) for i in range(n) for task in TASKS]
    mine = [] if own is None else [make_record(own, task, 85.5, **more) for task in TASKS]
    collections = [
        Collection(origin="run", entries=tuple(FoundRecord(record=r, origin="run") for r in mine)),
        Collection(origin="shipped", entries=tuple(FoundRecord(record=r, origin="shipped") for r in shipped)),
    ]
    (found,) = build(collections).sections
    return found


def names(lines: Sequence[str]) -> list[str]:
    """Marks and names of the first block's rows."""
    start = next(i for i, line in enumerate(lines) if line.startswith("──"))
    rows = lines[start + 1 : lines.index("", start)]
    return [" ".join(row.split()[: 2 if row.startswith(">") else 1]) for row in rows]


def test_the_callers_row_is_first_and_marked_then_its_neighbours_best_first(make_record: Any) -> None:
    lines = printed(section(make_record, synthetic=False))
    assert names(lines)[0] == "> Own"
    assert len(names(lines)) == 7, "three above it and three below it"
    assert names(lines)[1:] == sorted(names(lines)[1:])
    assert "  6 rows that are farther away are not shown: skill-bench leaderboard has all." in lines
    assert names(printed(section(make_record, own=None, synthetic=False))) == [f"S{i:02}" for i in range(12)]


def test_the_columns_that_matter_and_others_when_they_are_asked_for(make_record: Any) -> None:
    found = section(make_record, synthetic=False)
    heading = printed(found)[2].split()
    assert heading == ["params"]
    assert printed(found)[3].split() == ["system", "mean", "M"]
    two = printed(found, columns=["er", "params"])
    assert (two[2].split(), two[3].split()) == (["ER", "acc", "params"], ["system", "%", "↑", "M"])
    assert "SID" in "".join(printed(found, columns=["tasks"]))
    assert "measured, shipped" in "".join(printed(found, columns=["all"]))


def test_synthetic_speech_has_tasks_and_no_mean(make_record: Any) -> None:
    text = "\n".join(printed(section(make_record, synthetic=True)))
    assert "mean" not in text
    assert re.search(r"^ +KS +PR +SID", text, re.MULTILINE) or "KS acc" in text
    assert "Synthetic speech: this shows that everything works, and ranks nothing." in text


@pytest.mark.parametrize("width", [60, 80, 200])
def test_it_fits(width: int, make_record: Any) -> None:
    found = section(make_record, own="a name that is much longer than the column")
    lines = printed(found, columns=["all"], width=width)
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
    n_blocks = sum(line.lstrip().startswith("system") for line in lines)
    assert n_blocks == {60: 2, 80: 2, 200: 1}[width] if width != 60 else n_blocks >= 2


def test_intervals_stand_behind_the_numbers(tmp_path: Path, make_record: Any) -> None:
    right = np.arange(100) < 80
    metrics = {"accuracy": Metric.percent(80, 100, higher_is_better=True)}
    make_record("own", "ks", metrics=metrics).save(tmp_path, predictions=made.label_rows(right))
    (found,) = with_intervals(build([collect(tmp_path)])).sections
    text = "\n".join(printed(found))
    assert "80.0 ± 7.8" in text, "half of Wilson's interval"
    assert "> was measured here; ±: half of the 95 % confidence interval." in text


def test_an_unknown_column_is_said_before_anything_runs() -> None:
    require_columns(["mean", "ks", "of_teacher", "all"])
    with pytest.raises(UnknownName, match=r"unknown column 'parms'\. Did you mean 'params'\?"):
        require_columns(["parms"])
