"""The search of retrieval tasks, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from skill_bench.corpora.data import Fold, Utterance
from skill_bench.evaluation.solving.cell import Cell, Solved
from skill_bench.features.extract import Features
from skill_bench.metrics.scoring import score
from skill_bench.probes import dtw
from skill_bench.records.record import CurvePoint, Selection
from skill_bench.tasks import Search, TaskSpec

_EPSILON = 1e-9
AnySpec = TypeVar("AnySpec", bound=TaskSpec)
Normalisation = tuple[Float[Tensor, " dim"], Float[Tensor, " dim"]]


def searched(cell: Cell[AnySpec], features: Features, search: Search) -> Iterator[Solved]:
    """Searches dev in every layer, test in the best one."""
    folds = cell.data.folds
    n_layers = features[folds[0].test[0].id].shape[0]
    dev = [[_search(cell, search, features, fold, layer, dev=True) for fold in folds] for layer in range(n_layers)]
    cell.clock.mark("training", shared_by=len(cell.seeds))
    values = [[_value(cell.task, rows) for rows in by_fold] for by_fold in dev]
    best = max(range(n_layers), key=lambda layer: (sum(v or 0.0 for v in values[layer]), _margin(dev[layer])))
    rows = [row for fold in folds for row in _search(cell, search, features, fold, best, dev=False)]
    cell.clock.mark("test", shared_by=len(cell.seeds))
    solved = Solved(
        rows=rows,
        layer_weights=tuple(float(layer == best) for layer in range(n_layers)),
        selection=Selection(
            metric=cell.task.metric,
            learning_rate=None,
            layer=best,
            curve=tuple(
                CurvePoint(
                    layer=layer,
                    value=value,
                    reason="no query occurs in any document" if value is None else None,
                    fold=fold.name if len(folds) > 1 else None,
                )
                for layer, by_fold in enumerate(values)
                for fold, value in zip(folds, by_fold, strict=True)
            ),
        ),
        notes=("nothing is trained, so all seeds give the same; the layer weight shows the layer chosen on dev",),
    )
    yield from (solved for _ in cell.seeds)


def _search(
    cell: Cell[AnySpec], search: Search, features: Features, fold: Fold, layer: int, *, dev: bool
) -> list[dict[str, Any]]:
    """A row a pair of query and document."""
    queries, documents = (fold.dev_queries, fold.dev) if dev else (fold.queries, fold.test)
    normalise_with = [*queries, *documents]
    if search.normalise_with == "dev":
        normalise_with = [*fold.dev_queries, *fold.dev]
    mean, deviation = _normalisation(features, normalise_with, layer)

    def frames(utterance: Utterance) -> Float[Tensor, "frames dim"]:
        return (features[utterance.id][layer].to(cell.device).float() - mean) / deviation

    texts = [set(document.target.split()) for document in documents]
    read = [frames(document) for document in documents]
    rows = []
    for query in queries:
        found = dtw.scores(frames(query), read, search=search).tolist()
        for document, contained, value in zip(documents, texts, found, strict=True):
            rows.append(
                {
                    "id": f"{query.id} {document.id}",
                    "fold": fold.name,
                    "query": query.id,
                    "document": document.id,
                    "target": "present" if query.id in contained else "absent",
                    "score": value,
                }
            )
    return rows


def _normalisation(features: Features, utterances: Sequence[Utterance], layer: int) -> Normalisation:
    """Mean and unbiased standard deviation of every dimension over all frames."""
    frames = torch.cat([features[utterance.id][layer].double() for utterance in utterances])
    return frames.mean(dim=0).float(), frames.std(dim=0).clamp(min=_EPSILON).float()


def _value(task: TaskSpec, rows: Sequence[dict[str, Any]]) -> float | None:
    return score(task.metric, rows)[0][task.metric].value


def _margin(by_fold: Sequence[Sequence[dict[str, Any]]]) -> float:
    """The mean score of true pairs, which decides between layers whose metric is equal (0 on hard or small data)."""
    present: list[float] = [row["score"] for rows in by_fold for row in rows if row["target"] == "present"]
    return sum(present) / len(present)
