"""The problem of diarization tasks: activity frame by frame under the best order of speakers, then segments."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from skill_bench.corpora.data import Fold, Utterance
from skill_bench.metrics.diarization import activity, segment_errors, segments_of
from skill_bench.metrics.ratio import Ratio, pooled, standard_error_percent
from skill_bench.probes import batches, heads, permutation
from skill_bench.probes.batches import FrameBatches
from skill_bench.probes.parameters import Parameters
from skill_bench.probes.selection import DevScore
from skill_bench.probes.training import Batch
from skill_bench.tasks import Decision, TrainedSpec

Decided = tuple[float, int]
"""Threshold and frames of the median filter."""


class DiarizationProblem:
    """A fold of a diarization task. There are as many outputs as one training recording has speakers at most.

    Args:
        task: Resolved for the suite.
        decision: How probabilities become segments.
        fold: Recordings with segments.
        features: ``(layers, frames, dim)`` by utterance id.
        frame_counts: Frames by utterance id.
        frame_seconds: From one frame to the next.
        device: Where the head is trained.
    """

    def __init__(
        self,
        *,
        task: TrainedSpec,
        decision: Decision,
        fold: Fold,
        features: Mapping[str, Tensor],
        frame_counts: Mapping[str, int],
        frame_seconds: float,
        device: torch.device,
    ) -> None:
        self.task, self.fold, self.decision = task, fold, decision
        self.frame_counts, self.frame_seconds, self.device = frame_counts, frame_seconds, device
        self.n_speakers = max(len({s.speaker for s in utterance.segments}) for utterance in fold.train)
        self.decided: Decided | None = None
        self.frames: FrameBatches[Tensor] = FrameBatches(
            features=features,
            frame_counts=frame_counts,
            label=self._label,
            kept=(*fold.train, *fold.dev),
            device=device,
        )

    stack = None  # the shapes of batches differ between seeds

    def initial(self, generator: torch.Generator) -> Parameters:
        """Parameters of one cell."""
        return heads.initial(
            self.task.head,
            n_layers=self.frames.n_layers,
            dim=self.frames.dim,
            n_outputs=self.n_speakers,
            generator=generator,
        )

    def batches(self, generator: torch.Generator) -> Iterator[Batch[Tensor]]:
        """Training batches without end."""
        train, size = self.fold.train, self.task.protocol.batch_size
        order = batches.shuffled(n=len(train), batch_size=size, generator=generator)
        yield from self.frames.stream([train[i] for i in chosen] for chosen in order)

    def losses(
        self, parameters: Parameters, batch: Batch[Tensor], randomness: heads.Randomness | None
    ) -> Float[Tensor, " cells"]:
        """Permutation-free binary cross-entropy per frame and speaker."""
        return permutation.losses(self._scores(parameters, batch, randomness), batch.labels)

    @torch.no_grad()
    def score(self, parameters: Parameters) -> list[DevScore]:
        """Error rate of dev under the first threshold and filter, and the loss, for every cell."""
        n_cells = parameters[heads.LAYER_SCORES].shape[0]
        errors: list[list[Ratio]] = [[] for _ in range(n_cells)]
        total, n_frames = torch.zeros(n_cells), 0
        for utterances, batch in self.frames.once_each(self.fold.dev, batch_size=self.task.protocol.batch_size):
            scores = self._scores(parameters, batch, None)
            total += (permutation.losses(scores, batch.labels) * sum(batch.lengths)).cpu()
            n_frames += sum(batch.lengths)
            for own, cell_scores in zip(errors, scores, strict=True):
                for utterance, part in zip(utterances, torch.split(cell_scores, batch.lengths), strict=True):
                    own.append(self._dev_error(utterance, part))
        losses = (total / n_frames).tolist()
        return [
            DevScore(value=pooled(own).percent, loss=loss, noise=standard_error_percent(own))
            for own, loss in zip(errors, losses, strict=True)
        ]

    def test_rows(self, parameters: Parameters) -> list[dict[str, Any]]:
        """The segments of every test recording, from the first cell."""
        scores = self._all_scores(parameters, self.fold.test)
        self.decided = self._decide(parameters, scores)
        threshold, median_frames = self.decided
        rows = []
        for utterance, one in zip(self.fold.test, scores, strict=True):
            active = permutation.decide(one, threshold=threshold, median_frames=median_frames)
            rows.append(
                {
                    "id": utterance.id,
                    "fold": self.fold.name,
                    "n_frames": len(one),
                    "frame_seconds": self.frame_seconds,
                    "target": [list(segment) for segment in self._times(utterance)],
                    "prediction": [list(segment) for segment in segments_of(active)],
                }
            )
        return rows

    def notes(self) -> list[str]:
        """More speakers than outputs, and how probabilities became segments."""
        notes = []
        more = [u for u in self.fold.test if len({s.speaker for s in u.segments}) > self.n_speakers]
        if more:
            notes.append(
                f"{len(more)} of {len(self.fold.test)} test recordings have more than the {self.n_speakers} speakers "
                "of training: the others are missed"
            )
        if self.decided is not None:
            how = f"threshold {self.decided[0]:g}, median filter of {self.decided[1]} frames"
            if len(self._candidates()) > 1:
                how += f", the best of {len(self._candidates())} pairs on {self.decision.selected_on}"
                how += ", as s3prl's recipe does: the score is too good" if self.decision.selected_on == "test" else ""
            notes.append(how)
        return notes

    def _candidates(self) -> list[Decided]:
        return list(itertools.product(self.decision.thresholds, self.decision.median_frames))

    def _decide(self, parameters: Parameters, test_scores: Sequence[Tensor]) -> Decided:
        candidates = self._candidates()
        if len(candidates) == 1:
            return candidates[0]
        utterances, scores = self.fold.test, test_scores
        if self.decision.selected_on == "dev":
            utterances, scores = self.fold.dev, self._all_scores(parameters, self.fold.dev)

        def error(decided: Decided) -> float:
            found = pooled(self._errors(u, one, decided) for u, one in zip(utterances, scores, strict=True))
            return found.numerator

        return min(candidates, key=error)

    @torch.no_grad()
    def _all_scores(
        self, parameters: Parameters, utterances: Sequence[Utterance]
    ) -> list[Float[Tensor, "frames speakers"]]:
        found: dict[str, Tensor] = {}
        size = self.task.protocol.batch_size
        for some, batch in self.frames.once_each(utterances, batch_size=size, keep=False):
            parts = torch.split(self._scores(parameters, batch, None)[0], batch.lengths)
            found |= {utterance.id: part for utterance, part in zip(some, parts, strict=True)}
        return [found[utterance.id] for utterance in utterances]

    def _scores(
        self, parameters: Parameters, batch: Batch[Tensor], randomness: heads.Randomness | None
    ) -> Float[Tensor, "cells rows speakers"]:
        return heads.logits(self.task.head, parameters, batch.features, lengths=batch.lengths, randomness=randomness)

    def _errors(self, utterance: Utterance, scores: Float[Tensor, "frames speakers"], decided: Decided) -> Ratio:
        found = permutation.decide(scores, threshold=decided[0], median_frames=decided[1])
        return segment_errors(reference=self._times(utterance), found=segments_of(found)).rate

    def _dev_error(self, utterance: Utterance, scores: Float[Tensor, "frames speakers"]) -> Ratio:
        if self.decision.checkpoint_by == "der":
            return self._errors(utterance, scores, self._candidates()[0])
        wanted, found = self._label(utterance).cpu().numpy() > 0, (scores > 0).cpu().numpy()
        orders = itertools.permutations(range(self.n_speakers))
        wrong = min(int((wanted[:, list(order)] != found).sum()) for order in orders)
        # s3prl's frame error is the mean over recordings: each counts once.
        return Ratio(numerator=wrong / wanted.size, denominator=1)

    def _times(self, utterance: Utterance) -> list[tuple[int, float, float]]:
        """The reference in frames as it was stated, not rounded: what is scored. Speakers are numbered by name."""
        speakers = sorted({segment.speaker for segment in utterance.segments})

        def frames(seconds: float) -> float:
            # Six digits keep a second's millionth, and take away what the division adds.
            return round(seconds / self.frame_seconds, 6)

        return [(speakers.index(s.speaker), frames(s.start_seconds), frames(s.end_seconds)) for s in utterance.segments]

    def _active(self, utterance: Utterance) -> Bool[ndarray, "frames speakers"]:
        """The reference rounded to the nearest frame, as s3prl does: what is learnt."""
        n_frames = self.frame_counts[utterance.id]
        rounded = [(who, int(np.rint(start)), int(np.rint(end))) for who, start, end in self._times(utterance)]
        return activity(rounded, n_frames=n_frames)

    def _label(self, utterance: Utterance) -> Float[Tensor, "frames speakers"]:
        """Activity with exactly `n_speakers` columns; a recording with more keeps those who speak most."""
        active = self._active(utterance).astype(np.float32)
        most = np.argsort(-active.sum(axis=0), kind="stable")[: self.n_speakers]
        missing = max(0, self.n_speakers - active.shape[1])
        return torch.from_numpy(np.pad(active[:, np.sort(most)], ((0, 0), (0, missing)))).to(self.device)
