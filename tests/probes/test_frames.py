from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from skill_bench.corpora.data import Utterance
from skill_bench.probes import frames
from skill_bench.probes.frames import FrameBatches

LENGTHS = {"a": 5, "b": 3, "c": 4}
UTTERANCES = {
    name: Utterance(id=name, path=Path(f"{name}.flac"), target=name.upper(), speaker=None, seconds=None, source="made")
    for name in LENGTHS
}


class Counted(Mapping[str, Tensor]):
    """Random features that count how often each utterance is read."""

    def __init__(self) -> None:
        self.reads: Counter[str] = Counter()
        self._stored = {name: torch.randn(2, n, 3, dtype=torch.float16) for name, n in LENGTHS.items()}

    def __getitem__(self, name: str) -> Tensor:
        self.reads[name] += 1
        return self._stored[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)


def _batches(features: Counted, *, recurring: bool) -> FrameBatches[str]:
    found = FrameBatches(
        features=features,
        frame_counts=LENGTHS,
        label=lambda utterance: utterance.target,
        kept=[UTTERANCES["a"], UTTERANCES["b"]],
        device=torch.device("cpu"),
        recurring=recurring,
    )
    features.reads.clear()  # one was looked at for its shape
    return found


@pytest.mark.parametrize("recurring", [False, True])
def test_a_batch_is_its_utterances_one_after_the_other_however_often_it_comes(recurring: bool) -> None:
    features = Counted()
    found = _batches(features, recurring=recurring)
    for _ in range(3):
        batch = found.batch([UTTERANCES["b"], UTTERANCES["a"]])
        assert batch.lengths == [3, 5]
        assert batch.labels == ["B", "A"]
        assert torch.equal(batch.features[:, :3], features._stored["b"].float())
        assert torch.equal(batch.features[:, 3:], features._stored["a"].float())
    assert found.batch([UTTERANCES["a"]]).lengths == [5]


def test_recurring_batches_are_put_together_once() -> None:
    features = Counted()
    found = _batches(features, recurring=True)
    first = found.batch([UTTERANCES["a"], UTTERANCES["b"]])
    assert found.batch([UTTERANCES["a"], UTTERANCES["b"]]) is first
    assert features.reads == {"a": 1, "b": 1}


@pytest.mark.parametrize("recurring", [False, True])
def test_what_comes_once_and_what_is_too_large_is_read_anew(recurring: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    features = Counted()
    found = _batches(features, recurring=recurring)
    for _ in range(2):
        found.batch([UTTERANCES["c"]], keep=False)
    assert features.reads["c"] == 2
    monkeypatch.setattr(frames, "RESIDENT_BYTES", 10)
    found = _batches(features, recurring=recurring)
    for _ in range(2):
        found.batch([UTTERANCES["a"]])
    assert features.reads["a"] == 2
