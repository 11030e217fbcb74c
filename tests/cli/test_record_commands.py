"""``list``, ``show``, ``rescore``, ``compare``, ``leaderboard``: what stands on the screen, and how they end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_samples as made
import numpy as np
import pandas as pd
import pytest

import skill_bench as sb
from skill_bench.base import catalog
from skill_bench.base.archive import read_bytes
from skill_bench.distillation.recipe import names
from skill_bench.report.table.load import load_table

SHIPPED = catalog.folder("leaderboard") / "results" / "demo.zip" / "demo" / "skill"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_what_can_be_named_is_listed(command: Callable[..., Any]) -> None:
    ended = command("list")
    assert ended.code == 0
    listed = {line.split()[0] for line in ended.out.splitlines() if line.startswith("  ")}
    assert {*catalog.names("tasks"), *catalog.names("upstreams"), *names(), "demo", "local", "superb"} <= listed
    assert "  ks   Keyword spotting\n" in ended.out


def test_a_record_is_shown_with_its_counts(command: Callable[..., Any]) -> None:
    record = json.loads(read_bytes(SHIPPED / "ks-s0.json"))
    found = record["metrics"]["accuracy"]
    ended = command("show", SHIPPED / "ks-s0.json", SHIPPED / "er-s0.json")
    assert ended.code == 0
    assert f"{found['value']:.2f} % = {found['numerator']:g} / {found['denominator']:g}, higher is better" in ended.out
    heads = [line for line in ended.out.splitlines() if "suite demo, protocol strict, seed 0" in line]
    assert [line.split(" on ")[1].split(",")[0] for line in heads] == ["ks", "er"], "in the order given"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("show gone.json", 2, "gone.json: no such file or folder. Check the path."),
        ("rescore .", 2, "no record in .. Name record files, or the --out of a run."),
        ("compare skill skil", 2, "unknown measured system 'skil'. Did you mean 'skill'?"),
        ("compare skill", 2, "Missing argument"),
        ("leaderboard --results gone", 2, "--results gone: no such file or folder. Check the path."),
        ("evidence run grid.toml", 2, "Missing option '--teacher'."),
        ("lsit", 2, "No such command 'lsit'."),
    ],
)
def test_what_cannot_be_read(arguments: str, code: int, message: str, command: Callable[..., Any]) -> None:
    ended = command(*arguments.split())
    assert ended.code == code
    assert message in ended.err


def test_scoring_again_says_what_it_finds_and_fails_for_what_it_cannot(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    for name in ("ks-s0.json", "ks-s0.predictions.jsonl", "er-s0.json"):
        (tmp_path / name).write_bytes(read_bytes(SHIPPED / name))
    value = json.loads((tmp_path / "ks-s0.json").read_text())["metrics"]["accuracy"]["value"]
    ended = command("rescore", tmp_path / "ks-s0.json")
    assert (ended.code, ended.out) == (0, f"{tmp_path / 'ks-s0.json'}: accuracy {value:.2f}, as recorded\n")
    ended = command("rescore", tmp_path)
    assert ended.code == 1
    assert "1 of 2 records could not be scored again:\n" in ended.err
    assert "er-s0.predictions.jsonl" in ended.err
    assert "ks-s0.json: accuracy" in ended.out, "the others are done"


def test_a_comparison_is_printed_and_written(command: Callable[..., Any], tmp_path: Path) -> None:
    ended = command("compare", "skill", "dphubert", "--suite", "demo", "--csv", "c.csv")
    assert ended.code == 0
    assert ended.out.startswith("demo (synthetic speech), protocol strict\n")
    assert ended.out.endswith("written to c.csv\n")
    table = pd.read_csv(tmp_path / "c.csv")
    assert len(table) >= 8
    other = command("compare", "dphubert", "skill", "--suite", "demo", "--csv", "d.csv")
    assert other.code == 0
    (name,) = [column for column in table.columns if "difference" in column]
    back = pd.read_csv(tmp_path / "d.csv")
    assert (back[name] + table[name]).abs().max() < 1e-9, "the second is judged beside the first"


def test_the_leaderboard_says_what_it_wrote(command: Callable[..., Any], tmp_path: Path) -> None:
    ended = command("leaderboard", "--suite", "demo", "--no-published")
    *files, last = ended.out.splitlines()
    assert ended.code == 0
    assert files == [f"site/{name}" for name in ("table.csv", "table.md", "table.tex", "references.bib", "index.html")]
    rows = pd.read_csv(tmp_path / "site" / "table.csv")
    assert last == f"{len(rows)} rows in 1 section: demo (synthetic speech), protocol strict"
    assert command("leaderboard", "--tasks", "ks,kss", "--out", "q").code == 2, "an unknown task"
    assert command("leaderboard", "--suite", "demo", "--tasks", "ks,sd", "--out", "q").code == 0
    assert "ks_accuracy_percent_low" in pd.read_csv(tmp_path / "q" / "table.csv")
    tex = (tmp_path / "q" / "table.tex").read_text()
    assert [f"& {task} " in tex for task in ("KS", "SD", "ASR", "PR")] == [True, True, False, False]
    with_published = command("leaderboard", "--suite", "demo", "--out", "p").out
    assert "superb, as published" in with_published


def test_a_folder_without_records_is_said_beside_the_table_of_the_others(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    said = load_table(Path("empty"), published=False, intervals=False).problems
    assert said == ("empty: holds no record. Name the --out of a run.",)
    ended = command("compare", "skill", "fbank", "--results", "empty")
    assert ended.err == f"problem: {said[0]}\n"
    compared = sb.compare("skill", "fbank", results="empty")
    assert compared.problems == said
    assert f"{compared}\n" == ended.out + ended.err


def test_a_folder_is_shown_as_it_is_scored_again(command: Callable[..., Any], tmp_path: Path, make_record: Any) -> None:
    """The sound ones first, then what is wrong with the others, alone and last."""
    rows = made.label_rows(np.arange(10) % 2 == 0)
    for name in ("a", "b", "c"):
        make_record(name, numerator=50).save(tmp_path / "o", predictions=rows)
    assert command("show", tmp_path / "o").code == 0
    (tmp_path / "o" / "demo" / "b" / "ks-s0.predictions.jsonl").write_text("")
    (tmp_path / "o" / "demo" / "c" / "ks-s0.json").write_text('{"kind": "record", "schema_version": 1}')
    ended = command("show", tmp_path / "o")
    assert ended.code == 1
    heads = [line for line in ended.out.splitlines() if "suite demo, protocol strict, seed 0" in line]
    assert [line.split(" ")[0] for line in heads] == ["A", "B"]
    first, *others = ended.err.splitlines()
    assert first == "error: 2 of 3 records are damaged:"
    assert ["is not the file that ks-s0.json was written with" in others[0], "c/ks-s0.json" in others[1]] == [
        True,
        True,
    ]
    assert command("rescore", tmp_path / "o").code == 1
    (tmp_path / "o" / "demo" / "a" / "ks-s0.predictions.jsonl").unlink()
    assert command("show", tmp_path / "o" / "demo" / "a" / "ks-s0.json").code == 0, "a record says enough alone"
