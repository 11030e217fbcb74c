"""The page as a person uses it, in headless Chromium: sorting, filters, keys, links, downloads, a quiet console."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from pages import chromium, many, open_page

from skill_bench.records.record import Record
from skill_bench.report.render.frame import to_frame
from skill_bench.report.render.page import write_page
from skill_bench.report.render.render import write_tables
from skill_bench.report.table.load import load_table

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the shipped records and published rows, with one run whose record file is beside it."""
    return write_page(load_table(), tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def column(page: Page, name: str) -> list[str]:
    return page.locator(f'#table-body td[data-column="{name}"]').all_inner_texts()


def titles(page: Page) -> list[str]:
    return page.locator("#table-body .name").all_inner_texts()


def test_sorting(browser: Browser, site: Path) -> None:
    with open_page(browser, site) as page:
        assert column(page, "rank") == sorted(column(page, "rank"), key=int)
        header = page.locator('[data-sort="asr_wer_percent"]')
        header.click()
        ascending = [float(value.split()[0]) for value in column(page, "asr_wer_percent")]
        assert ascending == sorted(ascending)
        assert len(set(ascending)) > 3
        assert page.locator('th[aria-sort="ascending"]').inner_text().startswith("ASR")
        header = page.locator('[data-sort="asr_wer_percent"]')
        header.press("Enter")
        assert [float(value.split()[0]) for value in column(page, "asr_wer_percent")] == ascending[::-1]
        page.locator('[data-sort="mean_points"]').click()
        means = [float(value.split()[0]) for value in column(page, "mean_points")]
        assert means == sorted(means, reverse=True), "a score starts with the highest"


def test_absent_values_stay_last(browser: Browser, site: Path) -> None:
    with open_page(browser, site) as page:
        page.select_option("#section", label="superb, as published")
        for _ in range(2):
            page.locator('[data-sort="superb_score"]').click()
            assert "–" in column(page, "superb_score")[-1]
            assert "–" not in column(page, "superb_score")[0]


def test_filters(browser: Browser, site: Path) -> None:
    with open_page(browser, site) as page:
        everything = titles(page)
        page.fill("#search", "student skill")
        page.locator("#count", has_text="1 of").wait_for()
        assert titles(page) == ["SKILL student"]
        page.fill("#search", "no such system")
        page.wait_for_selector("text=No row fits these filters")
        page.fill("#search", "")
        page.wait_for_selector("#table-body tbody")
        page.select_option("#role", "student")
        assert titles(page) == [title for title in everything if title in ("SKILL student", "DPHuBERT student")]
        assert page.locator("#count").inner_text() == f"2 of {len(everything)} systems"
        assert page.locator("#bars-body .point").count() == 2, "the charts follow the filters"
        page.select_option("#role", "")
        page.fill("#limit", "0.5")
        page.locator("#count", has_text="2 of").wait_for()
        assert set(titles(page)) < set(everything)


def test_details_and_links_to_records(browser: Browser, site: Path) -> None:
    with open_page(browser, site) as page:
        page.get_by_role("button", name="SKILL student", exact=True).click()
        links = page.locator("dialog a")
        assert links.count() >= 5
        for index in range(links.count()):
            target = links.nth(index).evaluate("link => link.href")
            assert Path(target.removeprefix("file://")).is_file()
        page.keyboard.press("Escape")
        assert not page.locator("dialog").is_visible()


def test_keys_and_tooltips(browser: Browser, site: Path) -> None:
    with open_page(browser, site) as page:
        cells = page.locator("#table-body td")
        assert page.locator('#table-body td[tabindex="0"]').count() == 1, "one stop of the tab key"
        cells.first.focus()
        page.keyboard.press("ArrowRight")
        focused = page.evaluate("document.activeElement.dataset.column")
        assert focused == "mean_points"
        tip = page.locator("#tooltip").inner_text()
        assert "mean" in tip
        page.keyboard.press("ArrowDown")
        assert page.evaluate("document.activeElement.closest('tr').rowIndex") == 2
        page.keyboard.press("Enter")
        assert page.locator("dialog").is_visible()
        page.keyboard.press("Escape")
        page.locator('#table-body td[data-column="ks_accuracy_percent"]').first.hover()
        assert "utterances" in page.locator("#tooltip").inner_text()
        page.locator('#pareto-body .point[tabindex="0"]').focus()
        before = page.evaluate("document.activeElement.getAttribute('aria-label')")
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") != before


def test_charts(browser: Browser, site: Path) -> None:
    with open_page(browser, site) as page:
        n = len(titles(page))
        assert page.locator("#pareto-body circle:not(.ring)").count() == n
        assert page.locator("#bars-body .point").count() == n
        assert page.locator("#layers-body figure").count() == 4
        assert page.locator("#similarity-body .cell").count() == 13 * 13
        assert page.locator("#similarity-body .tree").count() == 12
        assert page.locator("#similarity-body .group").count() == 4
        page.select_option("#section", label="superb, as published")
        assert not page.locator("#layers").is_visible(), "published systems have no layer weights"
        assert not page.locator('.sections [href="#layers"]').is_visible()
        assert page.locator("#pareto-body .point path").count() > 20
        assert page.locator("#pareto-body circle:not(.ring)").count() == 0, "published systems have a mark of their own"
        page.locator("#pareto-controls select").nth(1).select_option("macs_superb_giga")
        assert "MACs" in page.locator("#pareto-body").inner_text()
        page.get_by_label("logarithmic").uncheck()
        assert page.locator("#pareto-body .point").count() > 15


def test_training_curves(browser: Browser, site: Path) -> None:
    with open_page(browser, site) as page:
        for student in page.locator("#training-controls option").all_inner_texts():
            page.locator("#training-controls select").select_option(label=student)
            assert page.locator("#training-body figure").count() == 2, "two stages"
            assert page.locator("#training-body .curve").count() == 3, "two losses and the sparsity of the first stage"
        page.locator("#training-body svg").first.focus()
        page.keyboard.press("ArrowLeft")
        assert page.locator("#tooltip").inner_text().startswith("update ")


def test_heat_maps_are_walked_through_with_the_arrows(browser: Browser, site: Path) -> None:
    with open_page(browser, site) as page:
        for holder, says, below in (
            ("#layers-body", "ASR, hidden state h1: weight 0.", "ASV, hidden state h1: weight 0."),
            ("#similarity-body", "h0 and h1: 0.", "h1 and h1: 1."),
        ):
            cells = page.locator(f'{holder} .cell[tabindex="0"]')
            assert cells.count() >= 1
            cells.first.focus()
            page.keyboard.press("ArrowRight")
            assert says in page.locator("#tooltip").inner_text()
            page.keyboard.press("ArrowDown")
            assert below in page.locator("#tooltip").inner_text()


def test_a_table_that_goes_on_to_the_right_shows_it(browser: Browser, site: Path) -> None:
    with open_page(browser, site, width=700) as page:
        assert page.locator("#table-body .scroll.more").count() == 1
        page.locator("#table-body .scroll").evaluate("node => node.scrollTo(9999, 0)")
        page.wait_for_selector("#table-body .scroll:not(.more)")
        assert page.locator("#table-body tbody .system").first.bounding_box()["x"] >= 0, "the name stays"  # type: ignore[index]


def test_downloads(browser: Browser, site: Path, tmp_path: Path) -> None:
    with open_page(browser, site) as page:
        for name in ("skill-bench.csv", "skill-bench.json", "skill-bench.bib"):
            with page.expect_download() as download:
                page.locator(f'[data-file="{name}"]').click()
            download.value.save_as(tmp_path / name)
    (tmp_path / "table.csv").write_text(to_frame(load_table()).to_csv(index=False))
    table = pd.read_csv(tmp_path / "table.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "skill-bench.csv"), table, check_dtype=False, check_exact=True)
    assert len(pd.read_json(tmp_path / "skill-bench.json")["rows"]) == len(table)
    assert "2305.17651" in (tmp_path / "skill-bench.bib").read_text()


def test_a_download_is_the_file_that_the_command_writes(
    browser: Browser, tmp_path: Path, make_record: Callable[..., Record]
) -> None:
    """Text that a spreadsheet would compute has an apostrophe there as well."""
    for number, title in enumerate(("=1+1", "+a", "-5", "@b", "\tc", "d=e")):
        record = make_record(f"s{number}", numerator=10 + number)
        system = record.system.model_copy(update={"title": title})
        record.model_copy(update={"system": system}).save(tmp_path / "results")
    table = load_table(tmp_path / "results", published=False)
    with open_page(browser, write_page(table, tmp_path / "site")) as page:
        with page.expect_download() as download:
            page.locator('[data-file="skill-bench.csv"]').click()
        download.value.save_as(tmp_path / "page.csv")
    titles = [
        pd.read_csv(path)["title"].tolist() for path in (write_tables(table, tmp_path / "o")[0], tmp_path / "page.csv")
    ]
    assert titles[0] == titles[1]
    assert {"'=1+1", "'+a", "'-5", "'@b", "'\tc", "d=e"} <= set(titles[1])


@pytest.mark.parametrize(("width", "dark"), [(360, False), (390, True), (1280, True), (2200, False)])
def test_it_fits(browser: Browser, site: Path, width: int, dark: bool) -> None:
    with open_page(browser, site, width=width, dark=dark) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width, "only the table scrolls sideways"
        assert page.evaluate("document.documentElement.dataset.theme") == ("dark" if dark else "light")
        page.locator("#theme").click()
        assert page.evaluate("document.documentElement.dataset.theme") == ("light" if dark else "dark")
        assert page.evaluate(CONTRAST) == [], "text against what it stands on: 4.5 to 1 (WCAG 2.2, AA)"


CONTRAST = """() => {
  const light = (colour) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = colour.match(/[\\d.]+/g).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const poor = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || node.closest("script, noscript, option") || !node.getClientRects().length) continue;
    const style = getComputedStyle(node);
    const [a, b] = [light(node instanceof SVGElement ? style.fill : style.color), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${node.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


def test_five_hundred_rows(browser: Browser, tmp_path: Path, make_record: Callable[..., Record]) -> None:
    site = write_page(many(make_record, 500, tmp_path), tmp_path)
    with open_page(browser, site) as page:
        assert len(titles(page)) == 500
        page.locator('#table-body td[data-column="ks_accuracy_percent"]').first.hover()
        said = page.locator("#tooltip").inner_text()
        assert re.search(r"95 % interval [\d.]+ to [\d.]+, over test items\nover speakers [\d.]+ to [\d.]+", said), said
        page.locator('[data-sort="ks_accuracy_percent"]').click()
        values = [float(text.split()[0]) for text in column(page, "ks_accuracy_percent")]
        assert values == sorted(values, reverse=True)
        page.fill("#search", "m49")
        page.locator("#count", has_text="10 of 500").wait_for()
        assert page.locator("#bars-body .point").count() == 10


def test_a_hostile_title_is_shown_as_it_is(
    browser: Browser, tmp_path: Path, make_record: Callable[..., Record]
) -> None:
    from skill_bench.records.record import System
    from skill_bench.report.table.build import build
    from skill_bench.report.table.collect import Collection
    from skill_bench.report.table.entry import FoundRecord

    hostile = "<img src=x onerror=alert(1)></script><b>bold"
    record = make_record(system=System(name="x", title=hostile, identity="x"))
    site = write_page(build([Collection(origin="run", entries=(FoundRecord(record=record),))]), tmp_path)
    with open_page(browser, site) as page:
        assert titles(page) == [hostile]
        assert page.locator("img").count() == 0
