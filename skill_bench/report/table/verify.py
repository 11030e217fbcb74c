"""Computes every measured number of the table again from the stored predictions, and names any that does not match.

What is checked of a record: the counts in every row of predictions against its target and prediction, every metric and
every fold against these rows, that no item stands twice, that items are as many and named as the record says, and that
all systems of a section were tested on the same items with the same targets and speakers.
Of the table: every cell and the mean. Costs are measurements without predictions; that profiles were not
changed after they were written is checked when they are read.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from skill_bench.base.errors import RecordError
from skill_bench.metrics.scoring import SCORERS, score, with_counts
from skill_bench.records.record import Metric, Record
from skill_bench.report.statistics.sample import Predictions
from skill_bench.report.table.blocks import variant
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.quantities import MEAN
from skill_bench.report.table.table import Section, SystemRow, Table
from skill_bench.report.table.uncertainty import predictions_of

_RELATIVE = 1e-9  # sums in another order
_PARTS = {"eer": ("enrolment", "test"), "mtwv": ("query", "document")}
"""Metric -> what a row's id is made of, where a row is no utterance."""


@dataclass
class Verification:
    """What was found.

    Attributes:
        n_records: Records whose predictions were read.
        n_numbers: Numbers that were computed again.
        mismatches: Those that do not match, a sentence each.
        unverified: Records and metrics that cannot be computed again, with the reason.
    """

    n_records: int = 0
    n_numbers: int = 0
    mismatches: list[str] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)

    def compare(self, what: str, stated: float | None, found: float | None) -> None:
        """Counts one number, and names it if it differs."""
        self.n_numbers += 1
        same = stated == found if stated is None or found is None else math.isclose(stated, found, rel_tol=_RELATIVE)
        if not same:
            self.mismatches.append(f"{what} is {stated!r}, the predictions give {found!r}")


def verify(table: Table) -> Verification:
    """Verifies every measured section; a record that stands in several is read once."""
    found = Verification()
    again: dict[int, Mapping[str, Metric]] = {}
    targets: dict[Any, tuple[str, dict[tuple[str, str], Any]]] = {}
    measured = [section for section in table.sections if section.source == "measured"]
    for entry in _unique(entry for section in measured for row in section.rows for entry in row.entries):
        if entry.record.status == "finished":
            again[id(entry)] = _record(entry, found, targets)
    for section in measured:
        for row in section.rows:
            _row(section, row, again, found)
    return found


def _unique(entries: Iterable[FoundRecord]) -> list[FoundRecord]:
    return list({id(entry): entry for entry in entries}.values())


def _record(entry: FoundRecord, found: Verification, targets: dict[Any, Any]) -> Mapping[str, Metric]:
    """The record's metrics from its predictions; empty where they cannot be had."""
    record, where = entry.record, str(entry.file)
    if record.metric not in SCORERS:
        found.unverified.append(f"{where}: its metric {record.metric!r} is not known to this skill-bench")
        return {}
    try:
        rows = predictions_of(entry)
        metrics, folds = _score(record, rows)
        _counts(record, rows, where, found)
    except RecordError as error:
        # Without predictions nothing can be checked; with others than the record's, nothing can be believed.
        (found.unverified if record.predictions is None else found.mismatches).append(str(error))
        return {}
    except (KeyError, TypeError, ValueError) as error:
        found.mismatches.append(f"{where}: its predictions cannot be scored ({type(error).__name__}: {error})")
        return {}
    found.n_records += 1
    items_fit(record, rows, where, found.mismatches, found.unverified)
    _same_items(record, rows, where, found, targets)
    for name, stated in record.metrics.items():
        _metric(f"{where}: {name}", stated, metrics.get(name), found)
    for fold, by_name in record.folds.items():
        for name, stated in by_name.items():
            _metric(f"{where}: {name} of fold {fold}", stated, folds.get(fold, {}).get(name), found)
    return metrics


def _score(record: Record, rows: Predictions) -> tuple[dict[str, Metric], dict[str, dict[str, Metric]]]:
    further = record.task_spec.get("further_metrics") or ()
    return score(
        record.metric,
        rows,
        further=[str(name) for name in further] if isinstance(further, list | tuple) else (),
        mean_of_folds=record.task_spec.get("aggregate") == "mean_of_folds",
    )


def _counts(record: Record, rows: Predictions, where: str, found: Verification) -> None:
    wrong = []
    for row in rows:
        counted = with_counts(record.metric, row)
        if any(row.get(name) != value for name, value in counted.items()):
            wrong.append(str(row.get("id")))
    found.n_numbers += 2 * len(rows)
    if wrong:
        found.mismatches.append(
            f"{where}: the counts of {len(wrong)} predictions do not fit their texts, the first is {wrong[0]!r}"
        )


def _metric(what: str, stated: Metric, again: Metric | None, found: Verification) -> None:
    if again is None:
        found.unverified.append(f"{what} cannot be computed from predictions")
        return
    found.compare(what, stated.value, again.value)
    if stated.numerator is not None or stated.denominator is not None:
        found.compare(f"{what}, numerator,", stated.numerator, again.numerator)
        found.compare(f"{what}, denominator,", stated.denominator, again.denominator)


def _same_items(record: Record, rows: Predictions, where: str, found: Verification, targets: dict[Any, Any]) -> None:
    """All records of one variant of a task have the same items and targets; in frames, if frames are as long.

    Records of earlier versions do not name speakers.
    """
    own = {(str(row["fold"]), str(row["id"])): row["target"] for row in rows}
    speakers = {(str(row["fold"]), str(row["id"])): row["speaker"] for row in rows if "speaker" in row}
    key = (
        record.key.suite,
        record.key.protocol,
        record.key.task,
        variant(record),
        frozenset(row.get("frame_seconds") for row in rows),
    )
    for what, facts in (("test items or targets", own), ("speakers", speakers)):
        first, expected = targets.setdefault((key, what), (where, facts)) if facts else (where, facts)
        if facts != expected:
            differing = [item for item in {**facts, **expected} if facts.get(item) != expected.get(item)]
            found.mismatches.append(
                f"{where}: {len(differing)} {what} differ from those of {first}, which has the same data; "
                f"the first is {differing[0][1]!r}"
            )


def _row(section: Section, row: SystemRow, again: Mapping[int, Mapping[str, Metric]], found: Verification) -> None:
    """The row's cells and its mean, where all of its records could be computed again."""
    where = f"{section.label}: {row.title}"
    values: dict[str, float] = {}
    for name, cell in row.scores.items():
        by_model: dict[str, list[float | None]] = defaultdict(list)
        for entry in row.entries_of(cell.column):
            metric = again[id(entry)].get(cell.column.metric)
            by_model[entry.record.system.identity].append(None if metric is None else metric.value)
        found_again = [[value for value in own if value is not None] for own in by_model.values()]
        if found_again and [*map(len, found_again)] == [*map(len, by_model.values())]:
            values[name] = statistics.fmean(map(statistics.fmean, found_again))
            found.compare(f"{where}: {name}", cell.value, values[name])
    if (mean := row.value(MEAN)) is not None and all(column.name in values for column in section.averaged):
        points = [column.points(values[column.name]) for column in section.averaged]
        found.compare(f"{where}: {MEAN.name}", mean, statistics.fmean(points))


def items_fit(record: Record, rows: Predictions, where: str, wrong: list[str], unsure: list[str]) -> None:
    """Adds a sentence for each thing that does not fit: to ``wrong``, or to ``unsure`` where it may be honest."""
    counted = Counter((str(row["fold"]), str(row["id"])) for row in rows)
    if repeated := [item for item, n in counted.items() if n > 1]:
        said = f"{where}: {len(repeated)} test items stand more than once, the first is {repeated[0][1]!r}"
        # A list of trials may repeat one; nothing else can.
        (unsure if record.metric == "eer" else wrong).append(said)
    parts = _PARTS.get(record.metric)
    if parts is not None:
        renamed = [str(row["id"]) for row in rows if row["id"] != " ".join(str(row[part]) for part in parts)]
        if renamed:
            wrong.append(
                f"{where}: {len(renamed)} rows are of another {parts[0]} or {parts[1]} than their id says, the first "
                f"is {renamed[0]!r}"
            )
    _number_fits(record, rows, where, wrong)


def _number_fits(record: Record, rows: Predictions, where: str, wrong: list[str]) -> None:
    """Against the number of test utterances. Trials need not name every one; queries are counted apart."""
    if record.data is None:
        return
    names = {"eer": ("enrolment", "test"), "mtwv": ("document",)}.get(record.metric, ("id",))
    found = len({(str(row["fold"]), str(row[name])) for row in rows for name in names})
    stated = record.data.n_test
    if found > stated or (found < stated and record.metric != "eer"):
        wrong.append(f"{where}: its predictions are of {found} utterances, the record says that {stated} were tested")
