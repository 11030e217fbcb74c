"""Libri2Mix for SD: two speakers, 16 kHz, "max" mode, with Kaldi files made by LibriMix' ``prepare_diarization.py``.

``diarization/{train,dev,test}`` hold ``wav.scp``, ``segments``, ``utt2spk`` and ``reco2dur`` (s3prl
``downstream/diarization/dataset.py``, ``KaldiData``).
"""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

from skill_bench.base.errors import DataError
from skill_bench.base.text import number
from skill_bench.corpora.data import Fold, Segment, Utterance
from skill_bench.corpora.official.files import all_present, lines_of, pairs_of

CORPUS = "libri2mix"
# LibriMix pads with silence and rounds; the references are of the unpadded sources.
_SLACK_SECONDS = 0.05


def sd(folder: Path) -> tuple[Fold, ...]:
    """Mixtures with turns of two speakers.

    Raises:
        DataError: a Kaldi file or recording is missing, a turn has no length, no speaker, or ends beyond the audio, or
            a mixture has not two speakers.
    """
    train, dev, test = (_split(folder, folder / "diarization" / name) for name in ("train", "dev", "test"))
    return (Fold(name="all", train=train, dev=dev, test=test),)


TASKS = {"sd": sd}


def _split(corpus: Path, folder: Path) -> tuple[Utterance, ...]:
    paths = {name: _moved(Path(path), corpus) for name, path in _pairs(folder / "wav.scp").items()}
    seconds = {name: number(text) for name, text in _pairs(folder / "reco2dur").items()}
    speakers = _pairs(folder / "utt2spk")
    turns: dict[str, list[Segment]] = defaultdict(list)
    listing = folder / "segments"
    for line in lines_of(listing):
        where = f"{listing}:{line.number}"
        fields = line.fields()
        if len(fields) != 4 or fields[1] not in paths or fields[0] not in speakers or not seconds.get(fields[1], 0) > 0:
            raise DataError(
                f"{where}: found {line.text!r}; expected 'turn recording start end' of a recording in wav.scp."
            )
        start, end = number(fields[2]), number(fields[3])
        if math.isnan(start + end):
            raise DataError(f"{where}: a turn from {fields[2]!r} to {fields[3]!r}; expected seconds.")
        if end <= start or start < 0:
            raise DataError(f"{where}: a turn from {start} to {end} s has no length. Prepare the corpus again.")
        if end > seconds[fields[1]] + _SLACK_SECONDS:
            raise DataError(
                f"{where}: the turn ends at {end:.2f} s, but {fields[1]} has {seconds[fields[1]]:.2f} s. "
                "Prepare the corpus again."
            )
        turns[fields[1]].append(Segment(speaker=speakers[fields[0]], start_seconds=start, end_seconds=end))
    all_present(paths.values(), named_by=folder / "wav.scp")
    for name in paths:
        if len({turn.speaker for turn in turns[name]}) != 2:
            raise DataError(f"{listing}: {name} has turns of {len({t.speaker for t in turns[name]})} speakers, not 2.")
    return tuple(
        Utterance(
            id=name, path=path, target="", speaker=None, seconds=seconds.get(name), source=f"wav.scp: {name}",
            segments=tuple(sorted(turns[name], key=lambda turn: turn.start_seconds)),
        )
        for name, path in sorted(paths.items())
    )  # fmt: skip


def _pairs(path: Path) -> dict[str, str]:
    return {name: value for name, (value, _) in pairs_of(path, expected="a name and a value").items()}


def _moved(path: Path, corpus: Path) -> Path:
    """Where a recording is now: the list holds the path on the machine that made it."""
    parts = path.parts
    if corpus.name in parts:
        last = len(parts) - 1 - parts[::-1].index(corpus.name)
        return corpus.joinpath(*parts[last + 1 :])
    return path if path.is_absolute() else corpus / path
