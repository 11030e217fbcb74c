"""What a task's data is: utterances in folds of train, dev and test, with trials and queries where a task has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Who speaks from when to when, in seconds from the utterance's start; segments of several speakers may overlap."""

    speaker: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A question of speaker verification: do these two utterances, named by id, have the same speaker?"""

    same: bool
    enrolment: str
    test: str


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Recording conditions that are imitated when the audio is loaded, see `skill_bench.corpora.audio.conditions`.

    Attributes:
        gain_db: Root mean square of the speech, in dB of full scale (so it is negative).
        low_hz: Lower edge of the pass band.
        high_hz: Upper edge of the pass band.
        snr_db: Ratio of speech to the added noise.
        noise_tilt: 0 white to 0.95 rumbling.
        seed: Of the noise.
    """

    gain_db: float
    low_hz: float
    high_hz: float
    snr_db: float
    noise_tilt: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class Effects:
    """What a protocol does to the audio when it is loaded, see `skill_bench.corpora.audio.effects`.

    Attributes:
        gain_db: Change of level.
        trim_silence: Whether every stretch of silence is cut out.
    """

    gain_db: float = 0.0
    trim_silence: bool = False


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One labelled piece of speech.

    Attributes:
        id: Unique within a task's data.
        path: The audio file.
        target: Keyword, speaker, emotion, space-separated phones or upper-case text; ``action|object|location`` for
            intents; for slots, text with ``B-slot`` and ``E-slot`` around the words of a value; for a document of
            spoken-term search, the space-separated ids of the queries that it contains; empty where there is no label.
        speaker: Who speaks, if known.
        seconds: Duration as the manifest states it, if it does.
        source: Where the label stands, as ``manifest.tsv:17``; every error about the audio names it.
        start_frame: First frame to use, in the file's own rate; None means the whole file.
        n_frames: How many frames from there; given exactly when ``start_frame`` is.
        segments: Who speaks when, for diarization.
        conditions: Recording conditions to imitate; None leaves the audio as it is.
        effects: What the protocol does to it after that, if anything.
    """

    id: str
    path: Path
    target: str
    speaker: str | None
    seconds: float | None
    source: str
    start_frame: int | None = None
    n_frames: int | None = None
    segments: tuple[Segment, ...] = ()
    conditions: Conditions | None = None
    effects: Effects | None = None

    def __post_init__(self) -> None:
        if (self.start_frame is None) != (self.n_frames is None):
            raise ValueError("start_frame and n_frames are given together or not at all")


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One partition of a task's utterances.

    Attributes:
        name: Its name in the record.
        train: What heads are trained on; empty for spoken-term search, which trains nothing.
        dev: What learning rates, checkpoints and layers are chosen on; for spoken-term search, the documents that
            ``dev_queries`` are looked for in (they may be those of ``test``, as in QUESST14).
        test: What is scored, once.
        trials: Verification trials over ``test``.
        dev_trials: Verification trials over ``dev``.
        queries: Spoken terms to find in ``test``.
        dev_queries: Spoken terms to find in ``dev``.
    """

    name: str
    train: tuple[Utterance, ...]
    dev: tuple[Utterance, ...]
    test: tuple[Utterance, ...]
    trials: tuple[Trial, ...] = ()
    dev_trials: tuple[Trial, ...] = ()
    queries: tuple[Utterance, ...] = ()
    dev_queries: tuple[Utterance, ...] = ()

    def splits(self) -> Iterator[tuple[str, tuple[Utterance, ...]]]:
        """``("train", utterances)``, ``("dev", ...)``, ``("test", ...)``; queries are not among them."""
        yield from (("train", self.train), ("dev", self.dev), ("test", self.test))


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """Everything a task is trained and tested on.

    Attributes:
        task: Its name.
        suite: A name of `skill-bench list`.
        synthetic: True where a speech synthesiser made the audio; such numbers say nothing about real speech.
        folds: One, or several whose test scores are averaged.
        fingerprint: sha256 over what was chosen, see `skill_bench.corpora.described.partition.folds_fingerprint`.
        notes: Facts to show and to record beside every number.
    """

    task: str
    suite: str
    synthetic: bool
    folds: tuple[Fold, ...]
    fingerprint: str
    notes: tuple[str, ...]

    def utterances(self) -> tuple[Utterance, ...]:
        """Every utterance of every fold once, queries included, in order of first appearance."""
        found: dict[str, Utterance] = {}
        for fold in self.folds:
            for part in (fold.train, fold.dev, fold.test, fold.dev_queries, fold.queries):
                for utterance in part:
                    found.setdefault(utterance.id, utterance)
        return tuple(found.values())
