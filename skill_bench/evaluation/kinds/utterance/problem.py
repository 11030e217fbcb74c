"""The problem of tasks with labels: a linear probe on features averaged over time.

Projection, mean over time and weighted sum are linear, so they commute: training on each layer's mean is exactly
s3prl's computation on frames (``downstream/model.py`` ``UtteranceLevel`` with ``MeanPooling``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from skill_bench.corpora.data import Fold, Utterance
from skill_bench.evaluation.solving.cell import Cell, Solved
from skill_bench.evaluation.solving.checks import Slots, one_slot
from skill_bench.evaluation.solving.requests import cuts
from skill_bench.evaluation.solving.trained import CutSampler, train_folds
from skill_bench.features.extract import Features
from skill_bench.metrics.ratio import accuracy, pooled, standard_error_percent
from skill_bench.probes import batches, heads
from skill_bench.probes.batches import MeanRows
from skill_bench.probes.parameters import Parameters
from skill_bench.probes.selection import DevScore
from skill_bench.probes.training import Batch, stack_batches
from skill_bench.tasks import TrainedSpec

_EVALUATION_ROWS = 4096
AnySpec = TypeVar("AnySpec", bound=TrainedSpec)


def solve_slots(
    cell: Cell[AnySpec],
    features: Sequence[Features],
    *,
    slots: Slots = one_slot,
    join: Callable[[Sequence[str]], str] = "".join,
) -> Iterator[Solved]:
    """Trains on time means, with one label a slot."""
    train, held_out = features[0], features[-1]  # the same where nothing is cut
    problems = [
        LabelProblem(
            task=cell.task, fold=fold, train=train, held_out=held_out, device=cell.device, slots=slots, join=join
        )
        for fold in cell.data.folds
    ]
    return train_folds(cell, problems)


class LabelProblem:
    """A fold of a classification task, with one label for every slot of an utterance.

    Args:
        task: Resolved for the suite.
        fold: The utterances.
        train: ``(layers, dim)`` means by utterance id, for the training part.
        held_out: The same for dev and test.
        device: Where the head is trained.
        slots: The labels in a target.
        join: The target that labels make.
    """

    def __init__(
        self,
        *,
        task: TrainedSpec,
        fold: Fold,
        train: Mapping[str, Tensor],
        held_out: Mapping[str, Tensor],
        device: torch.device,
        slots: Slots = one_slot,
        join: Callable[[Sequence[str]], str] = "".join,
    ) -> None:
        self.task, self.fold, self.held_out, self.device, self.join = task, fold, held_out, device, join
        found = zip(*(slots(utterance.target) for utterance in fold.train), strict=True)
        self.classes = [sorted(set(labels)) for labels in found]
        index = [{label: i for i, label in enumerate(labels)} for labels in self.classes]

        def labels_of(utterances: Sequence[Utterance]) -> list[list[int]]:
            return [[index[k][label] for k, label in enumerate(slots(u.target))] for u in utterances]

        self.labels, self.dev = labels_of(fold.train), fold.dev
        if task.protocol.dev_sampling == "class_balanced":
            self.dev = _balanced(fold.dev, labels=[labels[0] for labels in labels_of(fold.dev)])
        self.dev_labels = labels_of(self.dev)
        all_cuts = [cuts(task, utterance) for utterance in fold.train]
        self.drawn = CutSampler([len(found) for found in all_cuts])
        self.rows = MeanRows([one for found in all_cuts for one in found], train, device=device)
        self.dev_rows = MeanRows(self.dev, held_out, device=device)
        # A linear head on time means draws no random numbers; one that did could not take several seeds at once.
        self.stack = None if task.head.dropout or task.protocol.spec_augment else stack_batches

    def initial(self, generator: torch.Generator) -> Parameters:
        """Parameters of one cell."""
        layers, dim = self.rows.shape
        n_outputs = sum(len(labels) for labels in self.classes)
        return heads.initial(self.task.head, n_layers=layers, dim=dim, n_outputs=n_outputs, generator=generator)

    def batches(self, generator: torch.Generator) -> Iterator[Batch[list[int]]]:
        """Training batches without end."""
        size = self.task.protocol.batch_size
        if self.task.protocol.sampling == "class_balanced":
            first = [labels[0] for labels in self.labels]
            order = batches.class_balanced(labels=first, batch_size=size, generator=generator)
        else:
            order = batches.shuffled(n=len(self.labels), batch_size=size, generator=generator)
        for chosen in order:
            yield Batch(
                features=self.rows.take(self.drawn.draw(chosen, generator)),
                lengths=[1] * len(chosen),
                labels=[self.labels[i] for i in chosen],
            )

    def losses(
        self, parameters: Parameters, batch: Batch[list[int]], randomness: heads.Randomness | None
    ) -> Float[Tensor, " cells"]:
        """Cross-entropy, mean over the batch, added up over slots (s3prl ``fluent_commands/expert.py``)."""
        scores = heads.logits(self.task.head, parameters, batch.features, lengths=batch.lengths, randomness=randomness)
        return self._cross_entropy(scores, batch.labels)

    def score(self, parameters: Parameters) -> list[DevScore]:
        """Accuracy and mean cross-entropy on dev, for every cell."""
        scores = self._evaluate(parameters, self.dev_rows)
        losses = self._cross_entropy(scores, self.dev_labels).tolist()
        targets = [utterance.target for utterance in self.dev]
        return [self._dev_score(targets, cell, loss) for cell, loss in zip(scores, losses, strict=True)]

    def _dev_score(self, targets: Sequence[str], scores: Float[Tensor, "rows outputs"], loss: float) -> DevScore:
        shares = [
            accuracy(targets=[target], predictions=[name])
            for target, name in zip(targets, self._names(scores), strict=True)
        ]
        return DevScore(value=pooled(shares).percent, loss=loss, noise=standard_error_percent(shares))

    def test_rows(self, parameters: Parameters) -> list[dict[str, Any]]:
        """The label of every test utterance, from the first cell."""
        scores = self._evaluate(parameters, MeanRows(self.fold.test, self.held_out, device=self.device))[0]
        return [
            {"id": utterance.id, "fold": self.fold.name, "target": utterance.target, "prediction": name}
            for utterance, name in zip(self.fold.test, self._names(scores), strict=True)
        ]

    def notes(self) -> list[str]:
        """Nothing to say."""
        return []

    @torch.no_grad()
    def _evaluate(self, parameters: Parameters, rows: MeanRows) -> Float[Tensor, "cells rows classes"]:
        n = len(rows)
        parts = (rows.take(range(n)[start : start + _EVALUATION_ROWS]) for start in range(0, n, _EVALUATION_ROWS))
        return torch.cat(
            [heads.logits(self.task.head, parameters, part, lengths=[1] * part.shape[1]) for part in parts], dim=1
        )

    def _by_slot(self, scores: Float[Tensor, "*rows outputs"]) -> tuple[Tensor, ...]:
        return torch.split(scores, [len(labels) for labels in self.classes], dim=-1)

    def _cross_entropy(
        self, scores: Float[Tensor, "cells rows outputs"], labels: Sequence[Sequence[int]]
    ) -> Float[Tensor, " cells"]:
        cells, rows, _ = scores.shape
        # The labels of one or several seeds, each for its own cells.
        by_seed = torch.tensor(labels, device=scores.device).view(-1, rows, len(self.classes))
        index = by_seed.repeat_interleave(cells // len(by_seed), dim=0)
        found = torch.zeros(cells, device=scores.device)
        for k, part in enumerate(self._by_slot(scores)):
            wanted = index[:, :, k]
            found = found + F.cross_entropy(part.flatten(0, 1), wanted.flatten(), reduction="none").view_as(
                wanted
            ).mean(dim=1)
        return found

    def _names(self, scores: Float[Tensor, "rows outputs"]) -> list[str]:
        best = [part.argmax(dim=-1).tolist() for part in self._by_slot(scores)]
        return [self.join([self.classes[k][i] for k, i in enumerate(chosen)]) for chosen in zip(*best, strict=True)]


def _balanced(utterances: tuple[Utterance, ...], *, labels: Sequence[int]) -> tuple[Utterance, ...]:
    """As many utterances, drawn with replacement so that classes weigh the same: s3prl's dev set of KS.

    s3prl draws anew at every evaluation; here once, so that evaluations can be compared.
    """
    drawn = next(
        batches.class_balanced(labels=labels, batch_size=len(labels), generator=torch.Generator().manual_seed(0))
    )
    return tuple(utterances[i] for i in drawn)
