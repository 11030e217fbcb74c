"""The page's text and data: what it holds, and that nothing in a record can break out of it."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pages import many
from safetensors.numpy import save_file

from skill_bench.base import catalog
from skill_bench.base.errors import RecordError
from skill_bench.records.record import Record, System
from skill_bench.report.render import students
from skill_bench.report.render.frame import to_frame
from skill_bench.report.render.page import bibliography, render_page, write_page
from skill_bench.report.table.build import build
from skill_bench.report.table.collect import Collection
from skill_bench.report.table.entry import Entry
from skill_bench.report.table.load import load_table
from skill_bench.report.table.published import published_rows

MATRIX = [[1.0, 0.9, 0.3], [0.9, 1.0, 0.4], [0.3, 0.4, 1.0]]
STUDENT: dict[str, str] = {"similarity": json.dumps(MATRIX), "layer_groups": "[[0, 1], [2]]"}


def data_in(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def one(record: Record) -> Any:
    return build([Collection(origin="run", entries=(Entry(record=record),))])


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    page = write_page(load_table(), tmp_path).read_text()
    assert re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//""", page) == []
    assert "<link" not in page
    assert "import(" not in page
    assert "default-src 'none'" in page


def test_the_same_records_give_the_same_page(tmp_path: Path) -> None:
    table = load_table()
    assert render_page(table, folder=tmp_path) == render_page(table, folder=tmp_path)


def test_it_holds_the_frame_in_full_precision(tmp_path: Path) -> None:
    table = load_table()
    data = data_in(render_page(table, folder=tmp_path))
    shown = pd.DataFrame(data["frame"]["rows"], columns=data["frame"]["columns"])
    csv = pd.read_csv(io.StringIO(to_frame(table).to_csv(index=False)))
    numbers = csv.select_dtypes("number").columns
    assert len(numbers) > 20
    pd.testing.assert_frame_equal(shown[numbers].astype(float), csv[numbers].astype(float), check_exact=True)
    assert shown["title"].tolist() == csv["title"].tolist()
    assert len(data["details"]) == len(shown)


def test_links_are_relative_and_lead_to_the_records(tmp_path: Path, make_record: Callable[..., Record]) -> None:
    make_record("a b#c").save(tmp_path / "results")
    page = write_page(load_table(tmp_path / "results", published=False), tmp_path / "site")
    hrefs = [r["href"] for details in data_in(page.read_text())["details"] for r in details["records"]]
    own = [href for href in hrefs if href.startswith("../results/")]
    assert len(own) == 1
    assert all(not href.startswith("/") for href in hrefs)
    from urllib.parse import unquote

    assert all((page.parent / unquote(href)).is_file() for href in hrefs)


def test_a_hostile_title_stays_text(tmp_path: Path, make_record: Callable[..., Record]) -> None:
    hostile = "</script><script>alert(1)</script><!-- & \u2028"
    system = System(name="x", title=hostile, identity="x")
    page = render_page(one(make_record(system=system)), folder=tmp_path)
    assert "<script>alert" not in page
    assert hostile in {row[data_in(page)["frame"]["columns"].index("title")] for row in data_in(page)["frame"]["rows"]}


def test_a_student_shows_how_alike_its_teachers_layers_are(tmp_path: Path, make_record: Callable[..., Record]) -> None:
    system = System(name="mine", title="Mine", identity="x", details=dict(STUDENT))
    (details,) = data_in(render_page(one(make_record(system=system)), folder=tmp_path))["details"]
    assert details["similarity"]["matrix"] == MATRIX
    assert details["similarity"]["groups"] == [[0, 1], [2]]
    first, second = details["similarity"]["tree"]
    assert first[:2] == [0, 1]
    assert first[2] == pytest.approx(0.1)
    assert sorted(second[:2]) == [2, 3]


def test_a_damaged_similarity_is_a_problem_of_the_table(make_record: Callable[..., Record], tmp_path: Path) -> None:
    system = System(name="mine", title="Mine", identity="x", details={"similarity": "[[1, 2]"})
    table = one(make_record(system=system))
    page = render_page(table, folder=tmp_path)
    (details,) = data_in(page)["details"]
    assert "similarity" not in details
    assert "<li>Mine: the similarity in its checkpoint cannot be used" in page
    (problem,) = students.with_problems(table).problems
    assert "Expected a square matrix and layer_groups" in problem


def test_learning_curves_are_thinned_by_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    joint, final = students.learning(mine)
    assert (joint["stage"], joint["updates_per_point"], len(joint["loss"])) == ("joint", 2, 300)
    assert joint["loss"][:2] == [999.5, 997.5]
    assert len(joint["sparsity"]) == 300
    assert final == {"stage": "final", "updates_per_point": 1, "update": [0, 1], "loss": [2.5, 1.5]}
    (folder / "final.csv").write_text("update,loss\n0,low\n")
    with pytest.raises(RecordError, match=r"final\.csv: not a training log"):
        students.learning(mine)
    assert students.learning(System(name="other", title="Other", identity="x")) == []
    other_weights = mine.model_copy(update={"details": said | {"sparsity": "0.5"}})
    assert students.learning(other_weights) == [], "under the same name, by --ckpt"
    (folder / "final.csv").unlink()
    monkeypatch.setattr(catalog, "folder", lambda kind: tmp_path / "elsewhere" / kind)
    monkeypatch.setattr(catalog, "names", lambda kind: [])
    monkeypatch.chdir(tmp_path)
    assert [stage["stage"] for stage in students.learning(mine)] == ["joint"], "in the working directory"


def test_every_cited_paper_is_in_the_bibliography() -> None:
    rows, _ = published_rows(catalog.folder("leaderboard") / "published")
    papers = {number for row in rows for number in re.findall(r"arXiv[: ]\s*(\d{4}\.\d{4,5})", row.source)}
    assert len(papers) >= 4
    assert papers <= set(re.findall(r"eprint\s*=\s*\{([\d.]+)\}", bibliography()))


def test_an_empty_table_makes_a_page(tmp_path: Path) -> None:
    page = render_page(build([]), folder=tmp_path)
    assert data_in(page)["frame"]["rows"] == []


def test_five_hundred_systems_stay_small(tmp_path: Path, make_record: Callable[..., Record]) -> None:
    page = write_page(many(make_record, 500, tmp_path), tmp_path)
    assert page.stat().st_size < 4_000_000
