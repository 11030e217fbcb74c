"""Query by example: documents, spoken terms to find in them, and which document holds which term."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from skill_bench.base.errors import ManifestError
from skill_bench.base.hashed import digest
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.audio.activity import speech_stretches
from skill_bench.corpora.audio.decode import length
from skill_bench.corpora.data import Utterance
from skill_bench.corpora.described.mixtures import mono, rendering_identity
from skill_bench.corpora.described.partition import limited
from skill_bench.corpora.described.tables import Documents
from skill_bench.corpora.synthetic.rendered import rendered_folder

_VERSION = 1
_INDEX = "documents.json"
_MARGIN_SECONDS = 0.05


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
    folder = rendered_folder(cache_dir, f"documents-{identity}", lambda made: _render(made, parts, spec, where))
    index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    return {
        name: tuple(
            Utterance(
                id=f"document/{item['name']}", path=folder / f"{item['name']}.flac", target=item["target"],
                speaker=item["speaker"], seconds=item["seconds"], source=f"{_INDEX}: {item['name']}",
            )
            for item in index[name]
        )
        for name in parts
    }  # fmt: skip


def _render(folder: Path, parts: Mapping[str, Sequence[Utterance]], spec: Documents, where: str) -> None:
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
    (folder / _INDEX).write_text(json.dumps(index, indent=0), encoding="utf-8")


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
