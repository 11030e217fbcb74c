"""Runs contests: round by round, every contestant once, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from skill_bench.base.progress import Progress
from skill_bench.measure.memory import peak_on_cpu
from speed.figures import Contest, Floor, Timing

_PRODUCT_SHAPE = (2048, 768, 3072)
"""The largest product of a base model, for about forty seconds of audio."""


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """A contest before it is held.

    Attributes:
        name: What the table calls it.
        what: One sentence about what is done.
        amount: How much of ``unit`` each contestant does in a round.
        unit: Such as ``s of audio``.
        run: What each does, skill-bench first.
        macs: Multiply-adds of skill-bench's own way, where a floor is wanted.
        memory: Whether a further round finds how much memory each allocates, as ``peak`` sees it.
    """

    name: str
    what: str
    amount: float
    unit: str
    run: Mapping[str, Callable[[], object]]
    macs: int | None = None
    memory: bool = False
    peak: Callable[[Callable[[], object]], int] = peak_on_cpu


def hold(
    candidates: Candidates, *, rounds: int, progress: Progress, clock: Callable[[], float] = time.perf_counter
) -> Contest:
    """One warm-up and ``rounds`` timed rounds."""
    runs = dict(candidates.run)
    product = _Product() if candidates.macs is not None else None
    if product is not None:
        runs[_Product.name] = product
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    with progress.stage(candidates.name, total=(rounds + 1) * len(runs)) as advance:
        for number in range(rounds + 1):
            for name, run in runs.items():
                start = clock()
                run()
                if number:
                    seconds[name].append(clock() - start)
                advance(1)
    peaks = {name: candidates.peak(run) if candidates.memory else None for name, run in candidates.run.items()}
    floor = None
    if candidates.macs is not None:
        floor = Floor(
            macs=candidates.macs, product_macs=_Product.macs(), product_seconds=tuple(seconds.pop(_Product.name))
        )
    return Contest(
        name=candidates.name,
        what=candidates.what,
        amount=candidates.amount,
        unit=candidates.unit,
        timings=tuple(
            Timing(name=name, seconds=tuple(found), peak_bytes=peaks[name]) for name, found in seconds.items()
        ),
        floor=floor,
    )


class _Product:
    """A matrix product, repeated for long enough to be timed."""

    name = "matrix product"
    repeats = 5

    def __init__(self) -> None:
        rows, inner, columns = _PRODUCT_SHAPE
        self.first, self.second = torch.randn(rows, inner), torch.randn(inner, columns)
        self.result = torch.empty(rows, columns)

    def __call__(self) -> None:
        for _ in range(self.repeats):
            torch.mm(self.first, self.second, out=self.result)

    @classmethod
    def macs(cls) -> int:
        rows, inner, columns = _PRODUCT_SHAPE
        return cls.repeats * rows * inner * columns
