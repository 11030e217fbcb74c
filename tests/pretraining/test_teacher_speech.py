"""What the bundled teacher hears out of public repositories: nothing that a suite tests, without silence."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from skill_bench.base.errors import DataError, ManifestError
from skill_bench.corpora.described.manifest import read_manifest
from skill_bench.corpora.listing import list_audio

SCRIPT = Path(__file__).parents[2] / "upstreams" / "teacher" / "speech.py"


@pytest.fixture(scope="module")
def speech() -> ModuleType:
    spec = importlib.util.spec_from_file_location("teacher_speech", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look
    spec.loader.exec_module(module)
    return module


def spoken(path: Path, *, seconds: float = 0.5) -> Path:
    """Half a second of silence, noise, half a second of silence."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, int(seconds * 16_000))
    soundfile.write(path, np.pad(noise, 8_000), 16_000, subtype="PCM_16")
    return path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def clones(tmp_path: Path) -> Path:
    """Every repository with one recording to take, and one for each reason not to."""
    root = tmp_path / "clones"
    ocean, lines = root / "speechocean762", {"01": "0001", "02": "0001", "03": "0002"}
    write(ocean / "train" / "utt2spk", "".join(f"{name} {speaker}\n" for name, speaker in lines.items()))
    write(ocean / "train" / "wav.scp", "".join(f"{name}\tWAVE/{name}.WAV\n" for name in lines))
    for name in lines:
        spoken(ocean / "WAVE" / f"{name}.WAV")
    arabic = root / "arabic-speech-commands-dataset"
    files = {"dataset/yes/00000001_NO_01.wav": "yes", "dataset/six/00000001_NO_01.wav": "six"}
    files["dataset/six/00000002_NO_01.wav"] = "six"
    write(arabic / "train.csv", "file,class\n" + "".join(f"{file},{word}\n" for file, word in files.items()))
    for file in files:
        spoken(arabic / file)
    for speaker, number in (("15307110252", 7), ("15307110252", 8), ("15307110189", 8)):
        spoken(root / "DSPSpeech-20" / "speech_data" / speaker / f"{speaker}-00-{number:02d}.wav")
    spoken(root / "DeadSimpleSpeechRecognizer" / "data" / "bed" / "a1_nohash_0.wav")
    spoken(root / "wake-word-benchmark" / "audio" / "alexa" / "1.wav")
    spoken(root / "wake-word-benchmark" / "audio" / "alexa" / "2.wav", seconds=0.01)
    mycroft = root / "Precise-Community-Data"
    given = "I agree to place any and all contributions by me into the public domain:\n/a/given.wav\nnoise-1.wav\n"
    write(mycroft / "licenses" / "license-20190801-x.txt", given)
    write(mycroft / "licenses" / "license-20190802-y.txt", "CC BY-NC-SA 4.0\nkept.wav\n")
    for name in ("given", "kept", "noise-1"):
        spoken(mycroft / "en" / f"{name}.wav")
    return root


@pytest.fixture
def suites(tmp_path: Path) -> Path:
    root, head = tmp_path / "corpora", "path\tspeaker\tsplit"
    write(root / "speechocean762" / "manifest.tsv", f"{head}\nflac/01.flac\t0001\ttrain\nflac/9.flac\t0002\tdev\n")
    rows = "a.flac\t00000001\ttrain\tyes\nb.flac\t00000002\ttest\tyes\n"
    write(root / "arabic_speech_commands" / "manifest.tsv", f"{head}\tkeyword\n{rows}")
    return root


def test_nothing_that_a_suite_knows_or_tests_is_taken(
    speech: ModuleType, clones: Path, suites: Path, tmp_path: Path
) -> None:
    found = {
        source.repository.split("/")[1]: [
            str(one.path.relative_to(clones / source.repository.split("/")[1]))
            for one in source.find(clones / source.repository.split("/")[1], suites)
        ]
        for source in speech.SOURCES
    }
    assert found == {
        "speechocean762": ["WAVE/02.WAV"],
        "arabic-speech-commands-dataset": ["dataset/six/00000001_NO_01.wav"],
        "DSPSpeech-20": ["speech_data/15307110252/15307110252-00-08.wav"],
        "DeadSimpleSpeechRecognizer": ["data/bed/a1_nohash_0.wav"],
        "wake-word-benchmark": ["audio/alexa/1.wav", "audio/alexa/2.wav"],
        "Precise-Community-Data": ["en/given.wav"],
    }


def test_what_is_written_can_be_trained_on(speech: ModuleType, clones: Path, suites: Path, tmp_path: Path) -> None:
    seconds = speech.gather(clones, suites, tmp_path / "out")
    listed = list_audio([tmp_path / "out"])
    assert len(listed) == 6, "one of each, but for the too short one"
    assert [utterance.seconds for utterance in listed] == pytest.approx([0.7] * 6), "100 ms of silence stay at each end"
    assert seconds == {source.repository: pytest.approx(0.7) for source in speech.SOURCES}
    assert {utterance.speaker for utterance in listed} == {"0001", "00000001", "15307110252", "a1", None}


def test_as_many_speakers_of_dspspeech_as_its_training_part_has(speech: ModuleType, corpora: Path) -> None:
    rows = read_manifest(corpora / "dspspeech20" / "manifest.tsv").rows
    trained_on = {row.values["speaker"] for row in rows if row.values["speaker_split"] == "train"}
    assert len({*speech._DSPSPEECH_SPEAKERS}) == len(trained_on)
    assert max(int(row.values["round"]) for row in rows) == speech._DSPSPEECH_ROUNDS


def test_what_is_missing_is_said(speech: ModuleType, clones: Path, suites: Path, tmp_path: Path) -> None:
    (clones / "wake-word-benchmark").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"no speech\. Expected a clone of Picovoice/wake-word-benchmark there"):
        speech.gather(clones, suites, tmp_path / "out")
    with pytest.raises(ManifestError, match="no such manifest"):
        speech.gather(clones, tmp_path, tmp_path / "out")
