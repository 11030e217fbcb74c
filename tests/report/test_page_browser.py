"""The page as a person uses it, in headless Chromium: sorting, filters, keys, links, downloads, a quiet console."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from pages import chromium, open_page

from skill_bench.records.record import Record
from skill_bench.report.render.frame import to_frame
from skill_bench.report.render.layer_weights import layer_weights
from skill_bench.report.render.page import write_page
from skill_bench.report.render.render import write_tables
from skill_bench.report.table.load import load_table
from skill_bench.report.table.table import Table

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page


@pytest.fixture(scope="module")
def table(shipped: Table) -> Table:
    return shipped


@pytest.fixture(scope="module")
def site(shipped_site: Path) -> Path:
    """The page of the shipped records and published rows."""
    return shipped_site


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


PUBLISHED = "superb, as published"


def column(page: Page, name: str) -> list[str]:
    return page.locator(f'#table-body td[data-column="{name}"]').all_inner_texts()


def titles(page: Page) -> list[str]:
    return page.locator("#table-body .name").all_inner_texts()


def drawn(page: Page, kind: str) -> Locator:
    """A chart, once it is there: it is drawn when it comes near."""
    page.locator(f"#{kind}").scroll_into_view_if_needed()
    page.locator(f"#{kind}-body[data-shown] svg").wait_for(state="attached")
    return page.locator(f"#{kind}-body svg")


def test_it_opens_with_the_finding_and_the_best_first(browser: Browser, site: Path, table: Table) -> None:
    with open_page(browser, site) as page:
        said = page.locator("#finding").inner_text().replace("\u00a0", " ")  # a number stays with its sign
        assert str(table.sections[0].finding) in said
        assert "Best student: " in said
        assert page.locator("#section option:checked").inner_text() == table.sections[0].label
        assert titles(page)[0] == table.sections[0].rows[0].title


def test_sorting(browser: Browser, site: Path) -> None:
    with open_page(browser, site) as page:
        header = page.locator('[data-sort="macs_superb_giga"]')
        header.click()
        ascending = [float(value.split()[0]) for value in column(page, "macs_superb_giga")]
        assert ascending == sorted(ascending)
        assert len(set(ascending)) > 3
        assert page.locator('th[aria-sort="ascending"]').inner_text().startswith("MACs")
        header = page.locator('[data-sort="macs_superb_giga"]')
        header.press("Enter")
        assert [float(value.split()[0]) for value in column(page, "macs_superb_giga")] == ascending[::-1]
        page.locator('[data-sort="mean_points"]').click()
        means = [float(value.split()[0]) for value in column(page, "mean_points")]
        assert means == sorted(means, reverse=True), "a score starts with the highest"
        for name in ("commit", "machine"):
            page.locator(f'[data-sort="{name}"]').click()
            places = page.locator(f'#table-body td[data-label="{name}"]').all_inner_texts()
            assert places == sorted(places)
    with open_page(browser, site, address=f"{site.as_uri()}#sort=-commit") as page:
        assert page.locator('th[aria-sort="descending"]').inner_text() == "commit▼"


def test_absent_values_stay_last(browser: Browser, site: Path) -> None:
    with open_page(browser, site) as page:
        page.select_option("#section", label=PUBLISHED)
        assert "–" not in column(page, "superb_score"), "rows without every task wait to be asked for"
        page.locator("#partial").check()
        for _ in range(2):
            page.locator('[data-sort="superb_score"]').click()
            assert "–" in column(page, "superb_score")[-1]
            assert "–" not in column(page, "superb_score")[0]


def test_filters(browser: Browser, site: Path) -> None:
    with open_page(browser, site) as page:
        everything = titles(page)
        page.fill("#search", "student dphub")
        page.locator("#count", has_text="1 of").wait_for()
        assert titles(page) == ["DPHuBERT"]
        page.fill("#search", "no such system")
        page.wait_for_selector("text=No row fits these filters")
        page.fill("#search", "")
        page.wait_for_selector("#table-body tbody")
        page.select_option("#role", "student")
        students = titles(page)
        assert {"SKILL", "DPHuBERT"} <= set(students) < set(everything)
        drawn(page, "bars")
        names = page.locator("#bars-body .mark-text.role-mark text")
        assert sorted(names.all_text_contents()) == sorted(students), "the charts follow the filters"
        page.select_option("#role", "")
        page.fill("#limit", "0.5")
        page.locator("#count", has_text="2 of").wait_for()
        assert set(titles(page)) < set(everything)


def test_published_systems_have_roles(browser: Browser, site: Path) -> None:
    with open_page(browser, site) as page:
        page.select_option("#section", label=PUBLISHED)
        page.select_option("#role", "student")
        assert {"DPHuBERT", "DistilHuBERT", "DPWavLM"} <= set(titles(page))
        assert "HuBERT Base" not in titles(page)
        page.select_option("#role", "teacher")
        assert {"HuBERT Base", "WavLM Base+"} <= set(titles(page))


def test_marks_are_of_the_rows_that_are_shown(browser: Browser, site: Path) -> None:
    """A row that is hidden, or filtered out, holds no bold from those that are seen."""

    def marked(page: Page, kind: str, name: str) -> set[str]:
        return set(page.locator(f'#table-body td.{kind}[data-column="{name}"]').all_inner_texts())

    with open_page(browser, site) as page:
        for role in ("", "control"):
            page.select_option("#role", role)
            for name in ("mean_points", "ks_accuracy_percent"):
                values = sorted((text.split()[0] for text in column(page, name)), key=float, reverse=True)
                best = {text.split()[0] for text in marked(page, "best", name)}
                second = {text.split()[0] for text in marked(page, "second", name)}
                assert best == {values[0]}
                assert second == {values[1]} - best
        page.fill("#search", "untrained")
        page.locator("#count", has_text="1 of").wait_for()
        assert page.locator("#table-body .best, #table-body .second").count() == 0, "of one nothing is the best"


def test_rows_without_every_task_wait_to_be_asked_for(browser: Browser, site: Path, table: Table) -> None:
    with open_page(browser, site) as page:
        page.select_option("#section", label=PUBLISHED)
        (published,) = (section for section in table.sections if section.label == PUBLISHED)
        ranked = sum(row.rank is not None for row in published.rows)
        assert len(titles(page)) == ranked
        page.locator("#partial").check()
        assert len(titles(page)) == len(published.rows) > ranked


def test_synthetic_speech_has_no_mean_no_rank_and_no_best(browser: Browser, site: Path, table: Table) -> None:
    with open_page(browser, site) as page:
        page.select_option("#section", label=table.sections[-1].label)
        assert len(titles(page)) > 4
        assert page.locator('#table-body [data-sort="rank"]').count() == 0
        assert page.locator('#table-body [data-sort="mean_points"]').count() == 0
        assert page.locator("#table-body .best, #table-body .second").count() == 0
        assert "proof that everything runs" in page.locator("#table-caption").inner_text()
        drawn(page, "bars")
        assert (
            page.locator("#bars-caption")
            .inner_text()
            .startswith("In the table's order: synthetic speech ranks nothing.")
        )
        assert page.locator("#bars-body .mark-text.role-mark text").all_text_contents()[:3] == titles(page)[:3]
        page.wait_for_selector("#pareto", state="hidden")


def test_details_hold_records_and_utterances(browser: Browser, site: Path) -> None:
    """In the page itself: it may have been sent alone."""
    with open_page(browser, site) as page:
        page.get_by_role("button", name="SKILL", exact=True).click()
        page.wait_for_selector("dialog[open]")
        said = page.locator("dialog").inner_text()
        assert "measured on" in said
        assert "5, with other distillation seeds" in said
        assert page.locator("dialog a").count() == 0
        assert "the first record of KS, QBE. Other seeds are in the predictions" in said
        assert "no room" not in said
        page.locator('dialog [data-task="ks"]').click()
        answers = page.locator("#utterances tbody tr").all_inner_texts()
        right = [int(text.split("\t")[1].split(" /")[0]) for text in answers]
        assert len(right) > 100
        assert right == sorted(right), "wrong ones first"
        said = page.locator("#utterances").inner_text()
        assert f"{sum(right)} of {len(right)} without an error. Most often taken for another: " in said
        page.keyboard.press("Escape")
        assert not page.locator("dialog").is_visible()


def test_trials_and_queries_are_shown_too(browser: Browser, site: Path, table: Table) -> None:
    with open_page(browser, site) as page:
        page.select_option("#section", label=table.sections[-1].label)
        page.get_by_role("button", name="SKILL student", exact=True).click()
        page.locator('dialog [data-task="asv"]').click()
        said = page.locator("#utterances").inner_text()
        assert "ASV, trial by trial" in said
        threshold = float(re.findall(r"Decided at a score of ([\d.]+)", said)[0])
        lines = [text.split("\t") for text in page.locator("#utterances tbody tr").all_inner_texts()]
        assert len(lines) > 200
        for _, right, target, answer, score in lines:
            assert (answer == target) == (right == "1 / 1")
            if abs(float(score) - threshold) > 0.001:
                assert answer == ("same" if float(score) > threshold else "different")
        assert lines[0][1] == "0 / 1", "wrong ones first"
        page.locator('dialog [data-task="qbe"]').click()
        said = page.locator("#utterances").inner_text()
        assert "QBE, query by query" in said
        lines = [text.split("\t") for text in page.locator("#utterances tbody tr").all_inner_texts()]
        assert all(f"{right.split(' /')[0]} found, " in answer for _, right, _, answer in lines)
        assert any(right != lines[0][1] for _, right, _, _ in lines), "some are found"


def test_a_chart_can_be_read_and_followed_by_keys(browser: Browser, site: Path, table: Table) -> None:
    with open_page(browser, site) as page:
        drawn(page, "pareto")
        page.locator("#pareto .numbers summary").focus()
        page.keyboard.press("Enter")
        names = page.locator("#pareto-numbers .link")
        names.first.wait_for()
        rows = table.sections[0].rows
        assert names.all_inner_texts() == [row.title for row in rows if row.rank is not None and row.rank < 7]
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == rows[0].title
        assert names.first.evaluate("node => getComputedStyle(node).outlineStyle") == "solid", "the focus is seen"
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog[open]")
        assert page.locator("#details-title").inner_text() == rows[0].title


def test_a_student_beside_the_published_dphubert(browser: Browser, site: Path) -> None:
    with open_page(browser, site) as page:
        page.get_by_label("Put SKILL side by side").check()
        assert "every number may be compared" in page.locator("#beside-caption").inner_text()
        page.select_option("#section", label=PUBLISHED)
        page.get_by_label("Put DPHuBERT side by side").check()
        assert page.locator("#beside thead th").all_inner_texts() == ["SKILL\n✕", "DPHuBERT\n✕"]
        lines = [text.split("\t") for text in page.locator("#beside tbody tr").all_inner_texts()]
        cells = {name: rest for name, *rest in lines}
        assert cells["teacher"] == ["teacher", "HuBERT Base"]
        assert cells["params M"][1] == "23.59"
        assert "different speech" in page.locator("#beside-caption").inner_text()
        page.get_by_label("Take SKILL away").click()
        assert page.locator("#beside thead th").count() == 1


def test_the_address_holds_what_is_chosen(browser: Browser, site: Path) -> None:
    with open_page(browser, site) as page:
        page.select_option("#section", label=PUBLISHED)
        page.select_option("#role", "student")
        page.locator('[data-sort="sid_accuracy_percent"]').click()
        page.fill("#search", "dphubert")
        page.locator("#count", has_text="2 of").wait_for()
        page.get_by_label("Put DPHuBERT side by side").check()
        page.get_by_role("button", name="DPHuBERT", exact=True).click()
        page.wait_for_selector("dialog[open]")
        chosen, address = titles(page), page.url
    with open_page(browser, site, address=address) as page:
        page.wait_for_selector("dialog[open]")
        assert page.locator("#details-title").inner_text() == "DPHuBERT"
        assert page.locator("#section option:checked").inner_text() == PUBLISHED
        assert titles(page) == chosen
        assert page.locator("#search").input_value() == "dphubert"
        assert page.locator('th[aria-sort="descending"]').inner_text().startswith("SID")
        assert page.locator("#beside thead th").count() == 1
        page.keyboard.press("Escape")
        page.wait_for_url(re.compile("#(?!.*row=)"))


def test_an_address_of_another_page_is_harmless(browser: Browser, site: Path) -> None:
    with open_page(browser, site, address=f"{site.as_uri()}#section=gone&sort=nothing&row=x&limit=y&beside=z") as page:
        assert len(titles(page)) > 4
        assert not page.locator("dialog").is_visible()


def test_keys_and_tooltips(browser: Browser, site: Path) -> None:
    with open_page(browser, site) as page:
        cells = page.locator("#table-body td")
        assert page.locator('#table-body td[tabindex="0"]').count() == 1, "one stop of the tab key"
        cells.first.focus()
        page.keyboard.press("ArrowRight")
        focused = page.evaluate("document.activeElement.dataset.column")
        assert focused == "mean_points"
        assert re.search(r"mean: [\d.]+\n95 % interval", page.locator("#tooltip").inner_text())
        page.keyboard.press("ArrowDown")
        assert page.evaluate("document.activeElement.closest('tr').rowIndex") == 2
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog[open]")
        page.keyboard.press("Escape")
        skill = page.locator("#table-body tr", has_text="SKILL").first
        skill.locator('td[data-column="ks_accuracy_percent"]').hover()
        assert "5 distillation seeds" in page.locator("#tooltip").inner_text()


def test_every_column_is_explained(browser: Browser, site: Path) -> None:
    with open_page(browser, site) as page:
        headings = page.locator("#table-body thead th")
        page.locator("#help summary").click()
        assert page.locator("#help dd").count() == headings.count() - 1, "all but the system's name"
        assert all(page.locator("#help dd").all_inner_texts())
        for index in range(headings.count()):
            headings.nth(index).locator("button").focus()
            assert page.locator("#tooltip").inner_text(), headings.nth(index).inner_text()
        page.locator('[data-sort="macs_superb_giga"]').focus()
        assert "challenge" in page.locator("#tooltip").inner_text()


def test_a_pointer_that_rests_does_not_take_the_tooltip_of_the_focus(browser: Browser, site: Path) -> None:
    with open_page(browser, site) as page:
        page.emulate_media(reduced_motion="reduce")
        heading, tooltip = page.locator('[data-sort="macs_superb_giga"]'), page.locator("#tooltip")

        def focus_from_below() -> str:
            heading.blur()
            page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
            page.wait_for_timeout(200)
            heading.focus()
            page.wait_for_timeout(500)
            assert heading.evaluate("node => node.getBoundingClientRect().top > 0"), "the focus scrolled the page"
            return tooltip.inner_text() if tooltip.is_visible() else "hidden"

        assert "challenge" in focus_from_below()
        page.locator('#table-body td[data-column="mean_points"]').first.hover()
        assert "mean" in tooltip.inner_text()
        assert "challenge" in focus_from_below()


def test_charts(browser: Browser, site: Path, table: Table) -> None:
    with open_page(browser, site) as page:
        n = len(titles(page))
        drawn(page, "bars")
        assert page.locator("#bars-body .mark-text.role-mark text").count() == n
        assert page.locator("#bars-caption").inner_text() == "Best first. Whiskers are 95 % intervals."
        drawn(page, "layers")
        weights = layer_weights(table.sections[0].rows[0]).values()
        n_cells = sum(len(own) for own in weights if own.max() < 1)  # one that a search chose is a dot
        assert page.locator("#layers-body .mark-rect.role-mark path").count() == n_cells
        drawn(page, "similarity")
        assert page.locator("#similarity-body .mark-rect.role-mark path").count() == 13 * 13 + 4, "cells, four groups"
        assert page.locator("#similarity-body .mark-line.role-mark path").count() == 12, "merges"
        page.select_option("#section", label=PUBLISHED)
        page.wait_for_selector("#layers", state="hidden")
        assert not page.locator('.sections [href="#layers"]').is_visible(), "published systems have no layer weights"
        drawn(page, "pareto")
        ranked = sum(row.rank is not None for s in table.sections if s.label == PUBLISHED for row in s.rows)
        marks = page.locator("#pareto-body .mark-symbol.role-mark path")
        assert marks.count() == ranked - 1, "all but FBANK"
        assert "Not drawn: FBANK (0, no params)" in page.locator("#pareto-body").inner_text()
        page.locator("#pareto-controls select").select_option("MACs G")
        page.wait_for_selector("#pareto-body >> text=MACs (billions")


def test_names_of_hidden_systems_are_not_below_the_chart(browser: Browser, site: Path) -> None:
    with open_page(browser, site) as page:
        page.select_option("#section", label=PUBLISHED)
        drawn(page, "pareto")
        said = page.locator("#pareto-body")
        assert "No room for the names of" in said.inner_text()
        page.select_option("#role", "student")
        page.locator("#pareto-body", has_not_text="No room").wait_for()
        assert page.locator("#pareto-body .mark-line.role-mark path").count() == 1, "the front of those that are shown"


def test_everything_is_printed(browser: Browser, site: Path) -> None:
    with open_page(browser, site) as page:
        assert page.locator("#similarity-body svg").count() == 0, "what nobody has come near is not drawn"
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        for kind in ("pareto", "bars", "layers", "similarity"):
            page.locator(f"#{kind}-body[data-shown] svg").wait_for(state="attached")


def test_a_figure_is_saved_as_it_is_shown(browser: Browser, site: Path, tmp_path: Path) -> None:
    with open_page(browser, site) as page:
        drawn(page, "bars")
        with page.expect_download() as download:
            page.locator('#bars-controls [data-format="svg"]').click()
        assert download.value.suggested_filename == "bars-mean.svg"
        download.value.save_as(tmp_path / "bars.svg")
    assert "SKILL" in (tmp_path / "bars.svg").read_text()


def test_training_curves_show_the_distance(browser: Browser, site: Path, table: Table) -> None:
    with open_page(browser, site) as page:
        page.select_option("#section", label=table.sections[-1].label)
        drawn(page, "training")
        said = page.locator("#training-body").inner_text()
        assert "distance" in said
        assert "sparsity" in said
        assert "loss" not in said
        assert "multipliers" not in said


def test_cards_on_a_telephone(browser: Browser, site: Path) -> None:
    with open_page(browser, site, width=390) as page:
        cards = page.locator("#table-body tbody tr")
        boxes = [cards.nth(index).bounding_box() for index in range(3)]
        assert all(box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes)
        first = page.locator('#table-body td[data-column="mean_points"]').first
        assert first.evaluate("node => getComputedStyle(node, '::before').content") == '"mean"'
        page.locator('[data-sort="parameters_millions"]').click()
        assert page.locator('th[aria-sort="ascending"]').inner_text().startswith("params")


def test_a_table_that_goes_on_to_the_right_shows_it(browser: Browser, site: Path) -> None:
    with open_page(browser, site, width=700) as page:
        assert page.locator("#table-body .scroll.more").count() == 1
        page.locator("#table-body .scroll").evaluate("node => node.scrollTo(9999, 0)")
        page.wait_for_selector("#table-body .scroll:not(.more)")
        assert page.locator("#table-body tbody .system").first.bounding_box()["x"] >= 0, "the name stays"  # type: ignore[index]


def test_downloads(browser: Browser, site: Path, table: Table, tmp_path: Path) -> None:
    with open_page(browser, site) as page:
        for name in ("skill-bench.csv", "skill-bench.json", "skill-bench.bib"):
            with page.expect_download() as download:
                page.locator(f'[data-file="{name}"]').click()
            download.value.save_as(tmp_path / name)
    (tmp_path / "table.csv").write_text(to_frame(table).to_csv(index=False))
    own = pd.read_csv(tmp_path / "table.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "skill-bench.csv"), own, check_dtype=False, check_exact=True)
    assert len(pd.read_json(tmp_path / "skill-bench.json")["rows"]) == len(own)
    assert "2305.17651" in (tmp_path / "skill-bench.bib").read_text()


def test_a_download_is_the_file_that_the_command_writes(
    browser: Browser, tmp_path: Path, make_record: Callable[..., Record]
) -> None:
    """Text that a spreadsheet would compute has an apostrophe there as well."""
    for number, title in enumerate(("=1+1", "+a", "-5", "@b", "\tc", "d=e")):
        record = make_record(f"s{number}", numerator=10 + number)
        system = record.system.model_copy(update={"title": title})
        record.model_copy(update={"system": system}).save(tmp_path / "results")
    table = load_table(tmp_path / "results", suite="demo", tasks=["ks"], published=False)
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


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, True)])
def test_it_is_accessible(browser: Browser, site: Path, table: Table, width: int, dark: bool) -> None:
    """Every section, everything unfolded; axe does not look into charts, whose contrast is tested above."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python").Axe()
    with open_page(browser, site, width=width, dark=dark) as page:
        for section in table.sections:
            page.select_option("#section", label=section.label)
            page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
            drawn(page, "bars")
            found = axe.run(page)
            assert found.violations_count == 0, found.generate_report()
        page.evaluate("document.querySelector('main').append(new Image())")
        assert axe.run(page).violations_count > 0, "axe sees an image without a text"


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


def test_five_hundred_rows(browser: Browser, site_of_500: Path) -> None:
    with open_page(browser, site_of_500) as page:
        assert len(titles(page)) == 500
        page.locator('#table-body td[data-column="ks_accuracy_percent"]').first.hover()
        said = page.locator("#tooltip").inner_text()
        found = r"95 % interval [\d.]+ to [\d.]+, over test items and seeds\nover speakers [\d.]+ to [\d.]+"
        assert re.search(found, said), said
        page.locator('[data-sort="ks_accuracy_percent"]').click()
        values = [float(text.split()[0]) for text in column(page, "ks_accuracy_percent")]
        assert values == sorted(values, reverse=True)
        page.fill("#search", "m49")
        page.locator("#count", has_text="10 of 500").wait_for()
        drawn(page, "bars")
        assert page.locator("#bars-body .mark-text.role-mark text").count() == 10


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
