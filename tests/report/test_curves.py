"""Curves of a training from its logs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from skill_bench.base.errors import DataError
from skill_bench.report.render.curves import draw, read_log, write_curves


def log(path: Path, columns: str, *rows: str) -> Path:
    path.write_text("\n".join([columns, *rows]) + "\n")
    return path


def test_stages_follow_each_other_on_one_axis(tmp_path: Path) -> None:
    joint = log(tmp_path / "joint.csv", "update,loss,sparsity,sparsity_target", "0,2.0,0.0,0.0", "1,1.0,0.4,0.5")
    final = log(tmp_path / "final.csv", "update,loss", "0,0.9", "1,0.7", "2,0.5")
    figure = draw({path.stem: read_log(path) for path in (joint, final)}, title="t")
    loss, sparsity = figure.axes
    assert (loss.get_ylabel(), sparsity.get_ylabel()) == ("loss", "sparsity")
    drawn = [np.asarray(line.get_xdata()).tolist() for line in loss.lines]
    assert [0.0, 1.0] in drawn
    assert [2.0, 3.0, 4.0] in drawn, "the second stage begins where the first ended"
    written = write_curves([joint, final], tmp_path / "curves", title="t")
    assert [path.name for path in written] == ["curves.svg", "curves.png"]
    assert all(path.stat().st_size > 1000 for path in written)


def test_a_log_without_updates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"joint\.csv: no updates"):
        read_log(log(tmp_path / "joint.csv", "update,loss"))
