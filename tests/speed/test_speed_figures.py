"""Ratios, floors and the page, from times that are written down."""

from __future__ import annotations

from pathlib import Path

import pytest

from skill_bench import provenance
from skill_bench.speed import figures
from skill_bench.speed.contest import Candidates, hold
from skill_bench.speed.figures import Contest, Floor, Speed, Timing

OURS, OTHER = Timing(name="ours", seconds=(1.0, 2.0, 4.0)), Timing(name="other", seconds=(2.0, 2.0, 12.0))
FLOOR = Floor(macs=30, product_macs=10, product_seconds=(0.1, 0.2, 0.4))
CONTEST = Contest(name="C", what="W.", amount=8.0, unit="s of audio", timings=(OURS, OTHER), floor=FLOOR)


def values(spread: figures.Spread | None) -> tuple[float, float, float]:
    assert spread is not None
    return (spread.median, spread.minimum, spread.maximum)


def test_ratios_are_taken_within_a_round() -> None:
    assert values(figures.ratio(OURS, OTHER)) == (2.0, 1.0, 3.0)
    assert values(figures.rate(CONTEST, OURS)) == (4.0, 2.0, 8.0)


def test_the_floor_is_that_of_the_same_round() -> None:
    # 30 multiply-adds at 10 in 0.1 s take 0.3 s
    assert values(figures.share_of_floor(CONTEST, OURS)) == pytest.approx((0.3, 0.3, 0.3))
    assert figures.share_of_floor(CONTEST.model_copy(update={"floor": None}), OURS) is None


def test_rounds_alternate_and_the_first_does_not_count() -> None:
    calls: list[str] = []
    time = [0.0]

    def work(name: str, seconds: float) -> None:
        calls.append(name)
        time[0] += seconds if calls.count(name) > 1 else 100.0

    class Notes:
        def __init__(self) -> None:
            self.total, self.done = 0, 0

        def stage(self, description: str, *, total: int) -> Notes:
            self.total = total
            return self

        def __enter__(self) -> object:
            return self.count

        def count(self, n: int) -> None:
            self.done += n

        def __exit__(self, *_: object) -> None: ...

        def note(self, text: str) -> None: ...

    notes = Notes()
    candidates = Candidates(
        name="C", what="W.", amount=1, unit="steps",
        run={"a": lambda: work("a", 1.0), "b": lambda: work("b", 3.0)},
    )  # fmt: skip
    found = hold(candidates, rounds=3, progress=notes, clock=lambda: time[0])  # type: ignore[arg-type]
    assert calls == ["a", "b"] * 4
    assert [timing.seconds for timing in found.timings] == [(1.0, 1.0, 1.0), (3.0, 3.0, 3.0)]
    assert found.floor is None
    assert notes.done == notes.total == 8


def test_the_page_says_everything(tmp_path: Path) -> None:
    speed = Speed(
        contests=(CONTEST, CONTEST.model_copy(update={"name": "D", "floor": None})),
        reasons={"teacher": "no transformers"},
        load_average=1.5,
        provenance=provenance.collect(),
    )
    assert Speed.read(speed.write(tmp_path / "speed.json")) == speed
    page = figures.markdown(speed)
    assert "| ours | 4.00 (2.00 to 8.00) | 1 | 0.30 (0.30 to 0.30) |" in page
    assert "| other | 4.00 (0.67 to 4.00) | 2.00 (1.00 to 3.00) | 0.15 (0.10 to 0.30) |" in page
    assert "| other | 4.00 (0.67 to 4.00) | 2.00 (1.00 to 3.00) |\n" in page
    assert "Load average when it started: 1.5." in page
    assert "Not measured: no transformers" in page
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table[:4]} == {5}
