"""Prints how large the page is and how long a browser takes to show, sort and filter it.

    PYTHONPATH=tests/support python tests/support/page_speed.py --rows 500

Each time is the median of five, of a fresh browser window for loading: by the clock, which other load on the machine
stretches, and of the page's thread on the processor, which it does not. Needs playwright and Chromium.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from made_records import record
from pages import chromium, many

from skill_bench.report.render.page import write_page
from skill_bench.report.table.load import load_table

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TEN = ("ks", "er", "sid", "pr", "asr", "ic", "sf", "asv", "sd", "qbe")
LOADED = """() => {
  const [entry] = performance.getEntriesByType("navigation");
  return [entry.domInteractive, entry.loadEventEnd];
}"""
REDRAWN = """(change) => new Promise((done) => {
  const start = performance.now();
  document.querySelector(change.click).click();
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
})"""
N_TIMES = 5


def open_timed(browser: Browser, file: Path) -> tuple[list[float], list[float]]:
    """Milliseconds until the page is interactive and loaded, and of sorting; each by the clock and on the processor."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def busy() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return 1000 * float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))

    page.goto(file.as_uri())
    page.wait_for_selector("#table-body tbody tr")
    loading = [*page.evaluate(LOADED), busy()]
    sorting = [page.evaluate(REDRAWN, {"click": '[data-sort="ks_accuracy_percent"]'}), busy() - loading[-1]]
    page.close()
    return loading, sorting


def measure(browser: Browser, file: Path) -> str:
    """One line: size, loading, sorting."""
    both = [open_timed(browser, file) for _ in range(N_TIMES)]
    interactive, loaded, loading = (statistics.median(times) for times in zip(*(one for one, _ in both), strict=True))
    sorting, busy = (statistics.median(times) for times in zip(*(one for _, one in both), strict=True))
    return (
        f"{file.stat().st_size / 1e6:.2f} MB: interactive after {interactive:.0f} ms, loaded after {loaded:.0f} ms "
        f"({loading:.0f} ms on the processor); sorted in {sorting:.0f} ms ({busy:.0f} ms on the processor)"
    )


def main() -> None:
    """The shipped page, then one of made-up systems on ten tasks."""
    parser = argparse.ArgumentParser(description="Size of the leaderboard's page, and how quick it is.")
    parser.add_argument("--rows", type=int, default=500)
    n_rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as temporary, chromium() as browser:
        folder = Path(temporary)
        print("shipped,", measure(browser, write_page(load_table(), folder / "shipped")))
        table = many(record, n_rows, folder, tasks=TEN)
        print(f"{n_rows} made-up rows,", measure(browser, write_page(table, folder / "many")))


if __name__ == "__main__":
    main()
