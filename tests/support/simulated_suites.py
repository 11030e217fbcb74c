"""Experiments of known truth at the sizes of our suites: what an interval or a test must get right, how often.

    python tests/support/simulated_suites.py [CASE...]     writes the table of docs/statistics.md, or some of its rows

Each experiment gives the samples of one simulated evaluation; the models say what is drawn anew each time. Recordings
differ in difficulty, a few are far worse than the others, speakers are alike with themselves.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import made_samples as made
import numpy as np
import simulated_page as page
from scipy import stats

from skill_bench.metrics.search import BETA
from skill_bench.records.record import Record
from skill_bench.report.statistics.interval import Interval, interval_of, speaker_interval_of
from skill_bench.report.statistics.paired import compare
from skill_bench.report.statistics.sample import Sample

Generator = np.random.Generator
TABLE = "simulated_suites.py: from here"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A metric at one size, of one model, and what is true of it.

    Attributes:
        metric: By which the task is judged.
        further: Another metric of the same rows, which is the one in question.
        task: What the record says of the task.
    """

    name: str
    metric: str
    truth: float
    draw: Callable[[Generator], made.Rows]
    by_speaker: bool = False
    further: str | None = None
    task: Mapping[str, Any] = field(default_factory=dict)

    def sample(self, rows: made.Rows, record: Record) -> Sample:
        """Of one simulated evaluation."""
        record = record.model_copy(update={"metric": self.metric, "task_spec": self.task})
        return made.sample(record, rows, self.further, by_speaker=self.by_speaker)

    def interval(self, generator: Generator, record: Record, *, n_draws: int) -> Interval | None:
        """Of one simulated evaluation."""
        samples = [self.sample(self.draw(generator), record)]
        return (speaker_interval_of if self.by_speaker else interval_of)(samples, n_draws=n_draws)


@dataclass(frozen=True, kw_only=True)
class Difference(Case):
    """Of two systems on the same recordings; ``draw`` gives the rows of both, one after the other."""

    def interval(self, generator: Generator, record: Record, *, n_draws: int) -> Interval | None:
        """Of the paired difference."""
        rows = self.draw(generator)
        a, b = (self.sample(part, record) for part in (rows[: len(rows) // 2], rows[len(rows) // 2 :]))
        return compare([a], [b], n_draws=n_draws).interval


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
        return made.counted_rows(np.round(rate * lengths).astype(int), lengths)

    cut = stats.norm.expect(lambda z: min(mean * np.exp(tail * z - tail**2 / 2), 2.0), lb=-8, ub=8)
    return Case(name=f"{what}, log SD {tail:g}", metric=metric, truth=100 * float(cut), draw=draw)


def failing(n: int, *, one_in: int, mean: float, failed: float) -> Case:
    """Recordings of which one in so many fails wholly, which a sample without such a one cannot know."""

    def draw(g: Generator) -> made.Rows:
        lengths = np.round(g.normal(190, 20, n).clip(100)).astype(int)
        rate = np.where(g.random(n) < 1 / one_in, failed, mean * np.exp(g.normal(0, 0.8, n) - 0.8**2 / 2))
        return made.counted_rows(np.round(rate * lengths).astype(int), lengths)

    return Case(
        name=f"DER, {n} recordings of {100 * mean:g} % (log SD 0.8), one in {one_in} of {100 * failed:g} %",
        metric="der",
        truth=100 * (mean + (failed - mean) / one_in),
        draw=draw,
    )


def difference(n: int, *, tail: float, apart: float, times: float) -> Case:
    """Two systems; ``apart``: how much their rates differ by recording, in the logarithm, and ``times`` in the mean."""
    mean = 0.18

    def draw(g: Generator) -> made.Rows:
        lengths = np.round(g.normal(190, 20, n).clip(100)).astype(int)
        both = g.normal(0, tail, n) - tail**2 / 2
        own = g.normal(0, apart, (2, n)) - apart**2 / 2
        rates = np.minimum(mean * np.array([[1], [times]]) * np.exp(both + own), 2.0)
        return [row for rate in rates for row in made.counted_rows(np.round(rate * lengths).astype(int), lengths)]

    def expected(value: float) -> float:
        sd = (tail**2 + apart**2) ** 0.5
        return float(stats.norm.expect(lambda z: min(value * np.exp(sd * z - sd**2 / 2), 2.0), lb=-8, ub=8))

    return Difference(
        name=f"difference of DER, {n} recordings, log SD {tail:g} alike and {apart:g} apart, {times:g} times as many",
        metric="der",
        truth=100 * (expected(mean) - expected(mean * times)),
        draw=draw,
    )


def slot_types(n: int) -> Case:
    """F1 of slots, as SUPERB averages it over utterances: some are easy, and find every slot or none."""

    def shares(g: Generator, n: int) -> np.ndarray:
        wanted = g.integers(1, 5, n)
        hits = g.binomial(wanted, g.beta(2, 1, n))
        return 2 * hits / (wanted + hits + g.binomial(1, 0.3, n))

    def draw(g: Generator) -> made.Rows:
        rows = made.label_rows(np.ones(n))
        return [row | {"numerator": float(share)} for row, share in zip(rows, shares(g, n), strict=True)]

    # A million utterances tell the truth to .03 points.
    truth = 100 * float(shares(np.random.default_rng(1), 10**6).mean())
    return Case(name=f"slot F1, {n} utterances", metric="f1", truth=truth, draw=draw)


def slot_values(n: int) -> Case:
    """CER of slots' values: a slot that is not found costs all its characters, others a few."""
    missed, wrong = 0.25, 0.1

    def draw(g: Generator) -> made.Rows:
        rows = made.label_rows(np.ones(n))
        for row in rows:
            values = [
                (f"B-{name}", "a" * int(length), f"E-{name}")
                for name, length in enumerate(g.integers(3, 13, g.integers(1, 4)))
            ]
            found = [
                (begin, "".join("b" if u < wrong else "a" for u in g.random(len(value))), end)
                for begin, value, end in values
                if g.random() >= missed
            ]
            row |= {key: " ".join(map(" ".join, part)) for key, part in (("target", values), ("prediction", found))}
        return rows

    truth = 100 * (missed + (1 - missed) * wrong)
    return Case(name=f"slot CER, {n} utterances", metric="f1", further="cer", truth=truth, draw=draw)


def classes(n: int) -> Case:
    """Unweighted accuracy over four classes of unequal numbers, which are told with unequal success."""
    share, right = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.9, 0.7, 0.6, 0.4])

    def draw(g: Generator) -> made.Rows:
        labels = g.choice(4, n, p=share)
        rows = made.label_rows(g.random(n) < right[labels])
        names = [
            {"target": f"c{i}", "prediction": f"c{i}" if row["numerator"] else "other"}
            for i, row in zip(labels, rows, strict=True)
        ]
        return [row | name for row, name in zip(rows, names, strict=True)]

    return Case(
        name=f"unweighted accuracy, {n} utterances",
        metric="accuracy",
        further="unweighted_accuracy",
        truth=100 * float(right.mean()),
        draw=draw,
    )


def folds(*sizes: int) -> Case:
    """The mean of the accuracies of folds, some of which are easier."""
    p = np.linspace(0.5, 0.9, len(sizes))
    right = np.repeat(p, sizes)
    return Case(
        name=f"accuracy, mean of {len(sizes)} folds of {min(sizes)} to {max(sizes)} utterances",
        metric="accuracy",
        truth=100 * float(p.mean()),
        draw=lambda g: made.label_rows(g.random(len(right)) < right, folds=sizes),
        task={"aggregate": "mean_of_folds"},
    )


def words(metric: str, n: int, a: float, b: float) -> Case:
    """Utterances of 3 to 29 words (phones) with a beta-distributed rate of errors."""

    def draw(g: Generator) -> made.Rows:
        lengths = g.integers(3, 30, n)
        return made.counted_rows(g.binomial(lengths, g.beta(a, b, n)), lengths)

    return Case(name=f"{metric.upper()}, {n} utterances", metric=metric, truth=100 * a / (a + b), draw=draw)


def labels(n: int, p: float) -> Case:
    """Independent right and wrong labels."""
    return Case(
        name=f"accuracy {100 * p:g} %, {n} utterances",
        metric="accuracy",
        truth=100 * p,
        draw=lambda g: made.label_rows(g.random(n) < p),
    )


def spoken_labels(n_speakers: int, n_each: int, *, centre: float = 1.0, sd: float = 1.0) -> Case:
    """Labels of new speakers, whose log-odds differ by ``sd``."""
    who = np.repeat(np.arange(n_speakers), n_each)

    def draw(g: Generator) -> made.Rows:
        p = made.logistic(centre + g.normal(0, sd, n_speakers))
        return made.spoken(made.label_rows(g.random(len(who)) < p[who]), who)

    truth = 100 * float(stats.norm.expect(lambda z: float(made.logistic(np.array(centre + sd * z))), lb=-8, ub=8))
    return Case(
        name=f"accuracy {truth:.0f} % over {n_speakers} speakers of {n_each}",
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
        turn = np.concatenate([np.arange(n_same), np.arange(n_different)])
        first = turn % n_speakers * n_each + turn // n_speakers % n_each
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
            row |= {"enrolment_speaker": f"s{who[i]:02d}", "test_speaker": f"s{who[j]:02d}"}
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

    at = np.linspace(-2, 8, 4001)
    alarms = stats.norm.sf(at / (1 + query**2 + document**2) ** 0.5)
    hits = stats.norm.sf((at - shift) / (1 + 2 * query**2 + document**2) ** 0.5)
    return Case(
        name=f"MTWV, {n_queries} queries in {n_documents} documents, shift {shift:g}, documents' SD {document:g}",
        metric="mtwv",
        truth=100 * float(max((hits - BETA * alarms).max(), 0.0)),
        draw=draw,
    )


def cases() -> Iterator[Case]:
    """The sizes of the demo, of the local suite and of dspspeech20, and SUPERB's of metrics of counts."""
    sizes = ((10, 0.7), (24, 0.9), (56, 0.5), (66, 0.9), (91, 0.9), (182, 0.75), (339, 0.7), (1400, 0.5))
    yield from (labels(n, p) for n, p in sizes)
    yield folds(9, 11, 12, 11, 13)
    yield from (classes(n) for n in (56, 339))
    yield from (spoken_labels(*size) for size in ((7, 8), (7, 55), (10, 140), (19, 4), (28, 4)))
    yield spoken_labels(7, 8, centre=2.6)
    yield from (slot_types(n) for n in (49, 66))
    yield from (slot_values(n) for n in (49, 66))
    yield from (words("wer", n, 0.6, 0.6) for n in (49, 66, 2620))
    yield from (words("per", n, 2, 5) for n in (49, 112, 2620))
    for n in (24, 50, 80, 3000):
        yield from (rates("der", n, mean=0.18, tail=tail, what=f"DER, {n} recordings") for tail in (0.3, 0.5, 0.8, 1.1))
    for n in (24, 50):
        yield difference(n, tail=0.8, apart=0.3, times=1.3)
        yield difference(n, tail=0.8, apart=0.8, times=1.0)
        yield failing(n, one_in=20, mean=0.12, failed=0.6)
        yield failing(n, one_in=33, mean=0.05, failed=0.5)
    yield from (verification(7, 7, 84, 162, effect) for effect in (0.2, 0.4))
    yield verification(20, 6, 150, 250, 0.3)
    yield from (search(32, 49, shift, document=0.0) for shift in (1.5, 2.5))
    yield search(32, 49, 2.5, document=0.4)


def long_cases() -> Iterator[tuple[Case, int]]:
    """Trials and queries of larger suites, minutes each, for the page alone; with a number of experiments."""
    yield verification(28, 4, 165, 330, 0.3), 400
    yield verification(10, 140, 400, 800, 0.3), 400
    yield search(40, 72, 2.5, document=0.2), 400
    yield search(60, 150, 2.5, document=0.2), 400
    yield verification(40, 118, 18860, 18860, 0.3), 100
    yield search(138, 2438, 2.5, document=0.2), 100


SUITES = {
    "none": (" 10 utt", " 24 utt"),
    "demo": ("56 utt", "91 utt", "182 utt", "5 folds", "7 speakers of 8", " 49 utt", "DER, 24", "EER, 7 ", "MTWV, 32 "),
    "local": ("66 utt", "339 utt", "7 speakers of 55", "19 speakers", "28 speakers of", " 112 utt", "DER, 50",
              "EER, 20 ", "EER, 28 ", "MTWV, 40 "),
    "dspspeech20": ("1400 utt", "10 speakers of 140", "EER, 10 ", "MTWV, 60 "),
    "mini": ("DER, 80 ",),
    "superb": ("WER, 2620", "PER, 2620", "DER, 3000", "EER, 40 ", "MTWV, 138 "),
}  # fmt: skip
"""Which cases are of a suite's size, by a part of their names."""


def suite_of(case: Case) -> str:
    """Whose size a case has."""
    (found,) = {suite for suite, parts in SUITES.items() if any(part in case.name for part in parts)}
    return found


def row(case: Case, covered: float, n: int) -> str:
    """Of the page."""
    return f"| {suite_of(case)} | {case.name} | {page.marked(covered)} | {n} |"


def _record() -> Record:
    """Any record will do: its metric is replaced, its rows are simulated."""
    from skill_bench.base import catalog
    from skill_bench.report.table.collect import collect

    found = collect(catalog.folder("leaderboard") / "results").records
    one = next(record for record in found if record.key.task == "asr")
    return one.model_copy(update={"task_spec": {}})


def main(wanted: Sequence[str]) -> None:
    """Measures the cases whose names hold one of ``wanted``, all if there are none, and writes their rows."""
    short = [(case, 400 if case.metric in ("eer", "mtwv") else 2000) for case in cases()]
    order = {suite: i for i, suite in enumerate(SUITES)}
    for case, n in (*short, *long_cases()):
        if wanted and not any(part in case.name for part in wanted):
            continue
        said = row(case, coverage(case, _record(), n=n), n)
        print(said, flush=True)
        head, rule, *body = [line for line in page.lines(TABLE) if f"| {case.name} |" not in line]
        by_suite = sorted([*body, said], key=lambda line: order[line.split(" | ")[0].removeprefix("| ")])
        page.write(TABLE, [head, rule, *by_suite])


if __name__ == "__main__":
    main(sys.argv[1:])
