"""What the page knows of single test items: for each task, the items, and what each system made of them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from skill_bench.base.errors import RecordError
from skill_bench.metrics.search import term_weighted_values
from skill_bench.report.statistics.sample import Predictions
from skill_bench.report.table.columns import Column
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.table import SystemRow, Table
from skill_bench.report.table.uncertainty import predictions_of

Json = dict[str, Any]
MOST_CHARACTERS = 3_000_000
"""Of all items and answers together: a page of hundreds of systems says of the rest where it lies instead."""
_OF_A_NUMBER = 6
"""Characters."""


def utterances(table: Table, *, most_characters: int = MOST_CHARACTERS) -> Json:
    """By section and task the items, by row and task the answers to them, of the first record of each.

    Items are utterances, trials of two recordings (EER) or queries (MTWV). ``items``: ``"<section>/<task>"`` ->
    ``[[id, target], ...]``. ``answers``: ``"<row>/<task>"`` -> the record's key, what an item is, and for each the
    counts and the answer (null where it is the target); of trials and queries also the threshold, of trials the scores.
    ``without``: which answers there was no room for.
    """
    items: dict[str, list[list[str]]] = {}
    answers: dict[str, Json] = {}
    without: list[str] = []
    left, number = most_characters, 0
    for place, section in enumerate(table.sections):
        for row in section.rows:
            for column in section.judged:
                if left <= 0:
                    without += [f"{number}/{column.task}"] if row.entries_of(column) else []
                    continue
                found = _first(row, column)
                if found is None:
                    continue
                entry, rows = found
                own, said = _OF[column.metric](rows) if column.metric in _OF else _utterances(rows)
                key = f"{place}/{column.task}"
                if key not in items:
                    items[key] = own
                    left -= sum(len(text) for item in own for text in item)
                if [item[0] for item in items[key]] == [item[0] for item in own]:
                    answers[f"{number}/{column.task}"] = _named(entry, column) | said
                    left -= sum(len(text) for text in said["said"] if text) + _OF_A_NUMBER * len(said.get("scores", ()))
            number += 1
    return {"items": items, "answers": answers, "without": without}


def _first(row: SystemRow, column: Column) -> tuple[FoundRecord, Predictions] | None:
    """What cannot be read is among the table's problems already."""
    entries = sorted(row.entries_of(column), key=lambda entry: (entry.record.key.upstream, entry.record.key.seed))
    try:
        return (entries[0], predictions_of(entries[0])) if entries else None
    except RecordError:
        return None


def _named(entry: FoundRecord, column: Column) -> Json:
    key = entry.record.key
    is_rate = column.metric not in _OF and not column.higher_is_better
    return {"record": f"{key.upstream} on {key.task}, seed {key.seed}", "higher_is_better": not is_rate}


def _utterances(rows: Predictions) -> tuple[list[list[str]], Json]:
    return [[str(row["id"]), _text(row["target"])] for row in rows], {
        "item": "utterance",
        "numerators": [_short(row.get("numerator")) for row in rows],
        "denominators": [_short(row.get("denominator")) for row in rows],
        "said": [None if row["prediction"] == row["target"] else _text(row["prediction"]) for row in rows],
    }


def _trials(rows: Predictions) -> tuple[list[list[str]], Json]:
    """At the threshold at which errors of both kinds are most nearly as frequent."""
    same = np.array([row["target"] == "same" for row in rows])
    scores = np.array([row["score"] for row in rows], dtype=np.float64)
    thresholds = np.unique(scores)
    missed = np.searchsorted(np.sort(scores[same]), thresholds) / max(same.sum(), 1)
    accepted = 1 - np.searchsorted(np.sort(scores[~same]), thresholds) / max((~same).sum(), 1)
    threshold = float(thresholds[np.argmin(np.abs(missed - accepted))])
    said = np.where(scores >= threshold, "same", "different").tolist()
    return [[str(row["id"]), str(row["target"])] for row in rows], {
        "item": "trial",
        "numerators": [int(answer == row["target"]) for answer, row in zip(said, rows, strict=True)],
        "denominators": [1] * len(rows),
        "said": [None if answer == row["target"] else answer for answer, row in zip(said, rows, strict=True)],
        "scores": [float(f"{score:.3g}") for score in scores],
        "threshold": float(f"{threshold:.3g}"),
    }


def _queries(rows: Predictions) -> tuple[list[list[str]], Json]:
    """Queries that occur somewhere, at the threshold of the best term-weighted value; None where that takes nothing."""
    by_query: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for row in rows:
        by_query[str(row["query"])].append((float(row["score"]), row["target"] == "present"))
    known = {query: found for query, found in by_query.items() if any(there for _, there in found)}
    thresholds, values = term_weighted_values(
        queries=[str(row["query"]) for row in rows],
        present=[row["target"] == "present" for row in rows],
        scores=[float(row["score"]) for row in rows],
    )
    threshold = float(thresholds[values.argmax()]) if values.size and values.max() > 0 else None
    hits, n_true, alarms = [], [], []
    for found in known.values():
        taken = [there for score, there in found if threshold is not None and score >= threshold]
        hits.append(sum(taken))
        alarms.append(len(taken) - sum(taken))
        n_true.append(sum(there for _, there in found))
    return [[query, f"in {n} of {len(known[query])} documents"] for query, n in zip(known, n_true, strict=True)], {
        "item": "query",
        "numerators": hits,
        "denominators": n_true,
        "said": [f"{hit} found, {alarm} false" for hit, alarm in zip(hits, alarms, strict=True)],
        "threshold": None if threshold is None else float(f"{threshold:.3g}"),
    }


_OF = {"eer": _trials, "mtwv": _queries}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _short(value: float | None) -> float | None:
    return None if value is None else int(value) if value == int(value) else round(value, 3)
