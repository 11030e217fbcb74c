"""Documents of fidelity as rows of students: of which training each is, which of several counts, how rows differ."""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

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

    @property
    def other_layers(self) -> list[int]:
        """From which of its layers the teacher's are predicted where it has not as many; empty where it has."""
        reading = next(iter(next(iter(self.readings.values())).values()))
        return [] if reading.mapping == "same" else sorted({layer.student_layer for layer in reading.layers})

    def whitened(self, corpora: Sequence[str], layer: int | None = None) -> Estimate | None:
        """The mean over ``corpora``, of the seeds that have them all; of one layer of the teacher or of all."""
        return self._mean(corpora, lambda one: (one if layer is None else one.layers[layer]).whitened.value)

    def plain(self, corpora: Sequence[str]) -> Estimate | None:
        """The same, each direction as much as it varies."""
        return self._mean(corpora, lambda one: one.plain.value)

    def without(self, corpus: str, corpora: Sequence[str], layer: int | None = None) -> NDArray[np.float64]:
        """The same on ``corpus`` without each group of speakers, over the seeds that have all ``corpora``.

        Empty where a document is of an earlier version, which does not say it of single layers.
        """
        readings = [own[corpus] for own in self.complete(corpora)]
        found = [(one if layer is None else one.layers[layer]).whitened_without for one in readings]
        return np.asarray(np.array(found if all(found) else [()], dtype=np.float64).mean(axis=0))

    @property
    def groups(self) -> Mapping[str, list[Seed]]:
        """Which hidden states of the teacher were averaged together, ``0-1 / 2-12``, and with which seeds."""
        found: dict[str, list[Seed]] = defaultdict(list)
        for seed, student in self.students.items():
            if (said := _groups_of(student.details.get("layer_groups"))) is not None:
                found[said].append(seed)
        return found

    def complete(self, corpora: Sequence[str]) -> list[Mapping[str, Reading]]:
        """The readings of the seeds that have all ``corpora``."""
        return [own for own in self.readings.values() if set(corpora) <= set(own)]

    def _mean(self, corpora: Sequence[str], read: Callable[[Reading], float]) -> Estimate | None:
        complete = self.complete(corpora)
        return estimate_of([statistics.fmean(read(own[corpus]) for corpus in corpora) for own in complete])


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

    @property
    def n_layers(self) -> int:
        """Hidden states of the teacher."""
        return max(len(one.readings[0].layers) for one in self.heard.values())

    def against(self, reference: str, other: str, layer: int | None = None) -> Difference | None:
        """Row ``other`` minus row ``reference``, over all layers of the teacher or on one.

        None where one is not there, or has no seed with all corpora, or its documents do not tell it of one layer.
        """
        both = [self.rows[name] for name in (reference, other) if name in self.rows]
        if len(both) < 2 or reference == other or not all(row.complete(self.corpora) for row in both):
            return None
        if any(not row.without(corpus, self.corpora, layer).size for row in both for corpus in self.corpora):
            return None
        return difference(*both, rows=self.rows, corpora=self.corpora, layer=layer)


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
        recorded = trained.get(said.checkpoint_sha256 or "", said)
        # Documents of earlier versions say less of a training than its records.
        more = said.model_copy(update={"details": {**recorded.details, **said.details}})
        known = recorded if _seed(said) is None else more
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


def _groups_of(said: object) -> str | None:
    """``0-1 / 2-3 / 4, 7 / 12`` of a checkpoint's list of lists, which is text; None where it is none."""
    try:
        groups = [sorted(map(int, group)) for group in json.loads(str(said))]
    except (TypeError, ValueError):
        return None
    return " / ".join(_range(group) for group in groups)


def _range(group: Sequence[int]) -> str:
    is_run = len(group) > 1 and group[-1] - group[0] == len(group) - 1
    return f"{group[0]}-{group[-1]}" if is_run else ", ".join(map(str, group))


def difference(
    reference: Kept, other: Kept, *, rows: Mapping[str, Kept], corpora: Sequence[str], layer: int | None = None
) -> Difference:
    """``other`` minus ``reference``, both of which have a seed with all corpora.

    Terms of variance, degrees of freedom after Satterthwaite: seeds, each row's own spread (see `_spread`); and
    speakers, the delete-one-group jackknife of the paired difference on each corpus.

    Args:
        rows: Of the same teacher, by name: from whose spread that of a row with one seed is taken.
        layer: Of the teacher; all of them if None.
    """
    means = [one for row in (reference, other) if (one := row.whitened(corpora, layer)) is not None]
    spreads = [own for row in (reference, other) if (own := _spread(row, rows, corpora, layer)) is not None]
    knows_seeds = bool(spreads)  # of both rows or of none: that of all others is there for each
    shares: dict[_Spread, float] = defaultdict(float)  # one that serves both rows is one term
    for spread, mean in zip(spreads, means, strict=knows_seeds):
        shares[spread] += 1 / len(mean.values)
    terms = [(spread.variance * share, spread.df) for spread, share in shares.items()]
    for corpus in corpora:
        without = other.without(corpus, corpora, layer) - reference.without(corpus, corpora, layer)
        terms.append((jackknife_variance(without.tolist()) / len(corpora) ** 2, len(without) - 1))
    variance = sum(term for term, _ in terms)
    below = sum(term**2 / df for term, df in terms if term)
    value = means[1].value - means[0].value
    if not variance:
        return Difference(difference=value, half_width=0.0, p_value=float(value == 0) if knows_seeds else None)
    df, error = variance**2 / below, math.sqrt(variance)
    half = float(stats.t.ppf(0.5 + LEVEL / 2, df)) * error
    p_value = 2 * float(stats.t.sf(abs(value) / error, df)) if knows_seeds else None
    return Difference(difference=value, half_width=half, p_value=p_value)


@dataclass(frozen=True, kw_only=True)
class _Spread:
    """Variance between single seeds of a row, which ``of`` names, and its degrees of freedom."""

    of: str
    variance: float
    df: int


def _spread(row: Kept, rows: Mapping[str, Kept], corpora: Sequence[str], layer: int | None) -> _Spread | None:
    """The row's own, else that of the row whose recipe it is a variant of, else of all rows that have several seeds
    together; None where none has."""

    def values(of: Kept) -> tuple[float, ...]:
        found = of.whitened(corpora, layer)
        return () if found is None else found.values

    for one in (row, rows.get(str(row.recipe.get("name")))):
        if one is not None and len(own := values(one)) > 1:
            return _Spread(of=one.title, variance=statistics.variance(own), df=len(own) - 1)
    repeated = [own for other in rows.values() if len(own := values(other)) > 1]
    df = sum(len(own) - 1 for own in repeated)
    squares = sum(statistics.variance(own) * (len(own) - 1) for own in repeated)
    return _Spread(of="all", variance=squares / df, df=df) if df else None
