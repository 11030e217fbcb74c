"""Documents of fidelity as rows of students: of which training each is, which of several counts, how rows differ."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from skill_bench.base.escape import markdown_cell
from skill_bench.fidelity.interval import jackknife_variance
from skill_bench.records.fidelity import Fidelity, Reading
from skill_bench.records.record import Record, System
from skill_bench.report.statistics.interval import LEVEL, Interval
from skill_bench.sweep.report.groups import Estimate, Recipe, changes_between, estimate_of, recipe_of

Seed = int | None
"""Of the distillation; None where nobody says which it was."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One row: its students and their readings by corpus, both by distillation seed.

    Attributes:
        changes: What of its recipe differs from that of the row which is called like it; empty for that row itself.
    """

    title: str
    students: Mapping[Seed, System]
    readings: Mapping[Seed, Mapping[str, Reading]]
    changes: Mapping[str, tuple[Any, Any]]

    @property
    def recipe(self) -> Recipe:
        """That its students share, without seeds; empty if not known."""
        return recipe_of(next(iter(self.students.values())).details)

    def whitened(self, corpora: Sequence[str]) -> Estimate | None:
        """The mean over ``corpora``, of the seeds that have them all."""
        return self._mean(corpora, "whitened")

    def plain(self, corpora: Sequence[str]) -> Estimate | None:
        """The same, each direction as much as it varies."""
        return self._mean(corpora, "plain")

    def layers(self, corpora: Sequence[str]) -> list[float] | None:
        """Whitened, by layer of the teacher, over the corpora and the seeds that have them all."""
        found = [
            [layer.whitened.value for layer in own[corpus].layers]
            for own in self.complete(corpora)
            for corpus in corpora
        ]
        return [statistics.fmean(values) for values in zip(*found, strict=True)] if found else None

    def without(self, corpus: str, corpora: Sequence[str]) -> NDArray[np.float64]:
        """The whitened mean on ``corpus`` without each group of speakers, over the seeds that have all ``corpora``."""
        found = [own[corpus].whitened_without for own in self.complete(corpora)]
        return np.asarray(np.array(found, dtype=np.float64).mean(axis=0))

    def complete(self, corpora: Sequence[str]) -> list[Mapping[str, Reading]]:
        """The readings of the seeds that have all ``corpora``."""
        return [own for own in self.readings.values() if set(corpora) <= set(own)]

    def _mean(self, corpora: Sequence[str], kind: Literal["whitened", "plain"]) -> Estimate | None:
        complete = self.complete(corpora)
        return estimate_of([statistics.fmean(getattr(own[one], kind).value for one in corpora) for own in complete])


@dataclass(frozen=True, kw_only=True)
class Difference:
    """In the whitened mean, with its 95 % interval; no p where nobody knows how much a seed matters."""

    difference: float
    half_width: float
    p_value: float | None

    @property
    def interval(self) -> Interval:
        """Around the difference."""
        low, high = self.difference - self.half_width, self.difference + self.half_width
        return Interval(low=low, high=high, method="Student's t over distillation seeds and speakers")


@dataclass(frozen=True, kw_only=True)
class Part:
    """The students of one teacher.

    Attributes:
        heard: A document of each corpus, by its name: what was heard.
        left_out: A line for each document in whose place another counts.
    """

    teacher: System
    heard: Mapping[str, Fidelity]
    rows: Mapping[str, Kept]
    left_out: Sequence[str]

    @property
    def corpora(self) -> list[str]:
        """Their names, in order."""
        return sorted(self.heard)

    def against(self, reference: str, other: str) -> Difference | None:
        """Row ``other`` minus row ``reference``; None where one is not there, or has no seed with all corpora."""
        both = [self.rows[name] for name in (reference, other) if name in self.rows]
        if len(both) < 2 or reference == other or not all(row.complete(self.corpora) for row in both):
            return None
        return difference(*both, rows=[*self.rows.values()], corpora=self.corpora)


def parts_of(documents: Sequence[Fidelity], records: Sequence[Record] = ()) -> list[Part]:
    """A part for each teacher.

    Args:
        records: Of tasks. They tell which training a document is of that does not say so, by the hash of its weights.
    """
    trained = {
        record.system.checkpoint_sha256: record.system
        for record in records
        if record.system.checkpoint_sha256 is not None and _seed(record.system) is not None
    }
    by_teacher: dict[str, list[Fidelity]] = defaultdict(list)
    for one in sorted(documents, key=lambda one: one.provenance.started_at):
        by_teacher[one.teacher.identity].append(one)
    return [_part(own, trained) for own in by_teacher.values()]


def _part(documents: Sequence[Fidelity], trained: Mapping[str, System]) -> Part:
    """Of one teacher; the last of ``documents`` is the newest."""
    heard = {one.corpus: one for one in documents}
    by_row: dict[str, dict[Seed, list[tuple[Fidelity, System]]]] = defaultdict(lambda: defaultdict(list))
    for one in documents:
        said = one.student
        known = said if _seed(said) is not None else trained.get(said.checkpoint_sha256 or "", said)
        by_row[str(known.details.get("evidence_row", known.name))][_seed(known)].append((one, known))
    rows, left_out = {}, []
    for name, trainings in sorted(by_row.items()):
        students: dict[Seed, System] = {}
        readings: dict[Seed, dict[str, Reading]] = defaultdict(dict)
        for seed in sorted(trainings, key=lambda seed: -1 if seed is None else seed):
            newest, _ = trainings[seed][-1]
            for one, system in trainings[seed]:
                why = _why_not(one, newest=newest, heard=heard, has_others=seed is None and len(trainings) > 1)
                if why is None:
                    students[seed], readings[seed][one.corpus] = system, one.readings[0]
                else:
                    left_out.append(f"{one.student.name} on {one.corpus}, {one.provenance.started_at[:10]}: {why}")
        if students:
            title = next(iter(students.values())).title.partition(", seed ")[0]
            rows[name] = Kept(title=markdown_cell(title), students=students, readings=dict(readings), changes={})
    return Part(teacher=documents[0].teacher, heard=heard, rows=_with_changes(rows), left_out=left_out)


def _why_not(one: Fidelity, *, newest: Fidelity, heard: Mapping[str, Fidelity], has_others: bool) -> str | None:
    """Why another document counts in its place; None where it counts itself.

    Args:
        newest: Of its row and seed.
        has_others: Whether it says no distillation seed, and others of its row do.
    """
    if has_others:
        return "it does not say its distillation seed, others of its row do"
    if one.student.identity != newest.student.identity:
        return "another student of its row and seed was measured since"
    same = (one.data_fingerprint, one.settings) == (heard[one.corpus].data_fingerprint, heard[one.corpus].settings)
    return None if same else "the newest of this corpus is of other speech, or was measured with other settings"


def _seed(system: System) -> Seed:
    seed = system.details.get("distillation_seed")
    return seed if isinstance(seed, int) and isinstance(system.details.get("evidence_row"), str) else None


def _with_changes(rows: Mapping[str, Kept]) -> dict[str, Kept]:
    found = {}
    for name, row in rows.items():
        base = rows.get(str(row.recipe.get("name")), row)
        found[name] = row if base is row else replace(row, changes=changes_between(base.recipe, row.recipe))
    return found


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
        without = other.without(corpus, corpora) - reference.without(corpus, corpora)
        terms.append((jackknife_variance(without.tolist()) / len(corpora) ** 2, len(without) - 1))
    variance = sum(term for term, _ in terms)
    below = sum(term**2 / df for term, df in terms if term)
    value = b.value - a.value
    if not variance:
        return Difference(difference=value, half_width=0.0, p_value=float(value == 0) if df_seeds else None)
    df, error = variance**2 / below, math.sqrt(variance)
    half = float(stats.t.ppf(0.5 + LEVEL / 2, df)) * error
    p_value = 2 * float(stats.t.sf(abs(value) / error, df)) if df_seeds else None
    return Difference(difference=value, half_width=half, p_value=p_value)
