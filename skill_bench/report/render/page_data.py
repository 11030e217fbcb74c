"""What the page shows, as one JSON object: the table's frame as it is, and what its columns and rows mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pandas as pd

from skill_bench.base import __version__, catalog
from skill_bench.base.catalog import RECOGNISED, layouts, suites
from skill_bench.base.errors import SkillBenchError
from skill_bench.base.escape import without_paths
from skill_bench.base.specs import read_toml
from skill_bench.report.render.figure_files import theme
from skill_bench.report.render.frame import to_frame
from skill_bench.report.render.layout import rates_at_edges, without_interval
from skill_bench.report.render.page_charts import charts_of
from skill_bench.report.render.rows import Named, named
from skill_bench.report.table.columns import Column, in_order, task_label
from skill_bench.report.table.entry import FoundRecord, newest
from skill_bench.report.table.quantities import MEAN, SUPERB, Quantity, quantities
from skill_bench.report.table.relative import teacher_of
from skill_bench.report.table.table import Section, SystemRow, Table

Json = dict[str, Any]
MAIN = ("retention_percent", "parameters_millions", "file_megabytes", "macs_superb_giga", "one_thread_real_time_factor")
"""Beside rank and mean, what decides: these columns come first."""
_METRICS = {
    "accuracy": "share of test items that are right",
    "unweighted_accuracy": "mean over classes of the share that is right",
    "f1": "F1 of slot types",
    "mtwv": "maximum term-weighted value, times 100",
    "per": "errors per 100 phones",
    "wer": "errors per 100 words",
    "cer": "errors per 100 characters",
    "eer": "equal error rate of same and different speakers",
    "der": "share of the time that is given to the wrong speaker, or wrongly to one or none",
}


def page_data(table: Table, *, bibliography: str) -> Json:
    """Everything that the page's script reads at once; what it reads later is in `page_items` and :func:`details`."""
    frame = to_frame(table)
    rows = _named(table)
    return {
        "version": __version__,
        "frame": {"columns": list(frame.columns), "rows": [[_plain(v) for v in row] for row in frame.to_numpy(object)]},
        "sections": [_section(section) for section in table.sections],
        "rows": [_row(one) for own in rows for one in own],
        "themes": {name: theme(name) for name in ("light", "dark")},
        "bibliography": bibliography,
    }


def details(table: Table) -> list[Json | None]:
    """Each row's records and what they say about the model; None for a published row."""
    return [_details(row) for section in table.sections for row in section.rows]


def charts(table: Table) -> list[list[Json]]:
    """The charts of each section; of a measured one with the published systems that were tested on the same data."""
    rows = _named(table)
    published = [(section.suite, rows[i]) for i, section in enumerate(table.sections) if section.source == "published"]
    return [
        charts_of(
            section,
            own,
            [one for suite, others in published if suite == section.suite if others is not own for one in others],
        )
        for section, own in zip(table.sections, rows, strict=True)
    ]


def _named(table: Table) -> list[list[Named]]:
    found, first = [], 0
    for section in table.sections:
        found.append(named(section, first=first))
        first += len(section.rows)
    return found


def _plain(value: Any) -> Any:
    """A cell as JSON has it: numpy's numbers as Python's, what is absent as null."""
    if value is None or value is pd.NA or value != value:
        return None
    return without_paths(value) if isinstance(value, str) else value.item() if hasattr(value, "item") else value


def _section(section: Section) -> Json:
    return {
        "label": section.label,
        "suite": section.suite,
        "synthetic": section.synthetic,
        "published": section.source == "published",
        "finding": section.finding,
        "best": _best(section),
        "said": _said(section),
        "remarks": [*without_interval(section), *rates_at_edges(section)],
        "machines": list(dict.fromkeys(row.measured_on for row in section.rows if row.measured_on)),
        "columns": _columns(section),
    }


def _said(section: Section) -> list[str]:
    """What somebody has to know before reading the section's numbers."""
    said = []
    if section.synthetic:
        said.append("Synthetic speech: a proof that everything runs. It says nothing about people's voices, so there "
                    "is no mean, no rank and no best.")  # fmt: skip
    else:
        said += [f"{note[0].upper()}{note[1:]}." for note in map(without_paths, _common_notes(section))]
    if section.left_out:
        said.append(f"The mean is over {_names(section.averaged)} alone: elsewhere the teacher is not clearly ahead of "
                    "controls that learnt nothing.")  # fmt: skip
    if section.outdated:
        said.append("Measured by earlier versions of the tasks, so not ranked with newer rows.")
    return said


def _common_notes(section: Section) -> list[str]:
    """What the section was tested on, and what the records of every task say of their data where there are several."""
    by_task: dict[str, set[str]] = {}
    for record in (entry.record for row in section.rows for entry in row.entries):
        if record.data is not None:
            by_task.setdefault(record.key.task, set()).update(record.data.notes)
    shared = sorted(set.intersection(*by_task.values())) if by_task else []
    recognised = [note for note in shared if note.startswith(RECOGNISED)]
    title = suites().get(section.suite, "").partition(":")[0]
    named = recognised or ([title] if title and section.suite in layouts() else [])
    return [*named, *(note for note in shared if note not in named)] if len(by_task) > 1 else named


def _names(columns: Sequence[Column]) -> str:
    """For example ``keyword spotting (KS)``."""
    titles = _titles({column.task for column in columns})
    return ", ".join(f"{titles[column.task].lower()} ({column.task.upper()})" for column in columns)


def _best(section: Section) -> str | None:
    """The best student of those with every task, how sure its place is, and what it costs."""
    row = next((row for row in section.rows if row.kind == "student" and row.rank is not None), None)
    score = next((one for one in (MEAN, SUPERB) if row is not None and row.value(one) is not None), None)
    if row is None or score is None:
        return None
    ends = ((row.intervals, " {}"), (row.speaker_intervals, " ({} for other speakers)"))
    halves = [(own[score.name], form) for own, form in ends if score.name in own]
    around = "".join(form.format(f"± {(of.high - of.low) / 2:.1f}") for of, form in halves)
    alike = (row.rank_last or row.rank or 0) - (row.rank or 0)
    place = f"rank {row.rank}" + (f", shared by {alike + 1} systems that are not told apart" if alike else "")
    over = f"mean over {_names(section.averaged)}" if score is MEAN and section.names_its_mean else score.axis
    costs = _costs(row, teacher_of(row, section.rows))
    best = f"Best student: {row.title}, {over} {score.text(row.value(score), absent='')}{around}; {place}."
    return f"{best} It takes {costs}." if costs else best


def _costs(row: SystemRow, teacher: SystemRow | None) -> str:
    """For example ``0.81 M params (25 % of its teacher's), 31.4 G MACs (41 %)``."""
    said: list[str] = []
    for one in (one for one in _all() if one.name in MAIN and one.kind == "cost"):
        value, whole = row.value(one), None if teacher is None else teacher.value(one)
        if value is not None:
            of = "" if said else " of its teacher's"
            share = f" ({100 * value / whole:.0f} %{of})" if whole else ""
            said.append(f"{one.text(value, absent='')} {one.unit} {one.title}".replace("  ", " ") + share)
    return ", ".join(said)


def _columns(section: Section) -> list[Json]:
    """The columns that matter first, then tasks, then what else it costs; further ones only where some row has them."""
    by_name = {one.name: one for one in _all()}
    scores = [one for one in (SUPERB, MEAN) if any(row.value(one) is not None for row in section.rows)][:1]
    wanted = () if section.synthetic else (*scores, by_name[MAIN[0]])
    main = [*wanted, *(by_name[name] for name in MAIN[1:])]
    main = [one for one in main if any(row.value(one) is not None for row in section.rows)]
    rest = [
        one
        for kind in ("score", "cost")
        for one in quantities(kind, printed=True)
        if one not in main and any(row.value(one) is not None for row in section.rows)
    ]
    titles = _titles({column.task for column in section.shown})
    return [
        *(_quantity(one, "main") for one in main),
        *(
            _judged(column, titles, aside=column.task in section.left_out)
            for column in section.shown
            if any(column.name in row.scores for row in section.rows)
        ),
        *(_quantity(one, "more") for one in rest),
    ]


def _all() -> list[Quantity]:
    return [*quantities("score"), *quantities("cost")]


def _titles(tasks: set[str]) -> Mapping[str, str]:
    found = {}
    for task in tasks:
        found[task] = task_label(task)
        with suppress(SkillBenchError):  # not in the catalog, or there is none
            found[task] = str(read_toml(catalog.entry("tasks", task)).get("title", found[task]))
    return found


def _judged(column: Column, titles: Mapping[str, str], *, aside: bool) -> Json:
    better = "higher" if column.higher_is_better else "lower"
    said = f"{titles[column.task]}: {_METRICS.get(column.metric, column.metric)}; {better} is better"
    said += "; not in the mean" if aside else ""
    unit = column.heading.partition(" ")[2]
    found = _column(column.name, column.heading, "task", 2, better, said)
    return found | {"unit": unit, "task": column.task, "aside": aside}


def _quantity(one: Quantity, group: str) -> Json:
    said = f"{one.description or one.title}; {one.better} is better"
    return _column(one.name, one.heading, group, one.decimals, one.better, said) | {"unit": one.unit, "kind": one.kind}


def _column(name: str, heading: str, group: str, digits: int | None, better: str, said: str) -> Json:
    return {"name": name, "heading": heading, "group": group, "digits": digits, "better": better, "help": said}


def _row(one: Named) -> Json:
    """What the script needs of a row that the frame does not hold; ``id`` is for links to it."""
    row = one.row
    place = row.origin if row.source == "measured" else "published"
    model = "" if row.identity is None else f"@{row.identity[:8]}"
    return {
        "id": f"{place}:{row.system}{model}",
        "label": one.label,
        "n_trainings": row.n_trainings,
        "machine": "; ".join(_machines(row)) or None,
        "commit": "; ".join(_commits(row)) or None,
    }


def _machines(row: SystemRow) -> list[str]:
    return list(dict.fromkeys(str(entry.record.provenance.hardware.cpu_model) for entry in row.entries))


def _commits(row: SystemRow) -> list[str]:
    gits = [entry.record.provenance.git for entry in row.entries]
    counts = Counter("no repository" if g is None else g.commit[:10] + (", changed" if g.dirty else "") for g in gits)
    return [f"{name} ({n})" if len(counts) > 1 else name for name, n in counts.most_common()]


def _details(row: SystemRow) -> Json | None:
    if not row.entries:
        return None
    entries = sorted(row.entries, key=lambda entry: (in_order(entry.record.key.task), _of(entry)))
    return {
        "about": {name: value for name, value in _about(row).items() if value},
        "records": [_record(entry) for entry in entries],
    }


def _of(entry: FoundRecord) -> tuple[str, int]:
    return entry.record.key.upstream, entry.record.key.seed


def _about(row: SystemRow) -> dict[str, str | None]:
    records = [entry.record for entry in row.entries]
    last = newest(row.entries)
    checkpoints = dict.fromkeys(one for r in records if (one := r.system.checkpoint_sha256))
    return {
        "trainings": f"{row.n_trainings}, with other distillation seeds" if row.n_trainings > 1 else None,
        "teacher": last.system.teacher,
        "licence": last.system.licence,
        "checkpoint sha256": ", ".join(checkpoints if len(checkpoints) == 1 else (one[:12] for one in checkpoints)),
        "measured on": "; ".join(_machines(row)),
        "commit": "; ".join(_commits(row)),
        "skill-bench": ", ".join(dict.fromkeys(r.provenance.skill_bench_version for r in records)),
        "torch": ", ".join(dict.fromkeys(t for r in records if (t := r.provenance.packages.get("torch")))),
        "newest record": last.provenance.started_at[:10],
    }


def _record(found: FoundRecord) -> Json:
    record = found.record
    entry: Json = {"task": record.key.task, "seed": record.key.seed, "metric": record.metric, "of": record.key.upstream}
    if (metric := record.metrics.get(record.metric)) is not None:
        entry |= {"value": metric.value, "numerator": metric.numerator, "denominator": metric.denominator}
    if record.data is not None:
        entry |= {
            "version": record.key.task_version,
            "data": record.data.fingerprint[:12],
            "n_test": record.data.n_test,
        }
    if record.selection is not None and record.selection.learning_rate is not None:
        entry["learning_rate"] = record.selection.learning_rate
    if record.error is not None:
        entry["error"] = without_paths(f"{record.error.type}: {record.error.message}")
    return entry
