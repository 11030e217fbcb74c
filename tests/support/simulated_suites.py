"""Experiments of known truth at the sizes of our suites: what an interval or a test must get right, how often.

    python tests/support/simulated_suites.py     prints the "now" column of docs/statistics.md

Each experiment gives the samples of one simulated evaluation; the models say what is drawn anew each time. Recordings
differ in difficulty, a few are far worse than the others, speakers are alike with themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import made_samples as made
import numpy as np
from scipy import stats

from skill_bench.metrics.search import COST_FALSE_ALARM, COST_MISS, P_TARGET
from skill_bench.records.record import Record
from skill_bench.report.statistics.interval import Interval, interval_of, speaker_interval_of
from skill_bench.report.statistics.sample import Sample

Generator = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class Case:
    """A metric at one size, of one model, and what is true of it."""

    name: str
    metric: str
    truth: float
    draw: Callable[[Generator], made.Rows]
    by_speaker: bool = False

    def interval(self, generator: Generator, record: Record, *, n_draws: int) -> Interval | None:
        """Of one simulated evaluation."""
        record = record.model_copy(update={"metric": self.metric})
        samples: list[Sample] = [made.sample(record, self.draw(generator), by_speaker=self.by_speaker)]
        return (speaker_interval_of if self.by_speaker else interval_of)(samples, n_draws=n_draws)


def coverage(case: Case, record: Record, *, n: int, n_draws: int = 400) -> float:
    """How often the interval holds the truth."""
    generator = np.random.default_rng(0)
    found = [case.interval(generator, record, n_draws=n_draws) for _ in range(n)]
    return float(np.mean([one is not None and one.low <= case.truth <= one.high for one in found]))


def rates(metric: str, n: int, *, mean: float, tail: float, what: str) -> Case:
    """Errors of recordings whose rate is log-normal: ``tail`` is the standard deviation of its logarithm."""

    def draw(g: Generator) -> made.Rows:
        lengths = np.round(g.normal(190, 20, n).clip(100)).astype(int)
        rate = np.minimum(mean * np.exp(g.normal(0, tail, n) - tail**2 / 2), 2.0)
        return made.error_rows(np.round(rate * lengths).astype(int), lengths)

    cut = stats.norm.expect(lambda z: min(mean * np.exp(tail * z - tail**2 / 2), 2.0), lb=-8, ub=8)
    return Case(name=f"{what}, log SD {tail:g}", metric=metric, truth=100 * float(cut), draw=draw)


def words(metric: str, n: int, a: float, b: float) -> Case:
    """Utterances of 3 to 29 words (phones) with a beta-distributed rate of errors."""

    def draw(g: Generator) -> made.Rows:
        lengths = g.integers(3, 30, n)
        return made.error_rows(g.binomial(lengths, g.beta(a, b, n)), lengths)

    return Case(name=f"{metric.upper()}, {n} utterances", metric=metric, truth=100 * a / (a + b), draw=draw)


def labels(n: int, p: float) -> Case:
    """Independent right and wrong labels."""
    return Case(
        name=f"accuracy {100 * p:g} %, {n} utterances",
        metric="accuracy",
        truth=100 * p,
        draw=lambda g: made.label_rows(g.random(n) < p),
    )


def spoken_labels(n_speakers: int, n_each: int, sd: float = 1.0) -> Case:
    """Labels of new speakers, whose log-odds differ by ``sd``."""
    who = np.repeat(np.arange(n_speakers), n_each)

    def draw(g: Generator) -> made.Rows:
        p = made.logistic(1.0 + g.normal(0, sd, n_speakers))
        return made.spoken(made.label_rows(g.random(len(who)) < p[who]), who)

    truth = 100 * float(stats.norm.expect(lambda z: float(made.logistic(np.array(1.0 + sd * z)))))
    return Case(
        name=f"accuracy over {n_speakers} speakers of {n_each}",
        metric="accuracy",
        truth=truth,
        draw=draw,
        by_speaker=True,
    )


def verification(n_speakers: int, n_each: int, n_same: int, n_different: int, effect: float) -> Case:
    """Trials of new speakers; ``effect``: how much a speaker's own trials differ, half of it for trials with others."""
    who = np.repeat(np.arange(n_speakers), n_each)
    goat, wolf, voice, shift = effect, effect / 2, 0.3, 2.5
    rest = (1 - 2 * voice**2) ** 0.5

    def draw(g: Generator) -> made.Rows:
        n = n_same + n_different
        same = np.arange(n) < n_same
        first = np.concatenate([np.arange(n_same), np.arange(n_different)]) % len(who)
        step = np.where(same, g.integers(1, n_each, n), g.integers(0, n_each, n))
        other = (who[first] + g.integers(1, n_speakers, n)) % n_speakers
        second = np.where(same, who[first] * n_each + (first + step) % n_each, other * n_each + step)
        goats, wolves = g.normal(0, goat, n_speakers), g.normal(0, wolf, n_speakers)
        voices = g.normal(0, voice, len(who))
        own = np.where(same, shift + goats[who[first]], wolves[who[first]] + wolves[who[second]])
        scores = own + voices[first] + voices[second] + g.normal(0, rest, n)
        rows = made.trial_rows(same, scores)
        for row, i, j in zip(rows, first, second, strict=True):
            row |= {"enrolment": f"r{i:04d}", "test": f"r{j:04d}"}
        return rows

    truth = 100 * float(stats.norm.sf(shift / ((1 + goat**2) ** 0.5 + (1 + 2 * wolf**2) ** 0.5)))
    return Case(
        name=f"EER, {n_speakers} speakers, {n_same + n_different} trials, effect {effect:g}",
        metric="eer",
        truth=truth,
        draw=draw,
    )


def search(n_queries: int, n_documents: int, shift: float, *, document: float) -> Case:
    """Queries in documents; queries differ in how well they are found, documents in how readily they are taken."""
    query, share = 0.4, 0.13

    def draw(g: Generator) -> made.Rows:
        shape = (n_queries, n_documents)
        present = g.random(shape) < share
        scores = g.normal(size=shape) + g.normal(0, query, (n_queries, 1)) + g.normal(0, document, n_documents)
        scores += present * (shift + g.normal(0, query, (n_queries, 1)))
        return [
            {
                "id": f"q{q:03d} d{d:03d}",
                "fold": "all",
                "query": f"q{q:03d}",
                "document": f"d{d:03d}",
                "target": "present" if present[q, d] else "absent",
                "score": float(scores[q, d]),
            }
            for q, d in np.ndindex(shape)
        ]

    beta = COST_FALSE_ALARM / COST_MISS * (1 / P_TARGET - 1)
    at = np.linspace(-2, 8, 4001)
    alarms = stats.norm.sf(at / (1 + query**2 + document**2) ** 0.5)
    hits = stats.norm.sf((at - shift) / (1 + 2 * query**2 + document**2) ** 0.5)
    return Case(
        name=f"MTWV, {n_queries} queries in {n_documents} documents, shift {shift:g}, documents' SD {document:g}",
        metric="mtwv",
        truth=100 * float(max((hits - beta * alarms).max(), 0.0)),
        draw=draw,
    )


def cases() -> Iterator[Case]:
    """The sizes of the demo and of the local suite."""
    yield from (labels(56, 0.5), labels(91, 0.9), labels(182, 0.75))
    yield from (spoken_labels(7, 55), spoken_labels(19, 4), spoken_labels(28, 4))
    yield from (words("wer", 49, 0.6, 0.6), words("wer", 66, 0.6, 0.6), words("per", 49, 2, 5), words("per", 112, 2, 5))
    yield from (rates("der", 24, mean=0.18, tail=tail, what="DER, 24 recordings") for tail in (0.5, 0.8))
    yield rates("der", 40, mean=0.18, tail=0.8, what="DER, 40 recordings")
    yield from (verification(7, 7, 84, 162, effect) for effect in (0.2, 0.4))
    yield verification(20, 6, 150, 250, 0.3)
    yield from (search(32, 49, shift, document=0.0) for shift in (1.5, 2.5))
    yield search(32, 49, 2.5, document=0.4)


def _record() -> Record:
    """Any record will do: its metric is replaced, its rows are simulated."""
    from skill_bench.base import catalog
    from skill_bench.report.table.collect import collect

    found = collect(catalog.folder("leaderboard") / "results").records
    one = next(record for record in found if record.key.task == "asr")
    return one.model_copy(update={"task_spec": {}})


if __name__ == "__main__":
    for case in cases():
        print(f"| {case.name} | {100 * coverage(case, _record(), n=1000):.1f} |", flush=True)
