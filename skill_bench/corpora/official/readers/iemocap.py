"""IEMOCAP for ER: neutral, happy (with excited), angry and sad; each of the five sessions is once the test part.

Labels are those of ``dialog/EmoEvaluation/*.txt`` (s3prl ``downstream/emotion/IEMOCAP_preprocess.py``); a fifth of the
other four sessions is dev, drawn by a hash of the utterance's name (s3prl draws it at random).
"""

from __future__ import annotations

import re
from pathlib import Path

from skill_bench.base.errors import DataError
from skill_bench.corpora.data import Fold, Utterance
from skill_bench.corpora.described.partition import cross_validation
from skill_bench.corpora.described.tables import Folds
from skill_bench.corpora.official.files import audio_below, lines_of

CORPUS = "iemocap"
SESSIONS = tuple(f"Session{number}" for number in range(1, 6))
_EMOTIONS = {"neu": "neutral", "hap": "happy", "exc": "happy", "ang": "angry", "sad": "sad"}
# [6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5000, 2.5000, 2.5000]
_LINE = re.compile(r"^\[[\d. -]+\]\t(?P<name>\S+)\t(?P<emotion>\w+)\t")


def er(folder: Path) -> tuple[Fold, ...]:
    """Five folds, named by the session that is tested on.

    Raises:
        DataError: a session, its recordings or its labels are missing.
    """
    utterances = [u for session in SESSIONS for u in _session(folder / session)]
    sessions = {u.id: u.path.relative_to(folder).parts[0] for u in utterances}
    return cross_validation(utterances, lambda u: sessions[u.id], Folds(column="session", dev_fraction=0.2, seed=0))


TASKS = {"er": er}


def _session(folder: Path) -> list[Utterance]:
    recordings = {path.stem: path for path in audio_below(folder / "sentences" / "wav", "*/*.wav")}
    utterances = []
    for listing in audio_below(folder / "dialog" / "EmoEvaluation", "*.txt"):
        for number, line in lines_of(listing):
            found = _LINE.match(line)
            if found is None or found["emotion"] not in _EMOTIONS or found["name"] not in recordings:
                continue
            name = found["name"]
            utterances.append(
                Utterance(
                    id=name, path=recordings[name], target=_EMOTIONS[found["emotion"]], seconds=None,
                    # The letter before the number says who of the two speaks; the one in front who wore the markers.
                    speaker=f"{name[:5]}{name[-4]}", source=f"{listing.name}:{number}",
                )
            )  # fmt: skip
    if not utterances:
        raise DataError(f"{folder}: no label of the four emotions in dialog/EmoEvaluation; the corpus is incomplete.")
    return utterances
