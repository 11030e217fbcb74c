"""Students of one recipe that differ in their distillation seed alone, as one row: the mean over the trainings."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from skill_bench.report.table.entry import FoundRecord, newest
from skill_bench.report.table.table import Score, SystemRow

Trainings = Mapping[int, SystemRow]
"""By distillation seed."""


def one_row_a_recipe(rows: Iterable[SystemRow]) -> list[SystemRow]:
    """Rows of one origin and recipe as one, the others as they are."""
    alone, together = [], defaultdict[tuple[str, str], dict[int, SystemRow]](dict)
    for row in rows:
        if (found := training_of(row)) is None:
            alone.append(row)
        else:
            recipe, seed = found
            together[row.origin, recipe][seed] = row
    return [*alone, *(_one(recipe, dict(sorted(own.items()))) for (_, recipe), own in together.items())]


def training_of(row: SystemRow) -> tuple[str, int] | None:
    """The recipe that a row's model was distilled by and the seed; None for a model that is not one of several.

    A grid of trainings writes both into the description that each checkpoint carries.
    """
    details = newest(row.entries).system.details if row.entries else {}
    recipe, seed = details.get("evidence_row"), details.get("distillation_seed")
    return (recipe, seed) if isinstance(recipe, str) and isinstance(seed, int) else None


def trained_once(entries: Sequence[FoundRecord], *, beside: Sequence[FoundRecord]) -> bool:
    """Whether it is one student beside several trainings of another: its probes are no repetition of its training."""
    models = {entry.record.system.identity for entry in beside}
    return len(models) > 1 and all(entry.record.system.kind == "student" for entry in entries)


def _one(recipe: str, trainings: Trainings) -> SystemRow:
    """The row of all trainings: what a training lacks is not in the others' mean, and is noted."""
    rows = list(trainings.values())
    first = rows[0]
    names = dict.fromkeys(name for row in rows for name in row.scores)
    quantities = dict.fromkeys(name for row in rows for name in row.quantities)
    lacking = {
        seed: [name for name in (*names, *quantities) if name not in row.scores and name not in row.quantities]
        for seed, row in trainings.items()
    }
    return replace(
        first,
        system=recipe,
        title=first.title.partition(", seed ")[0],
        identity=first.identity if len(rows) == 1 else None,
        n_trainings=len(rows),
        scores={name: _score(name, trainings) for name in names},
        quantities={
            name: statistics.fmean(row.quantities[name] for row in rows if name in row.quantities)
            for name in quantities
        },
        compressed_on="; ".join(dict.fromkeys(row.compressed_on for row in rows if row.compressed_on)) or None,
        measured_on="; ".join(dict.fromkeys(row.measured_on for row in rows if row.measured_on)) or None,
        notes=(
            *(f"distillation seed {seed}: {note}" for seed, row in trainings.items() for note in row.notes),
            *(f"distillation seed {seed} has no {', '.join(lacks)}" for seed, lacks in lacking.items() if lacks),
        ),
        entries=tuple(entry for row in rows for entry in row.entries),
        fidelity=tuple(one for row in rows for one in row.fidelity),
    )  # fmt: skip


def _score(name: str, trainings: Trainings) -> Score:
    cells = {seed: row.scores[name] for seed, row in trainings.items() if name in row.scores}
    if len(cells) == 1:
        return next(iter(cells.values()))
    values = {seed: cell.value for seed, cell in cells.items()}
    return Score(
        column=next(iter(cells.values())).column,
        value=statistics.fmean(values.values()),
        by_seed=values,
        std=statistics.stdev(values.values()),
        files=tuple(file for cell in cells.values() for file in cell.files),
    )
