"""Which documents contain a spoken query? Alignment of frames in each layer, the layer chosen on dev; no training.

As s3prl 0.4.18 ``downstream/quesst14_dtw``, where every layer is a run of its own and the reader of its scores
chooses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from skill_bench.base.errors import DataError
from skill_bench.corpora.data import TaskData
from skill_bench.evaluation.solving.checks import check_folds, place, some
from skill_bench.evaluation.solving.requests import Request, everything
from skill_bench.tasks import Head, Search, TaskSpec

if TYPE_CHECKING:
    from skill_bench.evaluation.solving.cell import Cell, Solved
    from skill_bench.features.extract import Features

HUB_TASK = "audio-classification"


class Spec(TaskSpec):
    """A task of spoken queries and documents."""

    metrics: ClassVar = ("mtwv",)

    kind: Literal["retrieval"]
    search: Search

    def recorded(self) -> dict[str, Any]:
        """Records are compared by their settings, and all of this kind have said this in place of a head."""
        head = Head(projection_dim=False).model_dump(mode="json") | {"type": "dtw"}
        return super().recorded() | {"head": head}


def check(task: Spec, data: TaskData) -> None:
    """There are queries, documents refer to them, and some query occurs in some document but not in all."""
    for fold, where in check_folds(task, data, trained=False):
        known = {query.id for query in (*fold.queries, *fold.dev_queries)}
        for split, queries, documents in (("dev", fold.dev_queries, fold.dev), ("test", fold.queries, fold.test)):
            if not queries:
                raise DataError(f"{where}, {split}: there is no query. Check the suite's manifest, or raise the limit.")
            for document in documents:
                strange = sorted(set(document.target.split()) - known)
                if strange:
                    raise DataError(
                        f"{where}, {split}: document {place(document)} contains {some(strange)}, but there is no such "
                        "query. Correct the manifest."
                    )
            found = {len([d for d in documents if query.id in d.target.split()]) for query in queries}
            if found <= {0, len(documents)}:
                raise DataError(
                    f"{where}, {split}: no query occurs in some documents and not in others; there is nothing to "
                    "find. Check the manifest, or raise the limit."
                )


def requests(task: Spec, data: TaskData) -> list[Request]:
    """Frames of everything."""
    return everything(data)


def solve(cell: Cell[Spec], features: Sequence[Features]) -> Iterator[Solved]:
    """Searches dev in every layer, test in the best one."""
    from skill_bench.evaluation.kinds.retrieval.search import searched

    (frames,) = features
    return searched(cell, frames, cell.task.search)
