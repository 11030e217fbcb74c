"""The problem of verification tasks: AM-softmax over training's speakers, cosines between new ones.

Training utterances that are too short are left out, as s3prl does (``downstream/sv_voxceleb1/dataset.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from skill_bench.base.counted import counted
from skill_bench.base.errors import DataError
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.audio.audio import load_utterance
from skill_bench.corpora.data import Fold, Trial, Utterance
from skill_bench.evaluation.solving.requests import cuts
from skill_bench.evaluation.solving.trained import CutSampler
from skill_bench.metrics.verification import equal_error_noise, equal_error_rate
from skill_bench.probes import batches, heads, xvector
from skill_bench.probes.batches import FrameBatches
from skill_bench.probes.parameters import Parameters
from skill_bench.probes.selection import DevScore
from skill_bench.probes.training import Batch
from skill_bench.tasks import TrainedSpec


class VerificationProblem:
    """A fold of a verification task.

    Args:
        task: Resolved for the suite.
        fold: Utterances and trials.
        n_left_out: Training utterances that were too short to be among them.
        train: ``(layers, frames, dim)`` by utterance id, for the training part.
        held_out: The same for dev and test.
        train_counts: Frames by utterance id, for the training part.
        held_out_counts: The same for dev and test.
        device: Where the head is trained.
    """

    def __init__(
        self,
        *,
        task: TrainedSpec,
        fold: Fold,
        train: Mapping[str, Tensor],
        held_out: Mapping[str, Tensor],
        train_counts: Mapping[str, int],
        held_out_counts: Mapping[str, int],
        device: torch.device,
        n_left_out: int = 0,
    ) -> None:
        self.n_left_out = n_left_out
        self.task, self.fold = task, fold
        on_test = task.protocol.checkpoint_selected_on == "test"
        self.chosen_by, self.chosen_on = (fold.trials, fold.test) if on_test else (fold.dev_trials, fold.dev)
        self.speakers = sorted({utterance.target for utterance in fold.train})
        index = {speaker: i for i, speaker in enumerate(self.speakers)}
        all_cuts = [cuts(task, utterance) for utterance in fold.train]
        self.drawn = CutSampler([len(found) for found in all_cuts])
        self.train = [one for found in all_cuts for one in found]
        self.frames: FrameBatches[int] = FrameBatches(
            features=train,
            frame_counts=train_counts,
            label=lambda utterance: index[utterance.target],
            kept=self.train,
            device=device,
        )
        self.held_out: FrameBatches[str] = FrameBatches(
            features=held_out,
            frame_counts=held_out_counts,
            label=lambda utterance: utterance.target,
            kept=self.chosen_on,
            device=device,
        )

    stack = None  # the shapes of batches differ between seeds

    def initial(self, generator: torch.Generator) -> Parameters:
        """Parameters of one cell."""
        return xvector.initial(
            self.task.head,
            n_layers=self.frames.n_layers,
            dim=self.frames.dim,
            n_speakers=len(self.speakers),
            generator=generator,
        )

    def batches(self, generator: torch.Generator) -> Iterator[Batch[int]]:
        """Training batches without end."""
        n, size = len(self.fold.train), self.task.protocol.batch_size
        order = batches.shuffled(n=n, batch_size=size, generator=generator)
        yield from self.frames.stream([self.train[i] for i in self.drawn.draw(chosen, generator)] for chosen in order)

    def losses(
        self, parameters: Parameters, batch: Batch[int], randomness: heads.Randomness | None
    ) -> Float[Tensor, " cells"]:
        """AM-softmax, mean over the batch."""
        embedded = xvector.embeddings(self.task.head, parameters, batch.features, lengths=batch.lengths)
        return xvector.losses(self.task.head, parameters, embedded, batch.labels)

    def score(self, parameters: Parameters) -> list[DevScore]:
        """Equal error rate, and how far cosines are from the truth, in every cell.

        Speakers are new, so there is no classification loss: the second is the mean of 1 - cosine over equal and of
        the cosine over different speakers.
        """
        found = []
        for scores in self._cosines(parameters, self.chosen_on, self.chosen_by, keep=True):
            same = torch.tensor([trial.same for trial in self.chosen_by])
            value = equal_error_rate(same=same.tolist(), scores=scores.tolist()) if scores.isfinite().all() else None
            found.append(
                DevScore(
                    value=value,
                    loss=float(torch.where(same, 1 - scores, scores).mean()),
                    noise=0.0 if value is None else equal_error_noise(value, same=same.tolist()),
                )
            )
        return found

    def test_rows(self, parameters: Parameters) -> list[dict[str, Any]]:
        """The cosine of every trial, from the first cell, and who speaks: trials alone do not always tell."""
        speaker = {utterance.id: utterance.target for utterance in self.fold.test}
        (scores,) = self._cosines(parameters, self.fold.test, self.fold.trials, keep=False)
        return [
            {
                "id": f"{trial.enrolment} {trial.test}",
                "fold": self.fold.name,
                "enrolment": trial.enrolment,
                "test": trial.test,
                "enrolment_speaker": speaker[trial.enrolment],
                "test_speaker": speaker[trial.test],
                "target": "same" if trial.same else "different",
                "score": score,
            }
            for trial, score in zip(self.fold.trials, scores.tolist(), strict=True)
        ]

    def notes(self) -> list[str]:
        """How many training utterances were too short."""
        if not self.n_left_out:
            return []
        n = len(self.fold.train) + self.n_left_out
        seconds = self.task.protocol.train_min_seconds
        return [f"{self.n_left_out} of {n} training utterances are not longer than {seconds:g} s and were left out"]

    @torch.no_grad()
    def _cosines(
        self, parameters: Parameters, utterances: Sequence[Utterance], trials: Sequence[Trial], *, keep: bool
    ) -> Float[Tensor, "cells trials"]:
        place_of = {utterance.id: i for i, utterance in enumerate(utterances)}
        embedded: dict[str, Tensor] = {}
        size = self.task.protocol.batch_size
        for some, batch in self.held_out.once_each(utterances, batch_size=size, keep=keep):
            found = xvector.embeddings(self.task.head, parameters, batch.features, lengths=batch.lengths)
            embedded |= {utterance.id: own for utterance, own in zip(some, found.unbind(1), strict=True)}
        stacked = torch.stack([embedded[utterance.id] for utterance in utterances], dim=1)
        stacked = F.normalize(stacked.double(), dim=-1).cpu()
        left = stacked[:, [place_of[trial.enrolment] for trial in trials]]
        right = stacked[:, [place_of[trial.test] for trial in trials]]
        return (left * right).sum(dim=-1)


def long_enough(
    fold: Fold, *, min_seconds: float | None, frame_counts: Mapping[str, int], frame_samples: int, where: str
) -> Fold:
    """The fold with the training utterances that are longer than ``min_seconds``, as the upstream hears them.

    Args:
        fold: Utterances and trials.
        min_seconds: None keeps all.
        frame_counts: Frames by id of training utterance.
        frame_samples: From one frame to the next.
        where: For messages.

    Raises:
        DataError: fewer than two speakers are left.
    """
    if min_seconds is None:
        return fold
    least = round(min_seconds * SAMPLE_RATE_HZ)
    train = tuple(u for u in fold.train if _is_longer(u, least, frame_counts[u.id], frame_samples=frame_samples))
    n_speakers = len({utterance.target for utterance in train})
    if n_speakers < 2:
        raise DataError(
            f"{where}: {len(train)} of {len(fold.train)} training utterances are longer than {min_seconds:g} s, of "
            f"{counted(n_speakers, 'speaker')}; at least 2 are needed. Give longer ones, or lower train_min_seconds in "
            "the task's file."
        )
    return replace(fold, train=train)


def _is_longer(utterance: Utterance, least: int, n_frames: int, *, frame_samples: int) -> bool:
    """By the number of frames; where the last one decides, by the audio itself."""
    if (n_frames - 1) * frame_samples > least:
        return True
    if (n_frames + 3) * frame_samples < least:  # an upstream's window may leave so much at the end
        return False
    return len(load_utterance(utterance).waveform) > least
