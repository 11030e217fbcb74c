"""suite.toml: which manifest, which columns and which splits make each task's data.

Example, with every key; only ``manifest`` and ``target`` have no default::

    title = "My corpora"
    synthetic = false
    notes = ["shown and recorded beside every number"]

    [sources]
    commands = "github.com/ORG/NAME at COMMIT (licence)"   # a corpus's folder and where to get it, for who lacks it

    [tasks.ks]
    manifest = "commands/manifest.tsv"   # relative to the data root
    audio_root = "commands"              # default: the manifest's folder
    target = "keyword"                   # the column with the label
    target_kind = "label"                # or "labels", "phones", "text", "slots", "rttm"
    speaker = "speaker"                  # the column with the speaker
    disjoint_speakers = true             # no speaker in two parts; the default where there are trials or mixtures
    keep = { language = ["en"] }         # only lines with these values
    min_seconds = 0.5                    # by the manifest's column seconds
    max_seconds = 20.0
    split = { column = "split", train = ["train"], dev = ["dev"], test = ["test"] }
    silence = { noise = ["commands/noise.wav"], target = "_silence_", seconds = 1.0, train = 90, dev = 30, test = 30 }

    [tasks.er]
    manifest = "emotions/manifest.tsv"
    target = "emotion"
    folds = { column = "session", dev_fraction = 0.2, seed = 0 }   # instead of split

    [tasks.pr]
    manifest = "read/manifest.tsv"
    target = "phones"
    target_kind = "phones"
    phones = { drop = ["|"], strip_stress = true, inventory = ["AA", "AE"] }

    [tasks.asr]
    manifest = "read/manifest.tsv"
    target = "text"
    target_kind = "text"
    text = { remove = ".,?!", characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ' " }

    [tasks.ic]
    manifest = "commands/manifest.tsv"
    target = ["action", "object", "location"]   # joined by "|", an empty value as "none"
    target_kind = "labels"

    [tasks.sf]
    manifest = "commands/manifest.tsv"
    target = "slots"                     # "PLAY B-artist FOO BAR E-artist"; or several columns, one a slot
    target_kind = "slots"

    [tasks.asv]
    manifest = "read/manifest.tsv"
    target = "speaker"
    trials = { seed = 0, same_per_speaker = 6, different_per_speaker = 6, match = "gender" }

    [tasks.sd]
    manifest = "read/manifest.tsv"       # with target_kind = "rttm" instead of mixtures: a column with RTTM files
    target = "speaker"
    mixtures = { seed = 0, train = 80, dev = 16, test = 32, max_seconds = 5.0, level_spread_db = 4.0 }
    recordings = { manifest = "meetings/manifest.tsv", rttm = "rttm" }

    [tasks.qbe]
    manifest = "commands/manifest.tsv"
    target = "keyword"
    target_kind = "text"
    documents = { seed = 0, terms = 4, dev = 40, test = 60, gap_seconds = [0.02, 0.2] }   # or none: lines as they are
    queries = { column = "split", dev = ["train"], test = ["train"], n_dev = 20, n_test = 30, seed = 0 }

    [tasks.sid]
    manifest = "read/manifest.tsv"
    target = "speaker"

    [tasks.sid.conditions]               # imitated recording conditions, for any task
    seed = 0
    train = { gain_db = [-30, -20], low_hz = [50, 99], high_hz = [4000, 7000], snr_db = [9, 25], noise_tilt = [0, 0.9] }
    test = { gain_db = [-38, -28], low_hz = [100, 300], high_hz = [3400, 6000], snr_db = [5, 20] }
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from skill_bench.base.specs import read_toml, validate
from skill_bench.corpora.described.tables import (
    ConditionTable,
    Documents,
    Folds,
    Mixtures,
    Names,
    Phones,
    Queries,
    Recordings,
    Silence,
    Split,
    Strict,
    Text,
    Trials,
)


class TaskSource(Strict):
    """Where one task's utterances come from."""

    manifest: str
    target: str | Names
    audio_root: str | None = None
    target_kind: Literal["label", "labels", "phones", "text", "slots", "rttm"] = "label"
    speaker: str | None = None
    disjoint_speakers: bool | None = None
    keep: dict[str, Names] = Field(default_factory=dict)
    min_seconds: float | None = None
    max_seconds: float | None = None
    split: Split | None = None
    folds: Folds | None = None
    silence: Silence | None = None
    phones: Phones = Phones()
    text: Text = Text()
    conditions: ConditionTable | None = None
    trials: Trials | None = None
    mixtures: Mixtures | None = None
    recordings: Recordings | None = None
    documents: Documents | None = None
    queries: Queries | None = None

    @property
    def columns(self) -> list[str]:
        """The columns that make the target."""
        return [self.target] if isinstance(self.target, str) else self.target

    @property
    def speaker_is_target(self) -> bool:
        """Whether speakers are what is told apart, in trials or in mixtures; then train and test share none."""
        return self.trials is not None or self.mixtures is not None

    @model_validator(mode="after")
    def _consistent(self) -> TaskSource:
        if self.folds is not None:
            for name in ("split", "silence", "trials", "mixtures", "recordings", "queries"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} and folds exclude each other")
        if self.silence is not None and self.target_kind != "label":
            raise ValueError("silence is for target_kind = 'label'")
        if (self.trials is not None or self.mixtures is not None) and self.target_kind != "label":
            raise ValueError("trials and mixtures need the speaker as target, with target_kind = 'label'")
        if len(self.columns) > 1 and self.target_kind not in ("labels", "slots"):
            raise ValueError("several target columns are for target_kind = 'labels' or 'slots'")
        if self.queries is not None and self.target_kind != "text":
            raise ValueError("queries needs target_kind = 'text'")
        if self.documents is not None and self.queries is None:
            raise ValueError("documents needs queries")
        if self.recordings is not None and self.mixtures is None and self.target_kind != "rttm":
            raise ValueError("recordings needs mixtures, or target_kind = 'rttm'")
        return self


class Recognise(Strict):
    """Files, relative to a data root, whose presence tells that a packaged layout describes it."""

    files: Names


class SuiteSpec(Strict):
    """A whole suite.toml."""

    title: str = ""
    synthetic: bool = False
    notes: list[str] = Field(default_factory=list)
    sources: dict[str, str] = Field(default_factory=dict)
    recognise: Recognise | None = None
    tasks: Annotated[dict[str, TaskSource], Field(min_length=1)]

    def to_get(self, data_root: Path) -> list[str]:
        """A line for each corpus whose folder, or a file of it that is recognised, is not there: where to get it."""
        asked = [f"{name}/" for name in self.sources] + (self.recognise.files if self.recognise else [])
        lacking = {name.split("/")[0] for name in asked if not (data_root / name).exists()}
        return [f"{name}: {source}" for name, source in self.sources.items() if name in lacking]


def read_suite(path: Path) -> SuiteSpec:
    """Reads a suite.toml.

    Raises:
        SpecError: unreadable, not TOML, or with a key or value that is not allowed; names file, key and nearest key.
    """
    return validate(SuiteSpec, read_toml(path), source=str(path))
