"""Damaged files of our own, checksums made to fit: named or read, never a traceback; a table is made from the rest."""

from __future__ import annotations

import copy
import hashlib
import json
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutations import generators, mutated_bytes, mutated_text, mutated_tree, n_mutants

from skill_bench.base import catalog
from skill_bench.base.archive import read_bytes
from skill_bench.base.errors import SkillBenchError
from skill_bench.distillation.recipe import load_recipe
from skill_bench.distillation.run_file import RunFile
from skill_bench.evaluation.rescore import rescore
from skill_bench.evaluation.task_files import load_task_file
from skill_bench.layers.cluster import cluster
from skill_bench.records.record import Record
from skill_bench.records.similarity import CARRIED, LayerSimilarity, Similarity
from skill_bench.records.store import contents, pack
from skill_bench.report.render.describe import describe
from skill_bench.report.render.frame import to_frame
from skill_bench.report.render.latex import latex
from skill_bench.report.render.page import embedded, packed
from skill_bench.report.render.page_data import charts, details, page_data
from skill_bench.report.render.page_items import utterances
from skill_bench.report.render.render import markdown
from skill_bench.report.render.students import with_problems
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import collect
from skill_bench.report.table.uncertainty import with_intervals
from skill_bench.report.table.verify import verify
from skill_bench.sweep.grid import read_grid
from skill_bench.upstream.spec import read_spec

DEFAULT = 30
SHIPPED = catalog.folder("leaderboard") / "results" / "demo.zip" / "demo" / "skill"
CELLS = ("asv-s0", "er-s0", "ks-s0", "qbe-s0", "sd-s0", "sf-s0")
"""A metric of each form of predictions; two folds; a layer instead of a learning rate."""
FEW = 60
"""Rows of predictions that are kept: what a row may be does not depend on how many there are."""


def read(name: str) -> Any:
    return json.loads(read_bytes(SHIPPED / name))


def rows_of(cell: str) -> list[Any]:
    lines = read_bytes(SHIPPED / f"{cell}.predictions.jsonl").decode().splitlines()
    return [json.loads(line) for line in lines[:FEW]]


def text_of(tree: Any) -> str:
    return json.dumps(tree, default=repr, indent=1)


def sealed(content: dict[str, Any]) -> str:
    """The document with the checksum that fits it, as a careful forger writes it."""
    body = {key: value for key, value in content.items() if key != "content_sha256"}
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=repr)
    return text_of(body | {"content_sha256": hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()})


def damaged(rng: random.Random, tree: Any) -> tuple[bytes, str]:
    """A document with one value, line or byte changed."""
    how = rng.random()
    if how < 0.7:
        changed, what = mutated_tree(rng, tree)
        return sealed(changed).encode(), what
    if how < 0.85:
        text, what = mutated_text(rng, sealed(tree))
        return text.encode("utf-8", "surrogatepass"), what
    return mutated_bytes(rng, sealed(tree).encode())


class Cell:
    """A folder with one record and its predictions, of which one is damaged at a time."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.rows, self.record = folder, rows_of(name), read(f"{name}.json")
        self.path = folder / "demo" / "skill" / f"{name}.json"
        self.path.parent.mkdir(parents=True)
        self.write()

    def write(self, *, record: bytes | None = None, predictions: bytes | None = None) -> None:
        """The record names whatever predictions are given."""
        if predictions is None:
            predictions = "".join(json.dumps(row) + "\n" for row in self.rows).encode()
        said = self.record["predictions"]
        said |= {"n": predictions.count(b"\n"), "sha256": hashlib.sha256(predictions).hexdigest()}
        self.path.with_name(said["file"]).write_bytes(predictions)
        self.path.write_bytes(sealed(self.record).encode() if record is None else record)


@contextmanager
def faults_in(what: str, faults: list[str]) -> Iterator[None]:
    """Notes what is no error of ours."""
    try:
        yield
    except Exception as error:
        faults.append(f"{what}: {type(error).__name__}: {str(error)[:200]}")


def refused(reads: Callable[[Path], Any], path: Path, what: str, faults: list[str]) -> bool:
    """Whether ``path`` is refused, in words."""
    message = None
    with faults_in(what, faults):
        try:
            reads(path)
        except SkillBenchError as error:
            message = str(error)
    if message is not None and not 20 < len(message) < 5000:
        faults.append(f"{what}: an error of {len(message)} characters")
    return message is not None


def leaderboard(folder: Path) -> tuple[str, ...]:
    """Everything that `leaderboard --verify` does but writing the files; returns the problems."""
    table = with_problems(with_intervals(build([collect(folder)])))
    found = verify(table)
    page = embedded(page_data(table, bibliography=""))
    packed({"details": details(table), "charts": charts(table), **utterances(table)})
    for text in (to_frame(table).to_csv(), markdown(table), latex(table), page):
        text.encode()
    return (*table.problems, *found.mismatches, *found.unverified)


@pytest.fixture(autouse=True)
def _numbers_may_overflow() -> Iterator[None]:
    """Counts of 2^53 and the like are numbers; what they give is nobody's result."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


@pytest.mark.parametrize("name", CELLS)
def test_an_undamaged_cell_is_read(name: str, tmp_path: Path) -> None:
    cell = Cell(tmp_path, name)
    assert describe(Record.read(cell.path))
    problems = [one for one in leaderboard(tmp_path) if "its predictions are of" not in one]
    about_numbers = ("the predictions give", "cannot be computed from predictions")
    assert [one for one in problems if not any(text in one for text in about_numbers)] == [], (
        "fewer rows, no other fault"
    )


@pytest.mark.parametrize("name", CELLS)
def test_damaged_records(name: str, tmp_path: Path) -> None:
    cell = Cell(tmp_path, name)
    whole, n_refused = copy.deepcopy(cell.record), 0
    faults: list[str] = []
    for rng in generators(f"record {name}", DEFAULT // 3):
        data, what = damaged(rng, whole)
        cell.write(record=data)
        with faults_in(f"the table, {what}", faults):
            n_refused += bool(leaderboard(tmp_path))
        for reads in (lambda path: describe(Record.read(path)), rescore):
            refused(reads, cell.path, what, faults)
    assert not faults, "\n".join(faults)
    assert n_refused > n_mutants(DEFAULT // 3) // 4


@pytest.mark.parametrize("name", CELLS)
def test_damaged_predictions(name: str, tmp_path: Path) -> None:
    cell = Cell(tmp_path, name)
    faults: list[str] = []
    n_refused = 0
    for rng in generators(f"predictions {name}", 2 * DEFAULT // 3):
        rows, what = mutated_tree(rng, cell.rows)
        data = "".join(json.dumps(row, default=repr) + "\n" for row in rows).encode()
        if rng.random() < 0.3:
            data, what = mutated_bytes(rng, data)
        cell.write(predictions=data)
        if rng.random() < 0.4:  # it draws its items a thousand times
            with faults_in(f"the table, {what}", faults):
                leaderboard(tmp_path)
        for reads, path in ((rescore, cell.path), (contents, tmp_path)):
            n_refused += refused(reads, path, what, faults)
    assert not faults, "\n".join(faults)
    assert n_refused > n_mutants(2 * DEFAULT // 3) // 4


def similarity() -> LayerSimilarity:
    matrix = [[1.0, 0.9, 0.3], [0.9, 1.0, 0.4], [0.3, 0.4, 1.0]]
    found = cluster(np.array(matrix), n_groups=2)
    one = Similarity(measure="cka", matrix=matrix, tree=found.tree.tolist(), groups=found.groups)  # type: ignore[arg-type]
    return LayerSimilarity(
        model="teacher",
        checkpoint_sha256="a" * 64,
        n_utterances=3,
        audio_seconds=9.0,
        seed=0,
        linkage="average",
        contiguous=True,
        n_groups=2,
        measures=(one,),
        provenance=Record.read(SHIPPED / "ks-s0.json").provenance,
    )


def test_damaged_similarities_that_a_student_carries(tmp_path: Path) -> None:
    cell = Cell(tmp_path, "ks-s0")
    whole = json.loads(similarity().to_json())
    faults: list[str] = []
    n_refused = 0
    for rng in generators("carried", DEFAULT):
        data, what = damaged(rng, whole)
        record = copy.deepcopy(cell.record)
        record["system"]["details"] |= {CARRIED: data.decode("utf-8", "replace"), "layer_groups": "[[0, 1], [2]]"}
        if rng.random() < 0.3:
            groups, what = mutated_bytes(rng, b"[[0, 1], [2]]")
            matrix = text_of(mutated_tree(rng, whole["measures"][0]["matrix"])[0])
            record["system"]["details"] |= {"layer_groups": groups.decode("latin-1"), "similarity": matrix}
            del record["system"]["details"][CARRIED]
        cell.write(record=sealed(record).encode())
        with faults_in(what, faults):
            n_refused += any("the similarity in its checkpoint" in one for one in leaderboard(tmp_path))
    assert not faults, "\n".join(faults)
    assert n_refused > n_mutants(DEFAULT) // 4


def run_file() -> RunFile:
    return RunFile(
        recipe=load_recipe("skill"),
        teacher_sha256="a" * 64,
        data_fingerprint="b" * 64,
        precision="fp32",
        layer_groups=((0, 1), (2,)),
        student_groups=((0,), (1,)),
    )


def profile_in_a_table(path: Path) -> None:
    place = path.parent / "demo" / "skill" / "profile.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(path.read_bytes())
    (place.parent / "ks-s0.json").write_bytes(read_bytes(SHIPPED / "ks-s0.json"))
    problems = leaderboard(path.parent)
    if any("profile.json" in problem for problem in problems):
        raise SkillBenchError("\n".join(problems))


DOCUMENTS: dict[str, tuple[Callable[[], Any], Callable[[Path], Any]]] = {
    "similarity": (lambda: json.loads(similarity().to_json()), LayerSimilarity.read),
    "run": (lambda: json.loads(run_file().to_json()), RunFile.read),
    "profile": (lambda: read("profile.json"), profile_in_a_table),
}


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_damaged_documents(kind: str, tmp_path: Path) -> None:
    whole, reads = DOCUMENTS[kind][0](), DOCUMENTS[kind][1]
    refused_or_read(kind, tmp_path / "document.json", lambda rng: damaged(rng, whole), reads)


GRID = """suite = "local"
tasks = ["ks", "pr"]
seeds = [0, 1]
probe_seeds = [0]
upstreams = ["fbank"]
scale_updates = 0.02
[changes.data]
seconds_per_batch = 16.0
[[students]]
name = "skill"
recipe = "skill"
[[students]]
name = "two"
recipe = "skill"
seeds = [0]
tasks = ["ks"]
changes = { groups = { n_groups = 2 } }
"""


def shipped_toml(kind: Any, name: str) -> str:
    entry = catalog.entry(kind, name)
    return (entry if kind == "tasks" else entry / "upstream.toml").read_text("utf-8")


TABLES: dict[str, tuple[str, Callable[[], str], Callable[[Path], Any]]] = {
    "grid": ("grid.toml", lambda: GRID, read_grid),
    "recipe": (
        "mine.toml",
        lambda: 'extends = "skill"\ntitle = "mine"\nseed = 3\n[groups]\nn_groups = 3\n[joint]\nn_updates = 10\n',
        lambda path: load_recipe(str(path)),
    ),
    "upstream": (
        "skill/upstream.toml",
        lambda: shipped_toml("upstreams", "skill"),
        lambda path: read_spec(path.parent),
    ),
    "task": ("ks.toml", lambda: shipped_toml("tasks", "ks"), load_task_file),
}


def damaged_toml(rng: random.Random, text: str) -> tuple[bytes, str]:
    how = rng.random()
    if how < 0.4:
        text, what = mutated_text(rng, text)
        return text.encode("utf-8", "surrogatepass"), what
    if how < 0.6:
        return mutated_bytes(rng, text.encode())
    lines = text.split("\n")
    at = rng.choice([number for number, line in enumerate(lines) if " = " in line])
    value = rng.choice(
        ("1" * 5000, "[" * 5000, "{a = " * 2000, "[" * 90 + "]" * 90, "nan", "-inf", "1e999", "10000000000000000000000",
         "0", "-1", "''", "[]", "{}", "true", "'\\u0000'", '"\\uD800"', "1979-05-27", "[1, 'a', {}]", "''' '''")
    )  # fmt: skip
    lines[at] = f"{lines[at].split(' = ')[0]} = {value}"
    return "\n".join(lines).encode(), f"{lines[at][:60]}"


@pytest.mark.parametrize("kind", TABLES)
def test_damaged_tables(kind: str, tmp_path: Path) -> None:
    name, text, reads = TABLES[kind]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    refused_or_read(kind, tmp_path / name, lambda rng: damaged_toml(rng, text()), reads)


def test_damaged_archives(tmp_path: Path) -> None:
    pack(Cell(tmp_path / "records", "ks-s0").folder, tmp_path / "whole.zip")
    whole = (tmp_path / "whole.zip").read_bytes()
    refused_or_read("archive", tmp_path / "r.zip", lambda rng: mutated_bytes(rng, whole), contents)
    refused_or_read("archive", tmp_path / "s.zip", lambda rng: mutated_bytes(rng, whole), collect)


def refused_or_read(
    family: str, path: Path, mutate: Callable[[random.Random], tuple[bytes, str]], reads: Callable[[Path], Any]
) -> None:
    faults: list[str] = []
    n_refused = 0
    for rng in generators(family, DEFAULT):
        data, what = mutate(rng)
        path.write_bytes(data)
        n_refused += refused(reads, path, what, faults)
    assert not faults, "\n".join(faults)
    assert n_refused > 0
