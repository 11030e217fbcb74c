"""Adds to every measured cell and row its intervals, from the predictions beside the records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from skill_bench.base.errors import RecordError
from skill_bench.records.record import read_predictions
from skill_bench.report.statistics.interval import (
    NO_SPREAD,
    enough_speakers,
    interval_of,
    speaker_interval_of,
    too_few,
)
from skill_bench.report.statistics.mean import Part, part_of
from skill_bench.report.statistics.sample import Predictions, Sample, knows_speakers, mean_of, sample_of
from skill_bench.report.table.entry import FoundRecord
from skill_bench.report.table.finding import finding_of
from skill_bench.report.table.table import Score, Section, SystemRow, Table
from skill_bench.report.table.telling import Lead, leads, pairs, with_telling_tasks
from skill_bench.report.table.whole import Parts, with_whole_rows

_BY_HAND = "made in memory: it has no predictions"


def with_intervals(table: Table) -> Table:
    """The table with an interval in every measured cell, or the reason why there is none, and of whole rows.

    Predictions that cannot be read become problems of the table.
    """
    problems: dict[str, None] = dict.fromkeys(table.problems)
    sections = []
    for section in table.sections:
        sections.append(_section(section, problems) if section.source == "measured" else section)
    return Table(sections=tuple(sections), problems=tuple(problems))


def _section(section: Section, problems: dict[str, None]) -> Section:
    found = [_row(row, problems) for row in section.rows]
    section = replace(section, rows=tuple(row for row, _ in found))
    section = with_telling_tasks(section, [] if section.synthetic else leads(found, section.judged))
    parts = {_key(row): own for row, own in found}
    found = [(row, parts[_key(row)]) for row in section.rows]
    judged = section.averaged
    rows = with_whole_rows(found, judged)
    ranked = [(row, own) for row, (_, own) in zip(rows, found, strict=True)]
    return replace(section, rows=rows, finding=finding_of(ranked, judged))


def _key(row: SystemRow) -> tuple[str, str, str | None, str]:
    return row.origin, row.system, row.identity, row.title


def leads_of(section: Section) -> list[Lead]:
    """By how much the teacher is ahead of the controls on each task, from their predictions alone.

    None of synthetic speech, which is not ranked.
    """
    if section.synthetic:
        return []
    held = {id(row): row for _, *two in pairs(section.rows) for row in two}
    parts = {at: _row(row, {})[1] for at, row in held.items()}
    return leads([(row, parts.get(id(row), {})) for row in section.rows], section.judged)


def predictions_of(entry: FoundRecord) -> Predictions:
    """The rows beside a record.

    Raises:
        RecordError: there are none, or not those that the record was written with.
    """
    if entry.file is None:
        raise RecordError(f"{entry.record.key.upstream} on {entry.record.key.task}: {_BY_HAND}.")
    return read_predictions(entry.file, entry.record)


def samples_of(
    found: Sequence[tuple[FoundRecord, Predictions]], metric: str, *, by_speaker: bool = False
) -> list[Sample]:
    """The metric's sample of each record and its predictions, over the same items or, ``by_speaker``, speakers.

    Raises:
        RecordError: the predictions are of different items, or cannot give the metric.
    """
    samples = [sample_of(entry.record, rows, metric, by_speaker=by_speaker) for entry, rows in found]
    for (entry, _), sample in zip(found, samples, strict=True):
        if sample.units != samples[0].units:
            raise RecordError(f"{entry.file}: was tested on other items than {found[0][0].file}.")
    return samples


def repetitions(
    found: Sequence[tuple[FoundRecord, Predictions]], metric: str, *, by_speaker: bool = False, by_model: bool = False
) -> dict[str, Sample]:
    """A sample for each model by its identity where there are several, or ``by_model``; else one by each seed.

    Raises:
        RecordError: see `samples_of`.
    """
    of_model: dict[str, list[Sample]] = defaultdict(list)
    samples = samples_of(found, metric, by_speaker=by_speaker)
    for (entry, _), sample in zip(found, samples, strict=True):
        of_model[entry.record.system.identity].append(sample)
    if by_model or len(of_model) > 1:
        return {identity: mean_of(own) for identity, own in of_model.items()}
    return {f"seed {entry.record.key.seed}": sample for (entry, _), sample in zip(found, samples, strict=True)}


def _row(row: SystemRow, problems: dict[str, None]) -> tuple[SystemRow, Parts]:
    """The row with intervals in its cells, and its parts in a mean by column."""
    rows: dict[int, Predictions | RecordError] = {}
    cells, parts = {}, dict[str, tuple[Part, ...]]()
    for name, cell in row.scores.items():
        entries = row.entries_of(cell.column)
        for entry in entries:
            if id(entry) not in rows:
                rows[id(entry)] = _read(entry, problems)
        cells[name], found = _cell(cell, [(entry, rows[id(entry)]) for entry in entries])
        if found:
            parts[name] = found
    return replace(row, scores=cells), parts


def _read(entry: FoundRecord, problems: dict[str, None]) -> Predictions | RecordError:
    try:
        return predictions_of(entry)
    except RecordError as error:
        if entry.file is not None and entry.record.predictions is not None:
            problems[str(error)] = None
        return error


def _cell(
    cell: Score, found: Sequence[tuple[FoundRecord, Predictions | RecordError]]
) -> tuple[Score, tuple[Part, ...]]:
    readable = []
    for entry, rows in found:
        if isinstance(rows, RecordError):
            return replace(cell, no_interval=str(rows)), ()
        readable.append((entry, rows))
    metric = cell.column.metric
    try:
        samples = repetitions(readable, metric)
        ways = [samples]
        interval = interval_of([*samples.values()])
        speakers = None
        if all(knows_speakers(rows, metric) for _, rows in readable):
            by_speaker = repetitions(readable, metric, by_speaker=True)
            speakers = speaker_interval_of([*by_speaker.values()])
            ways = [by_speaker, samples] if enough_speakers(next(iter(by_speaker.values()))) else ways
    except RecordError as error:
        return replace(cell, no_interval=str(error)), ()
    no_interval = None if interval is not None else too_few(next(iter(samples.values()))) or NO_SPREAD
    judged = cell.column.primary and cell.column.has_points
    parts = tuple(part_of(way) for way in ways) if judged else ()
    return replace(cell, interval=interval, speaker_interval=speakers, no_interval=no_interval), parts
