"""One pass of held-out speech through a teacher and its students, and a document for each student.

Which layer of a student each layer of the teacher is predicted from, is never chosen by how well it goes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.base.counted import counted
from skill_bench.base.errors import CheckpointError, DataError, UsageError
from skill_bench.base.progress import Progress, Silent
from skill_bench.base.provenance import Provenance, collect, now
from skill_bench.corpora.audio.audio import load_utterance
from skill_bench.corpora.data import Utterance
from skill_bench.corpora.listing import speech_fingerprint
from skill_bench.fidelity.heldout import WHITENED, HeldOut, Speakers, divide, held_out
from skill_bench.fidelity.interval import CONFIDENCE, interval
from skill_bench.fidelity.ridge import PENALTIES, WHITENING_THRESHOLD, RunningMoments, State
from skill_bench.layers.measure import MAX_SECONDS, heard_seconds
from skill_bench.records.fidelity import Fidelity, FidelitySettings, LayerFidelity, Mapping, Reading, training_of
from skill_bench.records.record import System
from skill_bench.upstream.interface import Upstream

Layers = tuple[int, ...]
"""The student's layer for each of the teacher's, h0 first."""
_DECIMALS = 6
"""Of what a layer keeps without a group of speakers: documents are a third as long."""
_TEACHER = 0
"""The teacher's number among the models; students follow."""


def mappings(student: System, *, n_student: int, n_teacher: int) -> dict[Mapping, Layers]:
    """One or several mappings by name, the one to show first.

    A student with as many states as the teacher: each layer from the same one (``same``). Of another depth: as its
    checkpoint says that it was taught (``recipe``), and a layer that was not taught like the nearest one that was, the
    deeper of two; else by depth (``proportional``) and, since the last layer of a shallow student often holds most, all
    from that one (``last``).

    Args:
        n_student, n_teacher: Numbers of hidden states, h0 included.
    """
    if n_student == n_teacher:
        return {"same": tuple(range(n_teacher))}
    if (taught := _taught(student, n_student=n_student, n_teacher=n_teacher)) is not None:
        return {"recipe": tuple(taught[min(taught, key=lambda t: (abs(t - layer), -t))] for layer in range(n_teacher))}
    steps = max(1, n_teacher - 1)
    proportional = tuple((2 * layer * (n_student - 1) + steps) // (2 * steps) for layer in range(n_teacher))
    return {"proportional": proportional, "last": (n_student - 1,) * n_teacher}


def _taught(student: System, *, n_student: int, n_teacher: int) -> dict[int, int] | None:
    """The student's layer for each layer that its recipe taught; None where the checkpoint does not say so.

    Of several layers that stood for one target together, the deepest.
    """
    try:
        groups = json.loads(str(student.details["layer_groups"]))
        stood = json.loads(str(student.details["recipe"]))["groups"]["student_layers"]
        found = {int(layer): max(map(int, own)) for group, own in zip(groups, stood, strict=True) for layer in group}
    except (KeyError, TypeError, ValueError):
        return None
    fits = all(0 <= t < n_teacher and 0 <= s < n_student for t, s in found.items())
    return found if found and fits else None


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What one pass over the speech gathered."""

    moments: RunningMoments
    n_without_frames: int


def measure(
    teacher: Upstream,
    students: Sequence[Upstream],
    utterances: Sequence[Utterance],
    *,
    corpus: str,
    n_folds: int = 5,
    n_groups: int = 20,
    progress: Progress | None = None,
) -> list[Fidelity]:
    """How much of the teacher each student keeps, in their order.

    All are measured on the same frames: those that every model has. Memory depends on the models and ``n_groups``, not
    on the hours of speech; of long utterances the first `MAX_SECONDS` count.

    Args:
        teacher, students: Frozen, on the devices where they are to run; sums are kept on the teacher's.
        corpus: What the speech is called, in documents and tables.
        n_folds: The regressions that test on a fold have not heard its speakers.
        n_groups: Of speakers, at most; the interval comes from leaving out one at a time.

    Raises:
        UsageError: no student, folds that cannot be, or models of different frame rates.
        DataError: too few speakers or frames, or models that disagree on how many frames an utterance has.
        CheckpointError: a model gave states that are not finite.
    """
    progress, started_at = progress or Silent(), now()
    _check(teacher, students)
    speakers = divide(utterances, n_folds=n_folds, n_groups=n_groups)
    read = [
        mappings(student.system(), n_student=student.n_hidden_states, n_teacher=teacher.n_hidden_states)
        for student in students
    ]
    pairs = [
        ((number, layer), (_TEACHER, at))
        for number, own in enumerate(read, start=1)
        for layers in own.values()
        for at, layer in enumerate(layers)
    ]
    heard = _hear([teacher, *students], utterances, speakers, pairs=pairs, progress=progress)
    solved: dict[tuple[State, State], HeldOut] = {}
    with progress.stage("fidelity: layers", total=len(heard.moments.pairs)) as advance:
        for pair in heard.moments.pairs:
            solved[pair] = held_out(heard.moments.of(*pair), speakers.fold_of)
            advance(1)
    return [
        _document(
            teacher.system(),
            student.system(),
            tuple(_reading(name, layers, number, solved) for name, layers in own.items()),
            utterances,
            speakers,
            heard,
            corpus=corpus,
            provenance=collect(started_at=started_at),
        )
        for number, (student, own) in enumerate(zip(students, read, strict=True), start=1)
    ]


def _check(teacher: Upstream, students: Sequence[Upstream]) -> None:
    if not students:
        raise UsageError("no student to compare with the teacher. Name one or more with --student.")
    for student in students:
        if student.downsample_rate != teacher.downsample_rate:
            raise UsageError(
                f"{student.name} has a frame every {student.downsample_rate} samples, the teacher {teacher.name} "
                f"every {teacher.downsample_rate}: frames cannot be compared one by one. Take a student of the "
                "teacher's rate."
            )


@torch.no_grad()
def _hear(
    models: Sequence[Upstream],
    utterances: Sequence[Utterance],
    speakers: Speakers,
    *,
    pairs: list[tuple[State, State]],
    progress: Progress,
) -> Heard:
    device = next((parameter.device for parameter in models[_TEACHER].parameters()), torch.device("cpu"))
    dims = {(n, layer): model.dim for n, model in enumerate(models) for layer in range(model.n_hidden_states)}
    moments = RunningMoments(dims=dims, pairs=pairs, n_groups=len(speakers.fold_of), device=device)
    longest = int(MAX_SECONDS * models[_TEACHER].sample_rate_hz)
    n_without_frames = 0
    with progress.stage("fidelity: utterances", total=len(utterances)) as advance:
        for utterance in utterances:
            wave = load_utterance(utterance).waveform[:longest]
            states = _states(models, wave, utterance)
            if states:
                moments.update(speakers.group_of[utterance.id], states)
            else:
                n_without_frames += 1
            advance(1)
    return Heard(moments=moments, n_without_frames=n_without_frames)


def _states(
    models: Sequence[Upstream], wave: Float[Tensor, " samples"], utterance: Utterance
) -> dict[State, Float[Tensor, "frames dim"]]:
    """Every state of every model, cut to the frames that all have; none if there are none."""
    found = [model.hidden_states([wave])[0] for model in models]
    counts = [states.shape[1] for states in found]
    if max(counts) - min(counts) > 1:
        named = ", ".join(f"{model.name} {count}" for model, count in zip(models, counts, strict=True))
        raise DataError(
            f"{utterance.path} ({utterance.source}): {named} frames; expected numbers that differ by one at most, as "
            "those of models of one frame rate do. Compare models that share their front end."
        )
    for model, states in zip(models, found, strict=True):
        if not bool(states.isfinite().all()):
            raise CheckpointError(
                f"{model.name}: its states of {utterance.path} ({utterance.source}) are not finite. Check the model."
            )
    n = min(counts)
    return {(m, layer): own[:n] for m, states in enumerate(found) for layer, own in enumerate(states)} if n else {}


def _reading(
    mapping: Mapping, layers: tuple[int, ...], number: int, solved: dict[tuple[State, State], HeldOut]
) -> Reading:
    found = [solved[(number, layer), (_TEACHER, at)] for at, layer in enumerate(layers)]
    r2 = np.mean([one.r2() for one in found], axis=0).tolist()
    plain, whitened = np.mean([one.without() for one in found], axis=0).tolist()
    return Reading(
        mapping=mapping,
        layers=tuple(_layer(at, layer, one) for at, (layer, one) in enumerate(zip(layers, found, strict=True))),
        plain=interval(r2[0], plain),
        whitened=interval(r2[1], whitened),
        plain_without=plain,
        whitened_without=whitened,
    )


def _layer(teacher_layer: int, student_layer: int, found: HeldOut) -> LayerFidelity:
    without = found.without()
    plain, whitened = map(interval, found.r2().tolist(), without.tolist())
    return LayerFidelity(
        teacher_layer=teacher_layer,
        student_layer=student_layer,
        plain=plain,
        whitened=whitened,
        n_directions=found.n_directions,
        plain_penalties=found.penalties[0].tolist(),
        whitened_penalties=found.penalties[1].tolist(),
        whitened_without=without[WHITENED].round(_DECIMALS).tolist(),
    )


def _document(
    teacher: System,
    student: System,
    readings: tuple[Reading, ...],
    utterances: Sequence[Utterance],
    speakers: Speakers,
    heard: Heard,
    *,
    corpus: str,
    provenance: Provenance,
) -> Fidelity:
    return Fidelity(
        # What checkpoints say of themselves stands in them; identity and hash name them.
        teacher=teacher.model_copy(update={"details": {}}),
        student=student.model_copy(update={"details": training_of(student.details)}),
        corpus=corpus,
        data_fingerprint=speech_fingerprint(utterances),
        n_utterances=len(utterances),
        n_speakers=speakers.n_speakers,
        n_utterances_without_speaker=speakers.n_unknown,
        n_utterances_without_frames=heard.n_without_frames,
        n_frames=sum(heard.moments.n_frames),
        audio_seconds=heard_seconds(utterances),
        settings=FidelitySettings(
            n_folds=max(speakers.fold_of) + 1,
            n_groups=len(speakers.fold_of),
            penalties=PENALTIES,
            whitening_threshold=WHITENING_THRESHOLD,
            max_seconds=MAX_SECONDS,
            confidence=CONFIDENCE,
        ),
        readings=readings,
        notes=tuple(_notes(teacher, student, speakers)),
        provenance=provenance,
    )


def _notes(teacher: System, student: System, speakers: Speakers) -> list[str]:
    found = []
    if speakers.n_unknown:
        found.append(
            f"{counted(speakers.n_unknown, 'file names', 'files name')} no speaker; each counts as a speaker of its "
            "own, so that one person may be on both sides of a test, and intervals may be too narrow"
        )
    said = student.details.get("teacher_sha256")
    if said is not None and teacher.checkpoint_sha256 is not None and said != teacher.checkpoint_sha256:
        found.append(f"{student.name} says that it was distilled from another teacher than {teacher.name}")
    return found
