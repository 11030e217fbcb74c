"""The problem of CTC tasks.

Batches are neighbours in length; the frames of a batch are concatenated, so nothing is padded before the loss, which
knows the lengths.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from skill_bench.corpora.data import Fold, Utterance
from skill_bench.evaluation.solving.checks import some
from skill_bench.metrics.ratio import pooled, standard_error_percent
from skill_bench.metrics.scoring import SCORERS
from skill_bench.probes import batches, heads
from skill_bench.probes.batches import FrameBatches
from skill_bench.probes.parameters import Parameters
from skill_bench.probes.selection import DevScore
from skill_bench.probes.tokens import BLANK, Tokens
from skill_bench.probes.training import Batch
from skill_bench.tasks import TrainedSpec


class SequenceProblem:
    """A fold of a CTC task.

    Args:
        task: Resolved for the suite.
        fold: The utterances.
        tokens: The vocabulary.
        features: ``(layers, frames, dim)`` by utterance id.
        frame_counts: Frames by utterance id.
        device: Where the head is trained.
    """

    def __init__(
        self,
        *,
        task: TrainedSpec,
        fold: Fold,
        tokens: Tokens,
        features: Mapping[str, Tensor],
        frame_counts: Mapping[str, int],
        device: torch.device,
    ) -> None:
        self.task, self.fold, self.tokens, self.frame_counts = task, fold, tokens, frame_counts
        self.frames: FrameBatches[list[int]] = FrameBatches(
            features=features,
            frame_counts=frame_counts,
            label=lambda utterance: tokens.encode(utterance.target),
            kept=(*fold.train, *fold.dev),
            device=device,
            recurring=task.protocol.sampling == "length_bucketed",
        )

    stack = None  # the shapes of batches differ between seeds

    def initial(self, generator: torch.Generator) -> Parameters:
        """Parameters of one cell."""
        return heads.initial(
            self.task.head,
            n_layers=self.frames.n_layers,
            dim=self.frames.dim,
            n_outputs=self.tokens.n_outputs,
            generator=generator,
        )

    def batches(self, generator: torch.Generator) -> Iterator[Batch[list[int]]]:
        """Training batches without end: every epoch the same buckets in a new order."""
        train, protocol = self.fold.train, self.task.protocol
        seconds = [utterance.seconds or 0.0 for utterance in train]
        half_above = protocol.half_batch_seconds or None
        if protocol.sampling == "sliding_buckets":
            buckets = batches.sliding_buckets(
                target_lengths=[len(self.tokens.encode(u.target)) for u in train],
                lengths=seconds,
                batch_size=protocol.batch_size,
                half_above=half_above,
            )
        else:
            counts: list[float] = [self.frame_counts[u.id] for u in train]
            lengths = counts if half_above is None else seconds
            buckets = batches.length_buckets(lengths=lengths, batch_size=protocol.batch_size, half_above=half_above)
        order = batches.shuffled(n=len(buckets), batch_size=1, generator=generator)
        yield from self.frames.stream([train[i] for i in buckets[chosen]] for (chosen,) in order)

    def losses(
        self, parameters: Parameters, batch: Batch[list[int]], randomness: heads.Randomness | None
    ) -> Float[Tensor, " cells"]:
        """CTC loss per target token, mean over the batch's utterances (torch's and s3prl's reduction)."""
        return self._ctc(self._logits(parameters, batch, randomness), batch).mean(dim=1)

    @torch.no_grad()
    def score(self, parameters: Parameters) -> list[DevScore]:
        """The task's metric and the mean loss on dev, for every cell."""
        n_cells = parameters[heads.LAYER_SCORES].shape[0]
        rows: list[list[dict[str, Any]]] = [[] for _ in range(n_cells)]
        losses = torch.zeros(n_cells)
        for utterances, batch in self.frames.once_each(self.fold.dev, batch_size=self.task.protocol.batch_size):
            scores = self._logits(parameters, batch, None)
            losses += self._ctc(scores, batch).sum(dim=1).cpu()
            for own, cell_scores in zip(rows, scores, strict=True):
                own += self._rows(utterances, cell_scores, batch.lengths)
        share = SCORERS[self.task.metric][self.task.metric].share
        assert share is not None
        shares = [[share(row) for row in own] for own in rows]
        return [
            DevScore(value=pooled(own).percent, loss=loss, noise=standard_error_percent(own))
            for own, loss in zip(shares, (losses / len(self.fold.dev)).tolist(), strict=True)
        ]

    @torch.no_grad()
    def test_rows(self, parameters: Parameters) -> list[dict[str, Any]]:
        """The text of every test utterance, from the first cell."""
        found: dict[str, dict[str, Any]] = {}
        size = self.task.protocol.batch_size
        for utterances, batch in self.frames.once_each(self.fold.test, batch_size=size, keep=False):
            for row in self._rows(utterances, self._logits(parameters, batch, None)[0], batch.lengths):
                found[row["id"]] = row
        return [found[utterance.id] for utterance in self.fold.test]

    def notes(self) -> list[str]:
        """Tokens that training lacks, and targets that are too long for CTC."""
        return sequence_notes(self.fold, tokens=self.tokens, frame_counts=self.frame_counts)

    def _rows(
        self, utterances: Sequence[Utterance], scores: Float[Tensor, "rows outputs"], lengths: list[int]
    ) -> list[dict[str, Any]]:
        parts = torch.split(scores.cpu(), lengths)
        return [
            {"id": u.id, "fold": self.fold.name, "target": u.target, "prediction": self.tokens.decode(part)}
            for u, part in zip(utterances, parts, strict=True)
        ]

    def _logits(
        self, parameters: Parameters, batch: Batch[list[int]], randomness: heads.Randomness | None
    ) -> Float[Tensor, "cells rows outputs"]:
        return heads.logits(self.task.head, parameters, batch.features, lengths=batch.lengths, randomness=randomness)

    def _ctc(
        self, scores: Float[Tensor, "cells rows outputs"], batch: Batch[list[int]]
    ) -> Float[Tensor, "cells batch"]:
        cells, n = scores.shape[0], len(batch.lengths)
        log_probabilities = torch.split(scores.log_softmax(dim=-1).transpose(0, 1), batch.lengths)
        padded = torch.nn.utils.rnn.pad_sequence(list(log_probabilities))  # (frames, batch, cells, outputs)
        target_lengths = torch.tensor([len(label) for label in batch.labels])
        targets = torch.tensor([token for label in batch.labels for token in label], device=scores.device)
        losses = F.ctc_loss(
            padded.transpose(1, 2).reshape(padded.shape[0], cells * n, -1),
            targets.repeat(cells),
            torch.tensor(batch.lengths).repeat(cells),
            target_lengths.repeat(cells),
            blank=BLANK,
            reduction="none",
            zero_infinity=True,
        )
        return losses.view(cells, n) / target_lengths.clamp(min=1).to(losses)


def sequence_notes(fold: Fold, *, tokens: Tokens, frame_counts: Mapping[str, int]) -> list[str]:
    """Facts about a fold that do not stop training but belong to its numbers."""
    notes = []
    trained = {token for utterance in fold.train for token in tokens.split(utterance.target)}
    unseen = {token for utterance in fold.test for token in tokens.split(utterance.target)} - trained
    if unseen:
        notes.append(f"{some(sorted(unseen))} in test but never in train: every occurrence is an error")
    short = [u for u in fold.train if _frames_needed(tokens.split(u.target)) > frame_counts[u.id]]
    if short:
        notes.append(
            f"{len(short)} of {len(fold.train)} training utterances have fewer frames than CTC needs for their "
            "target; nothing is learned from them"
        )
    return notes


def _frames_needed(target: Sequence[str]) -> int:
    """One frame a token and a blank between equal neighbours."""
    return len(target) + sum(a == b for a, b in itertools.pairwise(target))
