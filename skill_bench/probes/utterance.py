"""One label an utterance: a linear probe on features averaged over time.

Projection, mean over time and weighted sum are linear, so they commute: training on each layer's mean is exactly
s3prl's computation on frames (``downstream/model.py`` ``UtteranceLevel`` with ``MeanPooling``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from skill_bench.corpora.data import Fold, Utterance
from skill_bench.metrics.accuracy import accuracy
from skill_bench.metrics.ratio import Ratio
from skill_bench.probes import batches, heads
from skill_bench.probes.parameters import Parameters
from skill_bench.probes.training import Batch
from skill_bench.tasks import TaskSpec

_EVALUATION_ROWS = 4096


class UtteranceProblem:
    """A fold of a classification task.

    Args:
        task: Resolved for the suite.
        fold: The utterances.
        train: ``(layers, dim)`` means by utterance id, for the training part.
        held_out: The same for dev and test.
        device: Where the head is trained.
    """

    def __init__(
        self,
        *,
        task: TaskSpec,
        fold: Fold,
        train: Mapping[str, Tensor],
        held_out: Mapping[str, Tensor],
        device: torch.device,
    ) -> None:
        self.task, self.fold, self.held_out, self.device = task, fold, held_out, device
        self.classes = sorted({utterance.target for utterance in fold.train})
        index = {target: i for i, target in enumerate(self.classes)}
        self.labels = [index[utterance.target] for utterance in fold.train]
        self.dev_labels = [index[utterance.target] for utterance in fold.dev]
        self.features = _stack(fold.train, train, device)
        self.dev_features = _stack(fold.dev, held_out, device)

    def initial(self, generator: torch.Generator) -> Parameters:
        """Parameters of one cell."""
        layers, _, dim = self.features.shape
        return heads.initial(self.task.head, n_layers=layers, dim=dim, n_outputs=len(self.classes), generator=generator)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        """Training batches without end."""
        size = self.task.protocol.batch_size
        if self.task.protocol.sampling == "class_balanced":
            order = batches.class_balanced(labels=self.labels, batch_size=size, generator=generator)
        else:
            order = batches.shuffled(n=len(self.labels), batch_size=size, generator=generator)
        for chosen in order:
            index = torch.tensor(chosen, device=self.device)
            yield Batch(
                features=self.features.index_select(1, index),
                lengths=[1] * len(chosen),
                labels=[[self.labels[i]] for i in chosen],
            )

    def losses(
        self, parameters: Parameters, batch: Batch, randomness: heads.Randomness | None
    ) -> Float[Tensor, " cells"]:
        """Cross-entropy, mean over the batch."""
        scores = heads.logits(self.task.head, parameters, batch.features, lengths=batch.lengths, randomness=randomness)
        return _cross_entropy(scores, [label[0] for label in batch.labels])

    def score(self, parameters: Parameters) -> list[tuple[Ratio, float]]:
        """Accuracy and mean cross-entropy on dev, for every cell."""
        scores = self._evaluate(parameters, self.dev_features)
        losses = _cross_entropy(scores, self.dev_labels).tolist()
        targets = [utterance.target for utterance in self.fold.dev]
        return [
            (accuracy(targets=targets, predictions=self._names(cell)), loss)
            for cell, loss in zip(scores, losses, strict=True)
        ]

    def predict_test(self, parameters: Parameters) -> list[str]:
        """The label of every test utterance, from the first cell."""
        return self._names(self._evaluate(parameters, _stack(self.fold.test, self.held_out, self.device))[0])

    @torch.no_grad()
    def _evaluate(
        self, parameters: Parameters, features: Float[Tensor, "layers rows dim"]
    ) -> Float[Tensor, "cells rows classes"]:
        parts = torch.split(features, _EVALUATION_ROWS, dim=1)
        return torch.cat(
            [heads.logits(self.task.head, parameters, part, lengths=[1] * part.shape[1]) for part in parts], dim=1
        )

    def _names(self, scores: Float[Tensor, "rows classes"]) -> list[str]:
        return [self.classes[i] for i in scores.argmax(dim=-1).tolist()]


def _cross_entropy(scores: Float[Tensor, "cells rows classes"], labels: Sequence[int]) -> Float[Tensor, " cells"]:
    index = torch.tensor(labels, device=scores.device).expand(scores.shape[0], -1)
    return F.cross_entropy(scores.flatten(0, 1), index.flatten(), reduction="none").view_as(index).mean(dim=1)


def _stack(
    utterances: Sequence[Utterance], features: Mapping[str, Tensor], device: torch.device
) -> Float[Tensor, "layers rows dim"]:
    return torch.stack([features[utterance.id] for utterance in utterances], dim=1).to(device)
