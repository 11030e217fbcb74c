"""Damaged lists of every kind, and suites: read or refused by name; no traceback, no value that is not finite.

Damaged audio of every container: finite samples or a named refusal; no traceback, no hang, bounded memory.
"""

from __future__ import annotations

import math
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from mutations import generators, mutated_audio, mutated_list
from small_suite import utterance

from skill_bench.base.errors import SkillBenchError
from skill_bench.base.text import read_csv
from skill_bench.corpora.audio.audio import load_audio
from skill_bench.corpora.audio.scan import scan
from skill_bench.corpora.described.lists import read_rttm, read_trials
from skill_bench.corpora.described.manifest import escapes, read_manifest
from skill_bench.corpora.described.suite_toml import read_suite
from skill_bench.corpora.official.files import lines_of, pairs_of
from skill_bench.corpora.official.readers import fluent_speech_commands, libri2mix, quesst14, voxceleb1
from skill_bench.report.table.published import published_rows
from skill_bench.s3prl.ctc_corpora import read_lexicon

MANIFEST = "path\tid\tspeaker\tseconds\tsplit\ttext\n" + "".join(
    f"a/{i}.wav\tu{i}\ts{i % 2}\t{1 + i / 4}\ttrain\t{'no' if i % 2 else 'he said yes'}\n" for i in range(6)
)
RTTM = "".join(f"SPEAKER talk 1 {i}.0 1.5 <NA> <NA> s{i % 2} <NA> <NA>\n" for i in range(5)) + ";; end\n"
TRIALS = "1 a.wav b.wav\n0 a.wav c.wav\n1 c.wav d.wav\n0 b.wav d.wav\n"
LEXICON = "A AH0\nTHE DH AH0\nCAT K AE1 T\n"
SEGMENTS = {
    "wav.scp": "m1 Libri2Mix/m1.wav\nm2 Libri2Mix/m2.wav\n",
    "reco2dur": "m1 5.0\nm2 6.0\n",
    "utt2spk": "t1 s1\nt2 s2\nt3 s1\nt4 s3\n",
    "segments": "t1 m1 0.0 2.0\nt2 m1 1.0 4.5\nt3 m2 0.5 3.0\nt4 m2 2.0 6.0\n",
}
COMMANDS = ",path,speakerId,transcription,action,object,location\n" + "".join(
    f'{i},wavs/{i}.wav,s{i},"Turn on, please",activate,lights,none\n' for i in range(4)
)
PUBLISHED = "system,teacher,parameters_millions,ks_accuracy_percent,source\nA,WavLM,94.7,96.5,paper\nB,,23.5,,paper\n"
SUITE = """title = "mine"
[tasks.ks]
manifest = "m.tsv"
target = "word"
min_seconds = 0.5
silence = { noise = ["n.wav"], seconds = 1.0, train = 9 }
[tasks.sd]
manifest = "m.tsv"
target = "speaker"
mixtures = { seed = 0, train = 80, dev = 16, test = 32, max_seconds = 5.0, level_spread_db = 4.0 }
[tasks.sid]
manifest = "m.tsv"
target = "speaker"
[tasks.sid.conditions]
train = { gain_db = [-30.0, -20.0], low_hz = [50.0, 99.0], high_hz = [4000.0, 7000.0], snr_db = [9.0, 25.0] }
test = { gain_db = [-38.0, -28.0], low_hz = [100.0, 300.0], high_hz = [3400.0, 6000.0], snr_db = [5.0, 20.0] }
"""
CONTAINERS = [
    ("WAV", "PCM_16"), ("WAV", "GSM610"), ("WAV", "IMA_ADPCM"), ("WAV", "FLOAT"), ("WAVEX", "PCM_24"),
    ("RF64", "PCM_16"), ("W64", "DOUBLE"), ("AIFF", "PCM_16"), ("AU", "ULAW"), ("CAF", "PCM_16"), ("CAF", "ALAC_16"),
    ("NIST", "PCM_16"),
    ("SVX", "PCM_16"), ("VOC", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
]  # fmt: skip
_MUTANTS = 35  # a container
_MOST_KIB = 2 << 20


def manifest(path: Path) -> list[Any]:
    rows = read_manifest(path).rows
    assert len({row.id for row in rows}) == len(rows)
    assert not any(escapes(row.values["path"]) for row in rows)
    return [row.seconds for row in rows]


def rttm(path: Path) -> list[Any]:
    turns = read_rttm(path, seconds=6.0)
    assert all(0 <= turn.start_seconds < turn.end_seconds <= 6.0 for turn in turns)
    return []


def suite(path: Path) -> list[Any]:
    return [value for task in read_suite(path).model_dump()["tasks"].values() for value in leaves(task)]


def leaves(tree: Any) -> list[Any]:
    inside = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else None
    return [tree] if inside is None else [leaf for part in inside for leaf in leaves(part)]


def published(path: Path) -> list[Any]:
    rows, _ = published_rows(path.parent)
    return [value for row in rows for value in row.values.values()]


def kaldi(name: str) -> Callable[[Path], list[Any]]:
    def read(path: Path) -> list[Any]:
        corpus = path.parent / "Libri2Mix"
        folder = corpus / "diarization" / "test"
        folder.mkdir(parents=True, exist_ok=True)
        for other, text in SEGMENTS.items():
            (folder / other).write_text(text)
        for recording in ("m1", "m2"):
            (corpus / f"{recording}.wav").touch()
        (folder / name).write_bytes(path.read_bytes())
        utterances = libri2mix._split(corpus, folder)
        return [value for u in utterances for turn in u.segments for value in (turn.start_seconds, turn.end_seconds)]

    return read


def commands(path: Path) -> list[Any]:
    (path.parent / "wavs").mkdir(exist_ok=True)
    for i in range(4):
        (path.parent / "wavs" / f"{i}.wav").touch()
    return [u.target.split("|")[2] for u in fluent_speech_commands._split(path.parent, path)]


def identities(path: Path) -> list[Any]:
    (path.parent / "iden_split.txt").write_bytes(path.read_bytes())
    return [u.id for part in voxceleb1.sid(path.parent) for u in part.train]


def queries(path: Path) -> list[Any]:
    (path.parent / "scoring").mkdir(exist_ok=True)
    (path.parent / "scoring" / "language_key_dev.lst").write_bytes(path.read_bytes())
    return [u.id for u in quesst14._listed(path.parent, "dev")]


READERS: dict[str, tuple[str, str, Callable[[Path], list[Any]]]] = {
    "manifest": ("manifest.tsv", MANIFEST, manifest),
    "rttm": ("talk.rttm", RTTM, rttm),
    "trials": ("trials.txt", TRIALS, lambda path: list(read_trials(path, {f"{n}.wav": n for n in "abcd"}))),
    "lexicon": ("lexicon.txt", LEXICON, lambda path: list(read_lexicon([str(path)]))),
    "transcripts": ("1-2.trans.txt", "1-2-0 A CAT\n1-2-1 THE CAT\n", lambda path: list(pairs_of(path, expected="it"))),
    "words": ("slots.txt", "artist\nsong\nplace\n", lambda path: [line.text for line in lines_of(path)]),
    "table": ("table.csv", COMMANDS, lambda path: read_csv(path)[1]),
    "commands": ("test_data.csv", COMMANDS, commands),
    "identities": ("list.txt", "1 id1/v/1.wav\n2 id1/v/2.wav\n3 id2/v/1.wav\n", identities),
    "queries": ("list.txt", "q/a/x.wav nnenglish\nq/a/y.wav czech\n", queries),
    "published": ("mine.csv", PUBLISHED, published),
    "suite": ("suite.toml", SUITE, suite),
    **{name: (name, text, kaldi(name)) for name, text in SEGMENTS.items()},
}


@pytest.mark.parametrize("kind", READERS)
def test_a_damaged_list_is_read_or_refused(kind: str, tmp_path: Path) -> None:
    name, text, read = READERS[kind]
    path = tmp_path / name
    refused = []
    for rng in generators(kind, 60):
        path.write_bytes(mutated_list(rng, text))
        try:
            values = read(path)
        except SkillBenchError as error:
            refused.append(str(error))
        else:
            assert all(math.isfinite(value) for value in values if isinstance(value, float))
    assert refused or kind in ("words", "published")
    assert all(str(tmp_path) in message.split(":")[0] for message in refused)


@pytest.mark.parametrize(("form", "subtype"), CONTAINERS)
def test_damaged_audio_is_read_or_refused(form: str, subtype: str, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # of all that ran in this process so far
    path = tmp_path / "whole"
    samples = 0.3 * np.sin(np.arange(6000) / 6) + 0.01 * np.random.default_rng(0).standard_normal(6000)
    soundfile.write(path, samples, 16_000, format=form, subtype=subtype)
    data, damaged = path.read_bytes(), tmp_path / "damaged"
    n_read, refused = 0, []
    for rng in generators(f"{form} {subtype}", _MUTANTS):
        damaged.write_bytes(mutated_audio(rng, data))
        try:
            summary = scan([utterance(damaged)], threads=1, whole=True)
            audio = load_audio(damaged, source="m:2")
        except SkillBenchError as error:
            refused.append(str(error))
        else:
            assert bool(audio.waveform.isfinite().all())
            found = summary.lengths[damaged]
            # What the scan measured is what is loaded; resampling rounds.
            assert abs(len(audio.waveform) - found.seconds * 16_000) <= 1
            n_read += 1
    assert refused
    assert all(message.startswith(f"{damaged} (m") for message in refused)
    assert n_read > 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss <= max(before, _MOST_KIB)
