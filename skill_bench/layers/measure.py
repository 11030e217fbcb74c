"""One pass of calibration speech through a model, for every measure of similarity that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from skill_bench.base.errors import DataError
from skill_bench.base.hashed import digest
from skill_bench.base.progress import Progress, Silent
from skill_bench.base.provenance import collect, now
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.audio.audio import load_utterance
from skill_bench.corpora.data import Utterance
from skill_bench.corpora.listing import speech_fingerprint
from skill_bench.layers.cluster import cluster
from skill_bench.layers.measures import new_measure
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.models.encoder import Encoder
from skill_bench.models.runtime import states_of
from skill_bench.records.similarity import MEASURES, Largest, LayerSimilarity, Linkage, MeasureName, Similarity

MAX_SECONDS = 30.0
"""Of one utterance: memory of attention grows with the square of its length. LibriSpeech's longest lasts 35 s."""


def heard_seconds(utterances: Iterable[Utterance]) -> float:
    """Of each utterance at most `MAX_SECONDS`."""
    return sum(min(utterance.seconds or 0.0, MAX_SECONDS) for utterance in utterances)


def choose(utterances: Sequence[Utterance], *, n: int, seed: int) -> list[Utterance]:
    """``n`` utterances (or all), by a hash of seed and id: the choice depends neither on order nor on platform."""
    return sorted(utterances, key=lambda u: digest(f"{seed}\0{u.id}"))[:n]


@torch.no_grad()
def calibrate(
    teacher: Encoder,
    utterances: Sequence[Utterance],
    *,
    n: int,
    seed: int,
    measures: Sequence[MeasureName] = ("cka",),
    progress: Progress | None = None,
) -> dict[MeasureName, NDArray[np.float64]]:
    """Similarity of the hidden states h0..hN over the beginning of ``n`` utterances, one by one, without padding.

    Utterances shorter than the model's receptive field have no frame and count for nothing; of long ones the first
    `MAX_SECONDS` count.

    Raises:
        DataError: the speech gives no usable similarity, for example too few frames.
    """
    architecture = teacher.architecture
    running = {
        name: new_measure(name, n_layers=len(teacher.layers) + 1, dim=architecture.dim, seed=seed) for name in measures
    }
    chosen = choose(utterances, n=n, seed=seed)
    longest = int(MAX_SECONDS * SAMPLE_RATE_HZ)
    hidden_states = states_of(teacher)
    at_once = torch.get_num_threads()
    with (progress or Silent()).stage("similarity: utterances", total=len(chosen)) as advance:
        for start in range(0, len(chosen), at_once):
            some = chosen[start : start + at_once]
            waves = [load_utterance(utterance).waveform[:longest] for utterance in some]
            for states in hidden_states([wave for wave in waves if len(wave) >= architecture.receptive_field_samples]):
                for measure in running.values():
                    measure.update(list(states))
            advance(len(some))
    try:
        return {name: measure.similarity() for name, measure in running.items()}
    except ValueError as error:
        raise DataError(f"{error}. Give more speech, or another model.") from error


def measure(
    model: LoadedModel,
    utterances: Sequence[Utterance],
    *,
    name: str,
    measures: Sequence[MeasureName] = MEASURES,
    n_groups: int | Literal["auto"] = 4,
    linkage: Linkage = "average",
    contiguous: bool = True,
    largest: Largest = False,
    n_utterances: int = 64,
    seed: int = 0,
    progress: Progress | None = None,
) -> LayerSimilarity:
    """Every measure and its clusters as a document.

    Raises:
        UsageError: a number of groups, a limit on their size or a linkage that does not fit, see
            :func:`skill_bench.layers.cluster.cluster`.
        DataError: the speech gives no usable similarity, for example too few frames.
    """
    started_at = now()
    matrices = calibrate(model.encoder, utterances, n=n_utterances, seed=seed, measures=measures, progress=progress)
    chosen = choose(utterances, n=n_utterances, seed=seed)
    found = []
    for one, matrix in matrices.items():
        clusters = cluster(matrix, n_groups=n_groups, linkage_method=linkage, contiguous=contiguous, largest=largest)
        found.append(
            Similarity(
                measure=one,
                matrix=matrix.tolist(),
                tree=clusters.tree.tolist(),
                groups=clusters.groups,
                silhouettes=clusters.silhouettes,
            )
        )
    return LayerSimilarity(
        model=name,
        checkpoint_sha256=model.sha256,
        data_fingerprint=speech_fingerprint(utterances),
        n_utterances=len(chosen),
        audio_seconds=heard_seconds(chosen),
        seed=seed,
        linkage=linkage,
        contiguous=contiguous,
        largest=largest,
        n_groups=n_groups,
        measures=tuple(found),
        provenance=collect(started_at=started_at),
    )
