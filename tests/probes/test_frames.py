"""Frames that no cache holds are computed while the batch before them is used, and are the same."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from fake_speech import FakeUpstream, sequence_data
from kind_data import run_cell
from torch import Tensor

from skill_bench.corpora.data import Utterance
from skill_bench.evaluation.task_files import load_task
from skill_bench.features.extract import extract
from skill_bench.probes.batches import FrameBatches

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
    monkeypatch.setattr("skill_bench.probes.batches.RESIDENT_BYTES", 10)
    found = _batches(features, recurring=recurring)
    for _ in range(2):
        found.batch([UTTERANCES["a"]])
    assert features.reads["a"] == 2


class Watched(FakeUpstream):
    """Notes in which thread it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[int] = []

    def hidden_states(self, waves: list[Tensor]) -> list[Tensor]:
        self.threads.append(threading.get_ident())
        return super().hidden_states(waves)


def batches(upstream: Watched, utterances: tuple[Utterance, ...], cache: Path, limit: int | None) -> FrameBatches[str]:
    features = extract(upstream, utterances, pooled=False, cache_dir=cache, cache_limit_bytes=limit)
    found: FrameBatches[str] = FrameBatches(
        features=features,
        frame_counts=features.frame_counts,
        label=lambda utterance: utterance.target,
        kept=utterances[:4],
        device=torch.device("cpu"),
    )
    upstream.threads.clear()
    return found


@pytest.mark.parametrize("keep", [True, False])
def test_the_next_batch_is_computed_meanwhile(keep: bool, tmp_path: Path) -> None:
    utterances = sequence_data(tmp_path / "a", task="pr", n_train=4).utterances()
    groups = [utterances[i : i + 2] for i in range(0, 8, 2)] + [utterances[:2]]
    cached = list(batches(Watched(), utterances, tmp_path / "whole", None).stream(groups))
    upstream = Watched()
    frames = batches(upstream, utterances, tmp_path / "none", 1)
    stream = frames.stream(iter(groups), keep=keep)
    found = [next(stream)]
    found += stream
    assert len(found) == len(cached) == 5
    for one, other in zip(found, cached, strict=True):
        assert torch.equal(one.features, other.features)
        assert (one.labels, one.lengths) == (other.labels, other.lengths)
    assert threading.get_ident() not in upstream.threads
    assert len(set(upstream.threads)) == 1
    assert len(upstream.threads) == 4 + (not keep), "of a batch that comes again and stays, nothing is computed again"


def test_what_is_cached_is_read_by_the_caller(tmp_path: Path) -> None:
    utterances = sequence_data(tmp_path / "a", task="pr", n_train=4).utterances()
    frames = batches(Watched(), utterances, tmp_path, None)
    before = threading.active_count()
    stream = frames.stream([utterances[:2], utterances[2:4]])
    next(stream)
    assert threading.active_count() == before


def test_a_run_with_recomputed_frames_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skill_bench.probes.batches.RESIDENT_BYTES", 0)
    task = load_task("pr").for_suite("demo")
    short = task.protocol.model_copy(update={"steps": 6, "evaluate_every_steps": 3})
    data = sequence_data(tmp_path / "a", task="pr", n_train=8)
    found = []
    for name, limit in (("whole", None), ("none", 1)):
        result = run_cell(
            FakeUpstream(), task.model_copy(update={"protocol": short}), data, seed=0, cache_dir=tmp_path / name,
            cache_limit_bytes=limit,
        )  # fmt: skip
        found.append((result.metrics, result.predictions, result.selection))
    assert found[0] == found[1]
