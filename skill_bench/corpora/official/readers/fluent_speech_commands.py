"""Fluent Speech Commands for IC: action, object and location, with the corpus' own split."""

from __future__ import annotations

import csv
from pathlib import Path

from skill_bench.base.errors import DataError
from skill_bench.corpora.data import Fold, Utterance
from skill_bench.corpora.official.files import all_present, lines_of

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
    rows = list(csv.DictReader(lines_of(listing)))
    for column in ("path", "speakerId", *_SLOTS):
        if not rows or column not in rows[0]:
            raise DataError(f"{listing}: no column {column!r}, or no line. Unpack the corpus again.")
    utterances = tuple(
        Utterance(
            id=row["path"], path=folder / row["path"], target="|".join(row[slot] for slot in _SLOTS),
            speaker=row["speakerId"], seconds=None, source=f"{listing.name}:{number}",
        )
        for number, row in enumerate(rows, start=2)
    )  # fmt: skip
    all_present((u.path for u in utterances), named_by=listing)
    return utterances
