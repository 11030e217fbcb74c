"""What a task's data is: utterances in folds of train, dev and test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One labelled piece of speech.

    Attributes:
        id: Unique within a task's data.
        path: The audio file.
        target: Keyword, speaker, emotion, space-separated phones or upper-case text; empty where speech is unlabelled.
        speaker: Who speaks, if known.
        seconds: Duration as the manifest states it, if it does.
        source: Where the label stands, as ``manifest.tsv:17``; every error about the audio names it.
        start_frame: First frame to use, in the file's own rate; None means the whole file.
        n_frames: How many frames from there; given exactly when ``start_frame`` is.
    """

    id: str
    path: Path
    target: str
    speaker: str | None
    seconds: float | None
    source: str
    start_frame: int | None = None
    n_frames: int | None = None

    def __post_init__(self) -> None:
        if (self.start_frame is None) != (self.n_frames is None):
            raise ValueError("start_frame and n_frames are given together or not at all")


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One partition of a task's utterances."""

    name: str
    train: tuple[Utterance, ...]
    dev: tuple[Utterance, ...]
    test: tuple[Utterance, ...]

    def splits(self) -> Iterator[tuple[str, tuple[Utterance, ...]]]:
        """``("train", utterances)``, ``("dev", ...)``, ``("test", ...)``."""
        yield from (("train", self.train), ("dev", self.dev), ("test", self.test))


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """Everything a task is trained and tested on.

    Attributes:
        task: Its name.
        suite: ``demo`` or ``local``.
        synthetic: True where a speech synthesiser made the audio; such numbers say nothing about real speech.
        folds: One, or several whose test scores are averaged.
        fingerprint: sha256 over what was chosen, see `skill_bench.corpora.fingerprint`.
        notes: Facts to show and to record beside every number.
    """

    task: str
    suite: str
    synthetic: bool
    folds: tuple[Fold, ...]
    fingerprint: str
    notes: tuple[str, ...]

    def utterances(self) -> tuple[Utterance, ...]:
        """Every utterance of every fold once, in order of first appearance."""
        found: dict[str, Utterance] = {}
        for fold in self.folds:
            for _, part in fold.splits():
                for utterance in part:
                    found.setdefault(utterance.id, utterance)
        return tuple(found.values())
