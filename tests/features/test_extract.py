"""What extraction counts, averages and leaves alone.

--device moves the upstream too. Tested with stand-ins: on a machine without GPU nobody has run the CUDA path.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from fake_speech import FakeUpstream, tone_file, utterance
from small_models import noise, small_teacher
from torch import Tensor, nn

from skill_bench.base.errors import AudioError, DataError, SkillBenchError
from skill_bench.base.progress import Advance, Silent
from skill_bench.corpora.audio.audio import load_audio
from skill_bench.corpora.audio.scan import scan
from skill_bench.corpora.data import Utterance
from skill_bench.evaluation import evaluate
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.features.extract import extract
from skill_bench.features.shard import read_index
from skill_bench.models.checkpoint import load
from skill_bench.records.record import System
from skill_bench.upstream.encoder import EncoderUpstream
from skill_bench.upstream.module import ModuleUpstream


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


@pytest.mark.parametrize("pooled", [True, False])
def test_features_do_not_depend_on_the_number_of_threads(pooled: bool, tmp_path: Path) -> None:
    path = small_teacher(tmp_path / "teacher.safetensors")
    spoken = noise(tmp_path / "audio", n=12)
    found = []
    for n_threads in (1, 2, 5):
        upstream = EncoderUpstream(loaded=load(path), system=System(name="t", title="T", identity=""))
        cache = tmp_path / str(n_threads)
        features = extract(upstream, spoken, pooled=pooled, cache_dir=cache, batch_seconds=1.5, n_threads=n_threads)
        found.append([features[u.id] for u in spoken])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_an_upstream_is_run_by_one_caller_unless_it_says_otherwise(utterances: list[Utterance], tmp_path: Path) -> None:
    class Together(FakeUpstream):
        """Each call waits for the others."""

        def __init__(self, n_callers: int) -> None:
            super().__init__()
            self.runs_concurrently = n_callers > 1
            self.barrier = threading.Barrier(n_callers, timeout=60)
            self.n_threads: set[int] = set()

        def hidden_states(self, waves: list[torch.Tensor]) -> list[torch.Tensor]:
            self.barrier.wait()
            self.n_threads.add(torch.get_num_threads())
            return super().hidden_states(waves)

    for n_callers, n_threads in ((1, 3), (3, 1)):
        upstream = Together(n_callers)
        cache = tmp_path / str(n_callers)
        found = extract(upstream, utterances[:3], pooled=True, cache_dir=cache, batch_seconds=0.1, n_threads=3)
        assert found.n_extracted == 3
        assert upstream.n_threads == {n_threads}


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
    assert all(torch.equal(after[u.id], expected[u.id]) for u in utterances)
    assert after.n_extracted == 5
    assert not file.exists()
    assert extract(FakeUpstream(), utterances, pooled=False, cache_dir=tmp_path).n_extracted == 0


def test_a_damaged_shard_costs_its_own_utterances_only(
    utterances: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skill_bench.features.extraction.SHARD_SECONDS_OF_FRAMES", 0.3)
    extract(FakeUpstream(), utterances, pooled=False, cache_dir=tmp_path, batch_seconds=0.3)
    shards = sorted((tmp_path / "features").rglob("*.safetensors"))
    assert len(shards) == 4
    lost = len(read_index(shards[0]))
    shards[0].write_bytes(shards[0].read_bytes()[:-1] + b"?")
    again = extract(FakeUpstream(), utterances, pooled=False, cache_dir=tmp_path, batch_seconds=0.3)
    assert len([again[u.id] for u in utterances]) == 5
    assert again.n_extracted == lost < 5


def test_batches_are_the_same_when_some_entries_exist(utterances: list[Utterance], tmp_path: Path) -> None:
    upstream = FakeUpstream()
    extract(upstream, utterances[:1], pooled=True, cache_dir=tmp_path)
    again = FakeUpstream()
    found = extract(again, utterances, pooled=True, cache_dir=tmp_path, batch_seconds=1.0)
    assert found.n_extracted == 4
    assert sum(again.calls) == 5
    assert len(again.calls) > 1


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


def test_progress_counts_every_utterance(utterances: list[Utterance], tmp_path: Path) -> None:
    stages: list[tuple[str, int]] = []
    done: list[int] = []

    class Recorder(Silent):
        @contextmanager
        def stage(self, description: str, *, total: int) -> Iterator[Advance]:
            stages.append((description, total))
            yield done.append

    extract(FakeUpstream(), utterances, pooled=True, cache_dir=tmp_path, progress=Recorder())
    assert stages == [("fake: features", 5)]
    assert sum(done) == 5


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


class Elsewhere(nn.Module):
    """Notes where it is asked to go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[object] = []

    def to(self, *places: Any, **more: Any) -> Elsewhere:
        self.asked.append(places[0])
        return self


def test_modules_go_to_the_device_and_others_stay_as_they_are() -> None:
    module, other = Elsewhere(), object()
    assert evaluate._on(module, "cuda:1") is module
    assert module.asked == ["cuda:1"]
    assert evaluate._on(other, "cuda:1") is other


class Double(nn.Module):
    """One weight, on whichever device."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.seen: list[str] = []

    def forward(self, waves: Tensor) -> list[Tensor]:
        self.seen.append(waves.device.type)
        return [(self.weight * waves).unfold(1, 400, 320).contiguous()]


def test_waves_follow_the_modules_weights(tmp_path: Path) -> None:
    system = System(name="double", title="Double", identity="")
    module = Double()
    upstream = ModuleUpstream(module=module, downsample_rate=320, min_samples=400, system=system, code="")
    assert upstream.to("meta").hidden_states([torch.zeros(800)])[0].device.type == "meta"
    assert module.seen == ["cpu", "meta"]


def test_the_plan_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def on(upstream: object, device: str) -> object:
        seen.append(device)
        return upstream

    monkeypatch.setattr(evaluate, "_on", on)
    monkeypatch.setattr(evaluate, "_cells", lambda *given, **more: [])
    monkeypatch.setattr(evaluate, "_load_data", lambda task, plan: SkillBenchError("none"))
    plan = Plan(
        upstreams=[UpstreamRequest(name="fbank")], suite="demo", tasks=["ks"], seeds=[0],
        out_dir=Path("unused"), cache_dir=Path("unused"), device="cuda:1", profile=False,
    )  # fmt: skip
    evaluate.evaluate(plan, load=lambda request: Elsewhere())  # type: ignore[arg-type, return-value]
    assert seen == ["cuda:1"]
