"""Names in texts: none of our modules that is not there, nothing to install that is not ours.

Actions, which can change under their names, are called by hashes.
"""

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

CLASSNAME = "skill_bench.check"
"""Of JUnit's cases: a label."""


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


def lacking(name: str) -> list[str]:
    """The parts of ``skill_bench.…`` that lead nowhere: no folder or file, and nothing that a module's text defines."""
    at, parts = ROOT / "skill_bench", name.split(".")[1:]
    while parts and ((at / parts[0]).is_dir() or (at / parts[0]).with_suffix(".py").is_file()):
        at /= parts.pop(0)
    files = [at.with_suffix(".py"), at / "__init__.py", at / "__init__.pyi"]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files if file.is_file())
    defined = r"^ *(?:(?:def|class) {0}\b|(?:\w+, )*{0}\b(?:, \w+)* ?[:=]|(?:from \S+ )?import\b.*\b{0}\b|{0},$)"
    return [part for part in parts if not re.search(defined.format(part), text, re.MULTILINE)]


@pytest.mark.parametrize("name", ["skill_bench.no_room", "skill_bench.corpora.described.partition.fingerprint"])
def test_a_name_that_is_not_there_is_seen(name: str) -> None:
    assert lacking(name) == [name.rsplit(".", 1)[1]]


def test_dotted_names_are_there() -> None:
    names = {
        (name, path)
        for path in TEXTS
        for name in re.findall(r"\bskill_bench(?:\.[A-Za-z_]\w*)+", path.read_text(encoding="utf-8"))
    }
    assert len(names) > 1000
    assert {(name, path) for name, path in names if name != CLASSNAME and lacking(name)} == set()
