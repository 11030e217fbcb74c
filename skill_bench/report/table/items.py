"""Whether a record's predictions are of the items that it says it was tested on."""

from __future__ import annotations

from collections import Counter

from skill_bench.records.record import Record
from skill_bench.report.statistics.sample import Predictions

_PARTS = {"eer": ("enrolment", "test"), "mtwv": ("query", "document")}
"""Metric -> what a row's id is made of, where a row is no utterance."""


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
