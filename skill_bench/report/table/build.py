"""Makes the table from records, profiles and published rows.

Measured and published rows stand in different sections. The mean (and the rank by it) exists only for a row that has
every task of its section, and only where the speech was recorded: synthetic speech shows that everything runs, not who
is better. Which tasks count is known once predictions are read, see `skill_bench.report.table.telling`.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from skill_bench.base.counted import counted
from skill_bench.records.fidelity import Fidelity
from skill_bench.records.profile import Profile
from skill_bench.records.record import System
from skill_bench.report.table.blocks import Block, SystemId, split
from skill_bench.report.table.collect import Collection
from skill_bench.report.table.columns import Column, columns_in, in_order, published_column
from skill_bench.report.table.entry import FoundRecord, newest, staleness
from skill_bench.report.table.published import PublishedRow
from skill_bench.report.table.quantities import MEAN, OVERALL, SUPERB, WHOLE_SUPERB, Facts, read_quantities
from skill_bench.report.table.relative import with_mean, with_ranks, with_retention
from skill_bench.report.table.table import Score, Section, SystemRow, Table
from skill_bench.report.table.trainings import one_row_a_recipe


def build(
    collections: Sequence[Collection],
    published: Sequence[PublishedRow] = (),
    *,
    problems: Sequence[str] = (),
    by_training: bool = False,
) -> Table:
    """One table of everything. First what was measured on recorded speech, synthetic speech last.

    Of sections of a kind, those with rows of a run come first, and those of earlier task versions last.

    Args:
        collections: Records, profiles and fidelity, with their own problems.
        published: Rows from papers; a section a suite.
        problems: Further ones, to be listed with the others.
        by_training: A row for every training of a recipe, instead of one for all.
    """
    profiles = [(c.origin, profile) for c in collections for profile in c.profiles]
    kept = [document for c in collections for document in c.fidelity]
    blocks = split(entry for c in collections for entry in c.entries)
    sections = [_measured(block, profiles, kept, by_training=by_training) for block in blocks]
    sections += [
        _published(suite, [row for row in published if row.suite == suite])
        for suite in dict.fromkeys(row.suite for row in published)
    ]
    sections.sort(key=_order)
    clashes = [clash for section in sections for clash in _clashes(section)]
    return Table(
        sections=tuple(_told_apart(section) for section in sections),
        problems=(*(problem for c in collections for problem in c.problems), *problems, *dict.fromkeys(clashes)),
    )


def _order(section: Section) -> tuple[bool, bool, bool, bool]:
    """The user's own rows first within each kind: measured on recorded speech, published, synthetic."""
    own = any(row.origin == "run" for row in section.rows)
    return section.synthetic, section.source == "published", section.outdated, not own


def _measured(
    block: Block, profiles: list[tuple[str, Profile]], fidelity: list[Fidelity], *, by_training: bool
) -> Section:
    columns = {column.name: column for own in block.systems.values() for e in own for column in columns_in(e.record)}
    judged = {column.task: column for column in columns.values() if column.primary}
    tasks = tuple(sorted({entry.record.key.task for own in block.systems.values() for entry in own}, key=in_order))
    rows = [_measured_row(id_, own, profiles, fidelity, block.suite) for id_, own in block.systems.items()]
    rows = rows if by_training else one_row_a_recipe(rows)
    if block.synthetic:
        rows = sorted(rows, key=lambda row: (row.title.lower(), row.origin, row.identity or ""))
    else:
        rows = [with_mean(row, [judged.get(task) for task in tasks]) for row in rows]
        rows = with_retention(with_ranks(rows, by=MEAN), by=MEAN)
    notes = _stale_tasks(block, tasks)
    return Section(
        label=block.label + (", earlier task versions" if notes else ""),
        source="measured",
        suite=block.suite,
        protocol=block.protocol,
        synthetic=block.synthetic,
        tasks=tasks,
        columns=tuple(sorted(columns.values(), key=lambda column: (*in_order(column.task), column.name))),
        rows=tuple(rows),
        outdated=bool(notes),
        notes=notes,
    )


def _stale_tasks(block: Block, tasks: Sequence[str]) -> tuple[str, ...]:
    """A sentence for each task that has a newer version by now: a block holds one version of each."""
    records = [entry.record for own in block.systems.values() for entry in own]
    of_task = {record.key.task: record for record in records if record.data}
    found = {task: said for task, record in of_task.items() if (said := staleness(record)) is not None}
    return tuple(f"{task} is {found[task]}" for task in tasks if task in found)


def _measured_row(
    id_: SystemId,
    entries: tuple[FoundRecord, ...],
    profiles: list[tuple[str, Profile]],
    fidelity: list[Fidelity],
    suite: str,
) -> SystemRow:
    origin, name, identity = id_
    last = newest(entries)
    cells, notes = _cells(entries)
    profile = _newest_profile(profiles, origin, last.system)
    kept = fidelity_of(last.system, fidelity)
    # Both scores are defined on SUPERB's own corpora, whole.
    official = suite == WHOLE_SUPERB and not any(e.record.data and e.record.data.limit for e in entries)
    return SystemRow(
        source="measured",
        origin=origin,
        system=name,
        title=last.system.title,
        kind=last.system.kind,
        identity=identity,
        teacher=last.system.teacher,
        scores=cells,
        quantities=read_quantities(
            Facts(
                values={column: cell.value for column, cell in cells.items()} if official else {},
                system=last.system,
                profile=profile,
                fidelity=kept.mean,
            )
        ),
        compressed_on=None if (devices := last.system.details.get("compressed_on")) is None else str(devices),
        measured_on=None if profile is None else _machine(profile),
        notes=(*notes, *([] if kept.note is None else [kept.note])),
        entries=entries,
        fidelity=kept.found,
    )


def _newest_profile(profiles: list[tuple[str, Profile]], origin: str, system: System) -> Profile | None:
    """Of exactly this model and origin."""
    fitting = [
        p for o, p in profiles if (o, p.system.name, p.system.identity) == (origin, system.name, system.identity)
    ]
    return max(fitting, key=lambda p: p.provenance.started_at, default=None)


def _machine(profile: Profile) -> str | None:
    if profile.throughput is None:
        return None
    device = profile.provenance.hardware.device_name(profile.throughput.device)
    return f"{device}, {counted(profile.throughput.n_threads, 'thread')}, {profile.throughput.dtype}"


def _cells(entries: Iterable[FoundRecord]) -> tuple[dict[str, Score], list[str]]:
    """A cell for every metric that has a value; what is absent is a note."""
    found: dict[Column, dict[int, tuple[float, FoundRecord]]] = defaultdict(dict)
    notes = []
    for entry in sorted(entries, key=lambda e: (e.record.key.task, e.record.key.seed)):
        record = entry.record
        cell = f"{record.key.task} seed {record.key.seed}"
        if record.error is not None:
            notes.append(f"{cell} failed: {record.error.type}: {record.error.message}")
        for column in columns_in(record):
            metric = record.metrics[column.metric]
            if metric.value is None:
                notes.append(f"{cell} has no {column.metric}: {metric.reason}")
            else:
                found[column][record.key.seed] = (metric.value, entry)
    return {column.name: _cell(column, by_seed) for column, by_seed in found.items()}, notes


def _cell(column: Column, by_seed: dict[int, tuple[float, FoundRecord]]) -> Score:
    values = {seed: value for seed, (value, _) in by_seed.items()}
    return Score(
        column=column,
        value=statistics.fmean(values.values()),
        by_seed=values,
        std=statistics.stdev(values.values()) if len(values) > 1 else None,
        files=tuple(entry.file for _, entry in by_seed.values() if entry.file is not None),
    )


def _published(suite: str, published: list[PublishedRow]) -> Section:
    columns = {name: column for one in published for name in one.values if (column := published_column(name))}
    rows = [_published_row(one, columns) for one in published]
    # A paper may lack a task; its rank is by the score that needs all of them.
    rows = with_ranks(rows, by=SUPERB)
    return Section(
        label=f"{suite}, as published",
        source="published",
        suite=suite,
        protocol=None,
        synthetic=False,
        tasks=tuple(sorted({column.task for column in columns.values()}, key=in_order)),
        columns=tuple(sorted(columns.values(), key=lambda column: in_order(column.task))),
        rows=tuple(with_retention(rows, by=OVERALL)),
    )


def _published_row(one: PublishedRow, columns: dict[str, Column]) -> SystemRow:
    known = {name: value for name, value in one.values.items() if value is not None}
    return SystemRow(
        source="published",
        origin=one.citation,
        system=one.system,
        title=one.system,
        kind=one.role,
        teacher=one.teacher,
        scores={name: Score(column=columns[name], value=value) for name, value in known.items() if name in columns},
        quantities=read_quantities(Facts(values=one.values)),
    )


def _clashes(section: Section) -> list[str]:
    """Different models of one origin under one title: nobody could tell the rows apart."""
    identities: dict[tuple[str, str], dict[str, SystemRow]] = defaultdict(dict)
    for row in section.rows:
        if row.identity is not None:
            identities[row.origin, row.title][row.identity] = row
    return [
        f"{section.label}: {len(found)} different models are called {title!r} "
        f"({', '.join(str(next(iter(row.files), row.identity)) for row in found.values())}). The table adds their "
        "hashes; give each its own title, or remove the records of one."
        for (_, title), found in identities.items()
        if len(found) > 1
    ]


def _told_apart(section: Section) -> Section:
    """The section with a part of the hash in titles that several models share."""
    models = {(row.title, row.identity) for row in section.rows}
    shared = {title for title, n in Counter(title for title, _ in models).items() if n > 1}
    rows = [
        replace(row, title=f"{row.title} [{row.identity[:8]}]") if row.title in shared and row.identity else row
        for row in section.rows
    ]
    return replace(section, rows=tuple(rows))


@dataclass(frozen=True, kw_only=True)
class OwnFidelity:
    """Attributes:
    found: The newest document of each corpus, by the corpus's name.
    note: Why there is no mean, if there is none.
    """

    found: tuple[Fidelity, ...] = ()
    note: str | None = None

    @property
    def mean(self) -> float | None:
        """Whitened R2 over layers and corpora; None unless it is of every corpus."""
        if not self.found or self.note is not None:
            return None
        return fmean(one.readings[0].whitened.value for one in self.found)


def fidelity_of(system: System, documents: Sequence[Fidelity]) -> OwnFidelity:
    """Of a model, or of the same weights under another identity, beside the teacher of its newest document.

    Corpora are not equally hard, so that only a system that was measured on all on which students of this teacher were
    measured has a mean.
    """
    own = sorted((d for d in documents if _same_model(d.student, system)), key=lambda d: d.provenance.started_at)
    if not own:
        return OwnFidelity()
    teacher = own[-1].teacher.identity
    newest = {d.data_fingerprint: d for d in own if d.teacher.identity == teacher}
    corpora = {d.data_fingerprint: d.corpus for d in documents if d.teacher.identity == teacher}
    missing = sorted(name for fingerprint, name in corpora.items() if fingerprint not in newest)
    return OwnFidelity(
        found=tuple(sorted(newest.values(), key=lambda d: (d.corpus, d.data_fingerprint))),
        note=f"no mean fidelity: not measured on {', '.join(missing)}" if missing else None,
    )


def _same_model(one: System, other: System) -> bool:
    weights = one.checkpoint_sha256
    return one.identity == other.identity or (weights is not None and weights == other.checkpoint_sha256)
