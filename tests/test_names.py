"""Nothing tells people to install a name that is not ours, or an action that can change under its name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from skill_bench.base.errors import MissingExtra

ROOT = Path(__file__).parents[1]
TEXTS = sorted(
    path
    for folder in ("skill_bench", "docs", "upstreams", "leaderboard", "benchmarks")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".md", ".yml", ".toml", ".html"}
)


def test_no_text_installs_a_name_from_an_index() -> None:
    assert len(TEXTS) > 250
    said = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in [*TEXTS, *ROOT.glob("*.md")]
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"pip install [^`&]*(?<![./\w])skill[-_]bench\b(?!/)", line) and "would install" not in line
    ]
    assert said == []


def test_a_missing_extra_is_installed_from_a_checkout() -> None:
    assert str(MissingExtra("lxml", extra="s3prl-train", purpose="QbE")) == (
        "QbE needs lxml, which is not installed. Run in a checkout of skill-bench: pip install '.[s3prl-train]'"
    )


@pytest.mark.parametrize("workflow", sorted((ROOT / "docs" / "examples").glob("*.yml")), ids=lambda path: path.name)
def test_actions_are_pinned_by_hash(workflow: Path) -> None:
    used = re.findall(r"uses: (\S+)", workflow.read_text())
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action)] == []
