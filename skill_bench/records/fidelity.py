"""How much of its teacher a student keeps: held-out R2 of every layer, one JSON a student and corpus.

``skill-bench fidelity`` writes it to ``<out>/fidelity/<student>/<corpus>-<hash>.json``, where the leaderboard finds it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from skill_bench.base.documents import Document, JsonObject
from skill_bench.base.hashed import digest
from skill_bench.base.provenance import Provenance
from skill_bench.base.specs import Frozen, Positive, PositiveNumber, Weight
from skill_bench.records.record import System, safe_name, upstream_folder

SUITE = "fidelity"
Mapping = Literal["same", "recipe", "proportional", "last"]
_TRAINING = ("evidence_row", "distillation_seed", "recipe", "layer_groups", "sparsity", "learnt_sparsity")


def training_of(details: JsonObject) -> JsonObject:
    """Of what a student's checkpoint says: which training it came out of, what it learnt from, and what to remove."""
    return {name: details[name] for name in _TRAINING if name in details}


class R2(Frozen):
    """A share of variance with its confidence interval over speakers; 1 is everything, 0 no more than the mean."""

    value: float
    low: float
    high: float


class LayerFidelity(Frozen):
    """One layer of the teacher, predicted linearly from one of the student.

    Attributes:
        plain: Share of the teacher's variance, so that directions count as much as they vary.
        whitened: Mean share over the teacher's directions, each counting the same.
        n_directions: How many of the teacher's ``dim`` directions vary enough to be whitened, in the fold with fewest.
        plain_penalties, whitened_penalties: Chosen in each fold, relative to the mean variance of a student's
            dimension.
        whitened_without: ``whitened`` without each group of speakers; none in documents of earlier versions.
    """

    teacher_layer: int
    student_layer: int
    plain: R2
    whitened: R2
    n_directions: int
    plain_penalties: tuple[float, ...]
    whitened_penalties: tuple[float, ...]
    whitened_without: tuple[float, ...] = ()


class Reading(Frozen):
    """All layers of the teacher under one ``mapping`` of its layers to the student's, see `skill_bench.fidelity`.

    Attributes:
        plain, whitened: Means over ``layers``.
        plain_without, whitened_without: These means without each group of speakers, for paired comparisons of students
            over the same speech: the jackknife of their difference.
    """

    mapping: Mapping
    layers: tuple[LayerFidelity, ...]
    plain: R2
    whitened: R2
    plain_without: tuple[float, ...]
    whitened_without: tuple[float, ...]


class FidelitySettings(Frozen):
    """What else decides the numbers.

    Attributes:
        penalties: From which each fold chooses, relative to the mean variance of a student's dimension.
        whitening_threshold: Directions of the teacher with less variance than this share of the largest are left out.
        max_seconds: Of one utterance.
    """

    n_folds: Positive
    n_groups: Positive
    penalties: tuple[PositiveNumber, ...]
    whitening_threshold: Weight
    max_seconds: PositiveNumber
    confidence: PositiveNumber


class Fidelity(Document):
    """One student beside its teacher on one corpus; the first of ``readings`` is the one that tables show.

    The student's ``details`` are those of `training_of`, none in documents of earlier versions.
    """

    kind: Literal["fidelity"] = "fidelity"
    teacher: System
    student: System
    corpus: str
    data_fingerprint: str
    n_utterances: int
    n_speakers: int
    n_utterances_without_speaker: int
    n_utterances_without_frames: int
    n_frames: int
    audio_seconds: float
    settings: FidelitySettings
    readings: tuple[Reading, ...]
    notes: tuple[str, ...] = ()
    provenance: Provenance

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if not self.readings or not all(reading.layers for reading in self.readings):
            raise ValueError("expected at least one reading, and at least one layer in each")
        found = [without for r in self.readings for without in (r.plain_without, r.whitened_without)]
        found += [layer.whitened_without for r in self.readings for layer in r.layers if layer.whitened_without]
        n_groups = {*map(len, found)}
        if n_groups != {self.settings.n_groups}:
            raise ValueError(f"{self.settings.n_groups} groups of speakers, but means without {sorted(n_groups)}")
        return self

    def path(self, out_dir: Path) -> Path:
        """The document's place below ``out_dir``."""
        return out_dir / fidelity_path(self.student.name, self.teacher, self.corpus, self.data_fingerprint)


def fidelity_path(student: str, teacher: System, corpus: str, data_fingerprint: str) -> Path:
    """Relative to the folder of results; no other speech or teacher has the same."""
    told_apart = digest(f"{teacher.identity}\0{data_fingerprint}")[:8]
    return upstream_folder(Path(), SUITE, student) / f"{safe_name(corpus)}-{told_apart}.json"
