"""From models and speech to a document."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from jaxtyping import Float
from small_models import small_teacher
from torch import Tensor

from skill_bench.base.errors import CheckpointError, DataError, UnknownName, UsageError
from skill_bench.corpora.data import Utterance
from skill_bench.fidelity.heldout import held_out
from skill_bench.fidelity.interval import difference
from skill_bench.fidelity.measure import measure
from skill_bench.fidelity.ridge import RunningMoments
from skill_bench.models import checkpoint
from skill_bench.models.export.write import write
from skill_bench.records.fidelity import Fidelity
from skill_bench.records.record import System
from skill_bench.upstream.interface import Upstream
from skill_bench.upstream.load import load_model


class Changed(Upstream):
    """The states of another model, some of its layers, with noise and other numbers of frames or samples a frame."""

    def __init__(
        self, of: Upstream, *, layers: slice = slice(None), noise: float = 0.0, cut: int = 0, hop: int = 320
    ) -> None:
        system = System(name=f"changed-{noise:g}", title="", identity=f"{layers} {noise}")
        super().__init__(system=system, downsample_rate=hop, dim=of.dim, layer_names=of.layer_names[layers])
        self.of, self.layers, self.noise, self.cut = of, layers, noise, cut

    def hidden_states(self, waves: list[Float[Tensor, " samples"]]) -> list[Float[Tensor, "layers frames dim"]]:
        found = [states[self.layers] for states in self.of.hidden_states(waves)]
        generator = torch.Generator().manual_seed(len(waves[0]))
        found = [states + self.noise * torch.randn(states.shape, generator=generator) for states in found]
        return [states[:, : states.shape[1] - self.cut] for states in found]


@pytest.fixture
def voices(tmp_path: Path) -> list[Utterance]:
    """Two utterances of noise, a little coloured, of each of six speakers."""
    found = []
    for speaker in range(6):
        for number in range(2):
            random_ = np.random.default_rng((speaker, number))
            wave = np.convolve(random_.standard_normal(17_000 + 700 * speaker), [1, 0.1 * speaker], "same")
            path = tmp_path / f"{speaker}-{number}.wav"
            soundfile.write(path, 0.1 * wave, 16_000)
            seconds = len(wave) / 16_000
            found.append(
                Utterance(
                    id=path.name, path=path, target="", speaker=f"{speaker}", seconds=seconds, source=path.name
                )
            )  # fmt: skip
    return found


@pytest.fixture
def model(tmp_path: Path) -> Upstream:
    return load_model(str(small_teacher(tmp_path / "small.safetensors")))


def test_the_document_is_what_the_frames_say(model: Upstream, voices: list[Utterance], tmp_path: Path) -> None:
    student = Changed(model, noise=0.5)
    (found,) = measure(model, [student], voices, corpus="Noise", n_folds=3)
    path = found.write(found.path(tmp_path))
    assert path.parent == tmp_path / "fidelity" / "changed-0.5"
    assert Fidelity.read(path) == found
    assert (found.n_utterances, found.n_speakers, found.notes) == (12, 6, ())
    assert (found.settings.n_folds, found.settings.n_groups) == (3, 6)
    assert found.audio_seconds == pytest.approx(sum(u.seconds or 0 for u in voices))
    (reading,) = found.readings
    assert [(layer.teacher_layer, layer.student_layer) for layer in reading.layers] == [(n, n) for n in range(5)]
    for kind in ("plain", "whitened"):
        by_layer = [getattr(layer, kind).value for layer in reading.layers]
        mean = getattr(reading, kind)
        assert mean.value == pytest.approx(np.mean(by_layer))
        assert mean.low < mean.value < mean.high
        assert all(0 < value < 1 for value in by_layer)
    running = RunningMoments(
        dims={(1, 3): 32, (0, 3): 32}, pairs=[((1, 3), (0, 3))], n_groups=6, device=torch.device("cpu")
    )
    for utterance in voices:
        wave = torch.from_numpy(soundfile.read(utterance.path, dtype="float32")[0])
        states = {(1, 3): student.hidden_states([wave])[0][3], (0, 3): model.hidden_states([wave])[0][3]}
        running.update(int(utterance.speaker or 0), states)
    assert found.n_frames == sum(running.n_frames)
    # The same speakers, in other folds: near, not equal.
    direct = held_out(running.of((1, 3), (0, 3)), (0, 1, 2, 0, 1, 2)).r2()
    assert (reading.layers[3].plain.value, reading.layers[3].whitened.value) == pytest.approx(direct, abs=0.05)


def test_the_teacher_keeps_itself_and_noise_takes_away(model: Upstream, voices: list[Utterance]) -> None:
    students = [model, Changed(model, noise=0.3), Changed(model, noise=3.0)]
    found = measure(model, students, voices, corpus="noise", n_folds=3)
    whitened = [one.readings[0].whitened.value for one in found]
    assert whitened[0] == pytest.approx(1, abs=1e-4)
    assert whitened == sorted(whitened, reverse=True)
    less = difference(found[2], found[1])
    assert less.value == pytest.approx(whitened[2] - whitened[1])
    assert less.low < less.value < less.high < 0
    alone = measure(model, students[2:], voices, corpus="noise", n_folds=3)
    assert alone[0].readings == found[2].readings
    with pytest.raises(UsageError, match=r"have different speech.*Measure both in one pass"):
        difference(found[2], found[1].model_copy(update={"data_fingerprint": "x"}))


def test_the_order_of_utterances_changes_nothing(model: Upstream, voices: list[Utterance]) -> None:
    students = [Changed(model, noise=0.5)]
    (found,) = measure(model, students, voices, corpus="noise", n_folds=3)
    (other,) = measure(model, students, random.Random(0).sample(voices, 12), corpus="noise", n_folds=3)
    for one, its in zip(found.readings[0].layers, other.readings[0].layers, strict=True):
        assert one.whitened.value == pytest.approx(its.whitened.value, rel=1e-6)
        assert one.plain.low == pytest.approx(its.plain.low, rel=1e-6)


def test_a_shallow_student_has_two_readings(model: Upstream, voices: list[Utterance]) -> None:
    (found,) = measure(model, [Changed(model, layers=slice(0, 3))], voices, corpus="noise", n_folds=3)
    by_depth, last = found.readings
    assert [layer.student_layer for layer in by_depth.layers] == [0, 1, 1, 2, 2]
    assert [layer.student_layer for layer in last.layers] == [2] * 5
    assert by_depth.layers[0].whitened.value == pytest.approx(1, abs=1e-4)
    assert last.layers[2].whitened.value == pytest.approx(1, abs=1e-4)
    assert last.layers[0].whitened.value < 0.999


def test_one_frame_less_is_cut_and_more_is_refused(model: Upstream, voices: list[Utterance]) -> None:
    (whole,) = measure(model, [model], voices, corpus="noise", n_folds=3)
    (cut,) = measure(model, [Changed(model, cut=1)], voices, corpus="noise", n_folds=3)
    assert cut.n_frames == whole.n_frames - 12
    assert cut.readings[0].whitened.value == pytest.approx(1, abs=1e-4)
    with pytest.raises(DataError, match=r"small-\w+ 52, changed-0 50 frames; expected numbers that differ by one"):
        measure(model, [Changed(model, cut=2)], voices, corpus="noise", n_folds=3)


def test_what_cannot_be_compared_is_refused(model: Upstream, voices: list[Utterance]) -> None:
    with pytest.raises(UsageError, match=r"changed-0 has a frame every 640 samples, the teacher .* every 320"):
        measure(model, [Changed(model, hop=640)], voices, corpus="noise")
    with pytest.raises(UsageError, match="no student to compare"):
        measure(model, [], voices, corpus="noise")
    with pytest.raises(CheckpointError, match=r"changed-nan: its states of .*0-0\.wav .* are not finite"):
        measure(model, [Changed(model, noise=float("nan"))], voices, corpus="noise")


def test_what_a_reader_must_know_is_noted(model: Upstream, voices: list[Utterance], tmp_path: Path) -> None:
    loaded = checkpoint.load(tmp_path / "small.safetensors")
    checkpoint.save(loaded.encoder, tmp_path / "other.safetensors", metadata={"teacher_sha256": "0" * 64})
    nobody = [dataclasses.replace(utterance, speaker=None) for utterance in voices]
    (found,) = measure(model, [load_model(str(tmp_path / "other.safetensors"))], nobody, corpus="noise", n_folds=3)
    unknown, other = found.notes
    assert unknown.startswith("12 files name no speaker; each counts as a speaker of its own")
    assert "says that it was distilled from another teacher than small-" in other
    assert (found.n_speakers, found.n_utterances_without_speaker) == (12, 12)


def test_files_below_one_frame_count_for_nothing(model: Upstream, voices: list[Utterance], tmp_path: Path) -> None:
    (before,) = measure(model, [model], voices, corpus="noise", n_folds=3)
    assert before.n_utterances_without_frames == 0
    # 400 samples are one frame of 25 ms.
    one_frame = [Changed(model, cut=1)]
    soundfile.write(tmp_path / "short.wav", np.full(400, 0.1), 16_000)
    short = dataclasses.replace(voices[0], id="short", path=tmp_path / "short.wav", seconds=0.025)
    (found,) = measure(model, one_frame, [*voices, short], corpus="noise", n_folds=3)
    assert (found.n_utterances, found.n_utterances_without_frames) == (13, 1)
    assert found.n_frames == before.n_frames - 12


@pytest.mark.parametrize("format", ["dphubert", "huggingface"])
def test_foreign_checkpoints_are_read(format: str, model: Upstream, voices: list[Utterance], tmp_path: Path) -> None:
    out = tmp_path / ("theirs.pth" if format == "dphubert" else "theirs")
    write(checkpoint.load(tmp_path / "small.safetensors"), out, format=format, metadata={}, card=lambda _: "")
    (found,) = measure(model, [load_model(str(out))], voices, corpus="noise", n_folds=3)
    assert found.student.name.startswith("theirs-")
    assert found.readings[0].whitened.value == pytest.approx(1, abs=1e-4)


def test_models_are_found_by_name_and_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_teacher(tmp_path / "mine.safetensors")
    monkeypatch.chdir(tmp_path)
    assert load_model("skill").name == "skill"
    assert load_model("mine.safetensors").name.startswith("mine-")
    assert load_model("mine.safetensors").frozen
    with pytest.raises(UnknownName, match=r"unknown upstream 'skil'. Did you mean 'skill'"):
        load_model("skil")
    with pytest.raises(CheckpointError, match=r"gone\.pt: no such checkpoint"):
        load_model("gone.pt")
