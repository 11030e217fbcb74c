"""Makes the README's pictures from the bundled records: the page, in a browser, and its chart of quality and cost.

    python docs/pictures.py

Needs playwright, Pillow, and Chromium on PATH. With a palette the pictures are a third of the size.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path

from skill_bench.base.documents import write_atomic
from skill_bench.report.render.figure_files import save
from skill_bench.report.render.page import write_page
from skill_bench.report.render.pareto import pareto
from skill_bench.report.render.rows import named
from skill_bench.report.table.load import load_table
from skill_bench.report.table.quantities import PARAMETERS

COLOURS = 256
IMAGES = Path(__file__).resolve().parent / "images"


def main() -> None:
    """Writes page.png and pareto.png into docs/images."""
    from playwright.sync_api import sync_playwright

    browser = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit("no Chromium on PATH (Debian: apt-get install chromium)")
    table = load_table()
    published = next(section for section in table.sections if section.source == "published")
    figure = pareto(published, named(published), PARAMETERS, width=960)
    assert figure is not None
    with tempfile.TemporaryDirectory() as temporary:
        _, drawn, _ = save(figure, Path(temporary) / "pareto")
        _keep("pareto.png", drawn.read_bytes())
        site = write_page(table, Path(temporary))
        with sync_playwright() as playwright:
            page = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page(
                viewport={"width": 1440, "height": 1130}, color_scheme="light"
            )
            page.goto(site.as_uri())
            _keep("page.png", page.screenshot())


def _keep(name: str, picture: bytes) -> None:
    from PIL import Image

    found = io.BytesIO()
    drawn = Image.open(io.BytesIO(picture)).convert("RGB")
    drawn.quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(found, "PNG", optimize=True)
    write_atomic(IMAGES / name, found.getvalue())


if __name__ == "__main__":
    main()
