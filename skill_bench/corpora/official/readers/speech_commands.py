"""Speech Commands v0.01 for KS, as s3prl splits it: ten words, ``_unknown_`` and ``_silence_``.

Train and dev follow a hash of the speaker (the corpus' own rule; s3prl ``downstream/speech_commands/expert.py``,
``split_dataset``, which leaves a tenth out); test is its own archive. s3prl draws silence for train and dev anew from
the same noise files each time. Here it is fixed one-second crops, train's and dev's of different stretches.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from skill_bench.base.errors import DataError
from skill_bench.corpora.data import Fold, Utterance
from skill_bench.corpora.described.partition import silence_crops
from skill_bench.corpora.described.tables import Silence
from skill_bench.corpora.official.files import audio_below

CORPUS = "speech_commands"
WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
_UNKNOWN, _SILENCE = "_unknown_", "_silence_"
_NOISE = "_background_noise_"
_SPEAKER = re.compile(r"_nohash_.*$")
_HASH_BITS = 2**27 - 1
# As many as a word has recordings, on average, in train and in dev.
_N_SILENCE = {"train": 1850, "dev": 250}


def ks(folder: Path) -> tuple[Fold, ...]:
    """The twelve classes.

    Raises:
        DataError: a folder is missing or has no recordings, or the test archive holds another class.
        AudioError: a noise file cannot be read.
    """
    corpus, archive = folder / "speech_commands_v0.01", folder / "speech_commands_test_set_v0.01"
    parts: dict[str, list[Utterance]] = {"train": [], "dev": []}
    for path in audio_below(corpus, "[!_]*/*.wav"):
        split = _split_of(path.name)
        if split is not None:
            word = path.parent.name
            parts[split].append(_utterance(path, corpus, word if word in WORDS else _UNKNOWN))
    noises = [path.relative_to(corpus).as_posix() for path in audio_below(corpus / _NOISE, "*.wav")]
    crops = {
        split: silence_crops(Silence(noise=noises), root=corpus, split=split, count=count, source=_NOISE)
        for split, count in _N_SILENCE.items()
    }
    test = []
    for path in audio_below(archive, "*/*.wav"):
        label = path.parent.name
        if label not in (*WORDS, _UNKNOWN, _SILENCE):
            raise DataError(f"{path.parent}: the test archive has no class {label!r}. Unpack it into a folder alone.")
        test.append(_utterance(path, archive, label))
    train, dev = (tuple(parts[split]) + crops[split] for split in ("train", "dev"))
    return (Fold(name="all", train=train, dev=dev, test=tuple(test)),)


TASKS = {"ks": ks}


def percent_of(speaker: str) -> float:
    """Where a speaker's hash lies, 0 to 100 (s3prl ``speech_commands/expert.py`` ``split_dataset``)."""
    number = int(hashlib.sha1(speaker.encode(), usedforsecurity=False).hexdigest(), 16)
    return number % (_HASH_BITS + 1) * (100.0 / _HASH_BITS)


def _split_of(name: str) -> str | None:
    percent = percent_of(_SPEAKER.sub("", name))
    return "dev" if percent < 10 else None if percent < 20 else "train"


def _utterance(path: Path, root: Path, target: str) -> Utterance:
    name = path.relative_to(root).as_posix()
    return Utterance(
        id=f"{root.name}/{name}", path=path, target=target, speaker=_SPEAKER.sub("", path.name), seconds=None,
        source=f"{root.name}/{name}",
    )  # fmt: skip
