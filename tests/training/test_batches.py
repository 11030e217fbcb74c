"""Batches: the same for any number of processes, none padded, every utterance once an epoch.

Devices that do not exist are refused before anything is read.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skill_bench.base.errors import AudioError, DataError, SpecError, UsageError
from skill_bench.cli.training import launch
from skill_bench.corpora.data import Utterance
from skill_bench.training.batches import Batch, Part, PlannedBatch, SpeechBatches
from skill_bench.training.engine import Engine


@given(
    n_utterances=st.integers(1, 40),
    world_size=st.integers(1, 8),
    max_seconds=st.floats(0.1, 100),
    seconds_each=st.floats(0.1, 16),
)
def test_parts_cover_a_batch_once(n_utterances: int, world_size: int, max_seconds: float, seconds_each: float) -> None:
    parts = [Part(rank=rank, world_size=world_size, max_seconds=max_seconds) for rank in range(world_size)]
    passes = [each for part in parts for each in part.passes(n_utterances, seconds_each=seconds_each)]
    assert sum(share for _, share in passes) == pytest.approx(1)
    counted = sorted(index for chunk, share in passes if share for index in chunk)
    assert counted == list(range(n_utterances))
    assert all(len(chunk) == 1 or len(chunk) * seconds_each <= max_seconds for chunk, _ in passes)
    assert all(part.passes(n_utterances, seconds_each=seconds_each) for part in parts), "nobody may sit out an update"


def batches(speech: list[Utterance], **changes: float) -> SpeechBatches:
    options = {"seconds_per_batch": 2.5, "min_seconds": 0.1, "max_seconds": 0.7} | changes
    return SpeechBatches(speech, **options, seed=3)


def take(n: int, source: SpeechBatches, part: Part | None = None) -> list[tuple[PlannedBatch, tuple[Batch, ...]]]:
    return list(itertools.islice(source.start_at(0, part), n))


def test_two_processes_in_small_passes_hear_what_one_hears(speech: list[Utterance]) -> None:
    whole = take(6, batches(speech))
    halves = [take(6, batches(speech), Part(rank=rank, world_size=2, max_seconds=1.0)) for rank in range(2)]
    for (plan, (batch,)), *parts in zip(whole, *halves, strict=True):
        heard = {
            name: wave
            for other, passes in parts
            for piece in passes
            for name, wave in zip(piece.ids, piece.waves, strict=True)
            if piece.share
        }
        assert all(other.ids(Part()) == list(batch.ids) for other, _ in parts)
        assert heard.keys() == set(batch.ids)
        for name, wave in zip(batch.ids, batch.waves, strict=True):
            assert torch.equal(heard[name], wave)
        assert plan.seconds == batch.waves.numel() / 16_000


def test_any_batch_can_be_started_at(speech: list[Utterance]) -> None:
    for expected, found in zip(take(7, batches(speech))[5:], batches(speech).start_at(5), strict=False):
        assert found[1][0].ids == expected[1][0].ids
        assert torch.equal(found[1][0].waves, expected[1][0].waves)


def test_an_epoch_holds_every_utterance_once(speech: list[Utterance]) -> None:
    heard: list[str] = []
    for _, (batch,) in batches(speech).start_at(0):
        heard += batch.ids
        assert batch.waves.shape[1] <= 0.7 * 16_000
        if len(heard) >= len(speech):
            break
    assert sorted(heard) == sorted(u.id for u in speech)


def test_neighbours_in_length_differ_from_epoch_to_epoch(speech: list[Utterance]) -> None:
    """Lengths differ by a few per cent from one to the next, less than the jitter; the batches are other sets then."""
    source = batches(speech, max_seconds=9, seconds_per_batch=1.6)
    epochs: list[set[frozenset[str]]] = [set()]
    for _, (batch,) in source.start_at(0):
        if sum(map(len, epochs[-1])) == len(speech):
            epochs.append(set())
        if len(epochs) > 4:
            break
        epochs[-1].add(frozenset(batch.ids))
    assert all(sum(map(len, epoch)) == len(speech) for epoch in epochs[:4])
    assert len({frozenset(epoch) for epoch in epochs[:4]}) > 1


def test_utterances_are_cropped_to_the_shortest_at_offsets_that_vary(speech: list[Utterance]) -> None:
    import soundfile

    whole = {u.id: torch.from_numpy(soundfile.read(u.path, dtype="int16")[0]).float() / 32768 for u in speech}
    longest = int(0.7 * 16_000)
    shares: list[float] = []
    offsets_of_last: set[int] = set()
    for plan, (batch,) in take(60, batches(speech)):
        assert plan.n_samples == min(longest, *(len(whole[name]) for name in batch.ids))
        assert len(plan.offsets) == len(batch.ids)
        for name, offset, wave in zip(batch.ids, plan.offsets, batch.waves, strict=True):
            assert torch.equal(wave, whole[name][offset : offset + plan.n_samples]), name
            if room := len(whole[name]) - plan.n_samples:
                shares.append(offset / room)
        offsets_of_last |= {o for name, o in zip(batch.ids, plan.offsets, strict=True) if name == speech[-1].id}
        if len(batch.ids) > 2:
            assert len(set(plan.offsets)) > 1, "utterances of one batch are cropped at their own offsets"
    assert len(shares) > 100
    assert 0 <= min(shares) < 0.1 < 0.9 < max(shares) <= 1
    assert sum(shares) / len(shares) == pytest.approx(0.5, abs=0.1)  # more than three standard errors of 100
    assert len(offsets_of_last) > 10, "one utterance is cropped anew in every epoch"


def test_short_utterances_are_left_out(speech: list[Utterance]) -> None:
    assert len(batches(speech, min_seconds=0.7).utterances) == 4
    with pytest.raises(DataError, match=r"none of 8 utterances lasts 9 s or more"):
        batches(speech, min_seconds=9)


def test_every_damaged_file_is_listed_before_training(speech: list[Utterance]) -> None:
    for number in (2, 5):
        damaged = bytearray(flac := flac_of(speech[number]))
        damaged[len(flac) // 2 : len(flac) // 2 + 400] = bytes(400)  # the header and the last frame stay whole
        speech[number].path.write_bytes(damaged)
    with pytest.raises(AudioError, match=r"2 of 8 audio files cannot be used") as caught:
        Engine(device="cpu").launch().check_audio(speech)
    assert all(speech[number].path.name in str(caught.value) for number in (2, 5))


@pytest.mark.parametrize(("rate_hz", "n_frames"), [(44_100, 529_302), (22_050, 22_050), (48_000, 48_001)])
def test_other_rates_are_read_whole_whatever_resampling_rounds_to(rate_hz: int, n_frames: int, tmp_path: Path) -> None:
    """Of 529,302 frames at 44.1 kHz torchaudio makes one sample less than there are in that time."""
    import numpy as np
    import soundfile

    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, n_frames), rate_hz)
    utterance = Utterance(id="a", path=path, source="test", target="", speaker=None, seconds=n_frames / rate_hz)
    batches = SpeechBatches([utterance], seconds_per_batch=16, min_seconds=0.1, max_seconds=16, seed=0)
    _, (batch,) = next(batches.start_at(0))
    assert batch.waves.shape == (1, -(-n_frames * 16_000 // rate_hz))


def test_a_file_that_shrank_while_it_was_used_is_told(speech: list[Utterance]) -> None:
    import soundfile

    batches = SpeechBatches(speech, seconds_per_batch=99, min_seconds=0.1, max_seconds=99, seed=0)
    next(batches.start_at(0))
    batches._cache.clear()
    samples, rate_hz = soundfile.read(speech[0].path)
    soundfile.write(speech[0].path, samples[:-2], rate_hz)
    with pytest.raises(DataError, match=r"0\.wav .*The file changed while it was used"):
        next(batches.start_at(0))


def flac_of(utterance: Utterance) -> bytes:
    import soundfile

    samples, rate_hz = soundfile.read(utterance.path)
    path = Path(f"{utterance.path}.flac")
    soundfile.write(path, samples, rate_hz)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cpu", "precision": "fp16"}, r"precision fp16 needs a GPU\. Use fp32 or bf16"),
        ({"device": "cuda:99"}, r"device cuda:99, 1 processes .*: torch can use \d+ GPUs"),
    ],
)
def test_impossible_devices(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        launch(**options)


@pytest.mark.parametrize(
    ("device", "tasks", "nodes", "message"),
    [
        ("cuda", 198, 2, r"device cuda, 99 processes on this machine: torch can use \d+ GPUs\. .* --gpus-per-node"),
        ("cpu", 3, 2, r"srun started 3 processes on 2 machines, not equally many .* --ntasks-per-node"),
        # What Fabric says of a job without --ntasks-per-node.
        ("cpu", 2, 1, r"2 processes on 1 machines cannot be joined: .*--ntasks-per-node=2"),
    ],
)
def test_processes_that_cannot_train_together(
    device: str, tasks: int, nodes: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"STEP_NUM_TASKS": tasks, "STEP_NUM_NODES": nodes, "NTASKS": tasks, "JOB_NAME": "x"}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    with pytest.raises(UsageError, match=message):
        launch(device=device)


def test_a_batch_script_without_srun_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"NTASKS": 2, "NTASKS_PER_NODE": 2, "NNODES": 1, "PROCID": 0, "LOCALID": 0, "NODEID": 0, "JOB_ID": 7}
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    assert launch(device="cpu").part.world_size == 1


@pytest.mark.parametrize(
    ("option", "value"), [("device", "gpu"), ("precision", "int8"), ("checkpoint_every_updates", 0)]
)
def test_faulty_options_name_themselves(option: str, value: object) -> None:
    with pytest.raises(SpecError, match=rf"training options: key '{option}': .* \(found {value!r}\)"):
        launch(**{option: value})


def test_one_cpu() -> None:
    processes = launch(device="cpu", max_seconds_per_device=3.0)
    assert processes.is_first
    assert (processes.part.world_size, processes.part.max_seconds) == (1, 3.0)
    assert processes.fabric.device == torch.device("cpu")
    assert processes.gather("value") == ["value"]
