"""Tables and a browser for the tests of the page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from skill_bench.records.record import Record, System
from skill_bench.report.statistics.interval import Interval
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import Collection
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.table import Score, Section, Table

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TASKS = ("ks", "er", "sid", "pr")
PATIENCE_MILLISECONDS = 300_000  # a browser beside busy processes is slow, not wrong
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def many(
    make_record: Callable[..., Record], n_systems: int, folder: Path, *, seeds: int = 2, tasks: Sequence[str] = TASKS
) -> Table:
    """A table of so many made-up systems, with intervals; record files are named, not written."""
    entries = []
    for index in range(n_systems):
        name = f"m{index:03}"
        system = System(
            name=name, title=f"Model {index:03}", kind="student", identity=name, n_parameters=1000 * (index + 1)
        )
        for task in tasks:
            for seed in range(seeds):
                weights = tuple(float(w) for w in np.linspace(0.01, 0.14, 13))
                record = make_record(
                    name, task, 20 + (index * 7 + seed) % 60, seed=seed, system=system, layer_weights=weights
                )
                entries.append(FoundRecord(record=record, file=record.path(folder / "results")))
    table = build([Collection(origin="run", folder=folder / "results", entries=tuple(entries))])
    return replace(table, sections=tuple(_with_intervals(section) for section in table.sections))


def _with_intervals(section: Section) -> Section:
    def around(cell: Score) -> Score:
        near, far = (Interval(low=cell.value - by, high=cell.value + by, method="made up") for by in (5, 8))
        return replace(cell, interval=near, speaker_interval=far)

    rows = [replace(row, scores={name: around(cell) for name, cell in row.scores.items()}) for row in section.rows]
    return replace(section, rows=tuple(rows))


@contextmanager
def chromium() -> Iterator[Browser]:
    """Headless Chromium.

    Skips where no browser is installed: no package of an index brings one, the system's has to be there.
    """
    api = pytest.importorskip("playwright.sync_api", reason="pip install playwright: it drives the browser")
    binary = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if binary is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on PATH (Debian: apt-get install chromium)")
    with api.sync_playwright() as playwright:
        # Tests may run as root in a container, where Chromium refuses its own sandbox; the page is our own file.
        yield playwright.chromium.launch(executable_path=binary, args=["--no-sandbox"])


@contextmanager
def open_page(
    browser: Browser, file: Path, *, width: int = 1280, dark: bool = False, address: str | None = None
) -> Iterator[Page]:
    """``file`` in a window without a network; fails if the page said anything on the console."""
    said: list[str] = []
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", offline=True
    )
    context.set_default_timeout(PATIENCE_MILLISECONDS)
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address or file.as_uri())
    try:
        yield page
    finally:
        context.close()
    assert said == []
