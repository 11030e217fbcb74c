"""The notebook's cells, run in order as one program."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "python.ipynb"


@pytest.mark.slow
def test_the_notebook_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    with_demo: Callable[[Path], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(with_demo(tmp_path / "cache" / "skill-bench").parent))
    cells = [
        "".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"
    ]
    assert len(cells) > 5
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(cells):
        exec(compile(cell, f"cell {number}", "exec"), names)
    mine, shipped = names["mine"], names["shipped"]
    assert list(mine.frame["metric"]) == ["accuracy_percent"]
    (value,) = mine.frame["value"]
    (row,) = mine.table[mine.table["origin"] == "run"].to_dict("records")
    assert row["title"] == "log_spectrum"
    assert row["ks_accuracy_percent_low"] < row["ks_accuracy_percent"] == value < row["ks_accuracy_percent_high"]
    assert len(mine.table) > 4, "beside the bundled systems"
    right = names["right"]
    own = shipped.frame.query("system == 'skill' and task == 'ks'")
    assert 100 * right[right["system"] == "skill"]["right"].mean() == pytest.approx(own["value"].item())
    assert len(mine.predictions["ks"]) == mine.frame["n_test"].item()
    assert "6416 parameters" in capsys.readouterr().out
