"""Kinds of tasks, a module each: what its file must hold, what its data must be, how it is solved.

A kind is a module of this folder (a file, or a folder where it is larger) with the parts of :class:`Kind`;
``kind = "ctc"`` in a task's file means `skill_bench.evaluation.kinds.ctc`. Adding the module adds the kind: no list
elsewhere names them. How predictions become metrics is in `skill_bench.metrics.scoring`, which needs the stored
predictions only.

Task files are read, and old records scored again, without torch: what trains is imported by ``solve``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from skill_bench.corpora.data import TaskData
from skill_bench.evaluation.solving.requests import Request
from skill_bench.tasks import TaskSpec

if TYPE_CHECKING:
    from skill_bench.evaluation.solving.cell import Cell, Solved
    from skill_bench.features.extract import Features


class Kind(Protocol):
    """What a module of this package provides.

    Attributes:
        Spec: What a task file of this kind holds; its ``kind`` is the module's name.
        HUB_TASK: What the Hugging Face hub calls such tasks, for model cards.
    """

    Spec: type[TaskSpec]
    HUB_TASK: str

    def check(self, task: Any, data: TaskData) -> None:
        """Raises a `DataError` that names utterances if the data cannot be used, before anything is extracted."""
        ...

    def requests(self, task: Any, data: TaskData) -> list[Request]:
        """The features that it needs. What they are extracted for is in `solve`, what they cost in a forecast."""
        ...

    def solve(self, cell: Cell[Any], features: Sequence[Features]) -> Iterator[Solved]:
        """For each seed, as soon as it is finished: trains, chooses on dev, and predicts test once.

        ``features`` answer `requests`, one each.
        """
        ...


def names() -> list[str]:
    """Every kind: the modules of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(kind: str) -> Kind:
    """The module of a kind, one of `names`."""
    return cast(Kind, importlib.import_module(f"{__name__}.{kind}"))


def hub_task(kind: str) -> str:
    """What the hub calls tasks of this kind; ``other`` of a kind that is not, or no longer, there."""
    return load(kind).HUB_TASK if kind in names() else "other"
