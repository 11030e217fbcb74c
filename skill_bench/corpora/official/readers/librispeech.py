"""LibriSpeech for ASR and PR, as s3prl splits it: train-clean-100, dev-clean, test-clean.

Phones are the first pronunciation of each word in the two lexicons that s3prl's ``ctc/libriphone.yaml`` names
(s3prl, ``downstream/ctc/corpus/libriphone.py``), with stress, as there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from skill_bench.base.errors import DataError
from skill_bench.corpora.data import Fold, Utterance
from skill_bench.corpora.official.files import audio_below, lines_of, pairs_of

CORPUS = "librispeech"
_SPLITS = ("train-clean-100", "dev-clean", "test-clean")
_LEXICONS = ("librispeech-lexicon-200k-g2p.txt", "librispeech-lexicon-allothers-g2p.txt")
_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ' ")


def asr(folder: Path) -> tuple[Fold, ...]:
    """Transcripts over A to Z, apostrophe and blank.

    Raises:
        DataError: a folder, a transcript or an utterance's line is missing, or a character is none of those.
    """
    return _fold(folder, _checked)


def pr(folder: Path) -> tuple[Fold, ...]:
    """Phones of the transcripts.

    Raises:
        DataError: as `asr`, or a word has no pronunciation.
    """
    phones: dict[str, str] = {}
    for name in _LEXICONS:
        for line in lines_of(folder / "lexicon" / name):
            word, *pronunciation = line.fields()
            phones.setdefault(word, " ".join(pronunciation))

    def spelt(text: str, source: str) -> str:
        unknown = sorted({word for word in text.split() if not phones.get(word)})
        if unknown:
            raise DataError(f"{source}: no pronunciation of {', '.join(unknown)} in {', '.join(_LEXICONS)}.")
        return " ".join(phones[word] for word in text.split())

    return _fold(folder, spelt)


TASKS = {"asr": asr, "pr": pr}


def _checked(text: str, source: str) -> str:
    strange = sorted(set(text) - _CHARACTERS)
    if strange or not text:
        found = f"holds {', '.join(map(repr, strange))}" if strange else "is empty"
        raise DataError(f"{source}: the transcript {found}; expected A to Z, apostrophe and blank.")
    return text


def _fold(folder: Path, target: Callable[[str, str], str]) -> tuple[Fold, ...]:
    train, dev, test = (_split(folder / split, target) for split in _SPLITS)
    return (Fold(name="all", train=train, dev=dev, test=test),)


def _named(path: Path) -> list[str]:
    """Speaker, chapter and number of a recording.

    Raises:
        DataError: its name is of another form.
    """
    parts = path.stem.split("-")
    if len(parts) != 3:
        raise DataError(f"{path}: expected a name of the form speaker-chapter-number.flac. Move the file elsewhere.")
    return parts


def _split(folder: Path, target: Callable[[str, str], str]) -> tuple[Utterance, ...]:
    utterances = []
    texts: dict[Path, dict[str, tuple[str, str]]] = {}
    for path in audio_below(folder, "*/*/*.flac"):
        speaker, chapter, _ = _named(path)
        listing = path.with_name(f"{speaker}-{chapter}.trans.txt")
        if listing not in texts:
            rows = pairs_of(listing, expected="a name and a transcript")
            texts[listing] = {name: (text, f"{listing.name}:{number}") for name, (text, number) in rows.items()}
        if path.stem not in texts[listing]:
            raise DataError(f"{path}: no transcript in {listing}; copy or download both again.")
        text, source = texts[listing][path.stem]
        utterances.append(
            Utterance(
                id=path.stem, path=path, target=target(text, source), speaker=speaker, seconds=None, source=source
            )
        )
    return tuple(utterances)
