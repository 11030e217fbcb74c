"""Two speakers in one recording, simulated from recordings of one: what diarization is trained and tested on.

Each mixture is two utterances of different speakers; the second starts somewhere in or right after the first, so that
it holds both single and overlapped speech. (Libri2Mix, which SUPERB uses, starts both together.)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from pydantic import BaseModel

from skill_bench.base.errors import DataError, ManifestError
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.audio.activity import speech_stretches
from skill_bench.corpora.audio.content import content_hashes
from skill_bench.corpora.audio.decode import MIN_SAMPLES, decode
from skill_bench.corpora.data import Segment, Utterance
from skill_bench.corpora.described.tables import Mixtures
from skill_bench.corpora.synthetic.rendered import rendered_folder

_VERSION = 1
_PEAK = 0.9
_INDEX = "mixtures.json"


def mixed(
    parts: Mapping[str, Sequence[Utterance]], spec: Mixtures, *, cache_dir: Path, where: str
) -> dict[str, tuple[Utterance, ...]]:
    """Mixtures of each part's utterances; each utterance's target is its speaker.

    Rendered once into ``cache_dir``, in a folder named by a hash of the settings and of every source's content.

    Raises:
        ManifestError: a part has fewer than two speakers.
        AudioError: a source cannot be read.
    """
    for name, part in parts.items():
        if len({u.target for u in part}) < 2:
            raise ManifestError(f"{where}: {name} has fewer than two speakers; mixtures need two. Check the split.")
    identity = rendering_identity(parts, spec, version=_VERSION, cache_dir=cache_dir)
    folder = rendered_folder(cache_dir, f"mixtures-{identity}", lambda made: _render(made, parts, spec))
    index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    return {name: tuple(_utterance(folder, item) for item in index[name]) for name in parts}


def _render(folder: Path, parts: Mapping[str, Sequence[Utterance]], spec: Mixtures) -> None:
    index = {}
    for number, (name, part) in enumerate(parts.items()):
        rng = np.random.default_rng([spec.seed, number])
        ordered = sorted(part, key=lambda u: u.id)
        count = {"train": spec.train, "dev": spec.dev, "test": spec.test}[name]
        index[name] = [_one(folder, f"{name}-{i:04d}", ordered, spec, rng) for i in range(count)]
    (folder / _INDEX).write_text(json.dumps(index, indent=0), encoding="utf-8")


def _one(
    folder: Path, name: str, utterances: Sequence[Utterance], spec: Mixtures, rng: np.random.Generator
) -> dict[str, object]:
    first = utterances[int(rng.integers(len(utterances)))]
    others = [u for u in utterances if u.target != first.target]
    second = others[int(rng.integers(len(others)))]
    waves = [_speech(u, spec.max_seconds) for u in (first, second)]
    waves = [wave * 10 ** (float(rng.uniform(-0.5, 0.5)) * spec.level_spread_db / 20) for wave in waves]
    start = round(float(rng.uniform(0.15, 1.05)) * len(waves[0]))
    mixture = np.zeros(max(len(waves[0]), start + len(waves[1])), dtype=np.float64)
    segments = []
    for utterance, wave, offset in ((first, waves[0], 0), (second, waves[1], start)):
        mixture[offset : offset + len(wave)] += wave
        segments += [
            Segment(
                speaker=utterance.target,
                start_seconds=round(begin + offset / SAMPLE_RATE_HZ, 3),
                end_seconds=round(end + offset / SAMPLE_RATE_HZ, 3),
            )
            for begin, end in speech_stretches(wave)
        ]
    mixture *= _PEAK / max(float(np.abs(mixture).max()), _PEAK)
    soundfile.write(folder / f"{name}.flac", mixture, SAMPLE_RATE_HZ, subtype="PCM_16")
    return {
        "name": name,
        "seconds": len(mixture) / SAMPLE_RATE_HZ,
        "sources": [first.id, second.id],
        "segments": [asdict(segment) for segment in segments],
    }


def _speech(utterance: Utterance, max_seconds: float) -> NDArray[np.float32]:
    """The first ``max_seconds`` from where speech starts, at -26 dB."""
    wave = mono(utterance)
    stretches = speech_stretches(wave)
    if not stretches:
        raise DataError(f"{utterance.path} ({utterance.source}): no speech found. Remove the line from the manifest.")
    begin = round(stretches[0][0] * SAMPLE_RATE_HZ)
    end = min(round(stretches[-1][1] * SAMPLE_RATE_HZ), begin + round(max_seconds * SAMPLE_RATE_HZ))
    cut = wave[begin : max(end, begin + MIN_SAMPLES)]
    rms = max(float(np.sqrt(np.mean(cut.astype(np.float64) ** 2))), 1e-9)
    levelled: NDArray[np.float32] = cut * np.float32(10 ** (-26 / 20) / rms)
    return levelled


def rendering_identity(
    parts: Mapping[str, Sequence[Utterance]], settings: BaseModel, *, version: int, cache_dir: Path
) -> str:
    """A hash of all that audio made of ``parts`` depends on: settings, sources' contents, version of the code."""
    hashes = content_hashes((u.path for part in parts.values() for u in part), cache_dir=cache_dir)
    sources = [[name, [[u.id, u.target, hashes[u.path]] for u in part]] for name, part in parts.items()]
    facts = [version, settings.model_dump(), sources]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def mono(utterance: Utterance) -> NDArray[np.float32]:
    """An utterance's samples at 16 kHz, channels averaged: what mixtures and documents are made of."""
    from scipy.signal import resample_poly

    decoded = decode(
        utterance.path, source=utterance.source, start_frame=utterance.start_frame, n_frames=utterance.n_frames
    )
    wave = decoded.samples.mean(axis=1)
    if decoded.rate_hz != SAMPLE_RATE_HZ:
        divisor = int(np.gcd(SAMPLE_RATE_HZ, decoded.rate_hz))
        wave = resample_poly(wave, SAMPLE_RATE_HZ // divisor, decoded.rate_hz // divisor)
    samples: NDArray[np.float32] = wave.astype(np.float32)
    return samples


def _utterance(folder: Path, item: Mapping[str, object]) -> Utterance:
    segments = item["segments"]
    assert isinstance(segments, list)
    return Utterance(
        id=f"mixture/{item['name']}", path=folder / f"{item['name']}.flac", target="", speaker=None,
        seconds=float(str(item["seconds"])), source=f"{_INDEX}: {item['name']}",
        segments=tuple(Segment(**segment) for segment in segments),
    )  # fmt: skip
