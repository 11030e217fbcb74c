"""The page's text and data: what it holds, and that nothing in a record can break out of it."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from skill_bench.base import catalog
from skill_bench.base.errors import RecordError
from skill_bench.base.escape import without_paths
from skill_bench.layers.cluster import cluster
from skill_bench.records.record import Failure, Record, System
from skill_bench.records.similarity import CARRIED, LayerSimilarity, Similarity
from skill_bench.report.render import students
from skill_bench.report.render.frame import to_frame
from skill_bench.report.render.page import bibliography, library, render_page, write_page
from skill_bench.report.render.page_data import page_data
from skill_bench.report.render.page_items import utterances
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import Collection, collect
from skill_bench.report.table.columns import in_order
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.load import load_table
from skill_bench.report.table.published import published_rows
from skill_bench.report.table.table import Table

MATRIX = [[1.0, 0.9, 0.3], [0.9, 1.0, 0.4], [0.3, 0.4, 1.0]]
STUDENT: dict[str, str] = {"similarity": json.dumps(MATRIX), "layer_groups": "[[0, 1], [2]]"}


def data_in(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def one(record: Record) -> Any:
    return build([Collection(origin="run", entries=(FoundRecord(record=record),))])


def more_in(page: str) -> dict[str, Any]:
    """What the page unpacks when somebody asks for it."""
    found = re.search(r'<script type="text/plain" id="more">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(found[1])))
    return data


@pytest.fixture(scope="module")
def shipped_page(shipped_site: Path) -> str:
    return shipped_site.read_text(encoding="utf-8")


def test_the_page_needs_nothing_else_and_can_be_sent(shipped: Table, shipped_page: str, tmp_path: Path) -> None:
    own = shipped_page.replace(library(), "")
    assert re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//""", own) == []
    assert "<link" not in own
    assert "import(" not in own
    assert "default-src 'none'" in own
    assert "unsafe-eval" not in own
    page = write_page(Table(sections=shipped.sections[:1]), tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == [page.name], "no file beside it"
    assert len(shipped_page.encode()) < 1_500_000


def test_table_and_page_need_no_torch() -> None:
    """Which takes seconds to import, and is not there where only tables are made."""
    code = (
        "import sys; from skill_bench.report.render import figures, page; from skill_bench.report.table import load; "
        "page.render_page(load.load_table(suite='superb')); "
        "print([name for name in ('torch', 'matplotlib', 's3prl') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_no_folder_of_this_machine_is_in_it(tmp_path: Path, make_record: Callable[..., Record]) -> None:
    make_record("a").save(tmp_path / "results")
    broken = tmp_path / "results/demo/b/ks-s0.json"
    broken.parent.mkdir()
    broken.write_text("{")
    failed = {"error": Failure(type="AudioError", message=f"{tmp_path}/x y/a.wav: empty")}
    make_record("c", numerator=None, **failed).save(tmp_path / "results")
    table = load_table(tmp_path / "results", suite="demo", tasks=["ks"], published=False)
    assert any(str(tmp_path) in problem for problem in table.problems), "the console names the file as it is"
    page = render_page(table)
    for text in (page, json.dumps(more_in(page))):
        assert str(tmp_path) not in text
    assert "ks-s0.json" in page, "but which one it is stays"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/data/a/b.wav: empty", "b.wav: empty"),
        ("AudioError: /data/a/b.wav and (/x/y.json)", "AudioError: b.wav and (y.json)"),
        ("superb/ks, 1/2 of src/data/public.json", "superb/ks, 1/2 of src/data/public.json"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
    ],
)
def test_paths_shrink_to_names(text: str, shown: str) -> None:
    assert without_paths(text) == shown


def test_the_same_records_give_the_same_page(make_record: Callable[..., Record]) -> None:
    table = one(make_record())
    assert render_page(table) == render_page(table)


def test_it_holds_the_frame_in_full_precision(shipped: Table, shipped_page: str) -> None:
    data = data_in(shipped_page)
    shown = pd.DataFrame(data["frame"]["rows"], columns=data["frame"]["columns"])
    csv = pd.read_csv(io.StringIO(to_frame(shipped).to_csv(index=False)))
    numbers = csv.select_dtypes("number").columns
    assert len(numbers) > 20
    pd.testing.assert_frame_equal(shown[numbers].astype(float), csv[numbers].astype(float), check_exact=True)
    assert shown["title"].tolist() == csv["title"].tolist()
    assert len(more_in(shipped_page)["details"]) == len(data["rows"]) == len(shown)
    assert len({(row["id"], name) for row, name in zip(data["rows"], shown["section"], strict=True)}) == len(shown)


def test_it_begins_with_what_was_found(shipped_page: str) -> None:
    first, *_, demo = data_in(shipped_page)["sections"]
    assert re.search(
        r"^On KS and QBE, \d students keep \d+ ± \d+ % of their teacher \(± \d+ % for other speakers\) "
        r"at .* % of its size; "
        r"SKILL and DPHuBERT .* points for other speakers\)\.$",
        first["finding"],
    )
    assert re.match(
        r"Best student: .*, mean over keyword spotting \(KS\), query by example \(QBE\) "
        r"[\d.]+ ± [\d.]+ \(± [\d.]+ for other speakers\); rank 1.*"
        r"\. It takes .* M params \(\d+ % of its teacher's\), .* G MACs \(\d+ %\), .* MB file \(\d+ %\)",
        first["best"],
    )
    assert any("DSPSpeech-20" in text for text in first["said"]), "what was tested on"
    local = next(section for section in data_in(shipped_page)["sections"] if section["suite"] == "local")
    assert any("subsets of Arabic Speech Commands" in text for text in local["said"])
    assert (demo["synthetic"], demo["finding"], demo["best"]) == (True, None, None)
    assert not {"mean_points", "retention_percent"} & {column["name"] for column in demo["columns"]}


def test_columns_that_matter_come_first_and_all_are_explained(shipped_page: str) -> None:
    data = data_in(shipped_page)
    place = data["frame"]["columns"].index
    for section in data["sections"]:
        rows = [row for row in data["frame"]["rows"] if row[place("section")] == section["label"]]
        for column in section["columns"]:
            assert any(row[place(column["name"])] is not None for row in rows), f"{column['name']} is empty"
        groups = [column["group"] for column in section["columns"]]
        assert groups == sorted(groups, key=["main", "task", "more"].index)
        assert all(column["help"] for column in section["columns"])
        tasks = [column["task"] for column in section["columns"] if column["group"] == "task"]
        assert tasks == sorted(tasks, key=in_order)
    local = data_in(shipped_page)["sections"][0]["columns"]
    assert [column["name"] for column in local if column["group"] == "main"][:3] == [
        "mean_points", "retention_percent", "parameters_millions",
    ]  # fmt: skip


def test_a_row_says_where_it_was_measured(shipped_page: str) -> None:
    data, more = data_in(shipped_page), more_in(shipped_page)
    measured = [i for i, detail in enumerate(more["details"]) if detail is not None]
    assert len(measured) > 10
    for index in measured:
        assert re.search(r"[0-9a-f]{10}", data["rows"][index]["commit"])
        assert data["rows"][index]["machine"]
        assert more["details"][index]["about"]["commit"] == data["rows"][index]["commit"]


def test_every_utterance_is_in_the_page(shipped: Table, shipped_page: str) -> None:
    """With the counts that add up to the record's own."""
    more = more_in(shipped_page)
    n_checked = n_decided = 0
    for index, row in enumerate(row for section in shipped.sections for row in section.rows):
        for name, cell in row.scores.items():
            answers = more["answers"].get(f"{index}/{cell.column.task}")
            if answers is None or not cell.column.primary:
                continue
            entry = next(e for e in row.entries if answers["record"] == f"{e.record.key.upstream} on "
                         f"{e.record.key.task}, seed {e.record.key.seed}")  # fmt: skip
            stated = entry.record.metrics[cell.column.metric]
            if cell.column.metric in ("eer", "mtwv"):
                assert_decided(answers, entry.record)
                n_decided += 1
            assert len(answers["said"]) == len(answers["numerators"]) == len(answers["denominators"]), name
            if not entry.record.folds and stated.numerator is not None:
                assert sum(answers["numerators"]) == pytest.approx(stated.numerator, abs=0.1), name
                n_checked += 1
    assert n_checked > 30
    assert n_decided > 15


def test_what_has_no_room_is_named(shipped: Table) -> None:
    """Of every row and task either the answers or that they are left out."""
    some, everything = utterances(shipped, most_characters=50_000), utterances(shipped)
    assert everything["without"] == []
    assert 0 < len(some["answers"]) < len(everything["answers"])
    assert {*some["answers"]} | {*some["without"]} == {*everything["answers"]}
    assert not {*some["answers"]} & {*some["without"]}


def assert_decided(answers: dict[str, Any], record: Record) -> None:
    """At the page's threshold errors are as frequent as the metric says."""
    value = record.metrics[record.metric].value
    assert value is not None
    if record.metric == "mtwv":
        hits, n_true = (np.array(answers[name]) for name in ("numerators", "denominators"))
        alarms = np.array([int(text.split(", ")[1].split()[0]) for text in answers["said"]])
        n_false = record.data.n_test - n_true if record.data else n_true
        assert 100 * np.mean(hits / n_true - 12.49 * alarms / n_false) == pytest.approx(value, abs=0.02)
        return
    wrong = [text for text in answers["said"] if text is not None]
    n = len(answers["said"])
    assert 100 * len(wrong) / n == pytest.approx(value, abs=100 * 5 / n), "both kinds of errors are as frequent"


def test_a_hostile_title_stays_text(make_record: Callable[..., Record]) -> None:
    hostile = "</script><script>alert(1)</script><!-- & \u2028"
    system = System(name="x", title=hostile, identity="x")
    page = render_page(one(make_record(system=system)))
    assert "<script>alert" not in page
    assert hostile in {row[data_in(page)["frame"]["columns"].index("title")] for row in data_in(page)["frame"]["rows"]}


def test_a_student_shows_how_alike_its_teachers_layers_are(make_record: Callable[..., Record]) -> None:
    system = System(name="mine", title="Mine", identity="x", details=dict(STUDENT))
    (charts,) = more_in(render_page(one(make_record(system=system))))["charts"]
    (chart,) = (chart for chart in charts if chart["kind"] == "similarity")
    tree, below = (chart["wide"]["datasets"][part["data"]["name"]] for part in
                   (chart["wide"]["vconcat"][0], chart["wide"]["vconcat"][1]["layer"][0]))  # fmt: skip
    assert {(cell["a"], cell["b"]): cell["similarity"] for cell in below}["h0", "h2"] == 0.3
    assert tree[1]["y"] == pytest.approx(0.1)
    found = students.layers_alike(system)
    assert found is not None
    assert found.groups == ((0, 1), (2,))


def test_a_student_that_carries_the_document_shows_the_same(make_record: Callable[..., Record]) -> None:
    clusters = cluster(np.array(MATRIX), n_groups=2)
    carried = LayerSimilarity(
        model="teacher",
        checkpoint_sha256="t",
        n_utterances=1,
        audio_seconds=1.0,
        seed=0,
        linkage="average",
        contiguous=True,
        n_groups=2,
        measures=(
            Similarity(
                measure="cka", matrix=tuple(map(tuple, MATRIX)), tree=clusters.tree.tolist(), groups=clusters.groups
            ),
        ),
        provenance=make_record().provenance,
    )
    said = {CARRIED: carried.to_json(), "layer_groups": STUDENT["layer_groups"]}
    systems = [System(name="x", title="X", identity="x", details=dict(details)) for details in (said, STUDENT)]
    now, before = (students.layers_alike(system) for system in systems)
    assert now == before
    edited = said | {CARRIED: said[CARRIED].replace("0.9", "0.8")}
    with pytest.raises(RecordError, match=r"X: the similarity in its checkpoint cannot be used .*was changed after"):
        students.layers_alike(systems[0].model_copy(update={"details": edited}))


def test_a_damaged_similarity_is_a_problem_of_the_table(make_record: Callable[..., Record]) -> None:
    system = System(name="mine", title="Mine", identity="x", details={"similarity": "[[1, 2]"})
    table = one(make_record(system=system))
    page = render_page(table)
    assert "similarity" not in {chart["kind"] for chart in more_in(page)["charts"][0]}
    assert "<li>Mine: the similarity in its checkpoint cannot be used" in page
    (problem,) = students.with_problems(table).problems
    assert "Expected a square matrix and layer_groups" in problem


def test_learning_curves_are_those_of_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "upstreams" / "mine"
    folder.mkdir(parents=True)
    (folder / "upstream.toml").touch()
    lines = ["update,loss,gradient_norm,sparsity", *(f"{n},{1000 - n},1,0.{n % 10}" for n in range(600))]
    (folder / "joint.csv").write_text("\n".join(lines))
    (folder / "final.csv").write_text("update,loss\n0,2.5\n1,1.5\n")
    monkeypatch.setattr(catalog, "folder", lambda kind: tmp_path / kind)
    said = {"recipe": "{}", "teacher_sha256": "t", "sparsity": "0.75"}
    save_file({}, folder / "mine.safetensors", metadata=said)
    mine = System(name="mine", title="Mine", identity="x", details=dict(said))
    found = students.learning(mine)
    assert list(found) == ["joint", "final"]
    assert found["joint"]["loss"][:2].tolist() == [1000, 999]
    assert found["final"]["loss"].tolist() == [2.5, 1.5]
    of_a_grid = mine.model_copy(update={"name": "mine-s0", "details": said | {"evidence_row": "mine"}})
    assert list(students.learning(of_a_grid)) == ["joint", "final"], "the seed of a recipe whose weights are bundled"
    (folder / "final.csv").write_text("update,loss\n0,low\n")
    with pytest.raises(RecordError, match=r"final\.csv: not a training log"):
        students.learning(mine)
    assert students.learning(System(name="other", title="Other", identity="x")) == {}
    other_weights = mine.model_copy(update={"details": said | {"sparsity": "0.5"}})
    assert students.learning(other_weights) == {}, "under the same name, by --ckpt"
    (folder / "final.csv").unlink()
    monkeypatch.setattr(catalog, "folder", lambda kind: tmp_path / "elsewhere" / kind)
    monkeypatch.setattr(catalog, "names", lambda kind: [])
    monkeypatch.chdir(tmp_path)
    assert list(students.learning(mine)) == ["joint"], "in the working directory"


def test_tasks_that_do_not_count_are_said(make_record: Any) -> None:
    entries = tuple(FoundRecord(record=make_record("a", task, 90, synthetic=False)) for task in ("ks", "pr"))
    (section,) = build([Collection(origin="run", entries=entries)]).sections
    found = page_data(Table(sections=(replace(section, left_out=("pr",)),)), bibliography="")["sections"][0]
    assert any(text.startswith("The mean is over keyword spotting (KS) alone") for text in found["said"])
    aside = {column["task"]: column["aside"] for column in found["columns"] if column["group"] == "task"}
    assert aside == {"pr": True, "ks": False}


def test_the_bundled_students_have_curves_from_their_archive() -> None:
    shipped = collect(catalog.folder("leaderboard") / "results").records
    system = next(r.system for r in shipped if r.key.upstream == "skill")
    found = students.learning(system)
    assert [len(found[stage]["update"]) for stage in ("joint", "final")] == [750, 375]


def test_every_cited_paper_is_in_the_bibliography() -> None:
    rows, _ = published_rows(catalog.folder("leaderboard") / "published")
    papers = {number for row in rows for number in re.findall(r"arXiv[: ]\s*(\d{4}\.\d{4,5})", row.citation)}
    assert len(papers) >= 4
    assert papers <= set(re.findall(r"eprint\s*=\s*\{([\d.]+)\}", bibliography()))


def test_an_empty_table_makes_a_page() -> None:
    page = render_page(build([]))
    assert data_in(page)["frame"]["rows"] == []


def test_five_hundred_systems_stay_small(site_of_500: Path) -> None:
    assert site_of_500.stat().st_size < 4_000_000
