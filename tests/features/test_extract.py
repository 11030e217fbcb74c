from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fake_speech import FakeUpstream, tone_file, utterance

from skill_bench.corpora.audio import load_audio
from skill_bench.corpora.data import Utterance
from skill_bench.errors import AudioError, DataError, SkillBenchError
from skill_bench.features.cache import Entry, FeatureCache
from skill_bench.features.extract import extract
from skill_bench.progress import Advance


@pytest.fixture
def utterances(tmp_path: Path) -> list[Utterance]:
    texts = ["A", "ABCD", "AB", "BBBBBB", "CD"]
    return [utterance(tone_file(tmp_path / "audio" / f"u{i}.wav", t), t, line=i) for i, t in enumerate(texts)]


def test_pooled_features_are_the_means_of_the_hidden_states(utterances: list[Utterance], tmp_path: Path) -> None:
    upstream = FakeUpstream()
    found = extract(upstream, utterances, pooled=True, cache_dir=tmp_path)
    assert list(found)
    assert len(found) == 5
    for u in utterances:
        states = upstream.hidden_states([load_audio(u.path, source="").waveform])[0]
        assert found[u.id].dtype == torch.float32
        torch.testing.assert_close(found[u.id], states.mean(dim=1), rtol=1e-6, atol=1e-6)


def test_frames_are_float16_with_exact_lengths(utterances: list[Utterance], tmp_path: Path) -> None:
    upstream = FakeUpstream()
    found = extract(upstream, utterances, pooled=False, cache_dir=tmp_path)
    for u in utterances:
        states = upstream.hidden_states([load_audio(u.path, source="").waveform])[0]
        assert found[u.id].dtype == torch.float16
        assert found.frame_counts[u.id] == states.shape[1]
        assert torch.equal(found[u.id], states.half())


def test_frames_beyond_float16_stay_float32(utterances: list[Utterance], tmp_path: Path) -> None:
    upstream = FakeUpstream()
    upstream._projections *= 1e6
    found = extract(upstream, utterances[:1], pooled=False, cache_dir=tmp_path)
    assert found["u0"].dtype == torch.float32
    assert found["u0"].abs().max() > 65504


def test_second_time_comes_from_the_cache_bit_for_bit(utterances: list[Utterance], tmp_path: Path) -> None:
    first = extract(FakeUpstream(), utterances, pooled=True, cache_dir=tmp_path)
    upstream = FakeUpstream()
    second = extract(upstream, utterances, pooled=True, cache_dir=tmp_path)
    assert upstream.calls == []
    assert (first.n_extracted, second.n_extracted) == (5, 0)
    assert all(torch.equal(first[u.id], second[u.id]) for u in utterances)


def test_cache_knows_model_audio_policy_and_segment(utterances: list[Utterance], tmp_path: Path) -> None:
    extract(FakeUpstream(), utterances, pooled=True, cache_dir=tmp_path)

    def extracted(upstream: FakeUpstream, items: list[Utterance], **options: object) -> int:
        return extract(upstream, items, cache_dir=tmp_path, **options).n_extracted  # type: ignore[arg-type]

    assert extracted(FakeUpstream(identity="fake-2"), utterances, pooled=True) == 5
    assert extracted(FakeUpstream(), utterances, pooled=False) == 5
    assert extracted(FakeUpstream(), utterances, pooled=True, max_seconds=0.2) == 5
    assert extracted(FakeUpstream(), [replace(utterances[1], start_frame=0, n_frames=1600)], pooled=True) == 1
    assert extracted(FakeUpstream(), [replace(utterances[1], id="renamed")], pooled=True) == 0
    tone_file(utterances[0].path, "D")
    assert extracted(FakeUpstream(), utterances, pooled=True) == 1


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "foreign"])
def test_damaged_entries_are_extracted_again(utterances: list[Utterance], tmp_path: Path, damage: str) -> None:
    before = extract(FakeUpstream(), utterances, pooled=False, cache_dir=tmp_path)
    expected = {u.id: before[u.id].clone() for u in utterances}
    file = sorted((tmp_path / "features").rglob("*.safetensors"))[0]
    content = file.read_bytes()
    flipped = content[:-1] + bytes([content[-1] ^ 1])
    file.write_bytes({"truncate": content[:-3], "flip": flipped, "empty": b"", "foreign": b"{}" * 50}[damage])
    after = extract(FakeUpstream(), utterances, pooled=False, cache_dir=tmp_path)
    assert after.n_extracted == 1
    assert all(torch.equal(after[u.id], expected[u.id]) for u in utterances)


def test_batches_are_the_same_when_some_entries_exist(utterances: list[Utterance], tmp_path: Path) -> None:
    upstream = FakeUpstream()
    extract(upstream, utterances, pooled=True, cache_dir=tmp_path, batch_seconds=1.0)
    whole = upstream.calls
    assert sum(whole) == 5
    assert len(whole) > 1
    entry = sorted((tmp_path / "features").rglob("*.safetensors"))[0]
    entry.unlink()
    again = FakeUpstream()
    found = extract(again, utterances, pooled=True, cache_dir=tmp_path, batch_seconds=1.0)
    assert found.n_extracted == 1
    assert len(again.calls) == 1
    assert again.calls[0] in whole


def test_long_training_utterances_are_cut_at_a_fixed_place(utterances: list[Utterance], tmp_path: Path) -> None:
    once = extract(FakeUpstream(), utterances, pooled=False, cache_dir=tmp_path / "1", max_seconds=0.2)
    twice = extract(FakeUpstream(), utterances[::-1], pooled=False, cache_dir=tmp_path / "2", max_seconds=0.2)
    assert max(once.frame_counts.values()) == (3200 - 400) // 320 + 1
    assert all(torch.equal(once[u.id], twice[u.id]) for u in utterances)


def test_another_rate_is_counted_also_from_the_cache(tmp_path: Path) -> None:
    items = [utterance(tone_file(tmp_path / "u.wav", "AB", rate_hz=8000), "AB")]
    assert extract(FakeUpstream(), items, pooled=True, cache_dir=tmp_path).n_resampled == 1
    assert extract(FakeUpstream(), items, pooled=True, cache_dir=tmp_path).n_resampled == 1


def test_nan_names_the_utterance(utterances: list[Utterance], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"upstream 'fake' returned NaN or infinity for utterance 'u\d' .*manifest.tsv"):
        extract(FakeUpstream(poison=True), utterances, pooled=True, cache_dir=tmp_path)
    assert not list((tmp_path / "features").rglob("*.safetensors"))


def test_missing_audio_names_file_and_line(utterances: list[Utterance], tmp_path: Path) -> None:
    utterances[2].path.unlink()
    with pytest.raises(AudioError, match=r"u2\.wav.*manifest.tsv:2"):
        extract(FakeUpstream(), utterances, pooled=True, cache_dir=tmp_path)


def test_a_cache_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "features").write_text("a file where a folder should be")
    cache = FeatureCache(root=tmp_path / "features", identity="x", policy="p")
    with pytest.raises(SkillBenchError, match=r"features cannot be stored .*another cache folder"):
        cache.write("ab", Entry(features=torch.zeros(2, 3), original_rate_hz=16000, original_channels=1))


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FeatureCache(root=tmp_path, identity="x", policy="p")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("skill_bench.features.cache.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        cache.write("ab", Entry(features=torch.zeros(2, 3), original_rate_hz=16000, original_channels=1))
    assert cache.read("ab") is None
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_progress_counts_every_utterance(utterances: list[Utterance], tmp_path: Path) -> None:
    stages: list[tuple[str, int]] = []
    done: list[int] = []

    class Recorder:
        @contextmanager
        def stage(self, description: str, *, total: int) -> Iterator[Advance]:
            stages.append((description, total))
            yield done.append

        def note(self, text: str) -> None: ...

    extract(FakeUpstream(), utterances, pooled=True, cache_dir=tmp_path, progress=Recorder())
    assert stages == [("fake: features", 5)]
    assert sum(done) == 5
