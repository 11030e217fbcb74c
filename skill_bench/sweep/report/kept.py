"""What students keep of their teacher's layers: over distillation seeds, corpora and groups of speakers."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from skill_bench.base.escape import markdown_cell
from skill_bench.fidelity.interval import jackknife_variance
from skill_bench.records.fidelity import Fidelity, Reading
from skill_bench.report.comparison import p_text
from skill_bench.report.render.layout import ABSENT
from skill_bench.report.statistics.interval import LEVEL
from skill_bench.report.statistics.paired import holm
from skill_bench.sweep.report.cells import grid
from skill_bench.sweep.report.groups import Estimate, estimate_of
from skill_bench.sweep.report.joint import REFERENCE

_HOW = (
    "Held-out R2 from a student's layer to the teacher's, by regressions that have not heard the speakers: the mean "
    "over layers and corpora [95 % interval, Student's t over distillation seeds]. Whitened: every direction of the "
    "teacher's layer counts the same; plain: as much as it varies. To SKILL: whitened; the interval holds what other "
    "distillation seeds and other speakers would change, the spread over seeds being taken from all rows that have "
    "several. p: after Holm for the number of rows."
)
_ONE_SEED = (
    "No row has several distillation seeds, so that nobody knows what another seed would change: intervals are over "
    "speakers alone, and there is no test."
)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One row: its readings by distillation seed and corpus."""

    title: str
    readings: Mapping[int, Mapping[str, Reading]]

    def whitened(self, corpora: Sequence[str]) -> Estimate | None:
        """The mean over ``corpora``, of the seeds that have them all."""
        return self._mean(corpora, "whitened")

    def plain(self, corpora: Sequence[str]) -> Estimate | None:
        """The same, each direction as much as it varies."""
        return self._mean(corpora, "plain")

    def layers(self, corpora: Sequence[str]) -> list[float]:
        """Whitened, by layer of the teacher, over all corpora and seeds."""
        found = [
            [layer.whitened.value for layer in own[corpus].layers]
            for own in self.readings.values()
            for corpus in corpora
            if corpus in own
        ]
        return [statistics.fmean(values) for values in zip(*found, strict=True)]

    def without(self, corpus: str) -> NDArray[np.float64]:
        """The whitened mean without each group of speakers, over the seeds."""
        found = [own[corpus].whitened_without for own in self.readings.values() if corpus in own]
        return np.asarray(np.array(found, dtype=np.float64).mean(axis=0))

    def _mean(self, corpora: Sequence[str], kind: Literal["whitened", "plain"]) -> Estimate | None:
        complete = [own for own in self.readings.values() if set(corpora) <= set(own)]
        return estimate_of([statistics.fmean(getattr(own[one], kind).value for one in corpora) for own in complete])


@dataclass(frozen=True, kw_only=True)
class Difference:
    """In the whitened mean, with half of its 95 % interval; no p where nobody knows how much a seed matters."""

    value: float
    half_width: float
    p_value: float | None


def kept(documents: Sequence[Fidelity]) -> list[str]:
    """A part of the page for each teacher; empty without documents."""
    by_teacher: dict[str, list[Fidelity]] = defaultdict(list)
    for one in documents:
        by_teacher[one.teacher.identity].append(one)
    parts = []
    for own in by_teacher.values():
        named = f" {markdown_cell(own[0].teacher.title)}" if len(by_teacher) > 1 else ""
        parts += [f"## What students keep of their teacher{named}", *_of_one_teacher(own)]
    return parts


def _of_one_teacher(documents: Sequence[Fidelity]) -> list[str]:
    corpora = sorted({one.corpus for one in documents})
    rows = rows_of(documents)
    found = {name: row.whitened(corpora) for name, row in rows.items()}
    names = sorted(rows, key=lambda name: (found[name] is None, -(one.value if (one := found[name]) else 0.0), name))
    against = {
        name: difference(rows[REFERENCE], rows[name], rows=[*rows.values()], corpora=corpora)
        for name in names
        if REFERENCE in rows and name != REFERENCE and found[name] is not None and found[REFERENCE] is not None
    }
    tested = {name: one.p_value for name, one in against.items() if one.p_value is not None}
    p_values = dict(zip(tested, holm([*tested.values()]), strict=True))
    table = [
        [
            rows[name].title,
            _estimate(found[name]),
            _estimate(rows[name].plain(corpora)),
            *(_estimate(rows[name].whitened([corpus])) for corpus in corpora),
            str(len(rows[name].readings)),
            _difference(against.get(name)),
            p_text(p_values[name]) if name in p_values else ABSENT,
        ]
        for name in names
    ]
    headings = ["student", "whitened ↑", "plain ↑", *(f"{corpus} ↑" for corpus in corpora), "seeds", "to SKILL", "p"]
    heard = {one.corpus: one for one in documents}
    listed = ", ".join(
        f"{corpus} ({(one := heard[corpus]).audio_seconds / 60:.0f} min, {one.n_speakers} speakers)"
        for corpus in corpora
    )
    n_layers = len(documents[0].readings[0].layers)
    by_layer = [[rows[name].title, *(f"{value:.3f}" for value in rows[name].layers(corpora))] for name in names]
    return [
        grid(table, headings),
        f"{_HOW} Corpora: {listed}.",
        *([] if tested or not against else [_ONE_SEED]),
        "### By layer of the teacher, whitened",
        grid(by_layer, ["student", *(f"h{layer}" for layer in range(n_layers))]),
    ]


def rows_of(documents: Sequence[Fidelity]) -> dict[str, Kept]:
    """Students ``NAME-sSEED`` as rows ``NAME``; others are rows of one seed."""
    readings: dict[str, dict[int, dict[str, Reading]]] = defaultdict(lambda: defaultdict(dict))
    titles: dict[str, str] = {}
    for one in documents:
        name, separator, seed = one.student.name.rpartition("-s")
        known = bool(separator) and seed.isdecimal()
        row = name if known else one.student.name
        readings[row][int(seed) if known else 0][one.corpus] = one.readings[0]
        titles.setdefault(row, markdown_cell(one.student.title.partition(", seed ")[0]))
    return {name: Kept(title=titles[name], readings=own) for name, own in sorted(readings.items())}


def difference(reference: Kept, other: Kept, *, rows: Sequence[Kept], corpora: Sequence[str]) -> Difference:
    """``other`` minus ``reference``, both of which have a seed with all corpora.

    Two terms of variance, degrees of freedom after Satterthwaite: seeds, whose spread is one for all ``rows`` (pooled);
    and speakers, the delete-one-group jackknife of the paired difference on each corpus.
    """
    both = [reference.whitened(corpora), other.whitened(corpora)]
    a, b = (one for one in both if one is not None)
    repeated = [one.values for row in rows if (one := row.whitened(corpora)) is not None and len(one.values) > 1]
    df_seeds = sum(len(values) - 1 for values in repeated)
    pooled = sum(statistics.variance(values) * (len(values) - 1) for values in repeated) / df_seeds if df_seeds else 0.0
    terms = [(pooled * (1 / len(a.values) + 1 / len(b.values)), df_seeds)]
    for corpus in corpora:
        without = other.without(corpus) - reference.without(corpus)
        terms.append((jackknife_variance(without.tolist()) / len(corpora) ** 2, len(without) - 1))
    variance = sum(term for term, _ in terms)
    below = sum(term**2 / df for term, df in terms if term)
    value = b.value - a.value
    if not variance:
        return Difference(value=value, half_width=0.0, p_value=float(value == 0) if df_seeds else None)
    df, error = variance**2 / below, math.sqrt(variance)
    half = float(stats.t.ppf(0.5 + LEVEL / 2, df)) * error
    p_value = 2 * float(stats.t.sf(abs(value) / error, df)) if df_seeds else None
    return Difference(value=value, half_width=half, p_value=p_value)


def _estimate(found: Estimate | None) -> str:
    if found is None:
        return ABSENT
    ends = "" if found.interval is None else f" [{found.interval.low:.3f}, {found.interval.high:.3f}]"
    return f"{found.value:.3f}{ends}"


def _difference(found: Difference | None) -> str:
    if found is None:
        return ABSENT
    low, high = found.value - found.half_width, found.value + found.half_width
    return f"{found.value:+.3f} [{low:+.3f}, {high:+.3f}]"
