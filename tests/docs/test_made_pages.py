"""Pages that scripts make: every setting beside s3prl's, and what differs has a reason (docs/protocols.md, from
docs/originals/s3prl.toml); the control of the sparsity (docs/sparsity-control.md)."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from sparsity_control import PULLS, RUNS, SHAPES, TEXT, TOLERANCE, Kind, begins, cell

from skill_bench.base import catalog

DOCS = Path(__file__).parents[2] / "docs"
SPARSITY = DOCS / "sparsity-control.md"


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("protocol_tables", DOCS / "protocol_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["protocol_tables"] = module
    spec.loader.exec_module(module)
    return module


def undeclared(tables: ModuleType, old: str = "", new: str = "") -> list[str]:
    """Of the facts with something changed."""
    text = tables.FACTS.read_text()
    assert old in text
    return list(tables.undeclared(tables.read(text.replace(old, new, 1))[1]))


def test_every_difference_has_a_reason_and_the_page_says_so(
    tables: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tables.main(["--check"]) == 0, capsys.readouterr().err


def test_every_task_has_a_table(tables: ModuleType) -> None:
    _, facts = tables.read()
    assert {fact.task for fact in facts} == set(catalog.names("tasks"))
    page = tables.PAGE.read_text()
    assert all(f"### {task.upper()}\n" in page for task in catalog.names("tasks"))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            'ours = "protocol.learning_rates", strict = "@rate"', 'ours = "protocol.learning_rates"',
            "pr: 'optimizer.lr' of ctc/libriphone.yaml is 0.01, protocol.learning_rates is "
            "(0.1, 0.01, 0.001, 0.0001, 1e-05) in protocol strict: say why, or make it so",
        ),
        (
            '"runner.eval_step" = { is = 5000', '"runner.eval_step" = { is = 4000',
            "ks: 'runner.eval_step' of speech_commands/config.yaml is 4000, protocol.evaluate_every_steps is 5000 in "
            "protocol s3prl: say why, or make it so",
        ),
        (
            'is = 32000, as = 2.0', 'is = 16000, as = 1.0',
            "asv: 'downstream_expert.datarc.vad_config.min_sec' of sv_voxceleb1/configs/amsoftmax.yaml is 1.0, "
            "protocol.train_min_seconds is 2.0 in protocol s3prl: say why, or make it so",
        ),
        (
            '"SIL", "SPN",', '"SIL",', "protocol s3prl: say why, or make it so",
        ),
        (
            'ours = "protocol.steps" }', 'ours = "protocol.steps", strict = "shorter" }',
            "pr: 'runner.total_steps' of ctc/libriphone.yaml: there is a reason for a difference that protocol strict "
            "has not",
        ),
    ],
)  # fmt: skip
def test_a_difference_without_a_reason_is_found(tables: ModuleType, old: str, new: str, problem: str) -> None:
    assert undeclared(tables) == []
    assert any(problem in found for found in undeclared(tables, old, new))


def test_an_old_page_is_found(
    tables: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "protocols.md"
    page.write_text(tables.PAGE.read_text().replace("### KS", "### KEYWORDS"))
    monkeypatch.setattr(tables, "PAGE", page)
    assert tables.main(["--check"]) == 1
    assert "protocols.md is not what the tables give: run python docs/protocol_tables.py" in capsys.readouterr().err
    assert "### KS" not in page.read_text(), "--check writes nothing"
    assert tables.main([]) == 0
    assert "### KS\n" in page.read_text()


@pytest.fixture
def checkout(tables: ModuleType, tmp_path: Path) -> Path:
    """Files that say what the facts say, and a key that decides nothing."""
    trees: dict[str, dict[str, Any]] = {}
    _, facts = tables.read()
    for fact in facts:
        path = tmp_path / "s3prl" / "downstream" / fact.file
        path.parent.mkdir(parents=True, exist_ok=True)
        if not fact.file.endswith(".yaml"):
            said = fact.stated["is"] if "lines" in fact.stated else fact.stated.get("says", [])
            path.write_text("\n".join([*([path.read_text()] if path.exists() else []), *said]))
            continue
        tree = trees.setdefault(fact.file, {"runner": {"log_step": 100}})
        *folders, last = fact.key.split(".")
        for folder in folders:
            tree = tree.setdefault(folder, {})
        tree[last] = fact.stated.get("is")
        path.write_text(yaml.safe_dump(trees[fact.file]))
    return tmp_path


def test_a_checkout_that_says_what_the_facts_say_has_no_differences(tables: ModuleType, checkout: Path) -> None:
    assert list(tables.differences_from(checkout, *tables.read())) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        (
            "emotion/config.yaml", "eval_step: 1000", "eval_step: 2000",
            "emotion/config.yaml: runner.eval_step is 2000, the facts say 1000",
        ),
        (
            "asr/config.yaml", "eval_step: 2000", "evaluate: 2000",
            "asr/config.yaml: runner.eval_step is 'no such key', the facts say 2000",
        ),
        (
            "voxceleb1/config.yaml", "eval_step: 5000", "eval_step: 5000\n  warmup: 9",
            "voxceleb1/config.yaml: runner.warmup = 9 is in no table",
        ),
        (
            "diarization/score.sh", "for med in 1 11", "for med in 1",
            "diarization/score.sh does not say 'for med in 1 11'",
        ),
        ("ctc/vocab/phoneme.txt", "SPN", "SPN2", "ctc/vocab/phoneme.txt holds other lines"),
    ],
)  # fmt: skip
def test_what_a_checkout_says_otherwise_or_besides_is_found(
    tables: ModuleType, checkout: Path, file: str, old: str, new: str, problem: str
) -> None:
    path = checkout / "s3prl" / "downstream" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert problem in tables.differences_from(checkout, *tables.read())


def test_the_facts_are_those_of_what_is_installed_of_s3prl(tables: ModuleType) -> None:
    """Its modules are, its YAML files and scripts are not."""
    spec = importlib.util.find_spec("s3prl")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parents[1]
    about, facts = tables.read()
    there = [fact for fact in facts if fact.file.endswith(".py")]
    assert sum(len(fact.stated.get("says", ())) for fact in there) >= 25
    assert list(tables.differences_from(folder, about, there)) == []


@pytest.mark.skipif("SKILL_BENCH_S3PRL" not in os.environ, reason="SKILL_BENCH_S3PRL names no checkout of s3prl")
def test_the_facts_are_those_of_s3prls_own_files(tables: ModuleType) -> None:
    found = list(tables.differences_from(Path(os.environ["SKILL_BENCH_S3PRL"]), *tables.read()))
    assert found == []


def numbers(text: str) -> list[float]:
    return [float(number) for number in text.strip().removesuffix(" %").split(", ")]


def stated(kind: Kind, pull: float) -> list[float]:
    """Of the shorter run and the smaller shape."""
    (row,) = (
        row for row in SPARSITY.read_text().splitlines() if row.startswith(begins(RUNS[0], "small teacher", kind))
    )
    return numbers(row.split("|")[4 + PULLS.index(pull)])


def test_the_page_on_sparsity_begins_with_the_scripts_text() -> None:
    assert SPARSITY.read_text().startswith(TEXT)


@pytest.mark.parametrize(("kind", "pull"), [("held", 1.0), ("held", 3.0), ("multipliers", 1.0)])
def test_its_cells_are_what_the_code_gives(kind: Kind, pull: float) -> None:
    """Rounding, which differs between machines, moves 375 noisy updates by less than a digit of what is printed."""
    found = numbers(cell(SHAPES["small teacher"], RUNS[0], kind, pull))
    assert found == pytest.approx(stated(kind, pull), abs=0.005, rel=0.02)
    assert (found[1] < TOLERANCE) == (kind == "held")
