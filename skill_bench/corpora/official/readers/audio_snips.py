"""Audio SNIPS for SF, in the form that s3prl prepares: synthetic voices, text with slot labels in IOB-like columns.

Speakers of each split are those of s3prl's ``downstream/ctc/snips.yaml``. ``all.iob.snips.txt`` holds lines
``NAME BOS word ... EOS<tab>O label ... intent``; tags go around runs of one label, punctuation is dropped and ``&`` is
AND (s3prl ``downstream/ctc/text.py``, ``CharacterTextSlotEncoder.encode``).
"""

from __future__ import annotations

from pathlib import Path

from skill_bench.base.counted import counted
from skill_bench.base.errors import DataError
from skill_bench.corpora.data import Fold, Utterance
from skill_bench.corpora.described.targets import check_slots
from skill_bench.corpora.official.files import audio_below, lines_of, pairs_of

CORPUS = "audio_snips"
SPEAKERS = {
    "train": ("Ivy", "Joanna", "Joey", "Justin", "Kendra", "Kimberly", "Matthew", "Salli"),
    "valid": ("Aditi", "Amy", "Geraint", "Nicole"),
    "test": ("Brian", "Emma", "Raveena", "Russell"),
}
_PUNCTUATION = frozenset("?!.,;-")
_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ'0")


def sf(folder: Path) -> tuple[Fold, ...]:
    """Text with ``B-slot`` and ``E-slot``.

    Raises:
        DataError: a list or a recording is missing, or a line has other numbers of words and labels, a slot that
            ``slots.txt`` does not name, or a character that s3prl's vocabulary lacks.
    """
    slots = {line.text.strip(" \t") for line in lines_of(folder / "slots.txt")}
    listing = folder / "all.iob.snips.txt"
    targets = pairs_of(listing, expected="'NAME BOS word ... EOS<tab>O label ... intent'")
    parts = [_split(folder / split, listing, targets, slots, SPEAKERS[split]) for split in ("train", "valid", "test")]
    return (Fold(name="all", train=parts[0], dev=parts[1], test=parts[2]),)


TASKS = {"sf": sf}


def tagged(text: str, *, slots: set[str], where: str) -> str:
    """``BOS PLAY LET IT BE EOS<tab>O O song song song play_music`` as ``PLAY B-song LET IT BE E-song``."""
    sentence, _, labels = text.partition("\t")
    words, kinds = sentence.split(" ")[1:-1], labels.split(" ")[1:-1]
    if len(words) != len(kinds):
        raise DataError(
            f"{where}: {counted(len(words), 'word')}, but {counted(len(kinds), 'label')}. Prepare the corpus again."
        )
    kept = [("AND" if w == "&" else w, kind) for w, kind in zip(words, kinds, strict=True) if w not in _PUNCTUATION]
    tokens: list[str] = []
    for place, (word, kind) in enumerate(kept):
        if kind != "O" and kind not in slots:
            raise DataError(f"{where}: the slot {kind!r} is not in slots.txt. Prepare the corpus again.")
        if strange := sorted(set(word) - _CHARACTERS):
            raise DataError(f"{where}: {word!r} holds {', '.join(map(repr, strange))}, not in s3prl's vocabulary.")
        if kind != "O" and (place == 0 or kept[place - 1][1] != kind):
            tokens.append(f"B-{kind}")
        tokens.append(word)
        if kind != "O" and (place == len(kept) - 1 or kept[place + 1][1] != kind):
            tokens.append(f"E-{kind}")
    return check_slots(" ".join(tokens), where=where)


def _split(
    folder: Path, listing: Path, targets: dict[str, tuple[str, int]], slots: set[str], speakers: tuple[str, ...]
) -> tuple[Utterance, ...]:
    utterances = []
    for path in audio_below(folder, "**/*.wav"):
        speaker = path.stem.split("-")[0]
        if speaker not in speakers or path.stem not in targets:
            continue  # s3prl leaves them out, too
        text, number = targets[path.stem]
        utterances.append(
            Utterance(
                id=path.stem, path=path, target=tagged(text, slots=slots, where=f"{listing}:{number}"),
                speaker=speaker, seconds=None, source=f"{listing.name}:{number}",
            )
        )  # fmt: skip
    if not utterances:
        raise DataError(f"{folder}: no recording of {', '.join(speakers)} that {listing.name} names.")
    return tuple(utterances)
