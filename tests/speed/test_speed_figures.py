"""Ratios, floors and the page, from times that are written down."""

from __future__ import annotations

from pathlib import Path

import pytest
from speed import figures, page
from speed.contest import Candidates, hold
from speed.figures import (
    Contest,
    EndToEnd,
    EndToEndTask,
    Facts,
    Floor,
    Forecasts,
    ForecastTask,
    Growth,
    Item,
    Load,
    Measured,
    Speed,
    Timing,
)

from skill_bench.base import provenance

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


END_TO_END = EndToEndTask(
    task="ks", n_utterances=100, audio_hours=0.5, n_steps=1000, n_cells=15, evaluate_every_steps=100,
    extraction_seconds=10.0, step_seconds=(0.01, 0.02, 0.03), dev_seconds=1.0, their_step_seconds=(1.0, 2.0, 9.0),
)  # fmt: skip


def test_a_task_from_end_to_end_adds_extraction_steps_and_dev() -> None:
    assert END_TO_END.our_seconds == pytest.approx(10 + 1000 * 0.02 + 10 * 1)
    assert END_TO_END.their_seconds == 2000


def measured(item: Item) -> Measured:
    return Measured(item=item, started_at="2026-01-01T00:00:00Z", seconds=12.0, n_threads=2, load_average=1.5)


def test_the_page_says_everything(tmp_path: Path) -> None:
    loads = tuple(
        Load(audio_hours=h, seconds=36 * h, encoder_seconds=27 * h, peak_bytes=2**20 * n)
        for h, n in ((1, 100), (2, 105))
    )
    remembered = OTHER.model_copy(update={"peak_bytes": 2**21})
    ours = OURS.model_copy(update={"peak_bytes": 2**20})
    items: dict[str, Item] = {
        "c": CONTEST,
        "d": CONTEST.model_copy(update={"name": "D", "floor": None, "timings": (ours, remembered)}),
        "j": EndToEnd(name="J", what="W.", tasks=(END_TO_END,)),
        "g": Growth(name="G", what="W.", loads=loads),
        "t": Facts(name="T", what="W.", heads=("a", "b"), rows=(("1", "2"),)),
        "f": Forecasts(name="F", what="W.", tasks=(ForecastTask(task="ks", expected_seconds=10.0, seconds=12.0),)),
    }
    speed = Speed(
        items={name: measured(item) for name, item in items.items()},
        reasons={"teacher": "no transformers", "gpu-a": "no GPU", "gpu-b": "no GPU"},
        provenance=provenance.collect(),
    )
    assert Speed.read(speed.write(tmp_path / "speed.json")) == speed
    text = page.markdown(speed)
    assert "| ours | 4.00 (2.00 to 8.00) | 1 | 0.30 (0.30 to 0.30) |" in text
    assert "| other | 4.00 (0.67 to 4.00) | 2.00 (1.00 to 3.00) | 0.15 (0.10 to 0.30) |" in text
    assert "| other | 4.00 (0.67 to 4.00) | 2.00 (1.00 to 3.00) | 2 MiB | 2.00 |" in text
    assert "| ks | 100, 0.50 h | 1000 | 10.0 s | 20.0 ms | 0.7 min | 2000.0 ms | 0.56 h | 1/50 |" in text
    assert "| 2 h | 72.0 s | 100 | 75.0% | 105 MiB | 1.05 |" in text
    assert "| ks | 10.0 s | 12.0 s | 1.20 |" in text
    assert "| all | 10.0 s | 12.0 s | 1.20 |" in text
    assert "with 2 threads, load average 1.5 when it began" in text
    assert "## teacher\n\nNot measured: no transformers\n" in text
    assert "## GPU: a, b\n\nNot measured: no GPU\n" in text
    assert "| a | b |\n|---|---|\n| 1 | 2 |" in text
    assert "Floor: 0.0 G multiply-adds" in text
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == len(items)
    for table in tables:
        assert len({line.count("|") for line in table}) == 1
