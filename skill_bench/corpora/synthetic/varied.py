"""Speech for pre-training, distillation and calibration: any folder or manifest, and synthesised speech.

What is said are random sentences from the small grammars in words/: text that belongs to nobody.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tomllib
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from skill_bench.base.documents import write_atomic
from skill_bench.base.errors import UnknownName
from skill_bench.base.unfinished import unfinished_folder
from skill_bench.corpora.data import Utterance
from skill_bench.corpora.listing import list_audio
from skill_bench.corpora.synthetic.espeak import VARIANTS, Voice
from skill_bench.corpora.synthetic.synthesis import Line, Spoken, synthesise

__all__ = ["list_audio", "synthesise_speech"]

_LINES_A_SHARD = 100
_RECIPE = 1  # part of every shard's name: another recipe never mixes with this one's files
_SLOT = re.compile(r"\{(\w+)\}")


def synthesise_speech(
    folder: Path,
    *,
    hours: float,
    seed: int,
    languages: Sequence[str] = ("en", "en", "en", "de", "es", "fr"),
    workers: int | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> list[Utterance]:
    """Writes at least ``hours`` of varied synthetic sentences (16 kHz FLAC) into ``folder``, with manifest.tsv.

    Shard after shard, each from ``(seed, shard number)`` alone and complete or absent: an interrupted call continues,
    more hours extend the same folder, and the result does not depend on ``workers``. Voices, accents, pitch, rate,
    level, noise and microphone colour vary from line to line.

    Args:
        folder: Where to write; made if missing.
        hours: How much speech, at least.
        seed: Of everything.
        languages: Drawn from for each line; name one several times to hear it more often. See `sentences.languages`.
        workers: Processes; default one a CPU core.
        progress: Called with ``(seconds so far, seconds wanted)``.

    Returns:
        The utterances, labelled with their text.

    Raises:
        UnknownName: no grammar of that language.
        SkillBenchError: the synthesiser failed.
    """
    for language in languages:
        grammar(language)
    folder.mkdir(parents=True, exist_ok=True)
    workers = workers or os.cpu_count() or 1
    identity = zlib.crc32(json.dumps([_RECIPE, seed, list(languages)]).encode())
    rows: list[tuple[Line, Spoken]] = []
    total, first, wanted = 0.0, 0, hours * 3600
    with ThreadPoolExecutor(workers) as pool:
        while total < wanted:
            # Shards of the last round that are not needed stay on disk, unlisted, for a later call.
            names = [f"shard-{identity:08x}-{number:05d}" for number in range(first, first + workers)]
            plans = [_plan(seed, number, languages) for number in range(first, first + workers)]
            first += workers
            shards = pool.map(lambda name, plan: _shard(folder / name, plan), names, plans)
            for name, plan, shard in zip(names, plans, shards, strict=True):
                if total >= wanted:
                    break
                spoken = [
                    Spoken(file=f"{name}/{said.file}", seconds=said.seconds, phones=said.phones) for said in shard
                ]
                rows += zip(plan, spoken, strict=True)
                total += sum(said.seconds for said in spoken)
                if progress:
                    progress(total, wanted)
    return _write_manifest(folder, rows)


def _plan(seed: int, shard: int, languages: Sequence[str]) -> list[Line]:
    rng = np.random.default_rng([seed, shard])
    return [_line(rng, number, languages) for number in range(_LINES_A_SHARD)]


def _line(rng: np.random.Generator, number: int, languages: Sequence[str]) -> Line:
    chosen = grammar(languages[int(rng.integers(len(languages)))])
    text = ", ".join(chosen.sentence(rng) for _ in range(1 + int(rng.integers(3))))
    voice = Voice(
        language=chosen.voices[int(rng.integers(len(chosen.voices)))],
        variant=VARIANTS[int(rng.integers(len(VARIANTS)))],
        pitch=int(rng.integers(20, 81)),
        pitch_range=int(rng.integers(25, 91)),
        rate_wpm=int(rng.integers(105, 191)),
    )
    return Line(
        file=f"{number:03d}.flac", text=text, voice=voice,
        level_db=float(rng.uniform(-34, -18)), snr_db=float(rng.uniform(10, 45)), tilt=float(rng.uniform(-0.8, 0.8)),
        noise_colour=float(rng.uniform(0, 0.95)), seed=int(rng.integers(2**31)),
    )  # fmt: skip


def _shard(folder: Path, plan: list[Line]) -> list[Spoken]:
    index = folder / "shard.json"
    if index.is_file():
        return [Spoken(**{**item, "phones": tuple(item["phones"])}) for item in json.loads(index.read_text("utf-8"))]
    unfinished = unfinished_folder(folder)
    spoken = synthesise(plan, unfinished)
    (unfinished / "shard.json").write_text(json.dumps([asdict(item) for item in spoken]), "utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.replace(folder)
    return spoken


def _write_manifest(folder: Path, rows: list[tuple[Line, Spoken]]) -> list[Utterance]:
    header = "path\tseconds\tspeaker\tsplit\tlanguage\ttext\n"
    lines = [
        f"{said.file}\t{said.seconds:.3f}\t{line.voice.variant}\ttrain\t{line.voice.language}\t{line.text}\n"
        for line, said in rows
    ]
    write_atomic(folder / "manifest.tsv", (header + "".join(lines)).encode())
    return [
        Utterance(
            id=said.file, path=folder / said.file, target=line.text, speaker=line.voice.variant,
            seconds=said.seconds, source=f"manifest.tsv:{number}",
        )
        for number, (line, said) in enumerate(rows, start=2)
    ]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Grammar:
    """Lists of words and templates; ``sentence`` is the start.

    Attributes:
        language: The file's name, as ``en``.
        voices: espeak-ng languages that speak it.
        lists: Entries by name; ``{name}`` in an entry refers to another list.
    """

    language: str
    voices: tuple[str, ...]
    lists: dict[str, tuple[str, ...]]

    def sentence(self, rng: np.random.Generator) -> str:
        """One lower-case sentence without punctuation."""
        text = "{sentence}"
        while match := _SLOT.search(text):
            entries = self.lists[match.group(1)]
            text = text[: match.start()] + entries[int(rng.integers(len(entries)))] + text[match.end() :]
        return text


def languages() -> list[str]:
    """The grammars that exist."""
    return sorted(path.name.removesuffix(".toml") for path in (files(__package__) / "words").iterdir())


@cache
def grammar(language: str) -> Grammar:
    """The grammar of a language.

    Raises:
        UnknownName: there is none.
    """
    if language not in languages():
        raise UnknownName("language", language, languages())
    content = tomllib.loads((files(__package__) / "words" / f"{language}.toml").read_text(encoding="utf-8"))
    lists = {name: tuple(entries) for name, entries in content["lists"].items()}
    return Grammar(language=language, voices=tuple(content["voices"]), lists=lists)
