"""Curves of a training from its logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skill_bench.base.errors import DataError
from skill_bench.report.render.curves import draw, read_log, write_curves


def log(path: Path, columns: str, *rows: str) -> Path:
    path.write_text("\n".join([columns, *rows]) + "\n")
    return path


def panels(spec: dict[str, Any]) -> list[str]:
    return [panel["layer"][1]["encoding"]["y"]["title"] for panel in spec["vconcat"]]


def points(spec: dict[str, Any], label: str) -> list[tuple[float, float]]:
    """Of the pale line, which shows what was logged."""
    panel = next(one for one in spec["vconcat"] if one["layer"][1]["encoding"]["y"]["title"] == label)
    return [(row["update"], row["value"]) for row in spec["datasets"][panel["layer"][1]["data"]["name"]]]


def test_stages_follow_each_other_on_one_axis(tmp_path: Path) -> None:
    joint = log(tmp_path / "joint.csv", "update,loss,sparsity,sparsity_target", "0,2.0,0.0,0.0", "1,1.0,0.4,0.5")
    final = log(tmp_path / "final.csv", "update,loss", "0,0.9", "1,0.7", "2,0.5")
    spec = draw({path.stem: read_log(path) for path in (joint, final)}, title="t")
    assert panels(spec) == ["loss", "sparsity"]
    assert points(spec, "loss") == [(0, 2.0), (1, 1.0), (2, 0.9), (3, 0.7), (4, 0.5)], "the second stage follows"
    written = write_curves([joint, final], tmp_path / "curves", title="t")
    assert [path.name for path in written] == ["curves.svg", "curves.png", "curves.pdf"]
    assert all(path.stat().st_size > 1000 for path in written)


def test_a_distillation_shows_the_distance_and_not_the_penalty(tmp_path: Path) -> None:
    """The loss of the stage that prunes is more than the distance; that of the other is the distance."""
    joint = log(tmp_path / "joint.csv", "update,loss,l1,distance", "0,9.0,0.3,2.0", "1,8.0,0.2,1.0")
    final = log(tmp_path / "final.csv", "update,loss,l1", "0,0.9,0.1")
    spec = draw({path.stem: read_log(path) for path in (joint, final)}, title="t", panels=("distance", "loss"))
    assert panels(spec) == ["distance"]
    assert points(spec, "distance") == [(0, 2.0), (1, 1.0), (2, 0.9)]


def test_long_logs_are_shown_by_means(tmp_path: Path) -> None:
    rows = [f"{n},{n % 2}" for n in range(1000)]
    spec = draw({"s": read_log(log(tmp_path / "s.csv", "update,loss", *rows))}, title="t", most_points=100)
    found = points(spec, "loss")
    assert len(found) == 100
    assert found[0] == (4.5, 0.5), "ten updates"


def test_a_log_without_updates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"joint\.csv: no updates"):
        read_log(log(tmp_path / "joint.csv", "update,loss"))
