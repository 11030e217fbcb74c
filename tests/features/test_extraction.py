"""What extraction counts, averages and leaves alone.

--device moves the upstream too. Tested with stand-ins: on a machine without GPU nobody has run the CUDA path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from fake_speech import FakeUpstream, tone_file, utterance
from torch import Tensor, nn

from skill_bench.base.errors import SkillBenchError
from skill_bench.corpora.audio.audio import load_audio
from skill_bench.corpora.audio.scan import scan
from skill_bench.corpora.data import Utterance
from skill_bench.evaluation import evaluate
from skill_bench.evaluation.plan import Plan, UpstreamRequest
from skill_bench.features.extract import extract
from skill_bench.records.record import System
from skill_bench.upstream.module import ModuleUpstream


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
