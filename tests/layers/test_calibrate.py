"""From a model and speech to matrices, groups, one JSON and figures."""

from __future__ import annotations

import json
import random
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

from skill_bench.base.errors import DataError, UnknownName, UsageError
from skill_bench.cli.main import app
from skill_bench.corpora.data import Utterance
from skill_bench.layers.measure import calibrate, choose, measure
from skill_bench.models.checkpoint import LoadedModel, save
from skill_bench.models.runtime import Runtime
from skill_bench.records.similarity import MEASURES, LayerSimilarity
from skill_bench.report.render.heat_map import write_figures


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
    assert (svg.name, png.name, pdf.name) == ("figure-cka.svg", "figure-cka.png", "figure-cka.pdf")
    assert ET.parse(svg).getroot().tag.endswith("svg")
    with Image.open(png) as image:
        assert len(image.getcolors(maxcolors=1 << 24) or ()) > 20  # a heat map, not a blank page
    before = svg.read_bytes()
    write_figures(found, tmp_path / "figure")
    assert svg.read_bytes() == before


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
    calibrate(teacher.encoder, speech, n=len(speech), seed=0)
    assert len(heard) == len(speech)
    assert max(heard) == 3_200


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
        ["s.json", *(f"s-{name}.{suffix}" for name in MEASURES for suffix in ("svg", "png", "pdf"))]
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
