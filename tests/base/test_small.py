"""Small helpers: lines that fit a terminal, batches of neighbours, numbers drawn from text."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skill_bench.base.filled import filled
from skill_bench.base.in_order import neighbours
from skill_bench.corpora.audio.conditions import _drawn
from skill_bench.corpora.data import Conditions, Utterance
from skill_bench.corpora.described.tables import ConditionRanges
from skill_bench.features.policy import cut
from skill_bench.layers.measure import choose
from skill_bench.probes.training import generator_for
from skill_bench.training.loop import _seed


def test_long_lines_go_on_further_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert filled("  one two three four", columns=12) == "  one two\n    three\n    four"
    assert filled("  name  what it is", columns=14, hanging=8) == "  name  what\n        it is"
    assert filled("  one  two", columns=10) == "  one  two", "what fits stays as it is"
    monkeypatch.setenv("COLUMNS", "11")
    assert filled("some words that wrap") == "some words\n  that wrap"


def test_what_is_copied_is_not_broken() -> None:
    path = "/a/long-folder/with-hyphens/of-a-name.json"
    assert filled(f"    {path}", columns=20) == f"    {path}"
    assert filled(f"written to {path}", columns=20) == f"written to\n  {path}"


@given(st.lists(st.integers(1, 50)), st.integers(1, 100))
def test_every_item_is_in_one_batch_which_is_full_or_the_last(lengths: list[int], most: int) -> None:
    batches = list(neighbours(lengths, fits=lambda batch, item: sum(batch) + item <= most))
    assert [length for batch in batches for length in batch] == lengths
    assert all(batches)
    assert all(sum(batch) <= most or len(batch) == 1 for batch in batches)
    assert all(sum(batch) + after[0] > most for batch, after in pairwise(batches))


def test_no_items_are_no_batch() -> None:
    assert list(neighbours([], fits=lambda batch, item: True)) == []


# Numbers drawn from text: the very values that shipped students and records were made with.


def test_of_a_trainings_update() -> None:
    assert _seed(0, "joint", 3, 1, 2) == 33378152852177916
    assert _seed(7, "final", 0) == 31169485547374415


def test_of_a_probes_purpose() -> None:
    assert generator_for(0, "all", "order").initial_seed() == 31615438646603129
    assert generator_for(1, "fold/2").initial_seed() == 385755207416000


def test_of_the_place_of_a_crop() -> None:
    wave = torch.arange(100_000)
    starts = [int(cut(wave, utterance(name), max_samples=16_000)[0]) for name in ("a", "speaker/é-1")]
    assert starts == [43459, 78867]


def test_of_imitated_conditions() -> None:
    ranges = ConditionRanges(gain_db=[-30, -20], low_hz=[50, 300], high_hz=[3000, 7000], snr_db=[10, 40])
    assert _drawn(utterance("a"), ranges, 5) == Conditions(
        gain_db=-27.787, low_hz=158.742, high_hz=6068.217, snr_db=18.08, noise_tilt=0.516, seed=2714502099
    )
    assert _drawn(utterance("speaker/é-1"), ranges, 0).seed == 2751794575


def test_of_calibration_utterances() -> None:
    chosen = choose([utterance(f"u{number}") for number in range(12)], n=5, seed=3)
    assert [one.id for one in chosen] == ["u9", "u7", "u4", "u2", "u1"]


def utterance(name: str) -> Utterance:
    return Utterance(id=name, path=Path("a.wav"), target="", speaker=None, seconds=1.0, source="test")
