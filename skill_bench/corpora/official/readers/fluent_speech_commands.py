"""Fluent Speech Commands for IC: action, object and location, with the corpus' own split."""

from __future__ import annotations

from pathlib import Path

from skill_bench.base.errors import DataError
from skill_bench.base.text import is_file, read_csv
from skill_bench.corpora.data import Fold, Utterance
from skill_bench.corpora.official.files import all_present, listed

CORPUS = "fluent_speech_commands"
_LISTS = ("train_data.csv", "valid_data.csv", "test_data.csv")
_SLOTS = ("action", "object", "location")


def ic(folder: Path) -> tuple[Fold, ...]:
    """Targets ``action|object|location``.

    Raises:
        DataError: a list is missing, lacks a column, or names files that are not there.
    """
    train, dev, test = (_split(folder, folder / "data" / name) for name in _LISTS)
    return (Fold(name="all", train=train, dev=dev, test=test),)


TASKS = {"ic": ic}


def _split(folder: Path, listing: Path) -> tuple[Utterance, ...]:
    if not is_file(listing):
        raise DataError(f"{listing}: no such file; the corpus is incomplete.")
    columns, rows = read_csv(listing)
    for column in ("path", "speakerId", *_SLOTS):
        if not rows or column not in columns:
            raise DataError(f"{listing}: no column {column!r}, or no line. Unpack the corpus again.")
    utterances = tuple(
        Utterance(
            id=row["path"], path=listed(folder, row["path"], where=f"{listing}:{number}"),
            target="|".join(row[slot] for slot in _SLOTS),
            speaker=row["speakerId"], seconds=None, source=f"{listing.name}:{number}",
        )
        for number, row in rows
    )  # fmt: skip
    all_present((u.path for u in utterances), named_by=listing)
    return utterances
