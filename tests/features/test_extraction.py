"""What extraction counts, averages and leaves alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from fake_speech import FakeUpstream, tone_file, utterance

from skill_bench.corpora.audio.audio import load_audio
from skill_bench.corpora.audio.scan import scan
from skill_bench.corpora.data import Utterance
from skill_bench.features.extract import extract


def with_channels(path: Path, n_channels: int) -> Utterance:
    """Tones whose channels differ in loudness."""
    samples, rate_hz = soundfile.read(tone_file(path, "AB"), dtype="float32")
    soundfile.write(path, np.stack([samples / (1 + n) for n in range(n_channels)], axis=1), rate_hz)
    return utterance(path, "AB")


@pytest.mark.parametrize(("n_channels", "n_averaged"), [(1, 0), (2, 1), (3, 1)])
def test_files_of_two_channels_and_more_are_counted(n_channels: int, n_averaged: int, tmp_path: Path) -> None:
    item = with_channels(tmp_path / "u.wav", n_channels)
    assert scan([item]).n_multichannel == n_averaged
    assert load_audio(item.path, source="").original_channels == n_channels
    for _ in ("extracted", "from the cache"):
        assert extract(FakeUpstream(), [item], pooled=True, cache_dir=tmp_path).n_channels_averaged == n_averaged


def test_only_batches_that_lack_something_are_computed(tmp_path: Path) -> None:
    """Half of a shard's utterances are there: the others' batches alone are run."""
    items = [utterance(tone_file(tmp_path / f"{n}.wav", "A" * (n + 1)), "A") for n in range(6)]
    extract(FakeUpstream(), items[2:4], pooled=True, cache_dir=tmp_path, batch_seconds=0.1)
    upstream = FakeUpstream()
    found = extract(upstream, items, pooled=True, cache_dir=tmp_path, batch_seconds=0.1)
    assert found.n_extracted == 4
    assert upstream.calls == [1] * 4, "a batch is one utterance here; two are cached"


def test_a_batch_that_lacks_one_utterance_is_computed_whole(tmp_path: Path) -> None:
    """So that its numbers do not depend on what was there, where an upstream's do depend on the batch."""
    items = [utterance(tone_file(tmp_path / f"{n}.wav", "A" * (n + 1)), "A") for n in range(4)]
    extract(FakeUpstream(), items[:3], pooled=True, cache_dir=tmp_path)
    upstream = FakeUpstream()
    found = extract(upstream, items, pooled=True, cache_dir=tmp_path)
    assert (found.n_extracted, upstream.calls) == (1, [4])


def test_means_over_time_are_taken_in_float64(tmp_path: Path) -> None:
    """Exactly the nearest float32 to the mean, which sums in float32 are not for frames like these."""
    states = torch.randn(2, 30_001, 4, generator=torch.Generator().manual_seed(0)) + 100

    class Given(FakeUpstream):
        def hidden_states(self, waves: list[torch.Tensor]) -> list[torch.Tensor]:
            return [states for _ in waves]

    item = utterance(tone_file(tmp_path / "u.wav", "A"), "A")
    found = extract(Given(), [item], pooled=True, cache_dir=tmp_path)[item.id]
    expected = torch.from_numpy(states.numpy().astype(np.float64).mean(axis=1).astype(np.float32))
    assert torch.equal(found, expected)
    assert not torch.equal(states.mean(dim=1), expected), "float32 would not have done"
