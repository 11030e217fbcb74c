"""Means over tasks whose seeds move all tasks at once: how often tests err, how often intervals hold the truth.

    PYTHONPATH=tests/support python tests/support/simulated_means.py      writes two tables of docs/statistics.md

Each experiment gives the parts of one or two systems on five tasks of labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import simulated_page as page
from jaxtyping import Int
from numpy import ndarray

from skill_bench.report.statistics.mean import Part, difference_of, mean_interval_over_tasks, retention_interval
from skill_bench.report.statistics.paired import overall_of

SIZES = (182, 56, 49, 100, 60)
N_DRAWS = 300
N_SEEDS, SDS = (1, 3, 5), (0.0, 1.0, 3.0, 6.0)
LESS = 6.0
"""Points of the student below its teacher."""


@cache
def picks(n: int, n_draws: int) -> Int[ndarray, "draws items"]:
    """Draws of items, the same for as many."""
    return np.random.default_rng(n).integers(0, n, (n_draws, n))


def part(values: ndarray, task: str, *, n_draws: int = N_DRAWS) -> Part:
    """A task's part from values (seeds, items) in points; the draws are the same for the same items."""
    n = values.shape[1]
    means = values.mean(axis=0)
    return Part(
        value=float(means.mean()),
        draws=means[picks(n, n_draws)].mean(axis=1),
        units=tuple((task, str(i)) for i in range(n)),
        n_folds=1,
        repetitions=({f"seed {k}": float(v) for k, v in enumerate(values.mean(axis=1))},),
    )


def system(g: np.random.Generator, base: list[ndarray], *, n_seeds: int, sd: float, less: float = 0) -> list[Part]:
    """Right and wrong labels; a seed moves every task by the same ``sd`` points."""
    shift = g.normal(0, sd / 100, (n_seeds, 1)) - less / 100
    return [
        part(100.0 * (g.random((n_seeds, len(p))) < np.clip(p + shift, 0, 1)), f"task {i}") for i, p in enumerate(base)
    ]


def _both(n_seeds: int, sd: float, less: tuple[float, float], *, n: int, seed: int) -> Iterator[list[list[Part]]]:
    """Experiments with two systems on the same items, which are so many points worse."""
    g = np.random.default_rng(seed)
    for _ in range(n):
        base = [g.beta(3, 1.5, size) for size in SIZES]
        yield [system(g, base, n_seeds=n_seeds, sd=sd, less=one) for one in less]


def alarms(n_seeds: int, sd: float, *, n: int = 600, less: float = 0) -> float:
    """How often two systems, equal but for ``less``, are told apart at the level of 5 %."""
    found = _both(n_seeds, sd, (0.0, less), n=n, seed=0)
    tests = (overall_of([difference_of(x, y) for x, y in zip(*both, strict=True)]) for both in found)
    return float(np.mean([test.p_value < 0.05 for test in tests]))


def held(n_seeds: int, sd: float, *, n: int = 1000) -> tuple[float, float]:
    """How often the intervals of a student's mean, and of what it keeps of its teacher, hold the truth.

    Clipping at 0 and 1 moves the truth.
    """
    g = np.random.default_rng(1)
    p = g.beta(3, 1.5, 10**6)
    student, teacher = (100 * np.clip(p - less + g.normal(0, sd / 100, 10**6), 0, 1).mean() for less in (LESS / 100, 0))
    hits = []
    for own, its in _both(n_seeds, sd, (LESS, 0.0), n=n, seed=2):
        mean, kept = mean_interval_over_tasks(own), retention_interval(own, its)
        assert mean is not None
        assert kept is not None
        hits.append((mean.low <= student <= mean.high, kept.low <= 100 * student / teacher <= kept.high))
    of_mean, of_kept = np.mean(hits, axis=0).tolist()
    return of_mean, of_kept


HEAD = f"| shared SD of a seed, points |{'|'.join(f' {n} seeds ' if n > 1 else ' 1 seed ' for n in N_SEEDS)}|"


def table(cell: Callable[[int, float], str]) -> list[str]:
    """A row a standard deviation, a column a number of seeds."""
    return [f"| {sd:g} | {' | '.join(cell(n_seeds, sd) for n_seeds in N_SEEDS)} |" for sd in SDS]


def main() -> None:
    """Measures, some minutes, and writes."""
    rule = f"|---:|{'---:|' * len(N_SEEDS)}"
    equal = table(lambda n_seeds, sd: f"{alarms(n_seeds, sd, n=2000):.3f}")
    apart = " | ".join(f"{alarms(n_seeds, 0.0, n=2000, less=4):.3f}" for n_seeds in N_SEEDS)
    page.write("simulated_means.py: alarms", [HEAD, rule, *equal, f"| 0, a true difference of 4 points | {apart} |"])
    shares = {(n_seeds, sd): held(n_seeds, sd) for n_seeds in N_SEEDS for sd in SDS}
    covered = table(lambda *at: ", ".join(map(page.marked, shares[at])))
    page.write("simulated_means.py: coverage", [HEAD, rule, *covered])


if __name__ == "__main__":
    main()
