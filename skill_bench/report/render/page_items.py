"""What the page knows of single utterances: for each task, the items, and what each system made of them."""

from __future__ import annotations

from typing import Any

from skill_bench.base.errors import RecordError
from skill_bench.report.statistics.sample import Predictions
from skill_bench.report.table.columns import Column
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.table import Section, SystemRow, Table
from skill_bench.report.table.uncertainty import predictions_of

Json = dict[str, Any]
MOST_CHARACTERS = 3_000_000
"""Of all predictions together: a page of hundreds of systems names records instead of repeating them."""
_PAIRS = ("eer", "mtwv")
"""Metrics whose rows are pairs of recordings with a score: right or wrong is a matter of the threshold."""


def utterances(table: Table) -> Json:
    """By section and task the items, by row and task the answers to them, of the first record of each.

    ``items``: ``"<section>/<task>"`` -> ``[[id, target], ...]``. ``answers``: ``"<row>/<task>"`` -> the record's key,
    and for each item the counts and the answer (null where it is the target).
    """
    items: dict[str, list[list[str]]] = {}
    answers: dict[str, Json] = {}
    left, number = MOST_CHARACTERS, 0
    for place, section in enumerate(table.sections):
        for row in section.rows:
            for column in _columns(section):
                found = _first(row, column)
                if found is None or left <= 0:
                    continue
                entry, rows = found
                own = items.setdefault(f"{place}/{column.task}", [[str(r["id"]), _text(r["target"])] for r in rows])
                if [item[0] for item in own] == [str(r["id"]) for r in rows]:
                    said = _answers(entry, rows)
                    answers[f"{number}/{column.task}"] = said
                    left -= sum(len(text) for text in said["said"] if text)
            number += 1
    return {"items": items, "answers": answers}


def _columns(section: Section) -> list[Column]:
    return [column for column in section.judged if column.metric not in _PAIRS]


def _first(row: SystemRow, column: Column) -> tuple[FoundRecord, Predictions] | None:
    """What cannot be read is among the table's problems already."""
    entries = sorted(row.entries_of(column), key=lambda entry: (entry.record.key.upstream, entry.record.key.seed))
    try:
        return (entries[0], predictions_of(entries[0])) if entries else None
    except RecordError:
        return None


def _answers(entry: FoundRecord, rows: Predictions) -> Json:
    key = entry.record.key
    return {
        "record": f"{key.upstream} on {key.task}, seed {key.seed}",
        "higher_is_better": entry.record.metrics[entry.record.metric].higher_is_better,
        "numerators": [_short(row.get("numerator")) for row in rows],
        "denominators": [_short(row.get("denominator")) for row in rows],
        "said": [None if row["prediction"] == row["target"] else _text(row["prediction"]) for row in rows],
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _short(value: float | None) -> float | None:
    return None if value is None else int(value) if value == int(value) else round(value, 3)
