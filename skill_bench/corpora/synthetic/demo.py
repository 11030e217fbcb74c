"""The demo suite: speech made by espeak-ng, so that every task runs anywhere without a download.

It is a folder like any local one, with manifest.tsv and suite.toml, made once in the cache and checked at each use.
What the synthesiser said says nothing about real speech; everything made from it is labelled synthetic.

What it says, and who says it how, is a fixed list, drawn once from a fixed seed.
Six parts. ``keywords``, ``read`` and ``commands`` have disjoint voices in train, dev and test; ``speakers`` has the
same voices with other sentences; ``emotions`` is one fold a voice; ``terms`` are single words of ``read``, in voices
that do not read the documents they are looked for in. Level, noise and microphone colour vary from line to line, so
that none of them gives the answer away. ``read`` also makes the trials of ASV, the mixtures of SD and the documents of
QbE, and ``commands`` both IC and SF.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import lfilter

from skill_bench.base.hashed import digest
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.synthetic.espeak import Voice
from skill_bench.corpora.synthetic.rendered import rendered_folder
from skill_bench.corpora.synthetic.synthesis import Line, Spoken, synthesise

_SEED = 20240
_KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
_OTHER_WORDS = (
    "bed", "bird", "cat", "dog", "eight", "five", "four", "happy", "house", "marvin", "nine", "one", "seven", "sheila",
    "six", "three", "tree", "two", "wow", "zero",
)  # fmt: skip
_VOICES = {
    "train": ("m1", "m3", "m5", "m7", "f1", "f3", "f5", "klatt", "Mario", "steph", "quincy", "linda"),
    "dev": ("m2", "f2", "Gene", "belinda"),
    "test": ("m4", "m6", "f4", "Andy", "Annie", "ed", "paul"),
}
_SPEAKERS = ("m1", "m2", "m3", "m4", "m6", "m7", "f1", "f2", "f3", "f4", "f5", "Mario")
_EMOTION_VOICES = ("m3", "f2", "m7", "f5", "Andy")
_MATRIX = (
    ("anna", "peter", "ruth", "thomas", "julia", "henry", "joy", "victor"),
    ("bought", "sees", "gave", "kept", "wants", "sold", "makes", "found"),
    ("two", "three", "four", "five", "seven", "eight", "nine", "twelve"),
    ("large", "green", "old", "cheap", "young", "heavy", "thin", "pink"),
    ("houses", "chairs", "boats", "rings", "shoes", "spoons", "vans", "judges"),
)
# Mean pitch, pitch range, words a minute and level in dB, relative to neutral; drawn with a spread, so they overlap.
_PROSODY = {
    "neutral": (0, 0, 0, 0.0),
    "anger": (8, 18, 28, 5.0),
    "happiness": (16, 30, 12, 2.0),
    "sadness": (-10, -22, -34, -4.0),
}


_COMMANDS = {
    "activate": ("switch on the {}", "start the {}"),
    "deactivate": ("switch off the {}", "stop the {}"),
    "increase": ("turn up the {}", "raise the {}"),
    "decrease": ("turn down the {}", "lower the {}"),
}
_DEVICES = ("lights", "heating", "music", "radio")
_ROOMS = ("kitchen", "bedroom", "garden", "")
# Documents of a dev term are read by voices of train, those of a test term by voices of test.
_TERM_VOICES = {"dev-term": _VOICES["dev"], "test-term": _VOICES["train"]}
_LABELS = ("speaker", "part", "split", "keyword", "emotion", "fold", "action", "object", "location", "slots", "search")
_COLUMNS = ("path", "seconds", *_LABELS, "text", "phones")
_NOISE_SECONDS = 25


@dataclass(frozen=True, kw_only=True)
class Item:
    """A line with its labels; those that its part does not have are empty."""

    line: Line
    part: str
    speaker: str
    split: str = ""
    keyword: str = ""
    emotion: str = ""
    fold: str = ""
    action: str = ""
    object: str = ""
    location: str = ""
    slots: str = ""
    search: str = ""


def plan() -> list[Item]:
    """Every line of the suite, always the same."""
    return [*_keywords(), *_speakers(), *_emotions(), *_read(), *_commands(), *_terms()]


def _keywords() -> Iterator[Item]:
    rng = np.random.default_rng([_SEED, 1])
    for split, takes in (("train", 2), ("dev", 1), ("test", 2)):
        for voice in _VOICES[split]:
            others = rng.choice(len(_OTHER_WORDS), size=2 * takes, replace=False)
            words = [*_KEYWORDS * takes, *(_OTHER_WORDS[i] for i in others)]
            for number, word in enumerate(words):
                said = _voice(rng, voice, pitch=15, rate=35)
                line = _line(rng, f"keywords/{split}-{voice}-{number:02d}.flac", word, said, snr_db=(0, 20))
                label = word if word in _KEYWORDS else "_unknown_"
                yield Item(line=line, part="keywords", speaker=voice, split=split, keyword=label)


def _speakers() -> Iterator[Item]:
    rng = np.random.default_rng([_SEED, 2])
    for voice in _SPEAKERS:
        for split, count in (("train", 5), ("dev", 2), ("test", 5)):
            for number in range(count):
                said = _voice(rng, voice, pitch=18, rate=30)
                name = f"speakers/{split}-{voice}-{number:02d}.flac"
                yield Item(
                    line=_line(rng, name, _matrix_sentence(rng, first=2), said, snr_db=(5, 25)),
                    part="speakers", speaker=voice, split=split,
                )  # fmt: skip


def _emotions() -> Iterator[Item]:
    rng = np.random.default_rng([_SEED, 3])
    for voice in _EMOTION_VOICES:
        for emotion, (pitch, pitch_range, rate, level_db) in _PROSODY.items():
            for number in range(5):
                said = Voice(
                    variant=voice,
                    pitch=_near(rng, 45 + pitch, 9, 0, 99),
                    pitch_range=_near(rng, 50 + pitch_range, 14, 0, 99),
                    rate_wpm=_near(rng, 150 + rate, 18, 90, 240),
                )
                name = f"emotions/{voice}-{emotion}-{number}.flac"
                line = _line(rng, name, _matrix_sentence(rng), said, snr_db=(8, 25), level_db=-26 + level_db)
                yield Item(line=line, part="emotions", speaker=voice, emotion=emotion, fold=voice)


def _read() -> Iterator[Item]:
    rng = np.random.default_rng([_SEED, 4])
    for split, count in (("train", 10), ("dev", 4), ("test", 7)):
        for voice in _VOICES[split]:
            for number in range(count):
                said = _voice(rng, voice, pitch=15, rate=25)
                name = f"read/{split}-{voice}-{number:02d}.flac"
                line = _line(rng, name, _matrix_sentence(rng), said, snr_db=(8, 25))
                search = "test" if split == "test" else "dev" if split == "train" and number < 4 else ""
                yield Item(line=line, part="read", speaker=voice, split=split, search=search)


def _commands() -> Iterator[Item]:
    rng = np.random.default_rng([_SEED, 5])
    kinds = [(action, device, room) for action in _COMMANDS for device in _DEVICES for room in _ROOMS]
    for split, count in (("train", 10), ("dev", 5), ("test", 8)):
        # Every combination before any comes twice, so that each label has its share in each split.
        order = [int(kind) for _ in range(2) for kind in rng.permutation(len(kinds))]
        for place, voice in enumerate(_VOICES[split]):
            for number in range(count):
                action, device, room = kinds[order[place * count + number]]
                phrase = _COMMANDS[action][int(rng.integers(2))]
                said = _voice(rng, voice, pitch=15, rate=25)
                text = phrase.format(device) + (f" in the {room}" if room else "")
                slots = phrase.upper().format(f"B-device {device.upper()} E-device")
                slots += f" IN THE B-room {room.upper()} E-room" if room else ""
                name = f"commands/{split}-{voice}-{number:02d}.flac"
                yield Item(
                    line=_line(rng, name, text, said, snr_db=(8, 25)), part="commands", speaker=voice, split=split,
                    action=action, object=device, location=room, slots=slots,
                )  # fmt: skip


def _terms() -> Iterator[Item]:
    rng = np.random.default_rng([_SEED, 6])
    words = [word for column in _MATRIX for word in column]
    for search, voices in _TERM_VOICES.items():
        for number, place in enumerate(rng.permutation(len(words))[: 20 if search == "dev-term" else 32]):
            voice = voices[number % len(voices)]
            said = _voice(rng, voice, pitch=15, rate=20)
            line = _line(rng, f"terms/{search}-{number:02d}.flac", words[place], said, snr_db=(15, 30))
            yield Item(line=line, part="terms", speaker=voice, search=search)


def _matrix_sentence(rng: np.random.Generator, *, first: int = 0) -> str:
    # Name, verb, number, adjective, noun: a closed vocabulary that a small recogniser can learn in minutes.
    return " ".join(words[int(rng.integers(len(words)))] for words in _MATRIX[first:])


def _voice(rng: np.random.Generator, variant: str, *, pitch: int, rate: int) -> Voice:
    return Voice(
        variant=variant,
        pitch=int(rng.integers(45 - pitch, 46 + pitch)),
        pitch_range=int(rng.integers(35, 66)),
        rate_wpm=int(rng.integers(160 - rate, 161 + rate)),
    )


def _near(rng: np.random.Generator, centre: float, spread: float, least: int, most: int) -> int:
    return int(np.clip(round(rng.normal(centre, spread)), least, most))


def _line(
    rng: np.random.Generator, file: str, text: str, voice: Voice, *, snr_db: tuple[float, float], level_db: float = -26
) -> Line:
    return Line(
        file=file, text=text, voice=voice,
        level_db=round(level_db + float(rng.normal(0, 4)), 3), snr_db=round(float(rng.uniform(*snr_db)), 3),
        tilt=round(float(rng.uniform(-0.7, 0.7)), 3), noise_colour=round(float(rng.uniform(0, 0.9)), 3),
        seed=int(rng.integers(2**31)),
    )  # fmt: skip


def demo_folder(cache_dir: Path) -> Path:
    """The suite's folder under ``cache_dir``: made if it is missing, made again if a file of it changed.

    Its name holds a hash of everything that is said and of espeak-ng's version.

    Raises:
        SkillBenchError: the synthesiser failed.
        DataError: what was made does not pass its own check.
    """
    items = plan()
    return rendered_folder(cache_dir, f"demo-v1-{_identity(items)}", lambda folder: _make(folder, items))


def _identity(items: Sequence[Item]) -> str:
    facts = [asdict(item) for item in items]
    content = json.dumps([facts, _suite_toml(), _NOISE_SECONDS, version("espeakng-loader")], sort_keys=True)
    return digest(content)[:12]


def _make(folder: Path, items: Sequence[Item]) -> None:
    # One process a part: within a process order matters, so the grouping is part of what makes the bytes.
    parts = {item.part: [other for other in items if other.part == item.part] for item in items}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        spoken = list(pool.map(lambda part: synthesise([item.line for item in part], folder), parts.values()))
    _write_noise(folder / "noise.flac")
    rows = [
        _row(item, said)
        for part, sayings in zip(parts.values(), spoken, strict=True)
        for item, said in zip(part, sayings, strict=True)
    ]
    manifest = "\n".join("\t".join(row) for row in (_COLUMNS, *rows)) + "\n"
    (folder / "manifest.tsv").write_text(manifest, encoding="utf-8")
    (folder / "suite.toml").write_text(_suite_toml(), encoding="utf-8")


def _row(item: Item, said: Spoken) -> tuple[str, ...]:
    text, phones = (item.line.text, " ".join(said.phones)) if item.part in ("read", "terms") else ("", "")
    return said.file, f"{said.seconds:.4f}", *(getattr(item, label) for label in _LABELS), text, phones


def _write_noise(path: Path) -> None:
    rng = np.random.default_rng(7)
    n = _NOISE_SECONDS * SAMPLE_RATE_HZ
    colour = lfilter([1], [1, -0.9], rng.standard_normal(n))
    swell = 1 + 0.6 * np.sin(2 * np.pi * 0.31 * np.arange(n) / SAMPLE_RATE_HZ)
    soundfile.write(path, 0.02 * swell * colour / np.std(colour), SAMPLE_RATE_HZ, subtype="PCM_16")


def _suite_toml() -> str:
    return (files(__package__) / "demo_suite.toml").read_text(encoding="utf-8")
