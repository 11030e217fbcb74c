"""The stream of extraction on a GPU, with the host in the GPU's place: what a copy or an event is there is not seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fake_speech import FakeUpstream, tone_file, utterance
from host_lanes import ElsewhereUpstream, HostLanes, Waits
from small_models import noise, small_teacher
from torch import Tensor

from skill_bench.base.errors import AudioError, DataError
from skill_bench.corpora.data import Utterance
from skill_bench.features import extraction
from skill_bench.features.extract import extract
from skill_bench.features.lanes import MOST_SECONDS, Cost, Room, room_for
from skill_bench.features.on_gpu import N_AHEAD, Loaded, OnGpu
from skill_bench.features.policy import Policy
from skill_bench.features.source import Batches
from skill_bench.models.arithmetic import without_tf32
from skill_bench.models.checkpoint import load
from skill_bench.records.record import System
from skill_bench.upstream.encoder import EncoderUpstream


@pytest.fixture
def utterances(tmp_path: Path) -> list[Utterance]:
    texts = ["ABCDABCD", "ABCDAB", "BBBBBB", "ABCD", "CD", "AB", "A", "B"]
    return [utterance(tone_file(tmp_path / "audio" / f"u{i}.wav", t), t, line=i) for i, t in enumerate(texts)]


@pytest.fixture(autouse=True)
def lanes(monkeypatch: pytest.MonkeyPatch) -> HostLanes:
    found = HostLanes()
    monkeypatch.setattr(extraction, "CudaLanes", lambda device: found)
    return found


@pytest.mark.parametrize("pooled", [True, False])
def test_features_are_those_of_the_cpu(pooled: bool, utterances: list[Utterance], tmp_path: Path) -> None:
    expected = extract(FakeUpstream(), utterances, pooled=pooled, cache_dir=tmp_path / "cpu")
    found = extract(ElsewhereUpstream(), utterances, pooled=pooled, cache_dir=tmp_path / "gpu", batch_seconds=2.0)
    assert found.n_extracted == len(utterances)
    assert (found.policy, found.frame_counts) == (expected.policy, expected.frame_counts)
    for u in utterances:
        assert torch.equal(found[u.id], expected[u.id])


@pytest.mark.parametrize("max_seconds", [None, 0.2])
def test_batches_are_filled_across_shards(
    max_seconds: float | None, utterances: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "SHARD_SECONDS_OF_FRAMES", 0.5)
    monkeypatch.setattr(extraction, "BATCH_SECONDS", 0.5)
    upstream = ElsewhereUpstream()
    gpu = OnGpu(upstream, policy=Policy(pooled=False), lanes=HostLanes(), batch_seconds=2.0, n_decoders=2)
    monkeypatch.setattr(extraction, "OnGpu", lambda *given, **more: replace(gpu, policy=more["policy"]))
    extract(upstream, utterances, pooled=False, cache_dir=tmp_path, max_seconds=max_seconds)
    # 2 s: .96 twice padded, then .72 (as .48 three times), the rest; cut to .2 s all fit.
    assert upstream.calls == ([2, 2, 4] if max_seconds is None else [8])
    assert len(list((tmp_path / "features").rglob("*.safetensors"))) > 3


def test_the_next_batches_are_sent_before_one_is_waited_for(
    utterances: list[Utterance], lanes: HostLanes, tmp_path: Path
) -> None:
    extract(ElsewhereUpstream(), utterances[:4], pooled=True, cache_dir=tmp_path, batch_seconds=0.1)
    assert lanes.log == [
        "send 0", "fetch 0", "send 1", "fetch 1", "wait 0", "send 2", "fetch 2", "wait 1", "send 3", "fetch 3",
        "wait 2", "wait 3",
    ]  # fmt: skip


def test_blocks_are_taken_as_far_ahead_as_audio_is_decoded(utterances: list[Utterance]) -> None:
    taken: list[str] = []

    def blocks() -> Iterator[Batches]:
        for one in utterances:
            taken.append(one.id)
            yield [[one]]

    gpu = OnGpu(ElsewhereUpstream(), policy=Policy(pooled=True), lanes=HostLanes(), batch_seconds=0.1, n_decoders=2)
    computing = gpu.compute(blocks())
    first = next(computing)
    assert [u.id for u, _ in first] == ["u0"]
    # The first two batches are computed, others are decoded, and one more is known since it did not fit the last.
    assert len(taken) == 2 + N_AHEAD + 1
    assert [u.id for computed in computing for u, _ in computed] == [u.id for u in utterances[1:]]


@pytest.mark.parametrize("most", [1, 3])
def test_a_batch_that_is_too_much_is_halved(most: int, utterances: list[Utterance], tmp_path: Path) -> None:
    upstream = ElsewhereUpstream(most=most)
    found = extract(upstream, utterances, pooled=False, cache_dir=tmp_path, batch_seconds=100.0)
    expected = extract(FakeUpstream(identity="fake-2"), utterances, pooled=False, cache_dir=tmp_path)
    assert all(torch.equal(found[u.id], expected[u.id]) for u in utterances)
    assert max(upstream.calls) == {1: 1, 3: 2}[most]


def test_what_alone_is_too_much_is_named(utterances: list[Utterance], tmp_path: Path) -> None:
    expected = (
        r"utterance 'u0' \(.*u0.wav, manifest.tsv:0\): its 1 s at once need more memory than the device has free in "
        r"upstream 'fake'. Cut the recording .* or take --device cpu."
    )
    with pytest.raises(DataError, match=expected):
        extract(ElsewhereUpstream(most=0), utterances[:1], pooled=False, cache_dir=tmp_path)


@pytest.mark.parametrize("pooled", [True, False])
def test_nan_names_the_utterance(pooled: bool, utterances: list[Utterance], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"upstream 'fake' returned NaN or infinity for utterance 'u0' .*manifest.tsv"):
        extract(ElsewhereUpstream(poison=True), utterances, pooled=pooled, cache_dir=tmp_path)


def test_no_frame_is_an_error(utterances: list[Utterance], tmp_path: Path) -> None:
    class Empty(ElsewhereUpstream):
        def hidden_states(self, waves: list[Tensor]) -> list[Tensor]:
            return [torch.empty(3, 0, 16) for _ in waves]

    with pytest.raises(DataError, match=r"returned shape \(3, 0, 16\) for utterance 'u0'"):
        extract(Empty(), utterances, pooled=False, cache_dir=tmp_path)


def test_frames_beyond_float16_stay_float32(utterances: list[Utterance], tmp_path: Path) -> None:
    class Loud(ElsewhereUpstream):
        """In one utterance of a batch."""

        def hidden_states(self, waves: list[Tensor]) -> list[Tensor]:
            found = super().hidden_states(waves)
            return [1e6 * states if len(wave) == 11520 else states for states, wave in zip(found, waves, strict=True)]

    found = extract(Loud(), utterances, pooled=False, cache_dir=tmp_path)
    assert [found[u.id].dtype for u in utterances[:4]] == [torch.float16, *[torch.float32] * 2, torch.float16]
    expected = extract(FakeUpstream(identity="fake-2"), utterances, pooled=False, cache_dir=tmp_path)
    assert found["u1"].abs().max() > 65504
    torch.testing.assert_close(found["u1"], 1e6 * expected["u1"].float(), rtol=2e-3, atol=1e3)


def test_missing_audio_names_file_and_line(utterances: list[Utterance], tmp_path: Path) -> None:
    utterances[2].path.write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=r"u2\.wav.*manifest.tsv:2"):
        extract(ElsewhereUpstream(), utterances, pooled=True, cache_dir=tmp_path)


def test_an_interruption_keeps_what_is_finished(
    utterances: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(ElsewhereUpstream):
        def hidden_states(self, waves: list[Tensor]) -> list[Tensor]:
            if len(self.calls) == 4:
                raise KeyboardInterrupt
            return super().hidden_states(waves)

    monkeypatch.setattr(extraction, "SHARD_SECONDS_OF_MEANS", 1.0)
    with pytest.raises(KeyboardInterrupt):
        extract(Interrupted(), utterances, pooled=True, cache_dir=tmp_path, batch_seconds=0.1)
    assert not list((tmp_path / "features").rglob("*.claim"))
    again = extract(ElsewhereUpstream(), utterances, pooled=True, cache_dir=tmp_path, batch_seconds=0.1)
    assert again.n_extracted == len(utterances) - 3


@pytest.fixture
def encoder(tmp_path: Path) -> EncoderUpstream:
    path = small_teacher(tmp_path / "teacher.safetensors")
    return EncoderUpstream(loaded=load(path), system=System(name="t", title="T", identity="")).freeze()


@pytest.mark.parametrize("n_samples", [[8000, 8000], [8000, 6000, 400]])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("pooled", [True, False])
def test_nothing_waits_for_the_device_within_a_batch(
    pooled: bool, precision: str, n_samples: list[int], encoder: EncoderUpstream, utterances: list[Utterance]
) -> None:
    """The meta device has no values to wait for: what asks for one fails, and copies show."""

    class ToMeta(HostLanes):
        def send(self, host: Tensor) -> Tensor:
            return host.to("meta", non_blocking=True)

    upstream = encoder.at_precision(precision).to("meta")  # type: ignore[arg-type]
    gpu = OnGpu(upstream, policy=Policy(pooled=pooled), lanes=ToMeta(), batch_seconds=9.0, n_decoders=2)
    batch = Loaded(
        utterances=utterances[: len(n_samples)], audios=[], lengths=n_samples, samples=torch.zeros(sum(n_samples))
    )
    with Waits() as waits:
        (launched,) = gpu._launch(batch)
    assert waits.found == []
    n_frames = [encoder.encoder.architecture.n_frames(n) for n in n_samples]
    assert launched.shapes == [(5, 32) if pooled else (5, n, 32) for n in n_frames]
    found = launched.wait()
    assert found.device.type == "meta"
    assert len(found) == sum(shape.numel() for shape in launched.shapes) + len(n_samples)


def test_nothing_waits_on_the_cpus_plain_path_either(encoder: EncoderUpstream) -> None:
    """Values are there, and nobody asks for one."""
    waves, lengths = torch.randn(2, 8000), torch.tensor([8000, 6000])
    with torch.no_grad(), Waits() as waits:
        states, _ = encoder.encoder.padded(waves, lengths)
    assert waits.found == []
    with torch.no_grad(), Waits() as waits:
        encoder.encoder(waves, lengths)
    assert waits.found == ["_local_scalar_dense"], "forward looks at lengths, and the counter sees it"
    assert len(states) == 5


@pytest.mark.parametrize(
    ("waits", "run"),
    [
        (["_local_scalar_dense"], lambda x: x.sum().item()),
        (["_local_scalar_dense"], lambda x: bool((x > 0).all())),
        (["nonzero"], lambda x: x.nonzero()),
        (["index"], lambda x: x[x > 0]),
        (["masked_select"], lambda x: x.masked_select(x > 0)),
        ([], lambda x: x[torch.tensor([0])] + x.half().float()),
    ],
)
def test_the_counter_counts(waits: list[str], run: object) -> None:
    with Waits() as found:
        run(torch.ones(3))  # type: ignore[operator]
    assert found.found == waits


def test_copies_that_are_waited_for_are_counted() -> None:
    with Waits() as found:
        on_device = torch.ones(3).to("meta")
        torch.ones(3).to("meta", non_blocking=True)
        on_device[torch.tensor([0, 1])]
    assert found.found == ["_to_copy between cpu and meta", "index by host numbers"]


def test_an_encoder_gives_the_same_in_the_stream(encoder: EncoderUpstream, tmp_path: Path) -> None:
    spoken = noise(tmp_path / "audio", n=6)
    expected = extract(encoder, spoken, pooled=False, cache_dir=tmp_path / "cpu")
    gpu = OnGpu(encoder, policy=Policy(pooled=False), lanes=HostLanes(), batch_seconds=9.0, n_decoders=2)
    found = {u.id: entry.features for computed in gpu.compute(iter([[spoken[::-1]]])) for u, entry in computed}
    for u in spoken:  # half precision, whose last digit float32's order of sums may decide
        torch.testing.assert_close(found[u.id].float(), expected[u.id].float(), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(("per_second", "per_square"), [(20e6, 0.0), (20e6, 3e5), (0.0, 3e5)])
def test_the_cost_goes_through_what_was_measured(per_second: float, per_square: float) -> None:
    truth = [(s, per_second * s + per_square * s * s) for s in (4.0, 16.0, 40.0)]
    cost = Cost.through(truth[1], truth[0])
    assert cost.of(40.0) == pytest.approx(truth[2][1], rel=1e-6)


def test_room_is_memory_and_never_more_than_is_of_use() -> None:
    room = Room(seconds=100.0, n_bytes=1000.0, cost=Cost(per_second=1.0, per_square_second=0.5))
    assert room.holds(4, 20.0)  # 220 bytes each
    assert not room.holds(5, 20.0)
    assert not room.holds(11, 9.5), "104.5 s"
    assert Room(seconds=30.0).holds(3, 10.0)


def test_a_model_is_probed_once_and_memory_looked_at_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model, lengths = ElsewhereUpstream(), []

    def run(waves: list[Tensor]) -> None:
        lengths.append(sorted({len(wave) for wave in waves}))

    lanes = HostLanes(peaks=[8 * 40, 2 * 400])
    room = room_for(model, run, lanes=lanes)
    assert [len(each) for each in lengths] == [8, 8, 2, 2]
    assert (room.seconds, room.n_bytes) == (MOST_SECONDS, 750)
    assert room.cost is not None
    assert room.cost.of(8.0) == pytest.approx(8 * 5 + 64 * 1.25)
    monkeypatch.setattr(lanes, "available_bytes", lambda: 400)
    assert room_for(model, run, lanes=lanes).n_bytes == 300
    assert len(lengths) == 4


def test_float32_is_float32_within_and_as_before_after() -> None:
    torch.backends.cudnn.allow_tf32 = True
    with without_tf32():
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32
