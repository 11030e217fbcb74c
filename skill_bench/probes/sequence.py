"""Tokens in time: a frame-wise head trained with CTC (phones, characters).

Batches partition the utterances by length; the frames of a batch are concatenated, so nothing is padded before the
loss, which knows the lengths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from skill_bench.corpora.data import Fold, Utterance
from skill_bench.metrics.edits import word_error_rate
from skill_bench.metrics.ratio import Ratio
from skill_bench.probes import batches, heads
from skill_bench.probes.parameters import Parameters
from skill_bench.probes.tokens import BLANK, Tokens
from skill_bench.probes.training import Batch
from skill_bench.tasks import TaskSpec

# Batches never change, so they stay in memory while they are small; beyond that each is read from the cache in turn.
_RESIDENT_BYTES = 3 * 2**30


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
        task: TaskSpec,
        fold: Fold,
        tokens: Tokens,
        features: Mapping[str, Tensor],
        frame_counts: Mapping[str, int],
        device: torch.device,
    ) -> None:
        self.task, self.fold, self.tokens, self.device = task, fold, tokens, device
        self.features, self.frame_counts = features, frame_counts
        self.n_layers, _, self.dim = features[fold.train[0].id].shape
        n_frames = sum(frame_counts[u.id] for u in (*fold.train, *fold.dev))
        self._resident = 4 * n_frames * self.n_layers * self.dim <= _RESIDENT_BYTES
        self._kept: dict[tuple[str, ...], Batch] = {}

    def initial(self, generator: torch.Generator) -> Parameters:
        """Parameters of one cell."""
        return heads.initial(
            self.task.head, n_layers=self.n_layers, dim=self.dim, n_outputs=self.tokens.n_outputs, generator=generator
        )

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        """Training batches without end: every epoch the same buckets in a new order."""
        buckets = self._buckets(self.fold.train)
        for (chosen,) in batches.shuffled(n=len(buckets), batch_size=1, generator=generator):
            yield self._batch(buckets[chosen])

    def losses(
        self, parameters: Parameters, batch: Batch, randomness: heads.Randomness | None
    ) -> Float[Tensor, " cells"]:
        """CTC loss per target token, mean over the batch's utterances (torch's and s3prl's reduction)."""
        return self._ctc(self._logits(parameters, batch, randomness), batch).mean(dim=1)

    @torch.no_grad()
    def score(self, parameters: Parameters) -> list[tuple[Ratio, float]]:
        """Error rate and mean loss on dev, for every cell."""
        n_cells = parameters[heads.LAYER_SCORES].shape[0]
        totals, losses = [Ratio(numerator=0, denominator=0)] * n_cells, torch.zeros(n_cells)
        for bucket in self._buckets(self.fold.dev):
            batch = self._batch(bucket)
            scores = self._logits(parameters, batch, None)
            losses += self._ctc(scores, batch).sum(dim=1).cpu()
            targets = [utterance.target for utterance in bucket]
            for cell, cell_scores in enumerate(scores):
                texts = self._decode(cell_scores, batch.lengths)
                totals[cell] += word_error_rate(targets=targets, predictions=texts)
        return list(zip(totals, (losses / len(self.fold.dev)).tolist(), strict=True))

    @torch.no_grad()
    def predict_test(self, parameters: Parameters) -> list[str]:
        """The text of every test utterance, from the first cell."""
        found: dict[str, str] = {}
        for bucket in self._buckets(self.fold.test):
            batch = self._batch(bucket, keep=False)
            texts = self._decode(self._logits(parameters, batch, None)[0], batch.lengths)
            found |= {utterance.id: text for utterance, text in zip(bucket, texts, strict=True)}
        return [found[utterance.id] for utterance in self.fold.test]

    def _buckets(self, utterances: Sequence[Utterance]) -> list[list[Utterance]]:
        lengths = [self.frame_counts[utterance.id] for utterance in utterances]
        buckets = batches.length_buckets(lengths=lengths, batch_size=self.task.protocol.batch_size)
        return [[utterances[i] for i in bucket] for bucket in buckets]

    def _batch(self, utterances: Sequence[Utterance], *, keep: bool = True) -> Batch:
        key = tuple(utterance.id for utterance in utterances)
        if key in self._kept:
            return self._kept[key]
        parts = [self.features[utterance.id] for utterance in utterances]
        batch = Batch(
            features=torch.cat(parts, dim=1).to(self.device).float(),
            lengths=[part.shape[1] for part in parts],
            labels=[self.tokens.encode(utterance.target) for utterance in utterances],
        )
        if keep and self._resident:
            self._kept[key] = batch
        return batch

    def _logits(
        self, parameters: Parameters, batch: Batch, randomness: heads.Randomness | None
    ) -> Float[Tensor, "cells rows outputs"]:
        return heads.logits(self.task.head, parameters, batch.features, lengths=batch.lengths, randomness=randomness)

    def _ctc(self, scores: Float[Tensor, "cells rows outputs"], batch: Batch) -> Float[Tensor, "cells batch"]:
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

    def _decode(self, scores: Float[Tensor, "rows outputs"], lengths: list[int]) -> list[str]:
        return [self.tokens.decode(utterance) for utterance in torch.split(scores.cpu(), lengths)]
