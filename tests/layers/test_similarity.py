"""Every measure of layer similarity against a naive computation, and what it must not depend on.

From a model and speech to matrices, groups, one JSON and figures.
"""

from __future__ import annotations

import json
import random
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

from skill_bench.base.errors import DataError, UnknownName, UsageError
from skill_bench.cli.main import app
from skill_bench.corpora.data import Utterance
from skill_bench.layers.measure import calibrate, choose, measure
from skill_bench.layers.measures import Measure, new_measure
from skill_bench.layers.measures.cka import LinearCKA
from skill_bench.layers.measures.mutual_knn import MutualNeighbours
from skill_bench.models.checkpoint import LoadedModel, save
from skill_bench.models.runtime import Runtime
from skill_bench.records.similarity import MEASURES, LayerSimilarity, MeasureName
from skill_bench.report.render.figure_files import PAGE_INCHES
from skill_bench.report.render.heat_map import TITLES, write_figures

Matrix = NDArray[np.float64]
N_FRAMES, DIM = 50, 6


def states(seed: int, *, n_layers: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    found = [torch.randn(N_FRAMES, DIM, generator=generator, dtype=torch.float64)]
    for _ in range(n_layers - 1):
        found.append(found[-1] + 0.7 * torch.randn(N_FRAMES, DIM, generator=generator, dtype=torch.float64))
    return found


def naive_cka(a: Matrix, b: Matrix) -> float:
    a, b = a - a.mean(0), b - b.mean(0)
    return float(np.linalg.norm(a.T @ b) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)))


def naive_cosine(a: Matrix, b: Matrix) -> float:
    return float(np.mean([x @ y / np.sqrt((x @ x) * (y @ y)) for x, y in zip(a, b, strict=True)]))


def naive_mutual_knn(a: Matrix, b: Matrix, k: int = 10) -> float:
    def near(frames: Matrix, i: int) -> set[int]:
        cosine = [x @ frames[i] / np.sqrt((x @ x) * (frames[i] @ frames[i])) for x in frames]
        return set(sorted((j for j in range(len(frames)) if j != i), key=lambda j: -cosine[j])[:k])

    return float(np.mean([len(near(a, i) & near(b, i)) / k for i in range(len(a))]))


def naive_whitened_cka(a: Matrix, b: Matrix) -> float:
    """Canonical correlations are the singular values between orthonormal bases."""
    bases = [np.linalg.qr(frames - frames.mean(0)).Q for frames in (a, b)]
    correlations = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)
    return float(np.mean(correlations**2))


NAIVE: dict[MeasureName, Callable[[Matrix, Matrix], float]] = {
    "cka": naive_cka,
    "cosine": naive_cosine,
    "mutual_knn": naive_mutual_knn,
    "whitened_cka": naive_whitened_cka,
}


def measured(name: MeasureName, layers: list[Tensor], *, chunk: int = N_FRAMES) -> Matrix:
    measure = new_measure(name, n_layers=len(layers), dim=layers[0].shape[1], seed=0)
    for start in range(0, len(layers[0]), chunk):
        measure.update([x[start : start + chunk] for x in layers])
    assert measure.n_frames == len(layers[0])
    return measure.similarity()


def rotation(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    orthogonal: Tensor = torch.linalg.qr(torch.randn(DIM, DIM, generator=generator, dtype=torch.float64)).Q
    return orthogonal


def test_every_measure_has_a_naive_twin_here() -> None:
    assert set(NAIVE) == set(MEASURES)
    assert all(isinstance(new_measure(name, n_layers=2, dim=2, seed=0), Measure) for name in MEASURES)


@pytest.mark.parametrize("name", MEASURES)
@given(seed=st.integers(0, 1000), chunk=st.integers(1, N_FRAMES))
@settings(max_examples=10, deadline=None)
def test_one_pass_in_any_chunks_equals_the_definition(name: MeasureName, seed: int, chunk: int) -> None:
    layers = states(seed)
    expected = np.array([[NAIVE[name](a.numpy(), b.numpy()) for b in layers] for a in layers])
    # float64 throughout. Neighbours are counted: the sample is float32, but no two of 50 random cosines are so close.
    np.testing.assert_allclose(measured(name, layers, chunk=chunk), expected, rtol=1e-9)


def test_cka_keeps_its_digits_beside_a_large_offset() -> None:
    layers = [x + 1e4 for x in states(3)]
    expected = np.array([[naive_cka(a.numpy(), b.numpy()) for b in layers] for a in layers])
    np.testing.assert_allclose(measured("cka", layers, chunk=7), expected, rtol=1e-9)


@pytest.mark.parametrize("name", MEASURES)
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100))
@settings(max_examples=15, deadline=None)
def test_rotation_scale_and_frame_order_change_nothing(name: MeasureName, seed: int, scale: float) -> None:
    layers = states(seed)
    order = torch.randperm(N_FRAMES, generator=torch.Generator().manual_seed(seed))
    # A rotation of every layer on its own leaves CKA and neighbours alone; directions are compared in one shared space.
    turns = [rotation(seed + 1 + (0 if name == "cosine" else number)) for number in range(len(layers))]
    changed = [
        (1 + number) * scale * (x @ turn)[order] for number, (x, turn) in enumerate(zip(layers, turns, strict=True))
    ]
    np.testing.assert_allclose(measured(name, changed), measured(name, layers), rtol=1e-9)


@pytest.mark.parametrize("name", ["cka", "whitened_cka"])
def test_a_shift_changes_nothing_for_cka(name: MeasureName) -> None:
    layers = states(1)
    np.testing.assert_allclose(measured(name, [x + 3.0 for x in layers]), measured(name, layers), rtol=1e-9)


def test_no_invertible_map_changes_whitened_cka() -> None:
    layers = states(1)
    maps = [rotation(number) @ torch.diag(torch.logspace(-2, 1, DIM, dtype=torch.float64)) for number in range(4)]
    changed = [x @ by for x, by in zip(layers, maps, strict=True)]
    assert measured("whitened_cka", layers)[0, 1:].max() < 0.95
    # Variances then differ by factors of 10^6, and float64 keeps 16 digits.
    np.testing.assert_allclose(measured("whitened_cka", changed), measured("whitened_cka", layers), rtol=1e-7)
    assert np.abs(measured("cka", changed) - measured("cka", layers)).max() > 0.05


def test_whitened_cka_sees_more_than_the_leading_direction() -> None:
    """Two layers share one large direction and nothing else: CKA calls them alike, whitened CKA a sixth."""
    generator = torch.Generator().manual_seed(0)
    layers = [torch.randn(5000, DIM, generator=generator, dtype=torch.float64) for _ in range(2)]
    layers[1][:, 0] = layers[0][:, 0]
    for layer in layers:
        layer[:, 0] *= 30
    assert measured("cka", layers, chunk=5000)[0, 1] > 0.999
    # Chance adds (DIM - 1)^2 / DIM directions of 1 / 5000 each.
    assert measured("whitened_cka", layers, chunk=5000)[0, 1] == pytest.approx(1 / DIM, abs=0.003)


def test_directions_that_do_not_vary_do_not_count() -> None:
    """As the one that a LayerNorm takes away: of two layers with 5 and 6 directions, sqrt(30) is the most."""
    layers = states(0, n_layers=2)
    flat = layers[0] - layers[0].mean(1, keepdim=True)
    found = measured("whitened_cka", [flat, layers[0]])
    assert found[0, 1] == pytest.approx(5 / 30**0.5, rel=1e-9)


def test_cosine_sees_the_rotation_of_one_layer() -> None:
    layers = states(1)
    changed = [layers[0] @ rotation(5), *layers[1:]]
    assert abs(measured("cosine", changed)[0, 1] - measured("cosine", layers)[0, 1]) > 0.1
    np.testing.assert_allclose(measured("cka", changed), measured("cka", layers), rtol=1e-9)


@pytest.mark.parametrize("name", MEASURES)
def test_symmetric_with_ones_on_the_diagonal(name: MeasureName) -> None:
    found = measured(name, states(2))
    assert np.array_equal(found, found.T)
    assert np.array_equal(found.diagonal(), np.ones(4))
    assert float(found.max()) == 1.0


def test_the_sample_of_neighbours_is_bounded_seeded_and_blind_to_chunks() -> None:
    frames = torch.arange(500.0)[:, None].expand(500, DIM).contiguous() + 1

    def sample(seed: int, chunk: int) -> list[float]:
        measure = MutualNeighbours(n_layers=1, dim=DIM, seed=seed, n_neighbours=3, max_frames=40)
        for start in range(0, 500, chunk):
            measure.update([frames[start : start + chunk]])
        assert len(measure._sample) == 40
        return sorted(measure._sample[:, 0, 0].tolist())

    whole = sample(0, 500)
    assert len(set(whole)) == 40
    assert sample(0, 500) == sample(0, 7) == sample(0, 1) == whole
    assert sample(1, 500) != whole
    # Drawn from everywhere, not only from the start.
    assert min(whole) < 100
    assert max(whole) > 400


def test_zero_vectors_have_no_direction_and_are_left_out() -> None:
    layers = states(0, n_layers=2)
    blanked = [layers[0].clone(), layers[1]]
    blanked[0][:10] = 0
    expected = naive_cosine(layers[0][10:].numpy(), layers[1][10:].numpy())
    assert measured("cosine", blanked)[0, 1] == pytest.approx(expected, rel=1e-9)
    with pytest.raises(ValueError, match=r"layers \[0, 1\] share no frame"):
        measured("cosine", [torch.zeros(N_FRAMES, DIM), layers[1]])


@pytest.mark.parametrize("name", ["cka", "whitened_cka"])
def test_a_layer_that_never_changes_is_an_error(name: MeasureName) -> None:
    with pytest.raises(ValueError, match=r"layers \[4\] do not vary"):
        measured(name, [*states(0), torch.zeros(N_FRAMES, DIM, dtype=torch.float64)])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cka", "at least 2 frames"),
        ("cosine", "at least 1 frame"),
        ("mutual_knn", "more than 10"),
        ("whitened_cka", "more frames than the 3 dimensions of a layer, .* found 0"),
    ],
)
def test_too_few_frames_is_an_error(name: MeasureName, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        new_measure(name, n_layers=2, dim=3, seed=0).similarity()


def test_memory_of_cka_does_not_grow_with_the_frames() -> None:
    cka = LinearCKA(n_layers=3, dim=4)
    held = [sum(t.numel() for t in cka._gram)]
    for _ in range(3):
        cka.update([torch.randn(100, 4)] * 3)
        held.append(sum(t.numel() for t in cka._gram))
    assert set(held) == {4 * 4 * 6}


def test_the_choice_of_utterances_is_seeded_and_blind_to_their_order(speech: list[Utterance]) -> None:
    shuffled = random.Random(0).sample(speech, len(speech))
    assert choose(speech, n=3, seed=0) == choose(shuffled, n=3, seed=0)
    assert choose(speech, n=3, seed=0) != choose(speech, n=3, seed=1)
    assert choose(speech, n=99, seed=0) != speech
    assert sorted(u.id for u in choose(speech, n=99, seed=0)) == sorted(u.id for u in speech)


def test_measures_of_one_pass_are_those_of_a_pass_each(teacher: LoadedModel, speech: list[Utterance]) -> None:
    together = calibrate(teacher.encoder, speech, n=3, seed=0, measures=MEASURES)
    for name in MEASURES:
        alone = calibrate(teacher.encoder, speech, n=3, seed=0, measures=(name,))
        assert np.array_equal(alone[name], together[name])
        assert together[name].shape == (5, 5)


def test_the_document_comes_back_from_its_file(teacher: LoadedModel, speech: list[Utterance], tmp_path: Path) -> None:
    found = measure(teacher, speech, name="tiny", n_groups="auto", n_utterances=4)
    path = found.write(tmp_path / "similarity.json")
    assert LayerSimilarity.read(path) == found
    assert [one.measure for one in found.measures] == list(MEASURES)
    assert found.checkpoint_sha256 == teacher.sha256
    assert found.audio_seconds == pytest.approx(sum(u.seconds or 0 for u in choose(speech, n=4, seed=0)))
    for one in found.measures:
        assert set(one.silhouettes) == {2, 3, 4}
        assert len(one.groups) == max(one.silhouettes, key=lambda k: (one.silhouettes[k], -k))


def test_figures_show_the_layers_and_do_not_change(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    found = measure(teacher, speech, name="tiny", n_groups=2, n_utterances=2, measures=("cka",), contiguous=False)
    svg, png, pdf = write_figures(found, tmp_path / "figure")
    assert (svg.name, png.name, pdf.name) == ("figure.svg", "figure.png", "figure.pdf")
    assert ET.parse(svg).getroot().tag.endswith("svg")
    with Image.open(png) as image:
        assert len(image.getcolors(maxcolors=1 << 24) or ()) > 20  # a heat map, not a blank page
    before = svg.read_bytes()
    write_figures(found, tmp_path / "figure")
    assert svg.read_bytes() == before


def test_one_figure_shows_every_measure(teacher: LoadedModel, speech: list[Utterance], tmp_path: Path) -> None:
    found = measure(teacher, speech, name="tiny", n_groups=2, n_utterances=2)
    svg, *_ = write_figures(found, tmp_path / "figure")
    text = svg.read_text()
    assert all(f">{TITLES[name]}<" in text for name in MEASURES)
    (width,) = re.findall(r'^<svg [^>]*width="([\d.]+)"', text)
    assert float(width) <= PAGE_INCHES * 96, "two beside each other are not wider than a paper's page"


def test_too_little_speech_is_explained(teacher: LoadedModel, speech: list[Utterance]) -> None:
    with pytest.raises(DataError, match=r"at least 2 frames, found 0\. Give more speech"):
        measure(teacher, [], name="tiny", measures=("cka",))


def test_silence_is_no_bare_error(teacher: LoadedModel, tmp_path: Path) -> None:
    import soundfile

    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(16_000), 16_000)
    silence = [Utterance(id="a", path=path, source="test", target="", speaker=None, seconds=1.0)]
    with pytest.raises(DataError, match=r"Give more speech, or another model"):
        calibrate(teacher.encoder, silence, n=1, seed=0)


def test_of_a_long_recording_the_beginning_counts(
    teacher: LoadedModel, speech: list[Utterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []
    hidden_states = Runtime.hidden_states

    def listening(self: Runtime, waves: Sequence[Tensor]) -> list[Tensor]:
        heard.extend(len(wave) for wave in waves)
        return hidden_states(self, waves)

    monkeypatch.setattr(Runtime, "hidden_states", listening)
    monkeypatch.setattr("skill_bench.layers.measure.MAX_SECONDS", 0.2)
    found = measure(teacher, speech, name="tiny", n_groups=2, n_utterances=len(speech), measures=("cka",))
    assert len(heard) == len(speech)
    assert max(heard) == 3_200
    assert found.audio_seconds == pytest.approx(0.2 * len(speech)), "what was heard, not what is there"


@pytest.fixture
def files(teacher: LoadedModel, speech: list[Utterance], tmp_path: Path) -> list[str]:
    save(teacher.encoder, tmp_path / "model" / "tiny.safetensors", metadata={})
    folder = tmp_path / "audio"
    folder.mkdir()
    for utterance in speech[:2]:
        utterance.path.rename(folder / utterance.path.name)
    return ["similarity", "--teacher", str(tmp_path / "model" / "tiny.safetensors"), "--data", str(folder)]


def test_command(files: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out" / "s.json"
    options = ["--clusters", "auto", "--linkage", "ward", "--no-contiguous", "--out", str(out)]
    done = CliRunner().invoke(app, [*files, *options], catch_exceptions=False)
    assert done.exit_code == 0
    content = json.loads(out.read_text())
    assert (content["model"], content["linkage"], content["n_groups"]) == ("tiny", "ward", "auto")
    assert sorted(p.name for p in out.parent.iterdir()) == sorted(
        [f"s.{suffix}" for suffix in ("json", "svg", "png", "pdf")]
    )
    assert "groups:" in done.output


def test_a_limit_on_the_command_line(files: list[str], tmp_path: Path) -> None:
    out = tmp_path / "s.json"
    options = ["--clusters", "3", "--largest", "0.4", "--measures", "cka", "--out", str(out)]
    assert CliRunner().invoke(app, [*files, *options], catch_exceptions=False).exit_code == 0
    found = LayerSimilarity.read(out)
    assert found.largest == 0.4
    assert max(map(len, found.measures[0].groups)) == 2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (["--measures", "cka,cosin"], UnknownName, "unknown measure 'cosin'. Did you mean 'cosine'"),
        (["--linkage", "centroid"], UnknownName, "unknown linkage 'centroid'"),
        (["--clusters", "many"], UsageError, "expected a number of groups, or auto"),
        (["--clusters", "9"], UsageError, "9 groups of 5 layers"),
        (["--largest", "0.2"], UsageError, "groups.largest = 0.2 allows 1 of 5 layers, and 4 such groups do not hold"),
        (["--largest", "0"], UsageError, "groups.largest = 0 of 5 layers is less than one: expected 0.2 or more"),
        (["--largest", "0.5", "--no-contiguous"], UsageError, "groups.largest limits runs of layers"),
        (["--out", "a.txt"], UsageError, "ending in .json"),
    ],
)
def test_options_that_cannot_be_used(
    files: list[str], options: list[str], error: type[UsageError], message: str
) -> None:
    done = CliRunner().invoke(app, [*files, *options])
    assert isinstance(done.exception, error)
    assert message in str(done.exception)
