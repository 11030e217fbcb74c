"""What students keep of their teacher's layers: over distillation seeds, corpora and groups of speakers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from skill_bench.base.escape import markdown, markdown_cell
from skill_bench.report.comparison import p_text
from skill_bench.report.render.layout import ABSENT
from skill_bench.report.statistics.interval import LEVEL
from skill_bench.report.statistics.paired import holm
from skill_bench.sweep.report.cells import bullets, changed, difference, estimate, grid, spread
from skill_bench.sweep.report.choices import by_number_of_groups, by_sparsity
from skill_bench.sweep.report.joint import REFERENCE
from skill_bench.sweep.report.readings import Difference, Kept, Part

_HOW = (
    "Held-out R2 from a student's layer to the teacher's, by regressions that have not heard the speakers: the mean "
    "over layers and corpora [95 % interval, Student's t over distillation seeds]. Whitened: every direction of the "
    "teacher's layer counts the same; plain: as much as it varies. Seeds: those with all corpora. Learnt sparsity: "
    "what the gates had learnt to remove before they settled. To SKILL: whitened; the interval holds what other "
    "distillation seeds and other speakers would change, the spread over seeds being taken from all rows that have "
    f"several, variants too. p: after Holm for the number of rows of this table. {ABSENT}: not there."
)
_ONE_SEED = (
    "No row has several distillation seeds, so that nobody knows what another seed would change: intervals are over "
    "speakers alone, and there is no test."
)
_HOW_VARIANTS = (
    "Each row is the recipe with the change that is named; to the recipe: whitened, with intervals as above, not "
    "corrected for the number of rows."
)
_DECIMALS = 3


def kept(parts: Sequence[Part]) -> list[str]:
    """The text on the students of each teacher; empty without any."""
    texts = []
    for part in parts:
        named = f" {markdown_cell(part.teacher.title)}" if len(parts) > 1 else ""
        texts += [f"## What students keep of their teacher{named}", *_of_one_teacher(part)]
    return texts


def _of_one_teacher(part: Part) -> list[str]:
    main, variants = (_ordered(part, are_variants=wanted) for wanted in (False, True))
    listed = ", ".join(
        f"{corpus} ({(one := part.heard[corpus]).audio_seconds / 60:.0f} min, {one.n_speakers} speakers)"
        for corpus in part.corpora
    )
    repeated = any(len(row.complete(part.corpora)) > 1 for row in part.rows.values())
    n_layers = max(len(one.readings[0].layers) for one in part.heard.values())
    by_layer = [[part.rows[name].title, *_layers(part.rows[name], part, n_layers)] for name in (*main, *variants)]
    left_out = ["Left out, since others count in their place:", bullets([markdown(one) for one in part.left_out])]
    return [
        *_recipes(part, main),
        f"{_HOW} Corpora: {listed}.",
        *([] if repeated or len(part.rows) < 2 else [_ONE_SEED]),
        *(_variants(part, variants) if variants else []),
        *by_number_of_groups(part),
        *by_sparsity(part),
        "### By layer of the teacher, whitened",
        grid(by_layer, ["student", *(f"h{layer}" for layer in range(n_layers))]),
        *(left_out if part.left_out else []),
    ]


def _ordered(part: Part, *, are_variants: bool) -> list[str]:
    """Rows that are a variant of another, or those that are not, from the one that keeps most."""
    found = {name: row.whitened(part.corpora) for name, row in part.rows.items() if bool(row.changes) == are_variants}
    return sorted(found, key=lambda name: (-(-math.inf if (one := found[name]) is None else one.value), name))


def _recipes(part: Part, names: Sequence[str]) -> list[str]:
    """The table, and what its tests say in words."""
    against = {name: one for name in names if (one := part.against(REFERENCE, name)) is not None}
    tested = {name: one.p_value for name, one in against.items() if one.p_value is not None}
    p_values = dict(zip(tested, holm([*tested.values()]), strict=True))
    table = [
        [
            *_first_cells(part, name, part.corpora),
            difference(against.get(name), decimals=_DECIMALS),
            p_text(p_values[name]) if name in p_values else ABSENT,
        ]
        for name in names
    ]
    said = [_verdict(part, name, against[name], p) for name, p in p_values.items()]
    return [grid(table, [*_headings(part.corpora), "to SKILL", "p"]), *([bullets(said)] if said else [])]


def _verdict(part: Part, name: str, found: Difference, p: float) -> str:
    title, reference = (markdown(part.rows[one].title) for one in (name, REFERENCE))
    low, high = found.interval.low, found.interval.high
    if p < 1 - LEVEL:
        way = "more" if found.difference > 0 else "less"
        return f"{title} keeps {way} than {reference} by {abs(found.difference):.{_DECIMALS}f} (p {p_text(p)})."
    if not low < 0 < high:  # not once it is corrected for all rows
        return f"no difference shown: {title} and {reference} are too close to call (p {p_text(p)})."
    ends = f"{-low:.{_DECIMALS}f} less to {high:.{_DECIMALS}f} more"
    return f"no difference shown: {title} may keep {ends} (p {p_text(p)})."


def _variants(part: Part, names: Sequence[str]) -> list[str]:
    table = [
        [
            *_first_cells(part, name, ()),
            difference(part.against(str(part.rows[name].recipe.get("name")), name), decimals=_DECIMALS),
            part.rows[str(part.rows[name].recipe.get("name"))].title,
            changed(part.rows[name].changes),
        ]
        for name in names
    ]
    return [
        "### Variants of a recipe",
        grid(table, [*_headings(()), "to the recipe", "recipe", "change"]),
        _HOW_VARIANTS,
    ]


def _headings(corpora: Sequence[str]) -> list[str]:
    each = [f"{corpus} ↑" for corpus in corpora]
    return ["student", "whitened ↑", "plain ↑", *each, "seeds", "params M", "learnt sparsity"]


def _first_cells(part: Part, name: str, corpora: Sequence[str]) -> list[str]:
    """Of one row; ``corpora``: those that have a column of their own."""
    row, students = part.rows[name], part.rows[name].students.values()
    means = [row.whitened(part.corpora), row.plain(part.corpora), *(row.whitened([corpus]) for corpus in corpora)]
    n, n_complete = len(row.readings), len(row.complete(part.corpora))
    parameters = [None if one.n_parameters is None else one.n_parameters / 1e6 for one in students]
    return [
        row.title,
        *(estimate(found, decimals=_DECIMALS) for found in means),
        f"{n}" if n == n_complete else f"{n_complete} of {n}",
        spread(parameters, decimals=2),
        spread([_number(one.details.get("learnt_sparsity")) for one in students], decimals=3),
    ]


def _number(said: object) -> float | None:
    """Checkpoints describe themselves in text."""
    try:
        value = float(str(said))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _layers(row: Kept, part: Part, n_layers: int) -> list[str]:
    found = row.layers(part.corpora)
    return [ABSENT] * n_layers if found is None else [f"{value:.{_DECIMALS}f}" for value in found]
