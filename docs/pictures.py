"""Makes the README's pictures from the bundled records: the page and its Pareto plot, in a browser.

    python docs/pictures.py

Needs playwright and Chromium on PATH.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from skill_bench.cli.leaderboard import leaderboard

IMAGES = Path(__file__).resolve().parent / "images"
PUBLISHED = "superb, as published"


def main() -> None:
    """Writes page.png and pareto.png into docs/images."""
    from playwright.sync_api import sync_playwright

    browser = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit("no Chromium on PATH (Debian: apt-get install chromium)")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        leaderboard(out=folder)
        with sync_playwright() as playwright:
            page = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page(
                viewport={"width": 1440, "height": 960}, color_scheme="light"
            )
            page.goto((folder / "index.html").as_uri())
            page.screenshot(path=IMAGES / "page.png")
            page.select_option("#section", label=PUBLISHED)
            page.locator("#pareto-body").screenshot(path=IMAGES / "pareto.png")


if __name__ == "__main__":
    main()
