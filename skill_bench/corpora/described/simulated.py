"""Recordings that are put together from clean ones of one speaker: mixtures for diarization, documents to search.

Each mixture is two utterances of different speakers; the second starts somewhere in or right after the first, so that
it holds both single and overlapped speech. (Libri2Mix, which SUPERB uses, starts both together.) Query by example has
documents, spoken terms to find in them, and says which document holds which term.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from pydantic import BaseModel

from skill_bench.base.errors import DataError, ManifestError
from skill_bench.base.hashed import digest
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.audio.content import content_hashes
from skill_bench.corpora.audio.decode import MIN_SAMPLES, decode, length
from skill_bench.corpora.data import Segment, Utterance
from skill_bench.corpora.described.partition import limited
from skill_bench.corpora.described.tables import Documents, Mixtures
from skill_bench.corpora.synthetic.rendered import rendered_folder

_VERSION = 1
_PEAK = 0.9
_MIXTURES = "mixtures.json"
_DOCUMENTS = "documents.json"
_MARGIN_SECONDS = 0.05
_FRAME_SECONDS = 0.02
# Below the recording's loud frames (the 95th percentile) by more than this is a pause.
_RANGE_DB = 30.0
# Closer stretches are one, and shorter ones are clicks.
_MIN_PAUSE_SECONDS, _MIN_SPEECH_SECONDS = 0.25, 0.1


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
    folder = rendered_folder(cache_dir, f"mixtures-{identity}", lambda made: _render_mixtures(made, parts, spec))
    index = json.loads((folder / _MIXTURES).read_text(encoding="utf-8"))
    return {name: tuple(_utterance(folder, item) for item in index[name]) for name in parts}


def _render_mixtures(folder: Path, parts: Mapping[str, Sequence[Utterance]], spec: Mixtures) -> None:
    index = {}
    for number, (name, part) in enumerate(parts.items()):
        rng = np.random.default_rng([spec.seed, number])
        ordered = sorted(part, key=lambda u: u.id)
        count = {"train": spec.train, "dev": spec.dev, "test": spec.test}[name]
        index[name] = [_one(folder, f"{name}-{i:04d}", ordered, spec, rng) for i in range(count)]
    (folder / _MIXTURES).write_text(json.dumps(index, indent=0), encoding="utf-8")


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
    return digest(json.dumps(facts))[:12]


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
        seconds=float(str(item["seconds"])), source=f"{_MIXTURES}: {item['name']}",
        segments=tuple(Segment(**segment) for segment in segments),
    )  # fmt: skip


def drawn_queries(
    utterances: Sequence[Utterance], count: int | None, *, seed: int, taken: Iterable[str] = ()
) -> tuple[Utterance, ...]:
    """``count`` spoken terms that are not in ``taken``, every term before any comes twice; all if it is None.

    Each is cut to its stretch of speech.

    Raises:
        AudioError: a file cannot be read.
    """
    free = set(taken)
    renamed = {f"{seed}:{u.id}": u for u in utterances if u.id not in free}
    shuffled = [replace(u, id=name) for name, u in renamed.items()]
    return tuple(_trimmed(renamed[u.id]) for u in limited(shuffled, count, by_target=True))


def _trimmed(utterance: Utterance) -> Utterance:
    """The stretch with speech: silence around a term would be looked for as well."""
    stretches = speech_stretches(mono(utterance))
    if not stretches:
        return utterance
    whole = length(utterance.path, source=utterance.source)
    rate_hz = whole.rate_hz
    first = utterance.start_frame or 0
    last = whole.frames if utterance.n_frames is None else first + utterance.n_frames
    begin = max(first, first + round((stretches[0][0] - _MARGIN_SECONDS) * rate_hz))
    end = min(last, first + round((stretches[-1][1] + _MARGIN_SECONDS) * rate_hz))
    return replace(utterance, start_frame=begin, n_frames=end - begin, seconds=(end - begin) / rate_hz)


def related(
    documents: Sequence[Utterance], queries: Sequence[Utterance], *, where: str
) -> tuple[tuple[Utterance, ...], tuple[Utterance, ...]]:
    """Documents whose target is the ids of the queries that they contain, and the queries that some contains.

    A document contains a query whose words stand together in its own.

    Raises:
        ManifestError: an id with a blank, or no document contains any query.
    """
    for query in queries:
        if len(query.id.split()) != 1:
            raise ManifestError(f"{where}: the id {query.id!r} of a query holds a blank. Give ids or paths without.")
    contained = {d.id: [q.id for q in queries if f" {q.target} " in f" {d.target} "] for d in documents}
    found = {query for ids in contained.values() for query in ids}
    if not found:
        raise ManifestError(
            f"{where}: no document contains any of the {len(queries)} queries, so there is nothing to find."
        )
    return (
        tuple(replace(d, target=" ".join(contained[d.id])) for d in documents),
        tuple(q for q in queries if q.id in found),
    )


def concatenated(
    parts: Mapping[str, Sequence[Utterance]], spec: Documents, *, cache_dir: Path, where: str
) -> dict[str, tuple[Utterance, ...]]:
    """Documents of one speaker's clips of different terms in a row, their target the terms in order.

    Rendered once into ``cache_dir``, in a folder named by a hash of the settings and of every clip's content.

    Raises:
        ManifestError: a part has no speaker with enough terms.
    """
    identity = rendering_identity(parts, spec, version=_VERSION, cache_dir=cache_dir)
    folder = rendered_folder(
        cache_dir, f"documents-{identity}", lambda made: _render_documents(made, parts, spec, where)
    )
    index = json.loads((folder / _DOCUMENTS).read_text(encoding="utf-8"))
    return {
        name: tuple(
            Utterance(
                id=f"document/{item['name']}", path=folder / f"{item['name']}.flac", target=item["target"],
                speaker=item["speaker"], seconds=item["seconds"], source=f"{_DOCUMENTS}: {item['name']}",
            )
            for item in index[name]
        )
        for name in parts
    }  # fmt: skip


def _render_documents(folder: Path, parts: Mapping[str, Sequence[Utterance]], spec: Documents, where: str) -> None:
    index: dict[str, list[dict[str, object]]] = {}
    for number, (name, part) in enumerate(parts.items()):
        rng = np.random.default_rng([spec.seed, number])
        by_speaker: dict[str, dict[str, list[Utterance]]] = defaultdict(lambda: defaultdict(list))
        for utterance in sorted(part, key=lambda u: digest(u.id)):
            by_speaker[utterance.speaker or ""][utterance.target].append(utterance)
        speakers = sorted(speaker for speaker, terms in by_speaker.items() if len(terms) >= spec.terms)
        if not speakers:
            raise ManifestError(
                f"{where}: no speaker of {name} says {spec.terms} different terms. Lower documents.terms."
            )
        index[name] = []
        for i in range(spec.dev if name == "dev" else spec.test):
            speaker = speakers[i % len(speakers)]
            terms = sorted(by_speaker[speaker])
            chosen = [terms[k] for k in rng.choice(len(terms), size=spec.terms, replace=False)]
            clips = [by_speaker[speaker][term][int(rng.integers(len(by_speaker[speaker][term])))] for term in chosen]
            item: dict[str, object] = {"name": f"{name}-{i:04d}", "speaker": speaker, "target": " ".join(chosen)}
            index[name].append(item | {"seconds": _write(folder / f"{item['name']}.flac", clips, spec, rng)})
    (folder / _DOCUMENTS).write_text(json.dumps(index, indent=0), encoding="utf-8")


def _write(path: Path, clips: Sequence[Utterance], spec: Documents, rng: np.random.Generator) -> float:
    pieces = []
    for clip in clips:
        wave = mono(clip)
        stretches = speech_stretches(wave) or [(0.0, len(wave) / SAMPLE_RATE_HZ)]
        begin = max(0, round((stretches[0][0] - _MARGIN_SECONDS) * SAMPLE_RATE_HZ))
        end = round((stretches[-1][1] + _MARGIN_SECONDS) * SAMPLE_RATE_HZ)
        gap = round(float(rng.uniform(spec.gap_seconds[0], spec.gap_seconds[1])) * SAMPLE_RATE_HZ)
        pieces += [wave[begin:end], np.zeros(gap, dtype=np.float32)]
    document = np.concatenate(pieces)
    soundfile.write(path, document, SAMPLE_RATE_HZ, subtype="PCM_16")
    return len(document) / SAMPLE_RATE_HZ


def speech_stretches(samples: NDArray[np.float32]) -> list[tuple[float, float]]:
    """``(start, end)`` in seconds of each stretch of speech in ``(samples,)`` at 16 kHz, in order, apart.

    A simple detector for read and synthesised speech without noise; it decides references of simulated mixtures, so
    pauses within words stay speech and pauses between sentences do not.
    """
    size = round(_FRAME_SECONDS * SAMPLE_RATE_HZ)
    frames = samples[: len(samples) // size * size].astype(np.float64).reshape(-1, size)
    if not len(frames):
        return []
    level_db = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-12)
    active = level_db > np.percentile(level_db, 95) - _RANGE_DB
    edges = np.flatnonzero(np.diff(np.concatenate(([0], active.astype(np.int8), [0]))))
    stretches: list[tuple[float, float]] = []
    for start, end in (edges.reshape(-1, 2) * _FRAME_SECONDS).tolist():
        if stretches and start - stretches[-1][1] < _MIN_PAUSE_SECONDS:
            stretches[-1] = (stretches[-1][0], end)
        else:
            stretches.append((start, end))
    return [(start, end) for start, end in stretches if end - start >= _MIN_SPEECH_SECONDS]
